"""Job runs are written down however they end; a closed period never changes."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import Engine, text

from engine.ledger import periods, reports, runs
from engine.ledger.catalog import Catalog

NOVEMBER = date(2026, 11, 1)


def test_a_run_is_seen_while_it_runs_and_when_it_is_done(engine: Engine) -> None:
    with runs.run(engine, "check") as run:
        assert (runs.last_runs(engine)["check"].outcome, runs.last_runs(engine)["check"].finished_at) == (
            "running",
            None,
        )
        run.detail = "3 campaigns\npaused"
    last = runs.last_runs(engine)["check"]
    assert (last.outcome, last.detail) == ("done", "3 campaigns paused")
    assert last.finished_at is not None
    assert last.finished_at >= last.started_at


@pytest.mark.parametrize("error", [ValueError("a\nb\0c\ud800"), KeyboardInterrupt(), SystemExit(1)])
def test_a_run_that_breaks_off_is_written_down_with_one_line_of_why(engine: Engine, error: BaseException) -> None:
    with pytest.raises(type(error)), runs.run(engine, "check"):
        raise error
    last = runs.last_runs(engine)["check"]
    assert last.outcome == "failed"
    assert last.detail.startswith(type(error).__name__)
    assert "\n" not in last.detail


def test_a_run_may_say_that_it_waits(engine: Engine) -> None:
    with runs.run(engine, "close_day") as run:
        run.outcome, run.detail = "waiting", "shard 7 is behind"
    assert runs.last_runs(engine)["close_day"].outcome == "waiting"
    assert runs.last_successes(engine) == {}


def test_old_runs_go_but_never_a_jobs_latest(engine: Engine) -> None:
    for job in ("check", "check", "persist"):
        with runs.run(engine, job):
            pass
    with engine.begin() as connection:
        connection.execute(text("UPDATE job_run SET started_at = started_at - interval '15 days'"))
    assert runs.prune(engine) == 1
    assert sorted(runs.last_runs(engine)) == ["check", "persist"]
    assert runs.prune(engine) == 0


def test_a_closed_period_never_changes(engine: Engine, catalog: Catalog) -> None:
    one = catalog.create_brand("One", 100, None, None, "ann").id
    two = catalog.create_brand("Two", None, None, None, "ann").id
    with engine.begin() as connection:
        assert not periods.closed(connection, 1, "month", NOVEMBER)
        assert periods.all_last_closed(connection) == {}
        assert periods.close(connection, 1, "month", NOVEMBER, [(one, 70, 100), (two, 0, None)]) is True
        assert periods.close(connection, 1, "month", NOVEMBER, [(one, 71, 100)]) is False
        assert periods.closed(connection, 1, "month", NOVEMBER)
        assert not periods.closed(connection, 2, "month", NOVEMBER)
        assert periods.close(connection, 1, "day", date(2026, 11, 22), []) is True
        assert periods.close(connection, 1, "day", date(2026, 11, 21), [(one, 5, 100)]) is True
        assert periods.all_last_closed(connection)[1, "day"] == date(2026, 11, 22)
    lines = reports.period_totals(engine)
    assert [(p.brand_id, p.period, p.starts_on.day, p.spend_micros, p.budget_micros) for p in lines] == [
        (one, "day", 21, 5, 100),
        (one, "month", 1, 70, 100),
        (two, "month", 1, 0, None),
    ]
    assert [p.period for p in reports.period_totals(engine, brand_id=one, period="month")] == ["month"]
