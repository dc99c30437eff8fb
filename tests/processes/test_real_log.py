"""A real bidding log through the command line while a worker runs: the same sum everywhere, and a budget that runs out in the middle of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.wiring import System
from tests.patience import in_time
from tests.prepared import ran
from tests.processes.conftest import ROOT, Processes, ready, rows, until, verified

IPINYOU = ROOT.parent / "shared" / "data" / "ipinyou-2821-a.csv"
pytestmark = pytest.mark.skipif(not IPINYOU.exists(), reason="the iPinYou sample is not part of the product")


def engine(processes: Processes, *args: str | Path) -> Any:
    environ = {**processes.environment, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = ran([*map(str, args), "--json"], environ, ROOT, 60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_log_counts_the_same_everywhere_and_once(system: System, processes: Processes) -> None:
    processes.start("worker", "--queue", "persist")
    until(lambda: ready(system), why=processes.said)
    first = engine(processes, "replay", IPINYOU)
    assert (first["recorded"], first["duplicate"], first["amount"]) == (4987, 13, "4.433940")
    again = engine(processes, "replay", IPINYOU)
    assert (again["recorded"], again["duplicate"], again["amount"]) == (0, 5000, "0.000000")
    until(lambda: rows(system, "SELECT count(*), sum(amount_micros) FROM spend_log") == [(4987, 4_433_940)])
    (brand,) = engine(processes, "brand", "list")
    shown = engine(processes, "brand", "show", str(brand["id"]))
    assert (shown["daily_spend"], shown["monthly_spend"]) == ("4.433940", "4.433940")
    live = system.live.read_brand(brand["id"], 9)
    assert live is not None
    assert (live.daily_spend, sum(c.daily_spend for c in live.campaigns.values())) == (4_433_940, 4_433_940)
    assert verified(system) == []


@pytest.mark.long
def test_a_budget_that_runs_out_in_the_log_pauses_all_nine_at_that_spend_and_more_budget_brings_back_all_but_a_persons_pause(
    system: System, processes: Processes
) -> None:
    processes.start("worker", "--queue", "persist")
    until(lambda: ready(system), why=processes.said)
    brand = engine(processes, "brand", "create", "2821", "--daily", "2.00")["id"]
    assert engine(processes, "replay", IPINYOU)["recorded"] == 4987, "facts are counted past the budget"
    took = until(
        lambda: {c.reasons for c in system.catalog.campaigns(brand)} == {("daily_budget",)}, why=processes.said
    )
    assert in_time(took, 5)
    until(lambda: rows(system, "SELECT count(*) FROM spend_log") == [(4987,)])
    assert len(system.catalog.campaigns(brand)) == 9
    ((reached,),) = rows(
        system,
        "SELECT min(recorded_at) FROM (SELECT recorded_at, sum(amount_micros) OVER (ORDER BY n, position) AS total FROM spend_log) s"
        " WHERE total >= 2000000",
    )
    paused = rows(system, "SELECT at, count(*) FROM status_change WHERE reasons = '{daily_budget}' GROUP BY at")
    assert paused == [(reached, 9)]
    one = system.catalog.campaigns(brand)[0].id
    engine(processes, "campaign", "pause", str(one))
    engine(processes, "brand", "update", str(brand), "--daily", "10")
    after = {c.id: (c.status, c.reasons) for c in system.catalog.campaigns(brand)}
    assert after.pop(one) == ("paused", ("manual",))
    assert set(after.values()) == {("active", ())}
    engine(processes, "check")
    assert system.catalog.campaign(one).reasons == ("manual",)
    assert verified(system) == []
