"""The whole of `verify`: every invariant that can be judged from outside, each PASS or FAIL with the difference in micros.

V6 (a request repeated gives the same outcomes) cannot be seen from outside without repeating a bidder's call: tests hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from sqlalchemy import Engine

from engine.flows.verify.agreement import Agreement
from engine.flows.verify.counters import Counters
from engine.flows.verify.findings import Check
from engine.flows.verify.journals import Journals
from engine.flows.verify.keyspace import Keyspace
from engine.flows.verify.limits import Limits
from engine.flows.verify.rows import Rows
from engine.ledger.catalog import Catalog
from engine.live.admin import LiveRedis
from engine.live.inspect import Inspector
from engine.live.journal import Journal

DAYS: Final = 2
"""How far back rows are looked at by themselves, unless asked otherwise."""


class Verifier:
    """Checks the invariants. Changes nothing, and may run beside everything else."""

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
        self._inspector = inspector
        self._event_window = event_window
        self._request_window = request_window

    def verify(self, days: int = DAYS, progress: Callable[[Check], None] = lambda check: None) -> list[Check]:
        """All checks, in order; `days` is how far back rows are looked at. Raises ServerAway."""
        checks: list[Check] = []
        for check in self._checks(days):
            checks.append(check)
            progress(check)
        return checks

    def _checks(self, days: int) -> Iterator[Check]:
        rows = Rows(self._db, self._live, self._event_window, self._request_window, days)
        journals = Journals(self._db, self._live, self._journal)
        agreement = Agreement(self._db, self._catalog, self._live, self._inspector)
        yield from self.counters.check()
        yield Limits(self._db, self._catalog, self._live, self._inspector).check()
        yield rows.once()
        yield rows.founded()
        yield rows.dated()
        yield agreement.statuses()
        yield journals.check()
        yield Keyspace(self._catalog, self._inspector).check()
        yield journals.marks(self._catalog.instance_uuid())
        yield agreement.plans()
