"""A brand's spend by day and by hour, as people who buy ads look at it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from engine.wiring import System
from tests.web.conftest import Visitor, brand_with, spend_now


def rows(page: str, about: str) -> list[list[str]]:
    """The cells of one of the page's tables, the bars left out."""
    (table,) = re.findall(rf'aria-labelledby="{about}">(.*?)</table>', page, re.DOTALL)
    cells = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    ]
    return [[re.sub(r"<[^>]+>", "", cell).strip() for i, cell in enumerate(row) if i != 1] for row in cells[1:]]


def logged(system: System) -> tuple[str, int]:
    """Day and hour of the only spends in the log."""
    with system.db.connect() as conn:
        day, hour = conn.execute(text("SELECT DISTINCT day, hour FROM campaign_hour")).one()
    return str(day), hour


def test_each_hour_of_a_day_stands_with_its_spend_and_the_day_with_their_sum(ready: System, visitor: Visitor) -> None:
    brand, (one, two) = brand_with(ready, campaigns=2)
    spend_now(ready, one, "1234.5")
    spend_now(ready, two, "0.000001")
    day, hour = logged(ready)
    status, page = visitor.get(f"/brands/{brand}/spend?day={day}")
    assert status == 200
    hours = rows(page, "hours")
    assert hours[hour] == [f"{hour:02}:00", "1,234.500001", "2"]
    assert [row[1:] for i, row in enumerate(hours) if i != hour] == [["0.000000", "0"]] * 23
    assert "Nothing was spent on this day." in visitor.get(f"/brands/{brand}/spend?day=2020-01-01")[1]
    days = rows(page, "days")
    assert days[0] == [day, "1,234.500001", "2"]
    assert [row[1:] for row in days[1:]] == [["0.000000", "0"]] * 30
    assert [row[0] for row in days] == sorted({row[0] for row in days}, reverse=True)
    assert f'href="/brands/{brand}/spend"' in visitor.get("/status")[1]


def test_an_hour_in_which_more_was_taken_back_than_spent_is_below_zero(ready: System, visitor: Visitor) -> None:
    brand, (one,) = brand_with(ready)
    spend_now(ready, one, "5")
    day, hour = logged(ready)
    with ready.db.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO campaign_hour (day, brand_id, campaign_id, hour, spend_micros, spends) VALUES (:day, :brand, :id, :hour, -4000000, 0)"
            ),
            {"day": day, "brand": brand, "id": one, "hour": 23 if hour != 23 else 22},
        )
    page = visitor.get(f"/brands/{brand}/spend?day={day}")[1]
    assert rows(page, "hours")[23 if hour != 23 else 22][1:] == ["-4.000000", "0"]


def test_a_day_without_spend_says_so_and_what_is_no_day_is_refused(ready: System, visitor: Visitor) -> None:
    brand, _ = brand_with(ready, "<script>alert(1)</script>")
    status, page = visitor.get(f"/brands/{brand}/spend")
    assert (status, "Nothing was spent on this day." in page, "Nothing was spent in these days." in page) == (
        200,
        True,
        True,
    )
    assert "<script>alert" not in page
    assert visitor.get(f"/brands/{brand}/spend?day=2020-02-29")[0] == 200
    for wrong in ("2026-02-30", "today", "%00", "1e9", "20200229", "2020-W10-1", "<script>"):
        status, page = visitor.get(f"/brands/{brand}/spend?day={wrong}")
        assert (status, "is not a day: write it as" in page, "<script>" in page) == (400, True, False), wrong


@pytest.mark.parametrize("brand", ["999", "0", "99999999999999999999"])
def test_a_brand_that_is_not_there_is_not_found_whatever_its_number(visitor: Visitor, brand: str) -> None:
    assert visitor.get(f"/brands/{brand}/spend")[0] == 404


def test_the_day_that_is_asked_for_by_default_is_the_utc_day(ready: System, visitor: Visitor) -> None:
    brand, _ = brand_with(ready)
    before = datetime.now(UTC).date()
    assert before <= ready.overview.today(brand) <= datetime.now(UTC).date()
    assert "Today by the hour" in visitor.get(f"/brands/{brand}/spend")[1]


def test_what_was_late_and_what_was_backfilled_stands_beside_a_days_spend(ready: System, visitor: Visitor) -> None:
    brand, (one,) = brand_with(ready)
    spend_now(ready, one, "5")
    day, _ = logged(ready)
    assert "Late" not in visitor.get(f"/brands/{brand}/spend")[1]
    with ready.db.begin() as conn:
        values = {"brand": brand, "day": day, "id": one}
        conn.execute(text("INSERT INTO late_spend VALUES (:brand, :day, true, 2, 1500000)"), values)
        conn.execute(text("INSERT INTO late_spend VALUES (:brand, :day, false, 1, 250000)"), values)
        conn.execute(text("INSERT INTO backfill_day VALUES (:id, :day, :brand, 7000000, 4)"), values)
    page = visitor.get(f"/brands/{brand}/spend")[1]
    assert rows(page, "days")[0] == [day, "5.000000", "1", "1.750000 (3)", "7.000000 (4)"]
    status, metrics = visitor.get("/metrics")
    assert status == 200
    assert 'budget_engine_late_spends_total{booked="previous_day"} 2.0' in metrics
    assert 'budget_engine_late_spends_micros_total{booked="today"} 250000.0' in metrics
