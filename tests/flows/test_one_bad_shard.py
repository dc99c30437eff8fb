"""What is wrong with one shard, brand or run stays with it; what is killed half-way is finished by the next run."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from engine import jobs
from engine.domain.ids import shard_of
from engine.domain.periods import DAY_MS, ms_of
from engine.errors import BudgetError
from engine.flows.catalog.check import check_all
from engine.flows.catalog.publish import NotAllPublished
from engine.flows.persist.persister import ShardsStuck
from engine.flows.rebuild.rebuilder import NotAllRebuilt, Rebuilt
from engine.flows.upkeep.close import NotAllClosed
from engine.ledger import runs
from engine.live.keys import keys_of_brand, shard_keys
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_persist import rows


def two_brands(system: System, daily: int | None = None) -> list[tuple[int, int]]:
    """Two brands on two shards, with a campaign each."""
    made = []
    for name in ("one", "two"):
        brand = system.manage.create_brand(name, daily, None, None, "test").row.id
        made.append((brand, system.manage.create_campaigns(brand, ["c"], "test")[0].id))
    born_on_the_moved_clock(system)
    return made


def instant(*parts: int) -> int:
    return ms_of(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type]


def test_a_shard_whose_cursor_postgresql_will_not_move_is_told_and_the_other_shards_are_persisted(
    ready: System,
) -> None:
    (bad, refused), (_, campaign) = two_brands(ready)
    for one in (refused, campaign):
        ready.client.record_spend(one, "1")
    with ready.db.begin() as conn:
        conn.execute(
            text(f"ALTER TABLE journal_cursor ADD CONSTRAINT broken CHECK (shard <> {shard_of(bad)}) NOT VALID")
        )
    with pytest.raises(ShardsStuck, match=f"shard {shard_of(bad)}: .*broken"):
        ready.persister.drain_all()
    assert rows(ready, "SELECT campaign_id FROM spend") == [(campaign,)]
    with ready.db.begin() as conn:
        conn.execute(text("ALTER TABLE journal_cursor DROP CONSTRAINT broken"))
    ready.persister.drain_all()
    assert rows(ready, "SELECT sum(amount_micros) FROM spend") == [(2_000_000,)]


def test_a_shard_whose_journal_has_become_another_type_stops_and_the_other_shards_are_persisted(ready: System) -> None:
    (bad, lost), (_, campaign) = two_brands(ready)
    keys = keys_of_brand(bad)
    ready.hot_redis.delete(keys.journal)
    ready.hot_redis.set(keys.journal, "x")
    ready.client.record_spend(campaign, "1")
    ready.persister.drain_all()
    assert rows(ready, "SELECT sum(amount_micros) FROM spend") == [(1_000_000,)]
    assert [s.shard for s in ready.live.read_shards() if not s.ready] == [shard_of(bad)]
    assert ready.client.record_spend(lost, "1").outcome == "not_ready"


def test_a_shard_of_another_instance_is_told_and_the_others_are_rebuilt(ready: System) -> None:
    ready.hot_redis.flushall()
    ready.hot_redis.hset(shard_keys(5).shard, "owner", "99999999-2222-4333-8444-555555555555")
    with pytest.raises(NotAllRebuilt, match=r"63 shards rebuilt, not shard 5: .*another instance") as failed:
        ready.rebuilder.rebuild_missing()
    assert len(failed.value.done) == 63
    assert [s.shard for s in ready.live.read_shards() if not s.ready] == [5]


def test_a_brand_that_cannot_be_published_keeps_no_other_from_it(ready: System) -> None:
    (bad, _), (good, _) = two_brands(ready)
    ready.hot_redis.hset(keys_of_brand(bad).shard, "mark", "someone-else:1")
    for brand in (bad, good):
        ready.catalog.update_brand(brand, "anna", daily_budget_micros=1)
    with pytest.raises(NotAllPublished, match=f"brand {bad}") as failed:
        ready.publisher.publish_pending()
    assert failed.value.done == {good}


def test_a_shard_that_cannot_be_closed_keeps_no_other_open(clock: System, monkeypatch: pytest.MonkeyPatch) -> None:
    at(clock, instant(2037, 11, 23, 23))
    (bad, one), (_, two) = two_brands(clock)
    for campaign in (one, two):
        clock.client.record_spend(campaign, "1")
    clock.persister.drain_all()
    at(clock, instant(2037, 11, 24))
    prune = type(clock.live).prune

    def broken(self: object, instance: str, shard: int, hash_keys: list[str], field: str) -> int:
        if shard == shard_of(bad):
            raise BudgetError("it does not let go")
        return prune(clock.live, instance, shard, hash_keys, field)

    monkeypatch.setattr(type(clock.live), "prune", broken)
    with pytest.raises(NotAllClosed, match=f"shard {shard_of(bad)}: BudgetError: it does not let go"):
        clock.closer.close_ended()
    assert rows(clock, "SELECT spend_micros FROM period_total WHERE spend_micros > 0") == [(1_000_000,)]
    monkeypatch.undo()
    assert clock.closer.close_ended().drift == []
    assert rows(clock, "SELECT sum(spend_micros) FROM period_total WHERE period = 'day'") == [(2_000_000,)]


class Killed(BaseException):
    pass


def test_a_close_killed_between_prune_and_commit_is_closed_by_the_next_with_the_same_totals(
    clock: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(clock, instant(2037, 11, 30, 23))
    two_brands(clock)
    for campaign in clock.catalog.campaigns():
        clock.client.record_spend(campaign.id, "3")
    clock.persister.drain_all()
    at(clock, instant(2037, 12, 1))
    prune = type(clock.live).prune

    def killed(*args: object) -> int:
        prune(*args)  # type: ignore[arg-type]
        raise Killed

    monkeypatch.setattr(type(clock.live), "prune", killed)
    closing = 0
    while True:
        try:
            clock.closer.close_ended()
        except Killed:
            closing += 1
            assert rows(clock, "SELECT count(*) FROM period_total WHERE spend_micros > 0") == [(0,)]
            if closing == 3:
                monkeypatch.undo()
        else:
            break
    assert rows(
        clock, "SELECT period, sum(spend_micros) FROM period_total WHERE spend_micros > 0 GROUP BY 1 ORDER BY 1"
    ) == [
        ("day", 6_000_000),
        ("month", 6_000_000),
    ]


@pytest.mark.parametrize(
    ("before", "days", "months"),
    [((2040, 2, 28, 12), 3, [204002]), ((2038, 2, 27, 12), 3, [203802]), ((2038, 12, 30, 12), 3, [203812])],
    ids=["over Feb 29", "over Feb 28", "over New Year"],
)
@pytest.mark.parametrize("times", [1, 3])
def test_periods_close_once_over_a_leap_day_and_new_year(
    clock: System, before: tuple[int, ...], days: int, months: list[int], times: int
) -> None:
    start = instant(*before)
    at(clock, start)
    with clock.db.begin() as conn:
        conn.execute(text("DELETE FROM shard_close"))
    (brand, campaign), _ = two_brands(clock, daily=1_000_000)
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE brand SET created_at = to_timestamp(:s)"), {"s": start / 1000})
    for day in range(days):
        at(clock, start + day * DAY_MS)
        assert clock.client.try_spend(campaign, "1").outcome == "accepted", (
            "a new day is a new budget, with every job dead"
        )
        assert clock.client.try_spend(campaign, "0.000001").outcome == "refused"
    clock.persister.drain_all()
    check_all(clock.publisher, clock.status)
    assert clock.catalog.campaign(campaign).reasons == ("daily_budget",)
    at(clock, start - start % DAY_MS + days * DAY_MS)
    for _ in range(times):
        clock.closer.close_ended()
        check_all(clock.publisher, clock.status)
    assert clock.catalog.campaign(campaign).status == "active"
    closed = rows(
        clock,
        "SELECT starts_on, spend_micros FROM period_total WHERE brand_id = :b AND period = 'day' AND spend_micros > 0 ORDER BY 1",
        b=brand,
    )
    assert [micros for _, micros in closed] == [1_000_000] * days
    assert rows(
        clock,
        "SELECT to_char(starts_on, 'YYYYMM')::int FROM period_total WHERE brand_id = :b AND period = 'month' ORDER BY 1",
        b=brand,
    ) == [(m,) for m in months]
    assert rows(clock, "SELECT at FROM status_change WHERE campaign_id = :c ORDER BY id DESC LIMIT 1", c=campaign) == [
        (datetime.fromtimestamp((start - start % DAY_MS) / 1000, UTC) + timedelta(days=days),)
    ]
    clock.hot_redis.delete(keys_of_brand(brand).brand(brand))
    clock.client.record_spend(campaign, "1")
    clock.rebuilder.rebuild_missing()
    answer = clock.client.record_spend(campaign, "0.25")
    assert str(answer.daily_spend) == "0.250000"


def test_a_rebuild_on_a_clock_that_went_back_a_little_still_ends(clock: System) -> None:
    now = instant(2037, 11, 23, 12)
    at(clock, now)
    (brand, campaign), _ = two_brands(clock)
    clock.client.record_spend(campaign, "1")
    clock.manage.update_brand(brand, "anna", daily_budget_micros=1)
    at(clock, now - 500)
    for _ in range(2):
        assert len(clock.rebuilder.rebuild([shard_of(brand)])) == 1
    assert clock.client.record_spend(campaign, "1").outcome == "recorded"


def test_a_change_published_while_a_rebuild_is_under_way_is_not_undone_by_it(ready: System) -> None:
    """A shard is rebuilt from the catalog as it stands when its turn comes, not as it stood when the first shard's came."""
    (first, _), (brand, campaign) = two_brands(ready, daily=1_000_000)

    def change(rebuilt: Rebuilt) -> None:
        if rebuilt.shard == shard_of(first):
            assert ready.manage.update_brand(brand, "anna", daily_budget_micros=7_000_000).published

    others = [shard for shard in range(10, 30) if shard not in (shard_of(first), shard_of(brand))]
    ready.rebuilder.rebuild([shard_of(first), *others, shard_of(brand)], change)
    assert str(ready.client.record_spend(campaign, "1").daily_remaining) == "6.000000"


def test_rebuilds_at_once_leave_every_shard_ready_and_exact(ready: System, environment: dict[str, str]) -> None:
    from engine.settings import Settings

    (_, one), (_, two) = two_brands(ready)
    for campaign in (one, two):
        ready.client.record_spend(campaign, "2")
    systems = [System(Settings.load(environment, None)) for _ in range(3)]
    errors: list[BaseException] = []

    def run(system: System) -> None:
        try:
            system.rebuilder.rebuild()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(system,)) for system in systems]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    ready.rebuilder.rebuild_missing()
    assert all(state.ready for state in ready.live.read_shards())
    for campaign in (one, two):
        assert str(ready.client.record_spend(campaign, "1").daily_spend) == "3.000000"
    ready.persister.drain_all()
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [(4, 6_000_000)]
    for system in systems:
        system.close()


def test_what_is_past_its_time_is_dropped_by_the_daily_close(ready: System) -> None:
    with ready.db.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO job_run (job, started_at, finished_at, outcome) SELECT 'persist', now() - interval '20 days', now(), 'done' FROM generate_series(1, 5)"
            )
        )
        conn.execute(text("INSERT INTO job_run (job, finished_at, outcome) VALUES ('persist', now(), 'done')"))
        for days in (0, 3):
            conn.execute(
                text("INSERT INTO mixed_request SELECT 1, 1, :n, 'r', 'd', 'o', now() - make_interval(days => :n)"),
                {"n": days},
            )
    assert jobs.tidy(ready) == (5, 1, 0, 0, 0)
    assert rows(ready, "SELECT n FROM mixed_request") == [(0,)]


def test_a_run_whose_process_was_killed_is_ended_by_the_next(ready: System) -> None:
    with ready.db.begin() as conn:
        conn.execute(
            text("INSERT INTO job_run (job, started_at) VALUES ('check', now() - interval '1 hour'), ('check', now())")
        )
    assert runs.end_lost(ready.db, "check", 660) == 1
    assert rows(ready, "SELECT outcome, finished_at IS NULL FROM job_run ORDER BY id") == [
        ("failed", False),
        ("running", True),
    ]
