"""A job run by hand does what the bell would have made it do, once, and leaves its row in job_run."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from engine.wiring import System
from tests.cli.conftest import Be


@pytest.fixture
def acme(be: Be, ready: System) -> System:
    """A brand of 100 a day with one campaign, 65537."""
    be("brand", "create", "Acme", "--daily", "100")
    be("campaign", "create", "1", "Spring")
    return ready


def test_migrate_makes_the_tables_and_is_harmless_again(
    be: Be, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_url)
    before = be("brand", "list")
    assert before.status == 1
    assert "run `budget-engine migrate`" in before.complaint
    first = be("migrate", "--json").document
    assert first["before"] is None
    assert be("migrate", "--json").document == {"before": first["after"], "after": first["after"]}
    assert "nothing to do" in be("migrate").out


def test_the_first_rebuild_makes_every_shard_ready(be: Be, system: System) -> None:
    assert be("rebuild", "--json").document["rebuilt"] == list(range(64))
    assert be("rebuild", "--json").document["rebuilt"] == []
    assert all(state.ready for state in system.live.read_shards())


def test_persist_carries_every_spend_into_the_log_once(be: Be, acme: System) -> None:
    be("spend", "65537", "1.25")
    be("spend", "65537", "2")
    first = be("persist", "--json").document
    assert (first["outcome"], first["rows"], first["amount"]) == ("done", 2, "3.250000")
    assert be("persist", "--json").document["rows"] == 0
    with acme.db.connect() as conn:
        assert conn.execute(text("SELECT sum(amount_micros)::bigint FROM spend_log")).scalar_one() == 3_250_000
        runs = conn.execute(text("SELECT job, outcome FROM job_run ORDER BY id")).all()
    assert [tuple(run) for run in runs] == [("persist", "done")] * 2


def test_check_writes_what_redis_decided(be: Be, acme: System) -> None:
    be("spend", "65537", "100")
    assert be("check", "--json").document["changed"] == 1
    assert be("check", "--json").document["changed"] == 0
    assert acme.catalog.campaign(65_537).reasons == ("daily_budget",)


def test_closing_again_changes_nothing(be: Be, acme: System) -> None:
    be("spend", "65537", "1")
    be("persist")
    for _ in range(2):
        done = be("close-periods", "--json")
        assert (done.status, done.document["drift"]) == (0, [])
    assert be("brand", "show", "1", "--json").document["daily_spend"] == "1.000000"


def test_a_rebuild_of_everything_keeps_the_money(be: Be, acme: System) -> None:
    be("spend", "65537", "1.5", "--event-id", "win")
    assert be("rebuild", "--all").status == 0
    assert be("brand", "show", "1", "--json").document["daily_spend"] == "1.500000"
    assert be("spend", "65537", "1.5", "--event-id", "win", "--json").document["outcome"] == "duplicate"


def test_persist_says_when_a_shard_is_not_in_use(be: Be, acme: System) -> None:
    acme.live.unmark(acme.instance, 1, "test")
    done = be("persist", "--json")
    assert (done.status, done.document["not_ready"]) == (1, [1])
    assert "rebuild" in done.complaint


def test_reconcile_repairs_a_counter_that_was_tampered_with_and_says_so(be: Be, acme: System) -> None:
    be("spend", "65537", "1")
    assert be("reconcile").status == 0
    tamper(acme, 7)
    dry = be("reconcile", "--dry-run", "--json")
    assert (dry.status, dry.document["difference_micros"], dry.document["repairs"][0]["added_micros"]) == (1, 7, None)
    told = be("reconcile")
    assert told.status == 0
    assert "Redis counts 1000007 micros, logged are 1000000 (+7)" in told.out
    assert "added -7, the counter is 1000000 now" in told.out
    assert be("reconcile", "--json").document["repairs"] == []
    assert be("verify").status == 0


def test_reconcile_lists_events_that_came_again_after_their_window(be: Be, acme: System) -> None:
    for _ in range(2):
        be("spend", "65537", "1.5", "--event-id", "win")
        acme.hot_redis.hdel("budget:{1}:events:0", "1:win")
        acme.hot_redis.hdel("budget:{1}:events:1", "1:win")
    be("persist")
    with acme.db.connect() as conn:
        day = conn.execute(text("SELECT max(day) FROM spend_log")).scalar_one()
    (line,) = be("reconcile", "--duplicates", str(day), "--json").document
    assert (line["brand_id"], line["event_id"], line["times"], line["again_micros"]) == (1, "win", 2, 1_500_000)
    assert be("reconcile", "--duplicates", "2020-01-01", "--json").document == []


def test_quarantine_lists_retries_and_drops_with_name_and_reason(be: Be, acme: System) -> None:
    for amount in ("1", "3", "4"):
        be("spend", "65537", amount)
    with acme.db.begin() as conn:
        conn.execute(text("ALTER TABLE spend_log ADD CONSTRAINT below_three CHECK (amount_micros < 3000000)"))
    be("persist")
    first, second = be("quarantine", "list", "--json").document
    assert (first["amount"], second["amount"], first["brands"]) == ("3.000000", "4.000000", {"1": "3.000000"})
    failed = be("quarantine", "retry", str(first["id"]))
    assert failed.status == 1
    assert "below_three" in failed.complaint
    assert be("quarantine", "drop", str(first["id"])).status == 2
    assert be("quarantine", "drop", str(first["id"]), "--reason", "a test row").status == 0
    with acme.db.begin() as conn:
        conn.execute(text("ALTER TABLE spend_log DROP CONSTRAINT below_three"))
    assert be("quarantine", "retry", "--all", "--json").document == {
        "persisted": [{"id": second["id"], "rows": 1}],
        "waiting": [],
    }
    assert be("quarantine", "list", "--json").document == []
    states = {row["state"]: row for row in be("quarantine", "list", "--all", "--json").document}
    assert states["dropped"]["reason"].startswith("dropped: a test row")
    assert states["dropped"]["actor"].startswith("cli:")
    assert be("quarantine", "retry", str(first["id"])).status == 1
    assert be("verify").status == 0


def tamper(system: System, micros: int) -> None:
    """Adds to the brand's counters of today and this month behind the scripts' back."""
    key = "budget:{1}:brand:1"
    for raw in system.hot_redis.hkeys(key):
        if raw[:2] in (b"d:", b"m:"):
            system.hot_redis.hincrby(key, raw, micros)
