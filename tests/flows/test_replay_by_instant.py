"""A log that is replayed at its own instants is paced as its model says, and a file in real time keeps its distances."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.pacing_replay import replayed
from engine.client.sync import Spend
from engine.domain.curves import STRAIGHT, curve_of
from engine.domain.gate import Gate
from engine.domain.pacing import Pacing
from engine.domain.periods import DAY_MS, ms_of
from engine.feeds.replay import RealTime, Replay
from engine.feeds.replay_names import CatalogNames
from engine.feeds.spend_file import SpendFile
from engine.live.replies import ACCEPTED, DUPLICATE, SpendResult
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_persist import rows

IPINYOU = Path(__file__).resolve().parents[3] / "shared" / "data" / "ipinyou-2821-a.csv"
HEAD = "at,event_id,brand,campaign,amount_micros\n"
DAILY = 1_000_000
LINES = 1000


class Trying:
    """A client whose spends ask first."""

    def __init__(self, system: System) -> None:
        self._client = system.client
        self.sent: list[tuple[Spend, SpendResult]] = []

    def record_spends(self, spends: Iterable[Spend], *, request_id: str | None = None) -> list[SpendResult]:
        listed = list(spends)
        found = self._client.try_spends(listed, request_id=request_id)
        self.sent += zip(listed, found, strict=True)
        return found


@pytest.mark.skipif(not IPINYOU.exists(), reason="the iPinYou sample is not part of the product")
def test_a_real_log_at_its_own_instants_is_paced_try_by_try_as_the_model_says(clock: System, tmp_path: Path) -> None:
    begins = (clock.live.now_ms() // DAY_MS + 1) * DAY_MS
    at(clock, begins)
    clock.manage.create_brand("2821", DAILY, None, None, "test", Pacing("even"))
    part = tmp_path / "part.csv"
    part.write_text(
        "".join(IPINYOU.read_text(encoding="utf-8").splitlines(keepends=True)[: LINES + 1]), encoding="utf-8"
    )
    client, gate = Trying(clock), Gate(DAILY, curve_of(STRAIGHT).due)
    names = CatalogNames(clock.catalog, clock.manage, "test")
    with SpendFile(part) as file:
        totals = Replay(client, names, wait_for=lambda when: at(clock, begins + ms_of(when) % DAY_MS)).run(file)
    assert (totals.rows, totals.stopped) == (LINES, "")
    decided = [(spend, result.outcome) for spend, result in client.sent if result.outcome != DUPLICATE]
    by_model = [
        gate.try_spend(ms_of(spend.occurred_at) % DAY_MS, spend.amount_micros)
        for spend, _ in decided
        if spend.occurred_at is not None and spend.amount_micros is not None
    ]
    assert [outcome == ACCEPTED for _, outcome in decided] == by_model
    assert 0 < sum(by_model) < len(by_model)
    clock.persister.drain_all()
    hours = {hour for (hour,) in rows(clock, "SELECT DISTINCT hour FROM campaign_hour")}
    assert hours == {
        spend.occurred_at.hour for spend, outcome in decided if outcome == ACCEPTED and spend.occurred_at is not None
    }


@pytest.mark.skipif(not IPINYOU.exists(), reason="the iPinYou sample is not part of the product")
@pytest.mark.parametrize("mode", ["ahead", pytest.param("traffic", marks=pytest.mark.long)])
def test_a_real_log_at_its_own_instants_is_spent_along_its_plan(clock: System, mode: str) -> None:
    found = replayed(clock, IPINYOU, mode, clock.live.now_ms() // DAY_MS + 1)
    assert found.alike == found.course.tries > LINES
    assert found.off_ppm < 1_000
    assert 0 <= found.course.total - found.due < 3_000, "one amount ahead of the curve at most"
    assert max(found.errors) < 0.15
    assert 550_000 < found.course.refused_ppm < 650_000


def test_in_real_time_each_line_is_as_long_after_the_first_as_in_the_file() -> None:
    now, slept = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    wait, first = RealTime(sleep, lambda: now[0]), datetime.fromisoformat("2026-11-16T09:00:00Z")
    for after_s in (0, 2.5, 2.5, 1, 10):
        wait(first + timedelta(seconds=after_s))
    assert slept == [2.5, 7.5]
    now[0] += 60
    wait(first + timedelta(seconds=30))
    assert slept == [2.5, 7.5]


def test_lines_of_one_instant_go_together_and_one_without_an_instant_with_the_line_before(
    ready: System, tmp_path: Path
) -> None:
    file, calls = tmp_path / "f.csv", list[str]()
    times = ("10:00:00Z", "10:00:00Z", "", "10:00:01Z", "10:00:01Z", "10:00:00Z")
    lines = (f"2026-11-16T{time},,Acme,c,1\n" if time else ",,Acme,c,1\n" for time in times)
    file.write_text(HEAD + "".join(lines), encoding="utf-8")
    client = Trying(ready)
    names = CatalogNames(ready.catalog, ready.manage, "test")

    def note(when: datetime) -> None:
        calls.append(f"{when:%S} after {len(client.sent)}")

    with SpendFile(file) as rows_:
        totals = Replay(client, names, wait_for=note).run(rows_)
    assert calls == ["00 after 0", "01 after 3", "00 after 5"]
    assert totals.recorded + totals.failed == 6
