"""V4, V5 and V7: the log's rows by themselves. None twice, none invented, none missing, and each on its own day."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Engine

from engine.domain.periods import date_of, day_of, days_of_month, month_of_date
from engine.flows.verify.clocks import Clocks
from engine.flows.verify.findings import Check, confirmed
from engine.flows.verify.passes import Pass, Passes
from engine.ledger import audit, audit_rows, quarantine, retention, verified
from engine.live.admin import LiveRedis

T = TypeVar("T")


class Windows(NamedTuple):
    """The dedup windows of event ids and request ids."""

    events: timedelta
    requests: timedelta


class Rows:
    """Checks the rows of a pass. days: how far back, where it is a full one. between: called before each statement."""

    def __init__(
        self,
        db: Engine,
        live: LiveRedis,
        windows: Windows,
        passes: Passes,
        one: Pass,
        days: int,
        between: Callable[[], object],
    ) -> None:
        self._db = db
        self._live = live
        self._windows = windows
        self._passes = passes
        self._one = one
        self._days = days
        self._between = between
        self._looked_at = f"the last {days} days" if one.full else "rows since the last pass"

    def once(self) -> Check:
        """V4."""
        check = Check("V4", "once: no entry, event id, request or refund counted twice", self._looked_at)
        since = self._since()
        slices = self._passes.slices(self._one, since)
        found = [
            *self._each(slices, audit.repeated_positions),
            *self._each(slices, lambda conn, scope: audit.repeated_events(conn, scope, self._windows.events)),
            *self._each(slices, lambda conn, scope: audit.repeated_requests(conn, scope, self._windows.requests)),
            *self._each(self._all(), lambda conn, scope: audit.repeated_refunds(conn, scope, since)),
        ]
        for twice in found:
            text = f"brand {twice.brand_id} {twice.what}: {twice.micros} micros counted again"
            check.find(text, twice.what, twice.micros, twice.brand_id)
        return check

    def founded(self) -> Check:
        """V5."""
        title = "nothing invented, nothing lost: each row stems from one entry of a published campaign, each settled hold has its row"
        check = Check("V5", title, f"{self._looked_at} and the quarantine")
        for stray in confirmed(self._strays):
            check.find(
                f"brand {stray.brand_id}: {stray.what} ({stray.micros:+d} micros)",
                stray.what,
                stray.micros,
                stray.brand_id,
            )
        with self._db.connect() as conn:
            waiting = quarantine.rows(conn)
        check.waits = not check.findings
        if waiting:
            first = waiting[0]
            entries = "entry waits" if len(waiting) == 1 else "entries wait"
            text = f"{len(waiting)} {entries} in quarantine ({sum(row.micros for row in waiting)} micros), first {first.id}: {first.reason}"
            check.find(f"{text}; see `budget-engine quarantine list`", "quarantine", sum(row.micros for row in waiting))
            for row in waiting:
                for brand, micros in row.brands.items():
                    check.brands[brand] = check.brands.get(brand, 0) + micros
        return check

    def _each(self, scopes: Iterable[audit.Scope], look: Callable[[Connection, audit.Scope], list[T]]) -> list[T]:
        """What a query finds, slice by slice, each in a snapshot of its own."""
        found: list[T] = []
        for scope in scopes:
            self._between()
            with self._db.connect() as conn:
                verified.sort_in_memory(conn)
                found += look(conn, scope)
        return found

    def _all(self) -> list[audit.Scope]:
        return [self._passes.scope(self._one, self._since())]

    def _strays(self) -> list[audit_rows.Stray]:
        one, today = self._one, self._today()
        since = datetime.combine(self._since(), time(), UTC) if one.full else one.at
        strays = self._each(self._all(), audit_rows.beyond_the_cursor)
        with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
            strays += audit_rows.without_campaign(conn, one.above, one.first, today)
            strays += audit_rows.holds_apart(conn, since)
        return strays

    def dated(self) -> Check:
        """V7."""
        check = Check("V7", "period: each row on its brand's own day, closed days and months as their rows are")
        with self._db.connect() as conn:
            clocks = Clocks.read(conn)
        today = clocks.today(self._live.now_ms())
        first = date_of(next(days_of_month(month_of_date(self._today()))))
        # Also the month before, and on the 1st its last day.
        before = date_of(next(days_of_month(month_of_date(first - timedelta(days=1)))))
        own = clocks.own_days(self._since(), today)
        ends = clocks.ends_of("month", before)
        check.checked = f"{self._looked_at}, closed periods from {min(before, self._since())}"

        def closed() -> list[audit.Disagreement]:
            with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
                return [
                    *audit_rows.closed_days_off(conn, self._one.above, min(first, self._since()), today),
                    *audit_rows.closed_month_off(conn, before, first - timedelta(days=1), ends),
                ]

        strays = self._each(self._all(), lambda conn, scope: audit_rows.off_their_day(conn, scope, own))
        with self._db.connect() as conn:
            dropped = retention.dropped_through(conn)
        if dropped is not None:
            check.checked += f" (rows dropped up to {dropped}, their sums kept)"
        for stray in strays:
            check.find(f"{stray.what} ({stray.micros} micros)", stray.what, stray.micros, stray.brand_id)
        # A finding is read again: a snapshot does not prevent the drop of a day, and may see neither its rows nor
        # their sums.
        for wrong in confirmed(closed):
            apart = wrong.found - wrong.expected
            text = f"{wrong.owner} {wrong.what}: {wrong.found} micros, its rows are {wrong.expected} ({apart:+d})"
            check.find(text, wrong.owner, apart, wrong.brand_id)
        return check

    def _today(self) -> date:
        return date_of(day_of(self._live.now_ms()))

    def _since(self) -> date:
        return self._today() - timedelta(days=self._days - 1)
