"""SPEND_LOG_DROP=exported: a day goes only when a verified export has all its rows, and job_run says why another stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import jobs
from engine.domain.periods import DAY_MS
from engine.flows.export.manifest import NotWhole
from engine.flows.upkeep.log_days import Dropped, LogDays
from engine.ledger import runs
from engine.settings import Settings
from engine.wiring import System
from tests.flows.exports import DAY, NOON, close, closed_day, correct, recorded
from tests.flows.test_persist import rows

KEEP = 35
LATER = NOON + 80 * DAY_MS
STAYS = f"{DAY} (SPEND_LOG_DROP=exported), no export of it is verified: run `budget-engine export`"


@pytest.fixture
def closed(clock: System) -> System:
    made = closed_day(clock)
    close(made, LATER)
    return made


def drop(system: System) -> Dropped:
    return LogDays(system.db, system.live, KEEP, only_exported=True).drop_old()


def test_a_day_stays_until_its_export_is_verified_and_then_goes(closed: System, tmp_path: Path) -> None:
    assert (drop(closed).days, drop(closed).all_kept) == ([], [STAYS])
    done = closed.exporter.export(DAY, str(tmp_path))
    (tmp_path / DAY.isoformat() / "shard-01.parquet").unlink()
    with pytest.raises(NotWhole):
        closed.exporter.check(DAY, str(tmp_path))
    assert drop(closed).all_kept == [STAYS]
    closed.exporter.export(DAY, str(tmp_path))
    dropped = drop(closed)
    assert (dropped.days, dropped.rows, dropped.all_kept) == ([DAY], done.manifest.rows, [])
    assert closed.exporter.check(DAY, str(tmp_path)).state == "verified"
    check = closed.verifier.verify(days=200)[-1]
    assert (check.id, check.checked, check.findings) == ("V16", "1 exports", [])
    # What the files have and the dropped sums have not would be lost.
    with closed.db.begin() as conn:
        conn.exec_driver_sql("UPDATE dropped_day SET rows = rows - 1 WHERE brand_id = 1")
    assert closed.verifier.verify(days=200)[-1].findings != []


def test_rows_that_came_after_the_export_keep_the_day_until_it_is_exported_anew(closed: System, tmp_path: Path) -> None:
    closed.exporter.export(DAY, str(tmp_path))
    correct(closed)
    close(closed, LATER + 40 * DAY_MS)
    why = f"{DAY} (SPEND_LOG_DROP=exported), rows came after its export: run `budget-engine export`"
    assert drop(closed).all_kept == [why]
    closed.exporter.export(DAY, str(tmp_path))
    assert drop(closed).days == [DAY]


def test_rows_that_came_after_the_drop_stay_in_the_log(closed: System, tmp_path: Path) -> None:
    closed.exporter.export(DAY, str(tmp_path))
    assert drop(closed).days == [DAY]
    correct(closed)
    close(closed, LATER + 40 * DAY_MS)
    why = f"{DAY} (SPEND_LOG_DROP=exported), its rows came after it was dropped, and stay"
    assert drop(closed).all_kept == [why]
    check = closed.verifier.verify(days=200)[-1]
    assert (check.findings, recorded(closed)[0][-1]) == ([], True)
    assert LogDays(closed.db, closed.live, KEEP).drop_old().days == [DAY], "without the setting they go as ever"


def test_the_job_says_why_a_day_stays(closed: System) -> None:
    closed.__dict__["log_days"] = LogDays(closed.db, closed.live, KEEP, only_exported=True)
    with runs.run(closed.db, "close_day") as run:
        jobs._close(run, closed)
    ((detail, outcome),) = rows(closed, "SELECT detail, outcome FROM job_run WHERE job = 'close_day'")
    assert outcome == "done"
    assert detail.endswith(f"; not dropped: {STAYS}")


def test_many_days_for_one_reason_are_one_part_of_the_line() -> None:
    done = Dropped(unexported={"why": [DAY, DAY.replace(day=20)]})
    assert str(done) == "not dropped: 2 days from 2030-05-14 to 2030-05-20 (SPEND_LOG_DROP=exported), why"


def test_the_setting_reaches_the_jobs(environment: dict[str, str]) -> None:
    for given, wanted in (({}, False), ({"SPEND_LOG_DROP": "closed"}, False), ({"SPEND_LOG_DROP": "exported"}, True)):
        system = System(Settings.load({**environment, **given}, None))
        assert system.log_days._only_exported is wanted
        system.close()
