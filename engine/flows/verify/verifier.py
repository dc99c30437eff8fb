"""All of `verify`: every invariant that can be checked from outside, each PASS or FAIL with the difference in micros.

V6 (a repeated request gets the same outcomes) cannot be checked without repeating a bidder's call: tests check it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Final

from sqlalchemy import Engine

from engine.errors import ServerAway
from engine.flows.verify.agreement import Agreement
from engine.flows.verify.counters import Counters
from engine.flows.verify.exports import Exports
from engine.flows.verify.findings import Check
from engine.flows.verify.journals import Journals
from engine.flows.verify.keyspace import Keyspace
from engine.flows.verify.limits import Limits
from engine.flows.verify.passes import Pass, Passes
from engine.flows.verify.rows import Rows, Windows
from engine.ledger.catalog import Catalog
from engine.live.admin import LiveRedis
from engine.live.inspect import Inspector
from engine.live.journal import Journal

DAYS: Final = 2
"""Days for which rows are checked by default."""


_OF_THE_LOG: Final = frozenset({"V1", "V2", "V4", "V5", "V7", "V13"})
"""What a watermark stands on: none moves where one of these found something."""


class Verifier:
    """Checks the invariants. Changes nothing but its own watermarks, and may run beside everything else, itself too."""

    def __init__(
        self,
        db: Engine,
        catalog: Catalog,
        live: LiveRedis,
        journal: Journal,
        inspector: Inspector,
        event_window: timedelta,
        request_window: timedelta,
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live
        self._journal = journal
        self.counters = Counters(db, catalog, live, journal)
        self.passes = Passes(db, live)
        self._inspector = inspector
        self._windows = Windows(event_window, request_window)

    def verify(
        self,
        days: int = DAYS,
        progress: Callable[[Check], None] = lambda check: None,
        *,
        recent: bool = False,
        between: Callable[[], object] = lambda: None,
    ) -> list[Check]:
        """All checks, in order. Raises ServerAway.

        A full pass reads all rows of the month, and checks single rows of the last `days`. recent: takes what an
        earlier pass confirmed for granted and reads what came since; the pass is full where there is none.
        between: called before each statement on many rows.
        """
        one = (self.passes.recent() if recent else None) or self.passes.full(days, between)
        checks: list[Check] = []
        try:
            for check in self._checks(one, days, between):
                checks.append(check)
                progress(check)
        except BaseException:
            self.passes.leave(one)
            raise
        found = any(check.findings and not check.waits for check in checks if check.id in _OF_THE_LOG)
        if found or self._live.lacking:  # shards of a server that is away, of several, were not looked at
            self.passes.failed(one)
        else:
            self.passes.passed(one)
        return checks

    def _checks(self, one: Pass, days: int, between: Callable[[], object]) -> Iterator[Check]:
        rows = Rows(self._db, self._live, self._windows, self.passes, one, days, between)
        journals = Journals(self._db, self._live, self._journal)
        agreement = Agreement(self._db, self._catalog, self._live, self._inspector)
        yield from self._judged("V1", "conservation", lambda: self.counters.check(one))
        limits = Limits(self._db, self._catalog, self._live, self._inspector)
        keyspace = Keyspace(self._catalog, self._inspector)
        for invariant, title, judge in (
            ("V3", "no overspend", limits.check),
            ("V4", "once", rows.once),
            ("V5", "nothing invented", rows.founded),
            ("V7", "period", rows.dated),
            ("V8", "status", agreement.statuses),
            ("V9", "journal", journals.check),
            ("V10", "keyspace", keyspace.check),
            ("V11", "readiness", lambda: journals.marks(self._catalog.instance_uuid())),
            ("V12", "agreement", agreement.plans),
            ("V13", "lifetime", lambda: self.counters.lifetimes.check(one)),
            ("V15", "zone", agreement.zones),
            ("V16", "export", Exports(self._db).check),
        ):
            yield from self._judged(invariant, title, lambda judge=judge: (judge(),))  # type: ignore[misc]  # mypy cannot infer a default

    def _judged(self, invariant: str, title: str, judge: Callable[[], Iterable[Check]]) -> Iterable[Check]:
        """The result of a check. A check that raises on what it reads is a FAIL with the error, and the others go on."""
        try:
            return list(judge())
        except Exception as error:  # malformed data in one place never stops another
            if isinstance(error, ServerAway) and not error.partial:
                raise
            failed = Check(invariant, title)
            failed.find(f"could not be judged: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            return [failed]
