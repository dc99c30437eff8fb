"""Faults 2 and 7: midnight and a month's end with the closing job run never, once, three times, killed half-way, or two days late."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.domain.periods import DAY_MS, day_of, ms_of
from engine.errors import BudgetError
from engine.flows.catalog.check import check_all
from engine.flows.upkeep import close
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.faults.figures import Figures
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.processes.conftest import brand_of, rows

NOVEMBER, NEW_YEAR, LEAP_DAY = (2037, 11, 30), (2037, 12, 31), (2040, 2, 29)
CASES = [
    *((NOVEMBER, times) for times in (0, 1, 3, "killed")), (NEW_YEAR, 0), (NEW_YEAR, "killed"), (LEAP_DAY, 3), (LEAP_DAY, "killed"),
]  # fmt: skip


class Killed(BaseException):
    """kill -9: nothing after this is done, and its transaction is taken back."""


def closed(system: System) -> list[Any]:
    return rows(system, "SELECT brand_id, period, starts_on, spend_micros FROM period_total ORDER BY 1, 2, 3")


@pytest.mark.parametrize(
    ("night", "times"), CASES, ids=lambda x: "-".join(map(str, x)) if isinstance(x, tuple) else str(x)
)
def test_fault_02_v7_a_months_end_with_the_closing_job_run_so_often(
    clock: System,
    night: tuple[int, int, int],
    times: int | str,
    monkeypatch: pytest.MonkeyPatch,
    figures: Callable[[Figures], None],
) -> None:
    last = ms_of(datetime(*night, 23, 59, 59, 900_000, tzinfo=UTC))
    at(clock, last)
    brand_id, (campaign, _) = brand_of(clock, "Aurora", daily=20_000_000)
    born_on_the_moved_clock(clock)
    assert clock.client.try_spend(campaign, "20").outcome == "accepted"
    assert clock.client.try_spend(campaign, "1").outcome == "refused"
    clock.persister.drain_all()
    at(clock, last + 100)
    if times == "killed":
        real = close.Closer._prune

        def dies(self: Any, *args: Any) -> None:
            monkeypatch.setattr(close.Closer, "_prune", real)
            real(self, *args)
            raise Killed

        monkeypatch.setattr(close.Closer, "_prune", dies)
        with pytest.raises(Killed):
            clock.closer.close_ended()
    for _ in range(times if isinstance(times, int) else 1):
        clock.closer.close_ended()
    outcomes = [clock.client.try_spend(campaign, "1").outcome for _ in range(21)]
    assert outcomes == ["accepted"] * 20 + ["refused"]
    clock.persister.drain_all()
    if times == 0:
        clock.closer.close_ended()
    mine = [row[1:] for row in closed(clock) if row[3] and row[0] == brand_id]
    assert sorted(period for period, _, _ in mine) == ["day", "month"]
    assert {micros for _, _, micros in mine} == {20_000_000}
    live = clock.live.read_brand(brand_id, 2)
    assert live is not None
    assert (live.daily_spend, live.monthly_spend) == (20_000_000, 20_000_000)
    figures(Figures(43, 21, 1, overspent=max(live.daily_spend - 20_000_000, 0), more=f"closing job: {times}"))


def test_fault_07_a_scheduler_dead_two_days_over_a_months_end_has_each_period_closed_once(
    clock: System, figures: Callable[[Figures], None]
) -> None:
    start = ms_of(datetime(2037, 11, 29, 12, tzinfo=UTC))
    at(clock, start)
    brand_id, (campaign, other) = brand_of(clock, "Aurora", daily=5_000_000)
    born_on_the_moved_clock(clock)
    for day in range(4):
        at(clock, start + day * DAY_MS)
        assert clock.client.try_spend(campaign, "5").outcome == "accepted"
        assert clock.client.try_spend(other, "1").outcome == "refused"
        # Persist goes on without a scheduler; nothing closes a period or reactivates a campaign.
        clock.persister.drain_all()
    at(clock, start + 4 * DAY_MS)
    found: list[BaseException] = []

    def job() -> None:
        try:
            clock.closer.close_ended()
            check_all(clock.publisher, clock.status)
        except BudgetError as error:
            found.append(error)

    together = [threading.Thread(target=job) for _ in range(3)]
    for one in together:
        one.start()
    for one in together:
        one.join()
    assert found == []
    mine = [(str(starts), micros) for brand, period, starts, micros in closed(clock) if period == "day" and micros]
    assert mine == [
        ("2037-11-29", 5_000_000),
        ("2037-11-30", 5_000_000),
        ("2037-12-01", 5_000_000),
        ("2037-12-02", 5_000_000),
    ]
    assert [(str(s), m) for _, p, s, m in closed(clock) if p == "month" and m] == [("2037-11-01", 10_000_000)]
    assert {c.status for c in clock.catalog.campaigns(brand_id)} == {"active"}
    key = keys_of_brand(brand_id).brand(brand_id)
    assert not [
        f for f in clock.hot_redis.hkeys(key) if f.startswith(b"d:") and int(f[2:]) < day_of(start + 4 * DAY_MS)
    ]
    figures(Figures(8, 4, 3, more="three closing jobs at once, each period closed once"))
