"""How every command behaves: --json everywhere, one line for an error, the right exit status, quiet when nobody listens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest
from sqlalchemy import text

from engine.cli import cli
from engine.wiring import System
from tests.cli.conftest import Be
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
ENGINE = (sys.executable, "-m", "engine")


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command there is."""
    out: list[tuple[str, ...]] = []
    with click.Context(group) as ctx:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            assert command is not None
            out += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return out


def shell(*words: str, environment: dict[str, str], **how: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*ENGINE, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **how,
    )


def test_every_command_of_the_contract_is_there() -> None:
    words = {" ".join(command) for command in commands(cli)}
    contract = (
        "migrate,doctor,web,worker,scheduler,env,spend,replay,check,close-periods,persist,reconcile,rebuild,verify"
    )
    brand = ",".join(f"brand {verb}" for verb in ("create", "list", "show", "update", "archive", "unarchive"))
    campaign = ",".join(
        f"campaign {verb}" for verb in ("create", "list", "show", "update", "pause", "resume", "archive", "unarchive")
    )
    assert set(f"{contract},{brand},{campaign}".split(",")) <= words


def test_every_command_takes_json_and_help(be: Be) -> None:
    for words in commands(cli):
        helped = be(*words, "--help")
        assert helped.status == 0, words
        assert "--json" in helped.out, words


def test_json_may_stand_before_or_after_the_command(be: Be, ready: System) -> None:
    assert be("--json", "brand", "list").document == []
    assert be("brand", "--json", "list").document == []
    assert be("brand", "list", "--json").document == []


@pytest.mark.parametrize(
    "words", [("bogus",), ("brand", "bogus"), ("spend",), ("spend", "1", "2", "3"), ("brand", "list", "--bogus")]
)
def test_wrong_usage_is_status_2_and_one_line_that_points_to_help(be: Be, words: tuple[str, ...]) -> None:
    done = be(*words)
    assert (done.status, done.out) == (2, "")
    assert "--help" in done.complaint


def test_a_server_that_is_away_is_one_line_that_says_which(be: Be, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:s3cret@127.0.0.1:1/x")
    for words in (("brand", "list"), ("persist",), ("verify",), ("migrate",), ("campaign", "show", "ext:x")):
        done = be(*words)
        assert (done.status, done.out) == (1, ""), words
        assert "PostgreSQL cannot be reached at 127.0.0.1:1/x" in done.complaint
        assert "s3cret" not in done.err
    monkeypatch.setenv("REDIS_URL", "redis://:s3cret@127.0.0.1:1/0")
    done = be("spend", "65537", "1")
    assert (done.status, done.out) == (1, "")
    assert "127.0.0.1:1" in done.complaint
    assert "s3cret" not in done.err


def test_a_change_made_while_redis_is_away_is_kept_and_says_so(
    be: Be, ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    done = be("brand", "create", "Acme", "--json")
    assert (done.status, done.document["name"]) == (0, "Acme")
    assert "kept" in done.complaint
    monkeypatch.undo()
    assert [brand.name for brand in ready.catalog.brands()] == ["Acme"]


def test_no_servers_at_all_is_one_line_that_says_how_to_start_them(tmp_path: Path) -> None:
    for words in (("brand", "list"), ("spend", "65537", "1"), ("env",), ("doctor",), ("rebuild",)):
        done = shell(*words, environment={"BUDGET_DATA_DIR": str(tmp_path)})
        assert (done.returncode, done.stdout) == (1, ""), words
        assert len(done.stderr.splitlines()) == 1
        assert "budget-engine up" in done.stderr


def test_a_wrong_setting_is_one_line_with_its_name(be: Be, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGET_WEB_PORT", "http")
    done = be("brand", "list")
    assert done.status == 1
    assert "BUDGET_WEB_PORT 'http'" in done.complaint


def test_what_a_shell_evaluates_of_env_reaches_the_programs_that_it_starts(
    be: Be, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    password = """it's $HOME "and" `more` \\ # ;"""
    monkeypatch.setenv("BUDGET_ADMIN_PASSWORD", password)
    lines = be("env").out
    child = 'import os; print(os.environ["DATABASE_URL"], os.environ["BUDGET_ADMIN_PASSWORD"])'
    done = subprocess.run(
        ["sh", "-c", 'eval "$1"; exec "$2" -c "$3"', "sh", lines, sys.executable, child],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stdout == f"{environment['DATABASE_URL']} {password}\n"
    assert all(line.startswith("export ") for line in lines.splitlines())
    assert be("env", "--json").document["REDIS_URL"] == environment["REDIS_URL"]


def test_names_that_look_alike_are_told_by_migrate_and_doctor(be: Be, ready: System) -> None:
    assert be("migrate").err == ""
    finding = {"name": "names", "state": "ok", "detail": "no two brands, and no two campaigns of a brand, look alike"}
    assert finding | {"todo": None} in be("doctor", "--json").document
    with ready.db.begin() as conn:
        for name in ("Caf\u00e9", "Cafe\u0301"):
            conn.execute(text("INSERT INTO brand (name) VALUES (:name)"), {"name": name})
    alike = "brands 1 and 2 are both called 'Caf\u00e9' to the eye"
    todo = "rename with `brand update 2 --name NEW`"
    assert be("migrate").complaint == f"{alike}: {todo}"
    assert {"name": "names", "state": "warn", "detail": alike, "todo": todo} in be("doctor", "--json").document


def test_a_package_that_is_missing_is_one_line_that_says_what_to_install() -> None:
    # As in the bidder's environment, where only the wheel and redis are installed.
    hide = "import sys; sys.modules['click'] = None; sys.argv = ['budget-engine', 'doctor']; "
    done = subprocess.run(
        [sys.executable, "-c", f"{hide}from engine.__main__ import main; main()"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("budget-engine: the package click is not installed")
    assert "without --no-deps" in line
    hide = "import sys; sys.modules['sqlalchemy'] = None; sys.argv = ['budget-engine', 'migrate']; "
    done = subprocess.run(
        [sys.executable, "-c", f"{hide}from engine.__main__ import main; main()"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={
            **os.environ,
            **dict.fromkeys(("REDIS_URL", "JOBS_REDIS_URL"), "redis://x"),
            "DATABASE_URL": "postgres://x",
        },
    )
    assert done.returncode == 1
    assert done.stderr.startswith("budget-engine: the package sqlalchemy is not installed")


def test_an_unexpected_error_is_one_line_and_debug_shows_its_traceback(
    be: Be, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(self: object, **how: object) -> None:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr("engine.ledger.catalog.Catalog.brands", breaks)
    done = be("brand", "list")
    assert done.status == 1
    assert "unexpected RuntimeError: first line second line; set BUDGET_DEBUG=1" in done.complaint
    monkeypatch.setenv("BUDGET_DEBUG", "1")
    assert "Traceback" in be("brand", "list").err


def test_a_reader_that_leaves_early_is_no_error(environment: dict[str, str], ready: System) -> None:
    for number in range(30):
        ready.manage.create_brand(f"{'B' * 190} {number}", None, None, None, "test")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*ENGINE, "brand", "list", "--json"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert done.stderr == b""


def test_ctrl_c_is_quiet_and_status_130(be: Be, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: object, **how: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        # The signal may reach another thread of this process first; the main one has it a moment later.
        threading.Event().wait(PATIENCE_S)

    monkeypatch.setattr("engine.ledger.catalog.Catalog.brands", interrupted)
    # As a shell starts a command; one that was started in the background ignores Ctrl-C, and its tests would too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        done = be("brand", "list")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (done.status, done.out, done.err.strip()) == (130, "", "")


@pytest.mark.parametrize(
    ("command", "unneeded", "status"),
    [
        (["spend", "65537", "1"], {"sqlalchemy", "rq", "flask", "rich", "alembic"}, 1),
        (["brand", "list"], {"rq", "flask", "alembic", "structlog"}, 0),
    ],
    ids=["a spend nothing of PostgreSQL or the pages", "a list nothing of jobs, pages, logs or migrations"],
)
def test_a_command_waits_for_no_library_that_it_does_not_need(
    environment: dict[str, str], ready: System, command: list[str], unneeded: set[str], status: int
) -> None:
    code = (
        "import sys\nfrom engine.cli import cli\nfrom engine.cli.run import run\n"
        f"status = run(cli, {[*command, '--json']!r})\n"
        f"bad = {unneeded!r} & set(sys.modules)\n"
        "sys.exit(repr(bad) if bad else status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, "")
    said = json.loads(done.stdout)
    assert said == [] or said["outcome"] == "unknown_campaign"
