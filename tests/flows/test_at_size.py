"""Many campaigns: jobs go in turns that spends fit between, statements do not grow with what did not change, and memory stays small."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from sqlalchemy import event, text

from benchmarks.catalog_of_size import Sized, fill, publish_all, spend_once_each
from benchmarks.size import BYTES_A_CAMPAIGN, bytes_a_campaign
from engine.domain.periods import DAY_MS, date_of, day_of, day_start_ms
from engine.errors import ServerAway
from engine.flows.catalog.check import check_all
from engine.jobs import persist_loop
from engine.live import admin
from engine.live.admin import LiveRedis
from engine.live.keys import keys_of_campaign
from engine.live.transport.pool import Call, Reply
from engine.views.models import BrandView
from engine.wiring import System
from tests.flows.conftest import at

BIG = 230
"""Campaigns of a brand that no single call may take."""


@contextmanager
def statements(system: System) -> Iterator[list[str]]:
    """What PostgreSQL is asked meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(system.db, "before_cursor_execute", note)
    yield seen
    event.remove(system.db, "before_cursor_execute", note)


def asked_by_verify(system: System, campaigns: int) -> tuple[int, int]:
    """How many statements and how many reads of journals verify takes for one brand of so many campaigns, with a backlog."""
    sized = fill(system.db, 1, campaigns)
    publish_all(system)
    system.status.refresh_all()
    spend_once_each(system, sized)
    reads, read = [], system.journal.read

    def note(*args: object) -> object:
        reads.append(args)
        return read(*args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch, statements(system) as asked:
        patch.setattr(system.journal, "read", note)
        assert [finding for check in system.verifier.verify() for finding in check.findings] == []
    return len(asked), len(reads)


def test_verify_reads_the_log_and_the_journal_of_a_brand_once_however_many_campaigns_it_has(ready: System) -> None:
    small = asked_by_verify(ready, 20)
    with ready.db.begin() as conn:
        conn.execute(
            text("TRUNCATE spend_log, campaign_day, campaign_hour, brand_minute, status_change, catalog_change")
        )
        conn.execute(text("DELETE FROM campaign"))
        conn.execute(text("DELETE FROM brand"))
    ready.hot_redis.flushdb()
    ready.rebuilder.rebuild_missing()
    assert asked_by_verify(ready, 900) == small


def test_verify_finds_one_micro_in_a_large_brand_that_is_spent_on_while_it_is_read(ready: System) -> None:
    sized = fill(ready.db, 1, BIG)
    publish_all(ready)
    first, last = sized.campaigns[0], sized.campaigns[-1]
    spend_once_each(ready, sized)
    ready.persister.drain_all()
    send, slices = ready.wire.call_all, 0

    def spend_between(calls: Sequence[Call], *rest: float) -> object:
        nonlocal slices
        answer = send(calls, *rest)
        if any("read_totals" in call.script.name for call in calls):
            slices += 1
            ready.client.record_spend(first, "0.000003", event_id=f"first-{slices}")
            ready.client.record_spend(last, "0.000005", event_id=f"last-{slices}")
            if slices == 2:
                # Of what came later than a counter was read, some is in the log by then, and some waits in the journal.
                ready.persister.drain_all()
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ready.wire, "call_all", spend_between)
        one = ready.verifier.passes.full()
        assert [str(check.findings) for check in ready.verifier.counters.check(one) if check.findings] == []
        assert slices == 1 + -(-BIG // 100), (
            "its brand and each slice of its campaigns are read once: no second look was needed"
        )
        ready.hot_redis.hincrby(keys_of_campaign(last).campaign(last), f"d:{day_of(ready.live.now_ms())}", 1)
        _, hierarchy = ready.verifier.counters.check(one)
    assert hierarchy.difference_micros == 1
    assert [finding.split(":")[0].split(" day")[0] for finding in hierarchy.findings] == [f"campaign {last}"]


@contextmanager
def pipelines(system: System) -> Iterator[list[list[Call]]]:
    """What is sent to Redis' scripts meanwhile, pipeline by pipeline."""
    seen: list[list[Call]] = []
    send = system.wire.call_all

    def note(calls: Sequence[Call], *rest: float) -> object:
        seen.append(list(calls))
        return send(calls, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(system.wire, "call_all", note)
        yield seen


def walks(seen: list[list[Call]]) -> list[list[Call]]:
    """Those that look at brands or campaigns."""
    return [calls for calls in seen if any("brand:" in str(k) or "campaign:" in str(k) for c in calls for k in c.keys)]


def test_no_job_sends_redis_more_than_one_bounded_slice_at_a_time(ready: System) -> None:
    fill(ready.db, 3, BIG)
    jobs: dict[str, Callable[[], object]] = {
        "publish": lambda: publish_all(ready),
        "check": lambda: check_all(ready.publisher, ready.status),
        "page": ready.overview.snapshot,
        "rebuild": ready.rebuilder.rebuild,
    }
    for name, job in jobs.items():
        with pipelines(ready) as seen:
            job()
        walked = walks(seen)
        assert len(walked) >= 3 * BIG / admin.SLICE, name
        assert {len(calls) for calls in walked} == {1}, name
        # Four fixed keys at most stand before the campaigns.
        assert max(len(call.keys) for calls in walked for call in calls) <= admin.TURN + 4, name
        # Three thousand values: far below what one call of Lua takes, and over in a few milliseconds.
        assert max(len(call.args) for calls in walked for call in calls) <= 1500, name


def test_one_campaign_of_a_large_brand_is_shown_with_one_look_at_it(ready: System) -> None:
    sized = fill(ready.db, 1, BIG)
    publish_all(ready)
    ready.client.record_spend(sized.campaigns[-1], "1.5")
    with pipelines(ready) as seen:
        view = ready.overview.campaign(sized.campaigns[-1])
    assert (view.id, view.daily_spend) == (sized.campaigns[-1], 1_500_000)
    assert len(walks(seen)) == 1


def test_a_check_rests_after_each_call_so_that_most_of_redis_time_is_the_spends(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(ready.db, 3, BIG)
    publish_all(ready)
    rests: list[float] = []
    shortest: list[float] = []
    took = 0.0
    call_all = LiveRedis.call_all

    def timed(self: LiveRedis, calls: Sequence[Call]) -> list[Reply]:
        nonlocal took
        began = time.monotonic()
        replies = call_all(self, calls)
        took = time.monotonic() - began
        return replies

    def rest(seconds: float) -> None:
        rests.append(seconds)
        shortest.append(min(3 * took, admin.REST_S))

    monkeypatch.setattr(LiveRedis, "call_all", timed)
    monkeypatch.setattr(admin, "rest", rest)
    with pipelines(ready) as seen:
        check_all(ready.publisher, ready.status)
    assert len(rests) == len(walks(seen))
    # Its slices are small as well; three fixed keys stand before the campaigns.
    assert max(len(call.keys) for calls in walks(seen) for call in calls) <= admin.RESTING_TURN + 2
    assert all(least <= seconds <= admin.REST_S for seconds, least in zip(rests, shortest, strict=True))
    rests.clear()
    ready.overview.snapshot()
    assert not rests, "a page does not make its reader wait"


def test_a_person_and_persist_do_not_wait_for_the_rests_of_a_large_brand(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    sized = fill(ready.db, 1, BIG)
    publish_all(ready)
    ready.status.refresh_all()
    rests: list[float] = []
    monkeypatch.setattr(admin, "rest", rests.append)
    ready.manage.pause_campaign(sized.campaigns[0], "anna")
    assert ready.catalog.campaign(sized.campaigns[0]).status == "paused"
    ready.manage.update_brand(sized.brands[0], "anna", daily_budget_micros=1)
    ready.client.record_spend(sized.campaigns[-1], "1")
    persist_loop(ready)._on_changes({sized.brands[0]})
    assert {c.status for c in ready.catalog.campaigns(sized.brands[0])} == {"paused"}
    assert rests == []


def test_closing_prunes_in_slices_that_shrink_with_the_periods_and_rests_between_them(
    clock: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = day_of(clock.live.now_ms())
    sized = fill(clock.db, 2, BIG)
    publish_all(clock)
    clock.persister.drain_all()
    at(clock, day_start_ms(today + 40) + 1)
    with pipelines(clock) as seen:
        closed = clock.closer.close_ended()
    prunes = [call for calls in walks(seen) for call in calls if call.script.name == "prune"]
    assert closed.days == 40 * len({brand % 64 for brand in sized.brands})
    assert all((len(call.keys) - 2) * (len(call.args) - 2) <= 2 * admin.SLICE for call in prunes)
    at(clock, day_start_ms(today + 41) + 1)
    rests: list[float] = []
    monkeypatch.setattr(admin, "rest", rests.append)
    with pipelines(clock) as seen:
        clock.closer.close_ended()
    prunes = [call for calls in walks(seen) for call in calls if call.script.name == "prune"]
    assert len(rests) == len(prunes) >= 2 * BIG / admin.TURN
    assert max(len(call.keys) - 2 for call in prunes) <= admin.TURN


def test_a_check_of_campaigns_that_did_not_change_asks_postgresql_no_more_for_more_of_them(ready: System) -> None:
    asked: list[int] = []
    for each in (2, 60):
        fill(ready.db, 5, each) if not asked else _grow(ready, each)
        publish_all(ready)
        assert check_all(ready.publisher, ready.status).changed > 0
        with statements(ready) as seen:
            assert check_all(ready.publisher, ready.status).changed == 0
        asked.append(len(seen))
    assert asked[0] == asked[1] <= 12, "the revision is one of them"


def _grow(system: System, each: int) -> None:
    """The same brands with more campaigns."""
    for brand in system.catalog.brands():
        system.catalog.create_campaigns(brand.id, [f"more {i}" for i in range(each)], "test")


def test_a_hundred_brands_are_published_with_a_dozen_statements(ready: System) -> None:
    sized = fill(ready.db, 100, 3)
    with statements(ready) as seen:
        assert publish_all(ready) == 100
    assert len(seen) <= 25, "of which each transaction that writes reads the revision"
    assert ready.catalog.unpublished() == []
    results = ready.client.record_spends([])
    assert results == []
    assert spend_once_each(ready, sized) == 300
    assert sum(row.daily_spend for row in ready.overview.brands()) == 300 * 2_500_000


def test_what_redis_took_before_it_went_away_is_noted_as_published(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    sized = fill(ready.db, 4, 2)
    bring, taken = ready.live.bring, 0

    def going(*args: object) -> dict[int, int] | None:
        nonlocal taken
        if taken == 2:
            raise ServerAway("Redis", "here", "it went away")
        taken += 1
        return bring(*args)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(ready.live, "bring", going)
    with pytest.raises(ServerAway):
        publish_all(ready)
    assert ready.catalog.unpublished() == list(sized.brands[2:])
    monkeypatch.setattr(ready.live, "bring", bring)
    assert publish_all(ready) == 2


def test_a_month_that_nobody_closed_is_closed_whole_with_each_day_s_money(clock: System) -> None:
    first = day_of(clock.live.now_ms()) + 400
    first -= date_of(first).day - 1
    sized = fill(clock.db, 2, 5)
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE brand SET created_at = :at"), {"at": date_of(first)})
    at(clock, day_start_ms(first) + 1)
    clock.rebuilder.rebuild()
    publish_all(clock)
    for day in (first, first + 1, first + 20):
        at(clock, day_start_ms(day) + 1)
        spend_once_each(clock, sized)
    clock.persister.drain_all()
    at(clock, day_start_ms(first + 33) + 1)
    closed = clock.closer.close_ended()
    assert closed.drift == []
    with clock.db.connect() as conn:
        rows = conn.execute(
            text(
                "SELECT period, starts_on, sum(spend_micros)::bigint FROM period_total WHERE spend_micros > 0 GROUP BY 1, 2 ORDER BY 1, 2"
            )
        ).all()
    a_day = 10 * 2_500_000
    days = [("day", date_of(day), a_day) for day in (first, first + 1, first + 20)]
    assert [tuple(row) for row in rows] == [*days, ("month", date_of(first), 3 * a_day)]
    for campaign in sized.campaigns:
        kept = clock.hot_redis.hkeys(keys_of_campaign(campaign).campaign(campaign))
        assert not [name for name in kept if name.startswith((b"d:", b"m:"))]
    assert clock.closer.close_ended().days == 0


def test_a_campaign_costs_redis_at_most_300_bytes_under_a_server_s_own_settings(ready: System) -> None:
    # What a server has that nobody configured; Valkey's newest allow more fields.
    ready.hot_redis.config_set("hash-max-listpack-entries", 128)
    ready.hot_redis.config_set("hash-max-listpack-value", 64)
    sized = fill(ready.db, 5, 100)
    publish_all(ready)
    spend_once_each(ready, sized, micros=10**12)
    assert bytes_a_campaign(ready.hot_redis, sized) <= BYTES_A_CAMPAIGN
    some = keys_of_campaign(sized.campaigns[6]).campaign(sized.campaigns[6])
    assert ready.hot_redis.object("encoding", some) == b"listpack"


def test_the_page_counts_a_brand_s_campaigns_as_one_by_one(clock: System) -> None:
    fill(clock.db, 6, 20, daily=30 * 2_500_000)
    publish_all(clock)
    check_all(clock.publisher, clock.status)
    first, second, third, fourth, fifth, _ = (brand.id for brand in clock.catalog.brands())
    clock.client.record_spend(first * 65536 + 1, "80")
    clock.manage.pause_campaign(second * 65536 + 3, "test")
    clock.manage.archive_campaign(second * 65536 + 4, "test")
    clock.manage.archive_brand(third, "test")
    clock.catalog.create_campaigns(fourth, ["not published"], "test")
    clock.manage.update_brand(fifth, "test", daily_budget_micros=0)
    for hours in (3, 12, 23):
        at(clock, day_start_ms(day_of(clock.live.now_ms()) + 1) + hours * DAY_MS // 24)
        one_by_one, counted = clock.overview.snapshot(), clock.overview.summary(opened=[second])
        assert [_numbers(view) for view in counted.brands] == [_numbers(view) for view in one_by_one.brands]
        assert [len(view.campaign_views) for view in counted.brands if view.id == second] == [19]
        assert sum(len(view.campaign_views) for view in counted.brands) == 19


def _numbers(view: BrandView) -> tuple[object, ...]:
    return view.id, view.campaigns, view.active_campaigns, dict(view.causes), view.daily_spend, view.monthly_spend


def test_a_sized_catalog_is_like_one_that_people_made(clock: System) -> None:
    sized: Sized = fill(clock.db, 3, 20, daily=30 * 2_500_000)
    publish_all(clock)
    check_all(clock.publisher, clock.status)
    spend_once_each(clock, sized)
    clock.persister.drain_all()
    spend_once_each(clock, sized)
    clock.persister.drain_all()
    # Twenty campaigns spent twice: the budget is for thirty spends.
    assert check_all(clock.publisher, clock.status).changed == 60
    assert {c.status for c in clock.catalog.campaigns()} == {"paused"}
    assert all("daily_budget" in c.reasons for c in clock.catalog.campaigns())
    assert not [c for c in clock.verifier.verify() if c.result == "FAIL"]
    at(clock, day_start_ms(day_of(clock.live.now_ms()) + 1) + DAY_MS // 2)
    clock.closer.close_ended()
    check_all(clock.publisher, clock.status)
    assert {c.status for c in clock.catalog.campaigns() if c.schedule.always} == {"active"}
