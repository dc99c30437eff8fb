"""The overview: the numbers of this moment from Redis, or the log's with a word that they are."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from engine.domain.budget import Budget
from engine.domain.causes import again_ms
from engine.domain.schedule import Schedule
from engine.errors import NotFound
from engine.live.admin import LiveRedis
from engine.live.transport.pool import ConnectionPool
from engine.views.models import BrandView
from engine.views.overview import Overview
from engine.wiring import System
from tests.flows.test_persist import brand_with_campaigns
from tests.flows.test_status_and_close import instant

NIGHT = Schedule.parse({"start_time": "22:00", "end_time": "06:00"})


def brand_view(spent: int, budget: int | None, now_ms: int) -> BrandView:
    budgets = (Budget("daily_budget", budget, spent), Budget("monthly_budget", None, spent))
    return BrandView(1, None, "Aurora", False, budgets, 1, now_ms, True)


def test_the_numbers_are_redis_own_before_anything_is_persisted(ready: System) -> None:
    brand_id, (one, two) = brand_with_campaigns(ready, 2, daily=10_000_000)
    ready.client.record_spend(one, "4")
    ready.client.record_spend(two, "7.5")
    view = ready.overview.brand(brand_id)
    assert (view.daily_spend, view.daily_remaining) == (11_500_000, -1_500_000)
    assert (view.monthly_spend, view.monthly_remaining) == (11_500_000, None)
    assert [c.daily_spend for c in view.campaign_views] == [4_000_000, 7_500_000]
    assert (view.ready, view.active_campaigns, view.campaigns) == (True, 0, 2)
    assert view.used_up == ("daily_budget",)
    assert view.causes == {"daily_budget": 2}
    assert view.campaign_views[0].sentence == "paused: daily budget used up, again at 00:00 UTC"


def test_a_brand_with_the_numbers_of_its_campaigns_says_of_them_what_they_say_themselves(ready: System) -> None:
    brand_id, (one, two) = brand_with_campaigns(ready, 2, daily=10_000_000)
    ready.manage.pause_campaign(two, "test")
    ready.client.record_spend(one, "4")
    for spent, active in ((0, 1), (6, 0)):
        if spent:
            ready.client.record_spend(one, str(spent))
        each, summed = ready.overview.brand(brand_id), ready.overview.summed(brand_id)
        assert summed.campaign_views == ()
        assert (summed.campaigns, summed.active_campaigns, summed.causes) == (2, active, each.causes)
        assert (summed.daily_spend, summed.campaigns) == (each.daily_spend, each.campaigns)
    ready.manage.archive_brand(brand_id, "test")
    assert ready.overview.summed(brand_id).campaigns == 0


def test_archived_ones_are_listed_only_when_asked_for_and_count_as_no_campaign(ready: System) -> None:
    brand_id, (one, two) = brand_with_campaigns(ready, 2)
    ready.manage.archive_campaign(one, "test")
    view = ready.overview.brand(brand_id)
    assert (view.campaigns, view.active_campaigns) == (1, 1)
    assert [c.id for c in ready.overview.campaigns(brand_id, include_archived=False)] == [two]
    assert [c.id for c in ready.overview.campaigns(brand_id)] == [one, two]
    assert ready.overview.campaign(one).reasons == ("archived",)
    with pytest.raises(NotFound):
        ready.overview.brand(brand_id + 1)


def test_with_redis_away_spend_is_the_logs_and_the_answer_says_so(ready: System) -> None:
    brand_id, (campaign,) = brand_with_campaigns(ready, daily=10_000_000)
    ready.client.record_spend(campaign, "4")
    ready.persister.drain_all()
    ready.client.record_spend(campaign, "1")
    away = ConnectionPool("redis://:secret@127.0.0.1:1/0")
    blind = Overview(ready.db, ready.catalog, LiveRedis(away, timeout_s=0.2), ready.jobs_redis)
    snapshot = blind.snapshot()
    assert snapshot.note is not None
    assert "127.0.0.1:1" in snapshot.note
    assert "secret" not in snapshot.note
    (view,) = snapshot.brands
    assert (view.id, view.ready, view.daily_spend, view.monthly_spend) == (brand_id, False, 4_000_000, 4_000_000)
    assert view.campaign_views[0].status == "active"
    states = {part.key: part.state for part in blind.health().parts}
    assert states["redis"] == "down"
    assert states["postgresql"] == "ok"
    assert blind.health().backlog is None
    away.close()


def test_a_shard_that_lost_its_mark_shows_the_logs_figures(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "4")
    ready.persister.drain_all()
    ready.hot_redis.flushdb()
    snapshot = ready.overview.snapshot()
    assert snapshot.note is not None
    assert [b.daily_spend for b in snapshot.brands] == [4_000_000]
    assert {p.key: p.state for p in ready.overview.health().parts}["redis"] == "wait"


def test_health_counts_the_backlog_and_knows_worker_scheduler_and_jobs(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    before = ready.overview.health().backlog
    assert before is not None
    ready.client.record_spend(campaign, "1")
    assert ready.overview.health().backlog == before + 1
    ready.persister.drain_all()
    health = ready.overview.health()
    parts = {part.key: part for part in health.parts}
    assert (health.backlog, parts["journal"].state) == (0, "ok")
    assert (parts["worker"].state, parts["scheduler"].state) == ("down", "down")
    assert health.state == "down"
    ready.jobs_redis.set("budget:scheduler:heartbeat", int(time.time() * 1000))
    assert {p.key: p.state for p in ready.overview.health().parts}["scheduler"] == "ok"
    assert {job.job: job.outcome for job in health.jobs}["check"] == "never"


def test_a_projection_is_spend_over_the_elapsed_part_of_the_day_and_waits_half_an_hour() -> None:
    assert brand_view(6_000_000, None, instant(2026, 11, 23, 6)).projected_day_micros == 24_000_000
    assert brand_view(6_000_000, None, instant(2026, 11, 23, 0, 29, 59)).projected_day_micros is None
    assert brand_view(1_000_000, None, instant(2026, 11, 23, 0, 30)).projected_day_micros == 48_000_000


def test_a_budget_runs_out_when_that_rate_reaches_it() -> None:
    six = instant(2026, 11, 23, 6)
    assert brand_view(6_000_000, 12_000_000, six).runs_out_ms == instant(2026, 11, 23, 12)
    assert brand_view(6_000_000, 24_000_000, six).runs_out_ms is None
    assert brand_view(12_000_000, 12_000_000, six).runs_out_ms is None


@pytest.mark.parametrize(
    ("reasons", "again"),
    [
        ((), None),
        (("manual",), None),
        (("manual", "daily_budget"), None),
        (("daily_budget",), instant(2026, 11, 24)),
        (("schedule",), instant(2026, 11, 23, 22)),
        (("schedule", "daily_budget"), instant(2026, 11, 24)),
        (("daily_budget", "monthly_budget"), instant(2026, 12, 1)),
    ],
)
def test_a_campaign_runs_again_when_its_last_cause_ends(reasons: tuple[str, ...], again: int | None) -> None:
    assert again_ms(reasons, NIGHT, instant(2026, 11, 23, 12)) == again


def test_a_budget_that_returns_while_the_schedule_is_closed_waits_for_the_opening() -> None:
    day = Schedule.parse({"start_time": "09:00", "end_time": "17:00"})
    assert again_ms(("daily_budget",), day, instant(2026, 11, 23, 12)) == instant(2026, 11, 24, 9)


def test_a_late_job_is_overdue_and_a_running_one_is_not(ready: System) -> None:
    from engine.ledger import runs

    with runs.run(ready.db, "check"):
        pass
    now = int(time.time() * 1000)
    later = Overview(ready.db, ready.catalog, ready.live, ready.jobs_redis, clock_ms=lambda: now + 12 * 60_000)
    assert [job.overdue for job in ready.overview.health().jobs if job.job == "check"] == [False]
    assert [job.overdue for job in later.health().jobs if job.job == "check"] == [True]
    assert replace(later.health(), parts=()).state == "wait"
