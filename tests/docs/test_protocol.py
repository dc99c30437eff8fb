"""docs/protocol.md: its worked example is run word for word, and its tables name what is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from engine.client import batches
from engine.domain.causes import CAUSES
from engine.domain.ids import MAX_BRAND_ID, ORDINALS, SHARDS
from engine.domain.money import MAX_AMOUNT_MICROS, MAX_TOTAL_MICROS
from engine.live import scripts
from engine.live.export import export
from engine.live.keys import shard_keys
from engine.live.replies import _OUTCOMES
from tests.docs import transcript
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.proxy import Proxy

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
(SWEEP,) = re.findall(r"local SWEEP = (\d+)", (scripts.lua_folder() / "lib" / "holds.lua").read_text(encoding="utf-8"))
MORNING_MS = 1_795_420_800_000
"""2026-11-23 08:00 UTC, when the example's brand is published."""


@pytest.mark.usefixtures("clock")
def test_the_worked_example_is_what_redis_answers(hot_redis: redis.Redis, plant: Plant) -> None:
    hot_redis.flushdb()
    plant.at(MORNING_MS)
    planted = Plant(plant.live, hot_redis)
    planted.brand(daily="10", monthly="200")
    planted.campaign(CAMPAIGN + 1)
    examples = transcript.blocks(TEXT)
    assert len(examples) >= 5
    for example in examples:
        assert example == transcript.answered(hot_redis, example)


def test_level_1_as_a_program_counts_each_spend_once_though_the_wire_is_cut(
    hot_redis: redis.Redis, hot_url: str, plant: Plant, tmp_path: Path
) -> None:
    plant.brand(daily="10", monthly="200")
    export(tmp_path)
    (program,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)
    module: dict[str, Any] = {}
    exec(compile(program, DOCUMENT, "exec"), module)
    url = urlsplit(hot_url)
    proxy = Proxy(url.port or 0)
    client = module["Client"]("127.0.0.1", proxy.port, url.password, tmp_path, 10)
    assert client.spend("record_spends", CAMPAIGN, 2_500_000, "win-1") == ("counted", [])
    assert client.spend("record_spends", CAMPAIGN, 2_500_000, "win-1") == ("duplicate", [])
    assert client.spend("try_spends", CAMPAIGN, 9_000_000) == ("refused", ["daily_budget"])
    assert client.spend("try_spends", CAMPAIGN + 9, 1) == ("unknown_campaign", [])
    with pytest.raises(ValueError, match="event_id"):
        client.spend("record_spends", CAMPAIGN, 1, "win 7")
    for side, bytes_ in (("request", range(1, 600, 31)), ("reply", range(1, 60, 5))):
        for after in bytes_:
            proxy.cut(side, after)
            assert client.spend("record_spends", CAMPAIGN, 100) == ("counted", [])
    assert proxy.cuts >= 25
    counted = len(range(1, 600, 31)) + len(range(1, 60, 5))
    (day,) = [int(v) for f, v in hot_redis.hgetall(shard_keys(17).campaign(CAMPAIGN)).items() if f.startswith(b"d:")]
    assert day == 2_500_000 + 100 * counted
    assert client.spend("record_spends", CAMPAIGN, 7_500_000) == ("counted", ["daily_budget"])
    hot_redis.hdel(shard_keys(17).shard, "mark")
    client.deadline_s = 0.05
    with pytest.raises(TimeoutError, match="request id mine"):
        client.spend("try_spends", CAMPAIGN, 1, request_id="mine")
    proxy.close()


def test_the_example_s_resp_is_the_same_call() -> None:
    resp = re.search(r"^```resp\n(.*?)^```$", TEXT, re.M | re.S)
    call = re.search(r"^redis> (EVALSHA \$record_spends .*)$", TEXT, re.M)
    assert resp and call
    count, *lines = resp[1].replace("\\r\\n", "").splitlines()
    lengths, words = lines[0::2], lines[1::2]
    assert count == f"*{len(words)}"
    assert [int(line[1:]) for line in lengths] == [40 if w == "$record_spends" else len(w) for w in words]
    assert " ".join(words) == call[1].replace('"', "")


def test_every_script_has_its_section_or_its_row() -> None:
    for name in scripts.NAMES:
        assert f"`{name}`" in TEXT, name


def test_every_key_of_a_shard_stands_in_the_table() -> None:
    keys = shard_keys(17)
    named = (*keys.fixed, keys.changes, keys.brand(BRAND), *keys.holds(BRAND), keys.campaign(CAMPAIGN))
    for key in named:
        assert f"`{key}`" in TEXT, key


def test_the_numbers_are_those_of_the_code() -> None:
    for said in (
        f"campaign_id = brand_id * {ORDINALS} + ordinal",
        f"shard = brand_id % {SHARDS}",
        f"{MAX_BRAND_ID}",
        f"{MAX_AMOUNT_MICROS}",
        f"{MAX_TOTAL_MICROS}",
        f"{batches.MAX_SPENDS_A_CALL} spends",
        f"up to {SWEEP} in a call",
        f"| {batches.MAX_CAMPAIGNS_A_CALL} campaigns |",
        f"| {batches.MAX_BRANDS_A_CALL} brands |",
        f"min({batches.MAX_SPENDS_WITH_IDS}, {batches.MAX_WORK_A_CALL} - {batches.IDS_A_CAMPAIGN} x campaigns)",
        f"layout `{scripts.LAYOUT}`",
    ):
        assert said in TEXT, said
    assert "40 % of that, rounded down" in TEXT
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \|$", TEXT, re.M)
    assert len(rows) >= 4
    for campaigns, fast, slow in rows:
        most = [batches.most_spends(int(campaigns), with_ids=True, judged=judged) for judged in (False, True)]
        assert [int(fast), int(slow)] == most
        assert most[1] == most[0] * 40 // 100
    listed = re.findall(r"^\| (\d+) \| `([a-z_]+)` \|$", TEXT, re.MULTILINE)
    assert listed == [(str(row.bit), row.name) for row in CAUSES]
    for code, outcome in _OUTCOMES.items():
        assert f"| `{code}` | `{outcome}` |" in TEXT


def test_every_field_that_a_script_writes_to_the_shard_s_hash_is_described() -> None:
    text = "".join(path.read_text() for path in scripts.lua_folder().rglob("*.lua"))
    for field in ("mark", "layout", "now", "n", "owner", "lost", "rebuilding", "adjusted"):
        assert f"'{field}'" in text
        assert f"| `{field}` |" in TEXT
    for name in ("req", "ev"):
        assert re.search(rf"'{name}'", text)
        assert f"`{name}_active`, `{name}_until`, `{name}_window`" in TEXT
