"""Close: archives ended days and months, shard by shard, and prunes their counters. It never resets a counter: a new
period is another field.

A shard's period is closed only when PostgreSQL has its last entry. Then the total comes from the log, is compared
with the counter, and the field is removed. Every missed period is caught up on; a closed period is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from sqlalchemy import Connection, Engine

from engine.domain.budget import BUDGETS
from engine.domain.ids import SHARDS, campaign_id_of
from engine.domain.money import format_micros
from engine.domain.periods import (
    Period,
    at_ms,
    counter_field_on,
    date_of,
    day_number,
    day_of,
    month_date,
    month_of,
    month_of_date,
    next_month,
)
from engine.domain.zone_text import UTC
from engine.errors import BudgetError, ServerAway
from engine.flows.upkeep.zoned import (
    NEW_DAYS,
    Group,
    any_zoned,
    ended,
    ended_for_all,
    first_day_of,
    groups,
    month_before,
)
from engine.ledger import limit_rows, periods, quarantine, spend_read
from engine.ledger.catalog import Catalog
from engine.ledger.cursors import read_cursors
from engine.ledger.database import writing
from engine.ledger.records import BrandRecord
from engine.live.admin import TURN, LiveRedis, LiveShard
from engine.live.keys import shard_keys

PERIODS_AT_ONCE: Final = 32
"""Periods of a shard that are closed in one transaction and pruned in one scan."""

WAIT_S: Final = 10.0
"""Seconds for which a job waits for persist, which is slightly behind on any shard that goes on spending."""
_POLL_S: Final = 0.1


@dataclass(slots=True)
class Closed:
    """What a close did. waiting: shards whose last entries PostgreSQL lacks. drift: counters that differ from the
    log. zoned: days and months of brands that ended by a time zone.
    """

    days: int = 0
    months: int = 0
    zoned: int = 0
    waiting: list[int] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{self.days} shard days and {self.months} shard months closed"
        if self.zoned:
            text += f"; {self.zoned} days and months of brands with time zones"
        if self.waiting:
            text += f"; {len(self.waiting)} shards wait for persist"
        return text + "".join(f"; {line}" for line in self.drift)


class NotAllClosed(BudgetError):
    """Some shards could not be closed; all others were."""


class Closer:
    """Closes ended periods."""

    def __init__(self, db: Engine, catalog: Catalog, live: LiveRedis, instance: str) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live
        self._instance = instance

    def close_ended(self, wait_s: float = 0, stop_if_asked: Callable[[], None] = lambda: None) -> Closed:
        """Closes every ended day and month on every shard that is ready. Raises ServerAway; NotAllClosed after all
        other shards.

        wait_s: how long to wait for persist when no shard can be closed yet. A shard can close once PostgreSQL has
        every entry that existed when this call began; later entries belong to later periods. `stop_if_asked` is
        called between the tries.
        """
        done = Closed()
        failed: list[str] = []
        brands: dict[int, list[BrandRecord]] = {shard: [] for shard in range(SHARDS)}
        for brand in self._catalog.brands(include_archived=True):
            brands[brand.id % SHARDS].append(brand)
        states = self._live.read_shards(tick=True)
        with self._db.connect() as conn:
            last = periods.all_last_closed(conn)
        owed: dict[LiveShard, list[Group]] = {}
        for state in states:
            if brands[state.shard] and state.away:
                failed.append(f"shard {state.shard}: {state.away}")
            if brands[state.shard] and state.ready and state.instance == self._instance:
                with self._unless_it_fails(state.shard, failed):
                    if periods_of := self._owed(state, brands[state.shard], last):
                        owed[state] = periods_of
        highest = self._catalog.highest_ordinals() if owed else {}
        ends_s = time.monotonic() + wait_s
        while owed:
            with self._db.connect() as conn:
                cursors = read_cursors(conn)
            whole = [state for state in owed if cursors[state.shard].n >= state.n]
            for state in whole:
                with self._unless_it_fails(state.shard, failed):
                    self._close(state.shard, owed.pop(state), highest, done)
            if whole:
                # Closing takes time, in which persist went on: that does not count as waiting.
                ends_s = time.monotonic() + wait_s
            elif time.monotonic() >= ends_s:
                break
            else:
                time.sleep(_POLL_S)
            stop_if_asked()
        done.waiting = [state.shard for state in owed]
        if failed:
            more = f"; and {len(failed) - 1} more shards" if len(failed) > 1 else ""
            raise NotAllClosed(f"{done}; not closed: {failed[0]}{more}")
        return done

    @contextmanager
    def _unless_it_fails(self, shard: int, failed: list[str]) -> Iterator[None]:
        """Closes a shard; one bad shard must not delay the day of the others. Raises ServerAway."""
        try:
            yield
        except Exception as error:  # whatever it is, it is raised after the others
            if isinstance(error, ServerAway) and not error.partial:
                raise
            failed.append(f"shard {shard}: {type(error).__name__}: {' '.join(str(error).split())}")

    def _owed(self, state: LiveShard, brands: list[BrandRecord], last: Mapping[tuple[int, str], date]) -> list[Group]:
        """The ended periods of a shard that are not closed yet, days first, oldest first, from its first brand on. One to
        which late spends still count has not ended. The last group has all brands: what ended for every one of them.
        """
        day, month = last.get((state.shard, "day")), last.get((state.shard, "month"))
        begin = None if day and month else self._begin(state.shard, brands)
        first = day_number(day) + 1 if day else day_number(begin) if begin else day_of(state.now_ms)
        first_month = (
            next_month(month_of_date(month)) if month else month_of_date(begin) if begin else month_of(state.now_ms)
        )
        if not any_zoned(brands):
            owed = ended(UTC, state.closable_ms, first, first_month)
            return [Group(UTC, tuple(brands), tuple(owed), whole=True)] if owed else []
        # Back to the month before: a brand of that time without a total was made after its shard had closed.
        since = min(date_of(first - NEW_DAYS), month_date(month_before(first_month)))
        with self._db.connect() as conn:
            ids = [brand.id for brand in brands]
            totals, spent = periods.last_totals(conn, ids, since), spend_read.first_days(conn, ids, since)
        found = groups(brands, state.closable_ms, (first, first_month), totals, spent)
        if for_all := ended_for_all(brands, state.closable_ms, first, first_month):
            found.append(Group(UTC, (), tuple(for_all), whole=True))
        return found

    def _begin(self, shard: int, brands: list[BrandRecord]) -> date:
        """The first day of a shard: of its first brand or, where that was imported, of its first spend."""
        created = date_of(min(map(first_day_of, brands)))
        with self._db.connect() as conn:
            earliest = spend_read.first_day(conn, shard)
        return min(created, earliest) if earliest else created

    def _close(self, shard: int, owed: Sequence[Group], highest: Mapping[int, int], done: Closed) -> None:
        """Closes periods of a shard together, group by group, and prunes their counters in one scan of each group's hashes."""
        keys = shard_keys(shard)
        for group in owed:
            ids = [brand.id for brand in group.brands]
            hashes = [keys.brand(brand_id) for brand_id in ids]
            hashes += [keys.campaign(campaign_id_of(b, o)) for b in ids for o in range(1, highest.get(b, 0) + 1)]
            for start in range(0, len(group.owed), PERIODS_AT_ONCE):
                part = group.owed[start : start + PERIODS_AT_ONCE]
                fields = [counter_field_on(*period) for period in part]
                with writing(self._db) as conn:
                    counters = self._counters(shard, ids, fields)
                    for period in part:
                        self._total(conn, group, *period, counters, done)
                    marked = [group.whole and periods.close(conn, shard, *period, ()) for period in part]
                    # Before the commit: after a crash in between the periods are closed again, and pruning a removed
                    # field changes nothing.
                    self._prune(shard, hashes, fields)
                done.days += sum(closed for closed, (period, _) in zip(marked, part, strict=True) if period == "day")
                done.months += sum(
                    closed for closed, (period, _) in zip(marked, part, strict=True) if period == "month"
                )
                done.zoned += len(part) * len(ids) * (group.zone != UTC)

    def _prune(self, shard: int, hashes: Sequence[str], fields: Sequence[str]) -> None:
        self._live.prune(self._instance, shard, hashes, fields)

    def _total(
        self,
        conn: Connection,
        group: Group,
        period: Period,
        starts_on: date,
        counters: Mapping[tuple[int, str], int],
        done: Closed,
    ) -> None:
        """Writes what each brand of a group spent in a period."""
        ids = [brand.id for brand in group.brands]
        last = _last_day(period, starts_on)
        ends_at = at_ms(group.zone.midnight_ms(day_number(last) + 1))
        totals = spend_read.period_totals(conn, period, starts_on, ids, ends_at) if ids else {}
        aside = quarantine.brand_sums(conn, ids, period, starts_on)
        for brand_id in ids:
            counter = counters.get((brand_id, counter_field_on(period, starts_on)))
            logged = totals.get(brand_id, 0) + aside.get(brand_id, 0)
            if counter is not None and counter not in (0, logged):
                done.drift.append(
                    f"brand {brand_id} {period} {starts_on}: counter {format_micros(counter)}, log {format_micros(logged)}"
                )
        # A brand's periods begin with the brand, or with its first spend where that is older.
        there = [b for b in group.brands if first_day_of(b) <= day_number(last) or totals.get(b.id, 0) > 0]
        # The first budget of a period is the one that is shown beside its closed total.
        kind = next(kind for kind in BUDGETS if kind.period == period)
        # Of a scheduled change that came into force since, the limit before it is the period's.
        limits = limit_rows.at_end(conn, there, kind, ends_at)
        periods.write_totals(conn, period, starts_on, [(b.id, totals.get(b.id, 0), limits[b.id]) for b in there])

    def _counters(self, shard: int, brand_ids: list[int], fields: Sequence[str]) -> dict[tuple[int, str], int]:
        keys, out = shard_keys(shard), {}
        for start in range(0, len(brand_ids), TURN):
            part = brand_ids[start : start + TURN]
            totals = self._live.read_totals(shard, [keys.brand(brand_id) for brand_id in part], fields)
            for brand_id in part if totals else ():
                assert totals is not None
                for field_name, micros in zip(fields, totals.values[keys.brand(brand_id)], strict=True):
                    out[brand_id, field_name] = micros
        return out


def _last_day(period: Period, starts_on: date) -> date:
    return starts_on if period == "day" else date_of(day_number(month_date(next_month(month_of_date(starts_on)))) - 1)
