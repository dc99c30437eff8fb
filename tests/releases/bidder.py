"""A bidder on whatever `engine` its PYTHONPATH has: `bidder.py URL NAME PLAIN_CAMPAIGN SHARED_CAMPAIGN TIGHT_CAMPAIGN`, until SIGTERM.

It stands alone, because it runs on clients of releases before. Each round is a spend under an id of its own, one of an event that other bidders
report too, one that must fit into a tight budget, and a batch. It says what it was answered as a line of JSON: when it began, and at its end.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter

import engine
from engine import BudgetClient, Spend

BATCH = 40
SHARED = 50
"""How many events all bidders report, again and again."""


def main(url: str, name: str, plain: int, shared: int, tight: int) -> None:
    over = False

    def stop(*_: object) -> None:
        nonlocal over
        over = True

    signal.signal(signal.SIGTERM, stop)
    answers: dict[str, Counter[str]] = {kind: Counter() for kind in ("plain", "shared", "tight", "batch")}
    client = BudgetClient.from_url(url, timeout_ms=20_000)
    rounds = 0
    while not over:
        rounds += 1
        answers["plain"][client.record_spend(plain, "0.001", event_id=f"{name}-{rounds}").outcome] += 1
        answers["shared"][client.record_spend(shared, "0.01", event_id=f"win-{rounds % SHARED}").outcome] += 1
        answers["tight"][client.try_spend(tight, "0.07", event_id=f"{name}-t-{rounds}").outcome] += 1
        batch = [Spend(plain, "0.002", f"{name}-b-{rounds}-{i}") for i in range(BATCH)]
        answers["batch"].update(each.outcome for each in client.record_spends(batch, request_id=f"{name}-{rounds}"))
        if rounds == 1:
            print(json.dumps({"engine": engine.__file__}), flush=True)
    print(json.dumps({"rounds": rounds, **answers}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
