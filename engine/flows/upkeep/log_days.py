"""The days of the spend log: makes partitions before their day begins, and drops closed days that are past their
retention.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from engine.domain.periods import date_of, day_of
from engine.ledger import find_spends, retention, spend_log
from engine.ledger.database import writing
from engine.ledger.locks import LockHeld, is_held
from engine.ledger.models import tables_of
from engine.live.admin import LiveRedis

log = logging.getLogger(__name__)

AHEAD: Final = 3
"""Days for which partitions are made in advance."""
SUMMARISED: Final = 4
"""The last days whose filters are completed, today among them."""
DAYS_AT_ONCE: Final = 31
"""The most days that one run drops: after retention was just set, a long log takes several runs."""


@dataclass(slots=True)
class Dropped:
    """What a run dropped. kept: why a day past its retention stays."""

    days: list[date] = field(default_factory=list)
    rows: int = 0
    kept: list[str] = field(default_factory=list)
    unexported: dict[str, list[date]] = field(default_factory=dict)
    """By reason, the days that stay because of SPEND_LOG_DROP=exported."""

    def __str__(self) -> str:
        """Empty when nothing was done."""
        said = []
        if self.days:
            said.append(f"{len(self.days)} days of the spend log dropped ({self.rows} rows), through {self.days[-1]}")
        return "; ".join(said + [f"not dropped: {why}" for why in self.all_kept])

    @property
    def all_kept(self) -> list[str]:
        """Every reason, those of SPEND_LOG_DROP=exported in a line each, however many days it keeps."""
        out = list(self.kept)
        for why, days in self.unexported.items():
            which = f"{days[0]}" if len(days) == 1 else f"{len(days)} days from {days[0]} to {days[-1]}"
            out.append(f"{which} (SPEND_LOG_DROP=exported), {why}")
        return out


class LogDays:
    """Maintains the partitions of the spend log. keep_days: SPEND_LOG_KEEP_DAYS, None for all. only_exported: whether SPEND_LOG_DROP says so.
    packed: whether SPEND_LOG says so.
    """

    def __init__(
        self, db: Engine, live: LiveRedis, keep_days: int | None, only_exported: bool = False, packed: bool = False
    ) -> None:
        self._db = db
        self._live = live
        self._keep_days = keep_days
        self._only_exported = only_exported
        self._tables = tables_of(packed)

    def make_ahead(self) -> None:
        """Makes the partitions of today and the next days, so that midnight waits for none. Persist makes a missing
        one too.
        """
        today = self._today()
        for days in range(AHEAD + 1):
            for table in self._tables:
                with writing(self._db) as conn:
                    spend_log.ensure_partition(conn, today + timedelta(days=days), table)

    def summarise(self) -> int:
        """Completes the filters by which rows of the last days are found by id. PostgreSQL makes most of them itself; a day that
        is over gets no more rows, and so nothing would make its last ones. Returns how many were made.
        """
        made = 0
        with self._db.connect() as conn:
            days = retention.logged_days(conn)
        for day in [day for day in days if day <= self._today()][-SUMMARISED:]:
            with writing(self._db) as conn:
                made += find_spends.summarise(conn, day)
        return made

    def drop_old(self, between: Callable[[], object] = lambda: None) -> Dropped:
        """Drops closed days that are older than the setting, each in a transaction of its own; `between` is called
        before each.

        May be killed anywhere and run twice at once: a day is dropped whole, with its sums kept, or not at all.
        """
        done = Dropped()
        if self._keep_days is None:
            return done
        before = self._today() - timedelta(days=self._keep_days)
        for day in self._closed_before(before):
            if len(done.days) == DAYS_AT_ONCE:
                break
            between()
            try:
                with writing(self._db) as conn:
                    rows = retention.drop_day(conn, day, before, self._only_exported)
            except retention.SumsApart as apart:
                done.kept.append(str(apart))
                log.error("a day of the spend log is not dropped: %s; see V2 of verify", apart)
                continue
            except retention.NotExported as why:
                done.unexported.setdefault(str(why), []).append(day)
                continue
            except (OperationalError, LockHeld) as error:
                if not is_held(error):
                    raise
                done.kept.append(f"{day} and later: the log is in use, the next run tries again")
                break
            if rows is not None:
                done.days.append(day)
                done.rows += rows
        return done

    def _closed_before(self, before: date) -> Iterator[date]:
        """The closed days before a day that have rows, oldest first, read lazily."""
        with self._db.connect() as conn:
            old = [day for day in retention.logged_days(conn) if day < before]
        for start in range(0, len(old), DAYS_AT_ONCE):
            with self._db.connect() as conn:
                closed = retention.closed_days(conn, old[start : start + DAYS_AT_ONCE])
            yield from closed

    def _today(self) -> date:
        return date_of(day_of(self._live.now_ms()))
