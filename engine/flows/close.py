"""Close: archives ended days and months, shard by shard, and prunes their counters. It never zeroes anything: a new period is another field.

A shard's period is closed only when PostgreSQL has its last entry; then the total comes from the log, is compared with the counter, and the
field goes. Every period missed is caught up on; a period closed before is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

from sqlalchemy import Connection, Engine

from engine.domain.ids import SHARDS
from engine.domain.money import format_micros
from engine.domain.periods import (
    Period,
    date_of,
    day_number,
    day_of,
    month_date,
    month_of,
    month_of_date,
    next_month,
)
from engine.errors import BudgetError, ServerAway
from engine.ledger import periods, quarantine, spend_log
from engine.ledger.catalog import Catalog
from engine.ledger.records import BrandRecord
from engine.live.admin import SLICE, LiveRedis, LiveShard
from engine.live.keys import shard_keys


@dataclass(slots=True)
class Closed:
    """What a close did. waiting: shards whose last entries PostgreSQL does not have yet. drift: counters that differ from the log."""

    days: int = 0
    months: int = 0
    waiting: list[int] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{self.days} shard days and {self.months} shard months closed"
        if self.waiting:
            text += f"; {len(self.waiting)} shards wait for persist"
        return text + "".join(f"; {line}" for line in self.drift)


class NotAllClosed(BudgetError):
    """Some shards could not be closed; all others were."""


class Closer:
    """Closes what has ended."""

    def __init__(self, db: Engine, catalog: Catalog, live: LiveRedis, instance: str) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live
        self._instance = instance

    def close_ended(self) -> Closed:
        """Every day and month that has ended, on every shard that is ready. Raises ServerAway; NotAllClosed after all other shards."""
        done = Closed()
        failed: list[str] = []
        brands: dict[int, list[BrandRecord]] = {shard: [] for shard in range(SHARDS)}
        for brand in self._catalog.brands(include_archived=True):
            brands[brand.id % SHARDS].append(brand)
        for state in self._live.read_shards(tick=True):
            if brands[state.shard] and state.ready and state.instance == self._instance:
                try:
                    self._close_shard(state, brands[state.shard], done)
                except ServerAway:
                    raise
                except Exception as error:  # noqa: BLE001  # one bad shard must not hold up the day of the others
                    failed.append(f"shard {state.shard}: {type(error).__name__}: {' '.join(str(error).split())}")
        if failed:
            more = f"; and {len(failed) - 1} more shards" if len(failed) > 1 else ""
            raise NotAllClosed(f"{done}; not closed: {failed[0]}{more}")
        return done

    def _close_shard(self, state: LiveShard, brands: list[BrandRecord], done: Closed) -> None:
        with self._db.connect() as conn:
            cursor = spend_log.read_cursors(conn)[state.shard]
            owed = [*self._owed(conn, state, "day", brands), *self._owed(conn, state, "month", brands)]
        if not owed:
            return
        if cursor.n < state.n:
            done.waiting.append(state.shard)
            return
        for period, starts_on in owed:
            if self._close(state.shard, period, starts_on, brands, done):
                if period == "day":
                    done.days += 1
                else:
                    done.months += 1

    def _owed(
        self, conn: Connection, state: LiveShard, period: Period, brands: list[BrandRecord]
    ) -> Iterator[tuple[Period, date]]:
        """The ended periods of a shard that are not closed yet, oldest first, from its first brand's beginning on."""
        last = periods.last_closed(conn, state.shard, period)
        begin = min(brand.created_at for brand in brands).date()
        earliest = spend_log.first_day(conn, state.shard)
        begin = min(begin, earliest) if earliest else begin
        if period == "day":
            first = begin if last is None else date_of(day_number(last) + 1)
            for day in range(day_number(first), day_of(state.now_ms)):
                yield period, date_of(day)
        else:
            month = month_of_date(begin) if last is None else next_month(month_of_date(last))
            while month < month_of(state.now_ms):
                yield period, month_date(month)
                month = next_month(month)

    def _close(self, shard: int, period: Period, starts_on: date, brands: list[BrandRecord], done: Closed) -> bool:
        field_name = f"d:{day_number(starts_on)}" if period == "day" else f"m:{month_of_date(starts_on)}"
        keys = shard_keys(shard)
        with self._db.begin() as conn:
            totals = spend_log.period_totals(conn, period, starts_on, [b.id for b in brands])
            counters = self._counters(shard, brands, field_name)
            aside = quarantine.brand_sums(conn, [b.id for b in brands], period, starts_on)
            for brand in brands:
                counter, logged = counters.get(keys.brand(brand.id)), totals.get(brand.id, 0) + aside.get(brand.id, 0)
                if counter is not None and counter not in (0, logged):
                    done.drift.append(
                        f"brand {brand.id} {period} {starts_on}: counter {format_micros(counter)}, log {format_micros(logged)}"
                    )
            first = periods.close(
                conn,
                shard,
                period,
                starts_on,
                [
                    (b.id, totals.get(b.id, 0), b.daily_budget_micros if period == "day" else b.monthly_budget_micros)
                    for b in brands
                ],
            )
            # Before the commit: a crash in between closes the period again, and pruning what is gone changes nothing.
            self._prune(shard, brands, field_name)
        return first

    def _counters(self, shard: int, brands: list[BrandRecord], field_name: str) -> dict[str, int]:
        keys, out = shard_keys(shard), {}
        for start in range(0, len(brands), SLICE):
            part = [keys.brand(b.id) for b in brands[start : start + SLICE]]
            totals = self._live.read_totals(shard, part, [field_name])
            out.update({key: values[0] for key, values in totals.values.items()} if totals else {})
        return out

    def _prune(self, shard: int, brands: list[BrandRecord], field_name: str) -> None:
        keys = shard_keys(shard)
        hashes = [keys.brand(b.id) for b in brands]
        for brand in brands:
            hashes += [keys.campaign(c.id) for c in self._catalog.campaigns(brand.id, include_archived=True)]
        self._live.prune(self._instance, shard, hashes, field_name)
