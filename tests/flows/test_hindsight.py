"""Why a brand is past its budget, and where its day is heading, from the log, the trail of the catalog and the status changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from engine.domain.excess import BudgetChange, Excess
from engine.domain.periods import ms_of
from engine.domain.schedule import Schedule
from engine.ledger import statuses
from engine.ledger.statuses import StatusWrite
from engine.live.admin import LiveRedis
from engine.live.transport.pool import ConnectionPool
from engine.views.models import BrandView
from engine.views.overview import Overview
from engine.wiring import System
from tests.flows.test_persist import brand_with_campaigns
from tests.ledger.spends import row, write

DAY = datetime(2026, 11, 23, tzinfo=UTC)


def hour(at: float) -> datetime:
    """An hour of the day of these tests."""
    return DAY + timedelta(hours=at)


def view_at(system: System, at: datetime, brand_id: int, *, summed: bool = False) -> BrandView:
    """The brand as a page shows it at an instant; without Redis, so that its figures are those of the log of that day."""
    away = ConnectionPool("redis://127.0.0.1:1/0")
    blind = Overview(
        system.db, system.catalog, LiveRedis(away, timeout_s=0.2), system.jobs_redis, clock_ms=lambda: ms_of(at)
    )
    snapshot = blind.summary() if summed else blind.snapshot()
    away.close()
    return next(view for view in snapshot.brands if view.id == brand_id)


def budget_at(system: System, at: datetime, brand_id: int, **budgets: int | None) -> None:
    """A change of budgets that was made at an instant."""
    system.catalog.update_brand(brand_id, "Mia", **budgets)
    with system.db.begin() as conn:
        conn.execute(
            text("UPDATE catalog_change SET at = :at WHERE id > :last"),
            {"at": at, "last": getattr(budget_at, "last", 0)},
        )
        budget_at.last = conn.execute(text("SELECT max(id) FROM catalog_change")).scalar_one()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _from_the_first_change() -> None:
    budget_at.last = 0  # type: ignore[attr-defined]


def status_at(system: System, at: datetime, campaign_id: int, *reasons: str) -> None:
    """A change of status that took place at an instant."""
    with system.db.begin() as conn:
        status = "paused" if reasons else "active"
        statuses.apply(conn, [StatusWrite(campaign_id, at, status, reasons, "test")])


def running_since_yesterday(system: System, *campaign_ids: int) -> None:
    """No status changes but those of the test, of which this is the first."""
    with system.db.begin() as conn:
        conn.execute(text("DELETE FROM status_change"))
        conn.execute(text("UPDATE campaign SET status = 'paused', reasons = '{}'"))
    for campaign_id in campaign_ids:
        status_at(system, hour(-10), campaign_id)


def test_a_budget_lowered_below_what_was_spent_is_named_with_its_instant_and_what_was_spent_then(
    ready: System,
) -> None:
    brand_id, (one, two) = brand_with_campaigns(ready, 2, daily=12_000_000)
    rows = [row(one, 3_000_000, 1, at=hour(9)), row(two, 6_000_000, 2, at=hour(14.01)), row(one, 1, 3, at=hour(14.06))]
    write(ready.db, rows)
    budget_at(ready, hour(14.05), brand_id, daily_budget_micros=5_000_000)
    change = BudgetChange(ms_of(hour(14.05)), 12_000_000, 5_000_000, 9_000_000)
    assert view_at(ready, hour(15), brand_id).excess == {"day": Excess(4_000_001, 1, change)}
    assert view_at(ready, hour(15), brand_id, summed=True).excess == {"day": Excess(4_000_001, 1, change)}


def test_spend_past_a_budget_that_was_not_lowered_today_came_too_late(ready: System) -> None:
    brand_id, (one,) = brand_with_campaigns(ready, daily=12_000_000)
    budget_at(ready, hour(-5), brand_id, daily_budget_micros=5_000_000)
    write(ready.db, [row(one, 11_000_000, 1, at=hour(-6)), row(one, 9_000_000, 2, at=hour(9))])
    assert view_at(ready, hour(15), brand_id).excess == {"day": Excess(4_000_000, 4_000_000, None)}


def test_a_months_budget_counts_what_was_spent_of_the_month_by_then(ready: System) -> None:
    brand_id, (one,) = brand_with_campaigns(ready)
    days = [row(one, 2_000_000, 1, at=hour(-24 * 10)), row(one, 3_000_000, 2, at=hour(-3)), row(one, 4_000_000, 3, at=hour(9))]  # fmt: skip
    write(ready.db, [*days, row(one, 5_000_000, 4, at=hour(-24 * 30))])
    budget_at(ready, hour(-1), brand_id, monthly_budget_micros=4_000_000)
    change = BudgetChange(ms_of(hour(-1)), None, 4_000_000, 5_000_000)
    assert view_at(ready, hour(15), brand_id).excess == {"month": Excess(5_000_000, 4_000_000, change)}


def test_a_brand_with_windows_is_projected_over_the_time_it_may_run(ready: System) -> None:
    brand_id, (one,) = brand_with_campaigns(ready)
    ready.manage.update_campaign(one, "Mia", schedule=Schedule.parse({"start_time": "09:00", "end_time": "17:00"}))
    running_since_yesterday(ready, one)
    status_at(ready, hour(-7), one, "schedule")
    status_at(ready, hour(9), one)
    write(ready.db, [row(one, 4_000_000, 1, at=hour(12))])
    for summed in (False, True):
        view = view_at(ready, hour(13), brand_id, summed=summed)
        assert view.projected_day_micros == 8_000_000


def test_a_brand_that_was_stopped_is_projected_by_the_time_it_ran(ready: System) -> None:
    brand_id, (one,) = brand_with_campaigns(ready, daily=20_000_000)
    running_since_yesterday(ready, one)
    status_at(ready, hour(6), one, "manual")
    status_at(ready, hour(12), one)
    write(ready.db, [row(one, 12_000_000, 1, at=hour(3))])
    view = view_at(ready, hour(18), brand_id)
    assert view.projected_day_micros == 18_000_000
    assert view.runs_out_ms is None


def test_a_campaign_that_is_switched_off_adds_nothing_to_what_is_ahead(ready: System) -> None:
    brand_id, (one, two) = brand_with_campaigns(ready, 2)
    running_since_yesterday(ready, one, two)
    ready.catalog.pause_campaign(two, "Mia")
    status_at(ready, hour(12), two, "manual")
    write(ready.db, [row(one, 12_000_000, 1, at=hour(3)), row(two, 12_000_000, 2, at=hour(3))])
    # 24 campaign-hours for 24.00 by noon, and 12 more to come.
    assert view_at(ready, hour(12), brand_id).projected_day_micros == 36_000_000
