"""Whether the money adds up, to the micro, and what is wrong when something is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from engine.wiring import System
from tests.cli.conftest import Be, Done
from tests.cli.test_job_commands import tamper

IDS = ("V1", "V2", "V3", "V4", "V5", "V7", "V8", "V9", "V10", "V11", "V12", "V13", "V15", "V16")
"""V6 is not to be seen from outside: the tests of the scripts hold it."""


def results(done: Done) -> dict[str, tuple[str, int]]:
    return {check["id"]: (check["result"], check["difference_micros"]) for check in done.document["checks"]}


def sql(system: System, statement: str) -> None:
    with system.db.begin() as conn:
        conn.execute(text(statement))


def test_a_whole_system_passes_with_a_backlog_and_without(be: Be, spent: System) -> None:
    done = be("verify", "--json")
    assert (done.status, done.document["result"]) == (0, "PASS")
    assert results(done) == dict.fromkeys(IDS, ("PASS", 0))
    be("persist")
    lines = be("verify").out.splitlines()
    assert [line.split()[:2] for line in lines] == [["PASS", name] for name in IDS]


def test_a_counter_that_differs_fails_v1_by_exactly_that(be: Be, spent: System) -> None:
    tamper(spent, -3)
    done = be("verify", "--json")
    assert done.status == 1
    assert results(done)["V1"] == ("FAIL", 3)
    assert "brand 1" in str(done.document["checks"][0]["findings"])
    assert "FAIL V1" in be("verify").out


def test_a_row_that_vanished_fails_v1_and_v2_by_its_amount(be: Be, spent: System) -> None:
    sql(spent, "DELETE FROM spend_log WHERE campaign_id = 65538")
    found = results(be("verify", "--json"))
    assert (found["V1"], found["V2"]) == (("FAIL", 2_000_000), ("FAIL", 2_000_000))


def test_a_verify_of_what_is_new_goes_on_from_the_last_one_and_the_full_one_is_the_default(
    be: Be, spent: System
) -> None:
    assert be("verify").status == 0
    recent = be("verify", "--recent")
    assert (recent.status, "(rows since the last pass)" in recent.out) == (0, True)
    sql(spent, "DELETE FROM spend_log WHERE campaign_id = 65538")
    assert be("verify", "--recent").status == 0, "the row is older than what this one reads"
    assert results(be("verify", "--json"))["V2"] == ("FAIL", 2_000_000)
    assert results(be("verify", "--recent", "--json"))["V2"] == ("FAIL", 2_000_000), "nothing is confirmed any more"


def test_a_daily_sum_that_differs_from_its_rows_fails_v2(be: Be, spent: System) -> None:
    sql(spent, "UPDATE campaign_day SET spend_micros = spend_micros + 11 WHERE campaign_id = 65537")
    found = results(be("verify", "--json"))
    assert (found["V1"], found["V2"]) == (("PASS", 0), ("FAIL", 11))


def test_an_entry_written_down_twice_fails_v4_by_its_amount(be: Be, spent: System) -> None:
    sql(spent, "INSERT INTO spend_log SELECT * FROM spend_log WHERE campaign_id = 65538")
    assert results(be("verify", "--json"))["V4"] == ("FAIL", 4_000_000)


def test_an_event_counted_twice_fails_v4(be: Be, spent: System) -> None:
    columns = "recorded_at, day, brand_id, campaign_id, amount_micros, event_id, occurred_at, kind, shard, generation"
    sql(
        spent,
        f"INSERT INTO spend_log ({columns}, request_id, n, position)"
        f" SELECT {columns}, 'another', n + 1000, position FROM spend_log WHERE event_id = 'win-1'",
    )
    assert results(be("verify", "--json"))["V4"] == ("FAIL", 1_500_000)


def test_a_journal_entry_that_is_gone_fails_v9(be: Be, spent: System) -> None:
    entries = spent.journal.read(1, "-", 100)
    spent.hot_redis.xdel("budget:{1}:journal", entries[-1][0])
    found = results(be("verify", "--json"))
    assert found["V9"][0] == "FAIL"
    assert found["V1"] == ("FAIL", 250_000)


def test_a_shard_that_is_not_in_use_cannot_pass(be: Be, spent: System) -> None:
    spent.live.unmark(spent.instance, 1, "test")
    done = be("verify", "--json")
    assert done.status == 1
    assert "shard 1 is not ready" in str(done.document["checks"])


def findings(done: Done) -> dict[str, Any]:
    return {finding["name"]: finding for finding in done.document}


def test_doctor_finds_nothing_wrong_but_the_missing_processes(be: Be, ready: System) -> None:
    done = be("doctor", "--json")
    found = findings(done)
    assert {name for name, finding in found.items() if finding["state"] == "fail"} == {
        "scheduler",
        "schedule",
        "worker persist",
        "worker jobs",
        "worker verify",
    }
    assert done.status == 1
    assert ready.instance in found["instance"]["detail"]
    assert all(finding["todo"] for finding in found.values() if finding["state"] == "fail")


def test_doctor_sees_the_schedule_of_a_running_scheduler(be: Be, ready: System) -> None:
    from engine.doorbell import HealingScheduler

    HealingScheduler("jobs", connection=ready.jobs_redis).enqueue_jobs()
    found = findings(be("doctor", "--json"))
    assert (found["scheduler"]["state"], found["schedule"]["state"]) == ("ok", "ok")


def test_doctor_names_shards_without_a_mark_and_migrations_that_wait(
    be: Be, system: System, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings(be("doctor", "--json"))["shards"]["state"] == "fail"
    monkeypatch.setenv("DATABASE_URL", empty_url)
    found = findings(be("doctor", "--json"))
    assert (found["PostgreSQL"]["state"], found["migrations"]["state"]) == ("ok", "fail")
    assert found["migrations"]["todo"] == "run `budget-engine migrate`"


def test_doctor_tells_apart_two_systems_that_were_mixed_up(be: Be, ready: System) -> None:
    sql(ready, "UPDATE instance SET uuid = gen_random_uuid()")
    assert findings(be("doctor", "--json"))["instance"]["state"] == "fail"


def test_doctor_warns_of_one_redis_for_both(
    be: Be, environment: dict[str, str], ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_REDIS_URL", environment["REDIS_URL"])
    found = findings(be("doctor", "--json"))["separate Redis"]
    assert (found["state"], "can start and delete jobs" in found["detail"]) == ("warn", True)


def test_doctor_sees_eviction_and_a_missing_append_only_file(be: Be, ready: System) -> None:
    before = ready.hot_redis.config_get("maxmemory-policy")["maxmemory-policy"]
    appendonly = ready.hot_redis.config_get("appendonly")["appendonly"]
    ready.hot_redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert findings(be("doctor", "--json"))["eviction"]["state"] == "fail"
    finally:
        ready.hot_redis.config_set("maxmemory-policy", str(before))
    state = findings(be("doctor", "--json"))["append-only file"]["state"]
    assert state == ("ok" if appendonly == "yes" else "warn")


def test_doctor_goes_on_when_every_server_is_away_and_shows_no_password(
    be: Be, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:s3cret@127.0.0.1:1/0")
    monkeypatch.setenv("JOBS_REDIS_URL", "redis://:s3cret@127.0.0.1:1/1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:s3cret@127.0.0.1:1/x")
    done = be("doctor", "--json")
    found = findings(done)
    assert done.status == 1
    assert [found[name]["state"] for name in ("hot Redis", "jobs Redis", "PostgreSQL")] == ["fail"] * 3
    assert "127.0.0.1:1" in found["PostgreSQL"]["detail"]
    assert "s3cret" not in done.out + done.err + be("doctor").out


@pytest.fixture
def login(ready: System, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Makes REDIS_URL that of a login that may do less, as managed servers give it."""

    def as_login(*rules: str) -> None:
        ready.hot_redis.execute_command("ACL", "SETUSER", "managed", "on", ">pw", "~*", "&*", "+@all", *rules)  # type: ignore[no-untyped-call]
        url = urlsplit(environment["REDIS_URL"])
        monkeypatch.setenv("REDIS_URL", f"redis://managed:pw@{url.hostname}:{url.port}{url.path}")

    yield as_login
    ready.hot_redis.execute_command("ACL", "DELUSER", "managed")  # type: ignore[no-untyped-call]


def test_doctor_cannot_tell_what_a_managed_redis_keeps_to_itself_and_does_not_fail_for_it(
    be: Be, login: Callable[..., None]
) -> None:
    login("-config")
    found = findings(be("doctor", "--json"))
    assert found["appendfsync"]["state"] == "unknown"
    assert "cannot tell" in found["appendfsync"]["detail"]
    assert {found[name]["state"] for name in ("hot Redis", "eviction", "append-only file", "shards", "clock")} == {"ok"}


def test_doctor_looks_at_the_shards_also_where_not_even_info_is_permitted(be: Be, login: Callable[..., None]) -> None:
    login("-config", "-info")
    found = findings(be("doctor", "--json"))
    unknown = ("hot Redis", "separate Redis", "eviction", "append-only file", "memory", "journal memory")
    assert [found[name]["state"] for name in unknown] == ["unknown"] * len(unknown)
    assert (found["shards"]["state"], found["clock"]["state"]) == ("ok", "ok")


def test_doctor_sees_how_often_redis_writes_to_disk(be: Be, ready: System) -> None:
    before = ready.hot_redis.config_get("appendfsync")["appendfsync"]
    try:
        ready.hot_redis.config_set("appendfsync", "no")
        assert findings(be("doctor", "--json"))["appendfsync"]["state"] == "warn"
    finally:
        ready.hot_redis.config_set("appendfsync", str(before))
    assert findings(be("doctor", "--json"))["appendfsync"]["state"] == "ok"


def test_doctor_sees_whether_a_commit_is_on_disk_when_postgresql_says_so(
    be: Be, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings(be("doctor", "--json"))["synchronous_commit"]["state"] == "ok"
    from engine.ledger.database import make_engine
    from engine.views.doctor.examine import _durability

    db = make_engine(environment["DATABASE_URL"])
    with db.connect() as conn:
        conn.execute(text("SET synchronous_commit = off"))
        conn.commit()
    assert [finding.state for finding in _durability(db)] == ["fail"]
    db.dispose()


def test_doctor_says_what_the_journal_holds_and_how_long_postgresql_may_be_away(be: Be, spent: System) -> None:
    quiet = findings(be("doctor", "--json"))["journal memory"]
    assert "entries" in quiet["detail"]
    used = int(spent.hot_redis.info("memory")["used_memory"])
    for _ in range(500):
        spent.client.record_spend(65537, "0.01")
    spent.persister.drain_all()
    try:
        spent.hot_redis.config_set("maxmemory", 10 * used + 2**30)
        roomy = findings(be("doctor", "--json"))["journal memory"]
        spent.hot_redis.config_set("maxmemory", used + 2**20)
        tight = findings(be("doctor", "--json"))["journal memory"]
    finally:
        spent.hot_redis.config_set("maxmemory", 0)
    assert (roomy["state"], "hours fits" in roomy["detail"]) == ("ok", True)
    assert (tight["state"], bool(tight["todo"])) == ("warn", True)
