"""What the documents name exists: files, functions, commands, settings, targets, links, servers' settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import redis

from engine import BudgetClient
from engine.cli import cli
from engine.cli.backfill import import_spends
from engine.client.batches import most_spends
from engine.job_table import JOBS, MONTHLY
from engine.live.acl import acl_setuser
from engine.local.valkey import _CONFIG
from engine.secret_files import FROM_FILE
from engine.settings import TABLE
from tests.docs.documents import DECISIONS, DOCUMENTS, README, ROOT, blocks, prose
from tests.live.plant import CAMPAIGN, Plant
from tests.patience import PATIENCE_S

OPERATIONS = ROOT / "docs" / "operations.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
COMMAND = re.compile(r"^(?:\$ )?(?:python -m engine|budget-engine) (.+)$")
OTHER_NAMES = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "BUDGET_ENV_FILE",
    "BUDGET_DEBUG",
    "BUDGET_LOGS",
    "BUDGET_SPEEDUPS",
    "BY_NAME",
    "TIMEOUT_S",
}
"""Names in capitals that are no settings."""


def code(path: Path) -> set[str]:
    """What a document sets as code within its lines."""
    return set(re.findall(r"`([^`\n]+)`", prose(path)))


def commands(path: Path) -> Iterator[str]:
    """Every call of the command line in a document, without the program's name."""
    shown = [line for language in ("console", "sh") for block in blocks(path, language) for line in block.splitlines()]
    for line in [*code(path), *shown, *(line.strip() for line in prose(path).splitlines())]:
        found = COMMAND.match(line)
        if found:
            yield found[1]


def check_command(words: list[str]) -> None:
    """Raises when the command line has no such command or option."""
    command: click.Command = cli
    with click.Context(cli) as ctx:
        while words and isinstance(command, click.Group):
            found = command.get_command(ctx, words[0])
            if found is None:
                break
            command, words = found, words[1:]
        if command.name == "spend" and words[:1] == ["import"]:
            command, words = import_spends, words[1:]
        assert command is not cli, f"no command {words}"
        assert not isinstance(command, click.Group) or not words, f"{command.name} has no command {words}"
        options = {name for parameter in command.params for name in parameter.opts}
        for word in words:
            assert not word.startswith("--") or word.split("=")[0] in options, f"{command.name} has no option {word}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_is_one_that_the_program_has(path: Path) -> None:
    for line in commands(path):
        check_command(shlex.split(line))


def test_the_documents_do_show_commands() -> None:
    shown = {shlex.split(line)[0] for path in DOCUMENTS for line in commands(path)}
    assert shown >= {
        "migrate",
        "doctor",
        "verify",
        "web",
        "worker",
        "scheduler",
        "rebuild",
        "scripts",
        "brand",
        "spend",
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_that_is_named_exists(path: Path) -> None:
    for name in code(path):
        if re.fullmatch(r"(?:engine|lua|web|api|tests|tools|docs)/[\w./-]*|\w+\.(?:py|toml|txt)|\.env\.example", name):
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_setting_that_is_named_exists(path: Path) -> None:
    settings = {row.name for row in TABLE} | {f"{name}_FILE" for name in FROM_FILE}
    for name in code(path):
        if re.fullmatch(r"[A-Z]+(?:_[A-Z]+)+", name):
            assert name in settings | OTHER_NAMES, name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_make_target_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {found[1] for found in map(re.compile(r"make ([a-z-]+)$").match, code(path)) if found}
    named |= set(re.findall(r"^    make ([a-z-]+)", prose(path), re.M))
    assert named <= targets
    if path == README:
        assert {"demo", "test", "up"} <= named


def test_every_function_of_the_walk_stands_in_the_code() -> None:
    text = "".join(
        p.read_text()
        for d in ("engine", "web", "api", "lua")
        for p in (ROOT / d).rglob("*.*")
        if p.suffix in (".py", ".lua")
    )
    for name in code(ARCHITECTURE):
        if re.fullmatch(r"[A-Za-z_]\w*(?:\.\w+)?", name):
            *_, last = name.split(".")
            assert re.search(rf"\b{last}\b", text), name
            if re.fullmatch(r"[A-Z][a-z]\w*\.\w+", name):
                owner = name.split(".")[0]
                assert re.search(rf"class {owner}\b.*?\b(?:def {last}|{last}:)", text, re.S), name


def test_the_table_of_settings_is_the_program_s() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \| `(.+?)` \|$", OPERATIONS.read_text(encoding="utf-8"), re.M)
    assert rows == [
        (row.name, f"`{row.default}`" if row.default else "unset", row.meaning, row.example) for row in TABLE
    ]


def test_the_table_of_jobs_is_the_schedule() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    table = text[text.index("## The jobs") : text.index("## Who may do what")]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", table, re.M)
    whens = {86400: "00:00 UTC", MONTHLY: "00:00 UTC on the 1st"}
    wanted = [(job.name, job.queue, whens.get(job.every_s, f"every {job.every_s} s")) for job in JOBS]
    assert [row[:3] for row in rows] == wanted
    for (*_, does), job in zip(rows, JOBS, strict=True):
        assert job.words in does, job.name


def test_redis_is_told_what_our_own_is_told() -> None:
    (conf,) = blocks(OPERATIONS, "conf")
    assert set(conf.splitlines()) <= set(_CONFIG.splitlines())


def test_a_bidder_s_login_is_enough_to_spend_and_no_more(hot_redis: redis.Redis, plant: Plant) -> None:
    plant.brand(daily="10")
    (acl,) = blocks(OPERATIONS, "acl")
    assert acl.split() == ["ACL", "SETUSER", *acl_setuser("bidder")]
    hot_redis.execute_command(*acl.split())
    hot_redis.execute_command("ACL", "SETUSER", "bidder", ">password")
    place = hot_redis.connection_pool.connection_kwargs
    url = f"redis://bidder:password@{place['host']}:{place['port']}/{place.get('db', 0)}"
    try:
        hot_redis.script_flush()
        with BudgetClient.from_url(url, timeout_ms=2000) as client:
            assert client.try_spend(CAMPAIGN, "4", event_id="win-1").outcome == "accepted"
            assert client.record_spend(CAMPAIGN, "7", event_id="win-2").reasons == ("daily_budget",)
            assert client.status(CAMPAIGN).status == "paused"
            assert client.refund(CAMPAIGN, "7", "win-2").outcome == "refunded"
            assert [client.reserve(CAMPAIGN, "1", 60, name).outcome for name in "abc"] == ["accepted"] * 3
            assert client.settle(f"{CAMPAIGN}:a", "0.5").outcome == "settled"
            assert client.release(f"{CAMPAIGN}:b").outcome == "released"
            with client.watch() as watch:
                assert watch.wait_ready(PATIENCE_S), watch.why
                assert watch.may_bid(CAMPAIGN)
        with redis.Redis.from_url(url) as bidder:
            for forbidden in (("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("EVAL", "return 1", 0)):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    bidder.execute_command(*forbidden)
    finally:
        hot_redis.execute_command("ACL", "DELUSER", "bidder")


def test_the_decisions_are_numbered_listed_and_whole() -> None:
    records = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    listed = re.findall(r"^(\d+)\. \[(.+)\]\((.+)\)$", (DECISIONS / "README.md").read_text(encoding="utf-8"), re.M)
    assert [path.name for path in records] == [name for _, _, name in listed]
    assert len({number for number, _, _ in listed}) == len(listed)
    for path, (number, title, _) in zip(records, listed, strict=True):
        text = path.read_text(encoding="utf-8")
        assert path.name.startswith(f"{int(number):04d}-")
        assert text.startswith(f"# {number}. {title}\n")
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences"))


def test_no_document_holds_a_dash_or_space_that_a_keyboard_has_not() -> None:
    for path in DOCUMENTS:
        assert not re.search("[\u2013\u2014\u00a0]", path.read_text(encoding="utf-8")), path


def test_how_many_spends_with_event_ids_go_in_a_call_is_said_as_the_client_does_it() -> None:
    said = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for judged in (False, True):
        assert f"cut to {most_spends(1, with_ids=True, judged=judged)} a call" in said
