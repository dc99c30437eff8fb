"""A system with a closed day worth exporting, and what its tests look at."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from engine.client.sync import Spend
from engine.domain.periods import DAY_MS, ms_of
from engine.flows.catalog.check import check_all
from engine.ledger.day_rows import COLUMNS
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_persist import brand_with_campaigns, rows

DAY = date(2030, 5, 14)
NOON = ms_of(datetime(2030, 5, 14, 12, tzinfo=UTC))


def closed_day(system: System) -> System:
    """Two brands on two shards and a day of every kind of row: single, packed, with event id, held, refunded; closed, and a day after it."""
    at(system, NOON)
    _, (one, two) = brand_with_campaigns(system, 2, daily=90_000_000)
    _, (other,) = brand_with_campaigns(system, 1, name="Bolt")
    client = system.client
    client.record_spends([Spend(one, None, None, 1000 + i) for i in range(60)])
    client.record_spend(two, "5", event_id="win-1", occurred_at=datetime(2030, 5, 14, 11, 59, 58, 123_000, tzinfo=UTC))
    client.record_spends([Spend(other, "2", "win-2"), Spend(other, "0.000001")])
    client.settle(client.reserve(one, "4", 600).hold_id, "2.5")
    client.refund(two, "1", "win-1", refund_id="part-1")
    close(system, NOON + DAY_MS)
    return system


def close(system: System, ms: int) -> None:
    """What the jobs do on a later day."""
    system.persister.drain_all()
    at(system, ms)
    closed = system.closer.close_ended()
    assert (closed.waiting, closed.drift) == ([], [])
    check_all(system.publisher, system.status)


def correct(system: System, amount: str = "0.5") -> None:
    """A row of DAY that comes after it was closed."""
    assert system.client.refund(65_538, amount, "win-1", refund_id=amount, spent_on=DAY).outcome in (
        "pending",
        "refunded",
    )
    system.persister.drain_all()
    system.refund_desk.decide()
    system.persister.drain_all()


def logged(system: System, day: date = DAY) -> list[Any]:
    """The rows of a day as the log has them, in the order of the export."""
    query = f"SELECT {', '.join(COLUMNS)} FROM spend WHERE day = '{day}' ORDER BY shard, generation, n, position"
    return rows(system, query)


def exported_rows(folder: Path, day: date = DAY) -> list[Any]:
    """The same, from the files of an export."""
    found: list[Any] = []
    for path in sorted((folder / day.isoformat()).glob("*.parquet")):
        found += [tuple(row.values()) for row in pq.read_table(path).to_pylist()]
    return found


def left_in(folder: Path) -> list[str]:
    """Everything in a folder, hidden names too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def recorded(system: System) -> list[Any]:
    """What the ledger says of exports."""
    return rows(system, "SELECT day, place, rows, micros, verified_at IS NOT NULL FROM exported_day ORDER BY 1, 2")
