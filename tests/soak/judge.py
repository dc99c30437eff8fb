"""Compares the bidders' logs with spend_log (V5): each acknowledged spend has exactly one row, and each row a call."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import text

from engine import BudgetClient
from engine.wiring import System
from tests.soak.bidder import Call, send

Row = tuple[str, int, int, str | None]
"""A row: the call's name, campaign, micros, event id."""
COUNTED = {"recorded", "accepted", "settled", "refunded"}
"""The outcomes that make a row. A `pending` refund makes none: bidders send it only for events that do not exist, and
the spend log refuses it.
"""
_RESENDS = 200


@dataclass(slots=True)
class Record:
    """All calls of all bidders, and their last outcomes."""

    calls: dict[str, Call] = field(default_factory=dict)
    answers: dict[str, list[str]] = field(default_factory=dict)
    changed: list[Any] = field(default_factory=list)
    resent: int = 0

    @classmethod
    def read(cls, folder: Path) -> Record:
        record = cls()
        for path in sorted(folder.glob("*.jsonl")):
            with path.open() as lines:
                for line in map(json.loads, lines):
                    if "got" in line:
                        record.answers[line["id"]] = line["got"]
                    elif "changed" in line:
                        record.changed.append(line)
                    else:
                        record.calls[line["id"]] = line
        return record

    def resend(self, url: str) -> None:
        """Repeats each call without a result under its id, until it has one."""
        client = BudgetClient.from_url(url, timeout_ms=5000)
        for name, call in self.calls.items():
            if name not in self.answers:
                self.resent += 1
                got = next((got for _ in range(_RESENDS) if (got := send(client, call)) is not None), None)
                assert got is not None, f"{call} has no answer"
                self.answers[name] = got
        client.close()

    def expected(self) -> Counter[Row]:
        """The rows that spend_log must have."""
        rows: Counter[Row] = Counter()
        for name, call in self.calls.items():
            for (campaign, micros, event), outcome in zip(call["spends"], self.answers[name], strict=True):
                if outcome not in COUNTED or call["do"] == "reserve":
                    continue
                if call["do"] == "refund":
                    # A refund is one row, also when it is repeated or when two calls request it.
                    rows[f"refund:{event}", campaign, -micros, event] = 1
                elif call["do"] == "settle":
                    rows[f"{campaign}:{call['hold']}", campaign, micros, None] = 1
                else:
                    rows[name, campaign, micros, event] += 1
        return rows

    @property
    def spends(self) -> int:
        return sum(len(call["spends"]) for call in self.calls.values())


def logged(system: System) -> Counter[Row]:
    """The rows that spend_log has, under the names of the bidders' calls."""
    rows: Counter[Row] = Counter()
    with system.db.connect() as conn:
        for request, campaign, micros, event in conn.execute(
            text("SELECT request_id, campaign_id, amount_micros, event_id FROM spend_log")
        ):
            rows[request.partition("/")[0], campaign, micros, event] += 1
    return rows


def overspent(system: System, brands: list[int]) -> int:
    """The micros above the largest budget, of brands that got try calls and holds only."""
    total = 0
    with system.db.connect() as conn:
        for brand in brands:
            spent = conn.execute(
                text(
                    "SELECT coalesce(max(s), 0)::bigint FROM (SELECT sum(amount_micros) AS s FROM spend_log WHERE brand_id = :b GROUP BY day) d"
                ),
                {"b": brand},
            ).scalar_one()
            total += max(int(spent) - (system.catalog.brand(brand).daily_budget_micros or 0), 0)
    return total
