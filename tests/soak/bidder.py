"""One bidder of a soak: `python -m tests.soak.bidder FOLDER NAME SEED URL`. It logs each call before it sends it, and
each result afterwards.

Lines of its file: `{"id", "do", "spends"}` for a call, `{"id", "got"}` for its result. Each line is one write(), so a
kill leaves no partial line.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from engine import BudgetClient, Spend, Unavailable

Call = dict[str, Any]
TRIES = 4
DONE = {
    "recorded",
    "accepted",
    "refused",
    "duplicate",
    "conflict",
    "settled",
    "released",
    "refunded",
    "pending",
    "unknown_event",
    "unknown_hold",
}


def send(client: BudgetClient, call: Call) -> list[str] | None:
    """Sends a call once. Returns its outcomes, or None when it must be repeated: no reply, or a shard is not ready."""
    try:
        outcomes = _outcomes(client, call)
    except Unavailable:
        return None
    return None if any(outcome not in DONE for outcome in outcomes) else outcomes


def _outcomes(client: BudgetClient, call: Call) -> list[str]:
    do, spends = call["do"], [Spend(c, None, event, micros) for c, micros, event in call["spends"]]
    first = spends[0]
    if do in ("record", "try"):
        batch = client.record_spends if do == "record" else client.try_spends
        if len(spends) > 1:
            return [answer.outcome for answer in batch(spends, request_id=call["id"])]
        one = client.record_spend if do == "record" else client.try_spend
        return [one(first[0], amount_micros=first[3], event_id=first[2], request_id=call["id"]).outcome]
    name = f"{first[0]}:{call.get('hold')}"
    if do == "reserve":
        return [client.reserve(first[0], ttl=7200, hold_id=call["hold"], amount_micros=first[3]).outcome]
    if do == "settle":
        return [client.settle(name, amount_micros=first[3]).outcome]
    if do == "release":
        return [client.release(name).outcome]
    spent_on = date.fromisoformat(call["day"]) if "day" in call else None
    return [client.refund(first[0], event_id=first[2], amount_micros=first[3], spent_on=spent_on).outcome]


class Bidder:
    """Makes calls of every kind until the folder has a file `stop`."""

    def __init__(self, folder: Path, name: str, seed: int, url: str) -> None:
        self._folder, self._name, self._chance = folder, name, random.Random(f"{seed}{name}")
        self._client = BudgetClient.from_url(url, timeout_ms=400)
        self._file = os.open(folder / f"{name}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        plan = json.loads((folder / "plan.json").read_text())
        self._record_campaigns, self._try_campaigns, self._hold_campaigns = plan["facts"], plan["asked"], plan["held"]
        self._events: list[tuple[int, int, str]] = []
        self._holds: list[tuple[int, int, str]] = []
        self._repeatable: list[tuple[Call, list[str]]] = []
        self._number = 0

    def run(self) -> None:
        while not (self._folder / "stop").exists():
            if (self._folder / "pause").exists():
                (self._folder / f"{self._name}.paused").touch()
                time.sleep(0.02)
                continue
            self._number += 1
            self._one()
            time.sleep(0.002)

    def _one(self) -> None:
        if self._repeatable and self._chance.random() < 0.05:
            self._repeat(*self._chance.choice(self._repeatable))
            return
        call = self._call()
        self._write(call)
        for _ in range(TRIES):
            got = send(self._client, call)
            if got is not None:
                self._write({"id": call["id"], "got": got})
                self._learn(call, got)
                return
            time.sleep(0.05)

    def _call(self) -> Call:
        chance, name = self._chance, f"{self._name}-{self._number}"
        kind = chance.random()
        if kind < 0.25:
            return {
                "id": name,
                "do": "record",
                "spends": [self._random_spend(f"{name}e" if chance.random() < 0.5 else None)],
            }
        if kind < 0.4:
            spends = [self._random_spend(f"{name}e{i}" if i % 3 == 0 else None) for i in range(chance.randint(2, 40))]
            return {"id": name, "do": "record", "spends": spends}
        if kind < 0.5 and self._events:
            campaign, micros, event = chance.choice(self._events)
            return {"id": name, "do": "record", "spends": [(campaign, micros + chance.randint(0, 1), event)]}
        if kind < 0.6 and self._events:
            campaign, micros, event = self._events.pop()
            return {"id": f"{name}", "do": "refund", "spends": [(campaign, micros, event)]}
        if kind < 0.61:
            # A refund of an event that does not exist: pending, then refused by the spend log, without a row.
            never = (chance.choice(self._record_campaigns), chance.randint(1, 1_000_000), f"{name}-never")
            return {"id": name, "do": "refund", "day": datetime.now(UTC).date().isoformat(), "spends": [never]}
        if kind < 0.7:
            spends = [
                (chance.choice(self._try_campaigns), chance.randint(1, 20_000), None)
                for _ in range(chance.randint(2, 20))
            ]
            return {"id": name, "do": "try", "spends": spends}
        if kind < 0.85:
            return {
                "id": name,
                "do": "try",
                "spends": [(chance.choice(self._try_campaigns), chance.randint(1, 20_000), None)],
            }
        if self._holds and kind < 0.95:
            campaign, micros, hold = self._holds.pop(0)
            do = "settle" if chance.random() < 0.7 else "release"
            paid = chance.randint(1, micros) if do == "settle" else 0
            return {"id": name, "do": do, "hold": hold, "spends": [(campaign, paid, None)]}
        return {
            "id": name,
            "do": "reserve",
            "hold": name,
            "spends": [(chance.choice(self._hold_campaigns), chance.randint(1, 20_000), None)],
        }

    def _random_spend(self, event: str | None) -> tuple[int, int, str | None]:
        return self._chance.choice(self._record_campaigns), self._chance.randint(1, 1_000_000), event

    def _repeat(self, call: Call, before: list[str]) -> None:
        """Checks V6: a repeat of a call gets the same outcomes. Refused spends may differ, because a rebuild forgets
        refusals.
        """
        again = send(self._client, call)
        if again is not None and any(a != b for a, b in zip(again, before, strict=True) if b != "refused"):
            self._write({"id": call["id"], "changed": [before, again]})

    def _learn(self, call: Call, got: list[str]) -> None:
        for (campaign, micros, event), outcome in zip(call["spends"], got, strict=True):
            if outcome == "recorded" and event:
                self._events.append((campaign, micros, event))
            elif outcome == "accepted" and call["do"] == "reserve":
                self._holds.append((campaign, micros, call["hold"]))
        if "refused" not in got and call["do"] in ("record", "try"):
            self._repeatable.append((call, got))
        del self._events[:-500], self._repeatable[:-500]

    def _write(self, line: Call) -> None:
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")


if __name__ == "__main__":
    Bidder(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]).run()
