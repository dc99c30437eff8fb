"""Persist as its worker runs it: soon enough, and no dearer than it must be."""

from __future__ import annotations

import threading
import time

from engine.flows.persist.persister import DrainStats
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
