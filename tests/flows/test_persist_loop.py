"""Persist as its worker runs it: soon enough, and no dearer than it must be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from engine.flows.persist.loop import PersistLoop
from engine.flows.persist.persister import DrainStats
from engine.flows.persist.shares import Shares
from engine.jobs import persist_loop
from engine.wiring import System
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.patience import in_time


def test_spends_that_trickle_in_are_in_the_log_within_a_second_and_share_a_few_transactions(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    over, total = threading.Event(), DrainStats()
    persist = threading.Thread(target=persist_loop(ready).run, args=(over.is_set, total))
    began = time.monotonic()
    persist.start()
    try:
        for _ in range(200):
            ready.client.record_spend(campaign, "1")
            time.sleep(0.005)
        last = time.monotonic()
        while total.rows < 200 and in_time(time.monotonic() - last, 1):
            time.sleep(0.01)
        took = time.monotonic() - began
    finally:
        over.set()
        persist.join()
    each = "SELECT xmin::text FROM spend_log UNION SELECT xmin::text FROM spend_pack"
    ((spends, transactions),) = rows(ready, f"SELECT (SELECT count(*) FROM spend), count(*) FROM ({each}) AS each")
    assert spends == 200
    assert transactions <= took / 0.2 + 1


def test_a_second_worker_persists_its_own_shards_and_leaves_the_duties_to_the_first(ready: System) -> None:
    _, (low,) = brand_with_campaigns(ready)
    with ready.db.begin() as conn:
        conn.execute(text("SELECT setval(pg_get_serial_sequence('brand', 'id'), 39)"))
    _, (high,) = brand_with_campaigns(ready, name="Bolt")
    for campaign in (low, high):
        ready.client.record_spend(campaign, "1")
    first = Shares(ready.db, "first")
    first.renew()
    duties: list[str] = []

    def noted(duty: str, answer: Any = None) -> Callable[..., Any]:
        return lambda *_: [duties.append(duty), answer][1]

    second = PersistLoop(
        ready.persister, ready.live, on_changes=noted("status"), on_not_ready=noted("rebuild", False), on_drained=noted("refunds"),
        each_second=noted("publish", set()), each_minute=noted("trim"), each_look=noted("look"), shares=Shares(ready.db, "second"),
    )  # fmt: skip
    total = DrainStats()
    second.run(lambda: total.entries > 0, total)
    assert rows(ready, "SELECT campaign_id FROM spend") == [(high,)]
    assert set(duties) <= {"rebuild"}, "a rebuild that this process may have begun is looked after"
    first.leave()
    second.run(lambda: total.rows == 2, total)
    assert sorted(rows(ready, "SELECT campaign_id FROM spend")) == [(low,), (high,)]
    assert {"refunds", "publish", "look", "trim"} <= set(duties)


def test_a_lock_on_the_list_of_workers_stops_no_spend(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    total = DrainStats()
    with ready.db.begin() as stranger:
        stranger.execute(text("LOCK TABLE persist_worker IN ACCESS EXCLUSIVE MODE"))
        persist_loop(ready).run(lambda: total.rows > 0, total)
    assert rows(ready, "SELECT count(*) FROM spend") == [(1,)]
