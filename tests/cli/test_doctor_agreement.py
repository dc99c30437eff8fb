"""Doctor fails, with both values and what to do, wherever Redis and PostgreSQL hold the same fact differently; verify does for money."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import pytest
from sqlalchemy import text

from engine.domain.periods import date_of, day_of, month_of
from engine.views.doctor.agreement import LOOKS
from engine.wiring import System
from tests.cli.conftest import Be
from tests.cli.test_doctor_and_verify import findings, sql

SHARD: Final = "budget:{1}:shard"
BRAND: Final = "budget:{1}:brand:1"


@pytest.fixture
def carried(be: Be, spent: System) -> System:
    """Brand 1 on shard 1, with spends on two campaigns and a hold, all of it in PostgreSQL."""
    spent.client.reserve(65537, "3", 600)
    be("persist")
    return spent


def regenerate(by: int) -> Callable[[System], None]:
    def change(system: System) -> None:
        mark = system.live.read_shard(1)
        system.hot_redis.hset(SHARD, "mark", f"{mark.instance}:{mark.generation + by}")

    return change


def close_today(system: System) -> None:
    sql(system, f"INSERT INTO shard_close (shard, period, starts_on) VALUES (1, 'day', '{today(system)}')")


def close_a_day_whose_counter_stands(system: System) -> None:
    day = day_of(system.live.now_ms()) - 1
    sql(system, f"INSERT INTO shard_close (shard, period, starts_on) VALUES (1, 'day', '{date_of(day)}')")
    system.hot_redis.hset(BRAND, f"d:{day}", 7)


def close_a_month_whose_counter_stands(system: System) -> None:
    sql(system, "INSERT INTO shard_close (shard, period, starts_on) VALUES (1, 'month', '2026-01-01')")
    system.hot_redis.hset(BRAND, "m:202601", 7)


def today(system: System) -> str:
    return str(date_of(day_of(system.live.now_ms())))


def other_entries(system: System) -> None:
    """An older Redis that went on to the very number that PostgreSQL has, with an entry of its own."""
    last = system.live.read_shard(1).last_entry_id
    system.hot_redis.xdel("budget:{1}:journal", last)


def hset(key: str, field: str, value: object) -> Callable[[System], None]:
    return lambda system: ignore(system.hot_redis.hset(key, field, str(value)))


def ignore(_: object) -> None: ...


APART: Final[dict[str, tuple[str, Callable[[System], None], str]]] = {
    "redis of an older generation": (
        "generation", regenerate(-1), r"shard 1 is of generation 0 in Redis, of 1 in PostgreSQL: an older Redis"),
    "redis of a newer generation": (
        "generation", regenerate(2), r"shard 1 is of generation 3 in Redis, of 1 in PostgreSQL: an older PostgreSQL"),
    "redis behind the cursor": (
        "journal number", hset(SHARD, "n", 2), r"shard 1 is at journal number 2 in Redis, PostgreSQL has \d+"),
    "redis at the cursor with other entries": (
        "journal number", other_entries, r"the journal of shard 1 ends with \d+-\d+ in Redis, PostgreSQL has read \d+-\d+"),
    "another layout": ("layout", hset(SHARD, "layout", 99), r"shard 1 has layout 99 in Redis, this program speaks \d+"),
    "a day closed that redis is in": (
        "closed periods", close_today, r"PostgreSQL has closed (\S+), in Redis it is \1 and spends still count"),
    "a day closed that redis still counts": (
        "closed periods", close_a_day_whose_counter_stands, r"brand 1 still counts 7 micros for day \S+ in Redis"),
    "a month closed that redis still counts": (
        "closed periods", close_a_month_whose_counter_stands, r"brand 1 still counts 7 micros for month 2026-01 in Redis"),
    "a change that the catalog does not have": (
        "catalog changes", hset(SHARD, "catalog", 99), r"Redis has seen change 99 of the catalog, PostgreSQL's last is \d+"),
    "a brand newer than the catalog": (
        "published versions", hset(BRAND, "v", 9), r"brand 1 has version 9 in Redis, the catalog is at version 1"),
    "a campaign newer than the catalog": (
        "published versions", hset("budget:{1}:campaign:65537", "v", 9),
        r"campaign 65537 has version 9 in Redis, the catalog is at version 1"),
    "a brand older than what was published": (
        "published versions", hset(BRAND, "v", 0), r"brand 1 has version 0 in Redis, PostgreSQL has published version 1"),
    "a campaign that redis does not have": (
        "published versions", lambda s: ignore(s.hot_redis.delete("budget:{1}:campaign:65537")),
        r"campaign 65537 has no version in Redis, PostgreSQL has published version 1"),
    "a campaign that the registry does not know": (
        "registry", hset("budget:{1}:registry", "1", 1),
        r"shard 1 knows campaigns up to number 1 of brand 1 in Redis, PostgreSQL has published number 2"),
    "a hold that redis forgot": (
        "holds", hset(BRAND, "held", 0), r"brand 1 has 0 micros on hold in Redis, 3000000 in PostgreSQL"),
    "a hold that postgresql does not have": (
        "holds", lambda s: sql(s, "DELETE FROM hold"), r"brand 1 has 3000000 micros on hold in Redis, 0 in PostgreSQL"),
}  # fmt: skip


def test_doctor_finds_the_two_stores_to_agree_with_a_backlog_and_without(be: Be, spent: System) -> None:
    spent.client.reserve(65537, "3", 600)
    for _ in range(2):
        found = findings(be("doctor", "--json"))
        assert {name: found[name]["state"] for name, _, _ in LOOKS} == {name: "ok" for name, _, _ in LOOKS}
        be("persist")


@pytest.mark.parametrize("what", APART)
def test_doctor_fails_with_both_values_where_the_stores_disagree(be: Be, carried: System, what: str) -> None:
    name, break_it, said = APART[what]
    break_it(carried)
    done = be("doctor", "--json")
    found = findings(done)[name]
    assert (done.status, found["state"]) == (1, "fail"), found
    assert re.search(said, found["detail"]), found["detail"]
    assert found["todo"]


def test_what_doctor_tells_to_do_brings_the_two_stores_together_again(be: Be, carried: System) -> None:
    names = {APART[what][0] for what in APART}
    for what in ("redis of an older generation", "a brand newer than the catalog", "a hold that redis forgot"):
        APART[what][1](carried)
        assert findings(be("doctor", "--json"))[APART[what][0]]["state"] == "fail"
        assert be("rebuild", "--shard", "1").status == 0
        be("persist")
        found = findings(be("doctor", "--json"))
        assert {name: found[name]["detail"] for name in names if found[name]["state"] != "ok"} == {}
    assert be("verify").status == 0


@pytest.mark.parametrize(("by", "older"), [(-1, "Redis"), (2, "PostgreSQL")])
def test_verify_fails_a_shard_of_a_generation_that_postgresql_does_not_know(
    be: Be, carried: System, by: int, older: str
) -> None:
    regenerate(by)(carried)
    (marks,) = [check for check in be("verify", "--json").document["checks"] if check["id"] == "V11"]
    assert marks["findings"] == [f"shard 1 is of generation {1 + by}, PostgreSQL has 1: an older {older} came back"]


def test_verify_fails_when_redis_lost_spends_that_postgresql_has(be: Be, carried: System) -> None:
    month = month_of(carried.live.now_ms())
    carried.hot_redis.hincrby(BRAND, f"m:{month}", -1)
    done = be("verify", "--json")
    assert done.status == 1
    assert "Redis counts" in str(done.document["checks"][0]["findings"])


def test_a_fact_that_is_apart_for_a_moment_only_is_no_finding(be: Be, carried: System) -> None:
    with carried.db.begin() as conn:
        conn.execute(text("UPDATE brand SET version = version + 1"))
    assert findings(be("doctor", "--json"))["published versions"]["state"] == "ok", "it is owed, and is published next"
