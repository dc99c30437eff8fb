"""The Node client on real servers, by its own tests; and its package, as npm makes it."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
import redis

from engine.domain.ids import check_campaign_id, check_text_id
from engine.domain.money import check_amount_micros, from_cpm, parse_amount
from engine.errors import InvalidInput
from engine.live.acl import BIDDER
from engine.live.scripts import script
from tests.clients.run import passes
from tests.domain.test_bad_input import BAD_AMOUNTS
from tools.node_client import node, npm

CALLED = set(BIDDER) - {"draw_spends", "lease"}
"""The scripts that the client calls."""
BAD_IDS = ["", " ", "e" * 65, "a b", "a\n", "é", "a;b", "a,b", "a{b", "\x00", 5, True, ["a"]]
BAD_CAMPAIGNS = ["5308417", 0, -1, 65536, 65535, 131072, 5308417.5, 2**53, 2**60, True, [5308417]]
BAD_MICROS = ["1", 0, -1, 1.5, True, 10**12 + 1, 2**60, [1]]
PRICES = [
    "1.234567",
    "1.2345",
    "0.0005",
    "0.0015",
    "0.002500",
    "999999999",
    "0." + "1" * 64,
    "1e3",
    "",
    "-1",
    "0.0004",
    "0",
]


def bad_input() -> list[dict[str, Any]]:
    """What Python refuses, with its errors; and prices for a thousand, with what they are."""
    calls = {
        "amount": (parse_amount, [*BAD_AMOUNTS, 1, 1.5, True, ["1"]]),
        "amount_micros": (check_amount_micros, BAD_MICROS),
        "event_id": (lambda value: check_text_id(value, "event_id"), BAD_IDS),
        "request_id": (lambda value: check_text_id(value, "request_id"), BAD_IDS),
        "campaign_id": (check_campaign_id, BAD_CAMPAIGNS),
        "cpm": (from_cpm, PRICES),
    }
    cases = []
    for call, (check, values) in calls.items():
        for value in values:
            error, micros = None, None
            try:
                micros = check(value)
            except InvalidInput as refused:
                error = type(refused).__name__
            assert error or call == "cpm", f"{call} {value!r} is not bad"
            cases.append({"call": call, "value": value, "error": error, "micros": micros})
    return cases


def test_the_node_client_counts_each_spend_once_and_answers_as_the_golden_vectors(
    node_folder: Path, hot_redis: redis.Redis, hot_url: str
) -> None:
    assert passes(node_folder, "golden", "spends", "holds", BUDGET_TEST_REDIS_URL=hot_url) >= 75


@pytest.mark.long
def test_a_wire_cut_at_every_byte_of_a_call_or_its_reply_counts_each_spend_once(
    node_folder: Path, hot_redis: redis.Redis, hot_url: str
) -> None:
    assert passes(node_folder, "faults", BUDGET_TEST_REDIS_URL=hot_url) >= 12


def test_a_watch_in_node_agrees_with_the_scripts(node_folder: Path, hot_redis: redis.Redis, hot_url: str) -> None:
    assert passes(node_folder, "watch", BUDGET_TEST_REDIS_URL=hot_url) >= 10


def test_what_python_refuses_the_node_client_refuses_before_it_sends_anything(
    node_folder: Path, tmp_path: Path
) -> None:
    cases = tmp_path / "bad.json"
    cases.write_text(json.dumps(bad_input()))
    assert passes(node_folder, "input", BUDGET_TEST_BAD_INPUT=str(cases)) >= 100


@pytest.fixture(scope="module")
def package(node_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """{name: content} of the files that npm publishes."""
    folder = tmp_path_factory.mktemp("package")
    npm("pack", "--ignore-scripts", "--pack-destination", str(folder), folder=node_folder)
    (made,) = folder.glob("*.tgz")
    with tarfile.open(made) as held:
        found = {}
        for member in held.getmembers():
            file = held.extractfile(member)
            assert file is not None
            found[member.name.removeprefix("package/")] = file.read()
        return found


def test_the_package_s_scripts_are_the_repository_s_to_the_byte(package: dict[str, bytes]) -> None:
    assert {f"scripts/{name}.lua" for name in CALLED} == {name for name in package if name.endswith(".lua")}
    manifest = json.loads(package["scripts/manifest.json"])
    for name in CALLED:
        assert package[f"scripts/{name}.lua"].decode() == script(name).text, name
        assert manifest["scripts"][name]["sha1"] == script(name).sha1, name


def test_the_package_has_the_client_its_types_and_nothing_else(package: dict[str, bytes]) -> None:
    named = {name for name in package if not name.startswith(("dist/", "scripts/"))}
    assert named == {"package.json", "README.md", "LICENSE"}
    assert {"dist/index.js", "dist/index.d.ts"} <= set(package)
    assert all(name.endswith((".js", ".d.ts")) for name in package if name.startswith("dist/"))
    assert "scripts/golden.json" not in package
    meta = json.loads(package["package.json"])
    assert list(meta["dependencies"]) == ["ioredis"], "a bidder gets the Redis library and nothing else"
    assert sum(map(len, package.values())) < 1_000_000


def test_a_bidder_installs_the_package_and_spends(
    node_folder: Path, tmp_path: Path, package: dict[str, bytes], hot_redis: redis.Redis, hot_url: str
) -> None:
    for name, content in package.items():
        place = tmp_path / "node_modules" / "budget-engine-client" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    # ioredis from where it is installed already: npm needs no network for this.
    for folder in (node_folder / "node_modules").iterdir():
        if folder.name not in (".bin", "typescript", "@biomejs", "@types") and folder.is_dir():
            (tmp_path / "node_modules" / folder.name).symlink_to(folder)
    (tmp_path / "bid.mjs").write_text(
        'import { BudgetClient } from "budget-engine-client";\n'
        "const bidder = BudgetClient.fromEnv({ timeoutMs: 5000 });\n"
        'const result = await bidder.trySpend({ campaignId: 5308417, amount: "0.25" });\n'
        "console.log(result.outcome);\n"
        "bidder.close();\n"
    )
    done = subprocess.run(
        [node(), "bid.mjs"], cwd=tmp_path, env={"REDIS_URL": hot_url}, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("not_ready\n", ""), "an empty server has no mark"
