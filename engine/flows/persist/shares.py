"""The shards of one persist worker among several. The share says what a worker tries; the cursor's lock says what it may write.

So two workers that disagree for a moment, because one was taken for dead and is not, write nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine, text

from engine.domain.ids import SHARDS
from engine.ledger import persist_workers
from engine.ledger.database import writing

RENEW_S: Final = 1.0
_SHORT: Final = text("SET LOCAL lock_timeout = 500")
"""Milliseconds."""


class Share(NamedTuple):
    """first: whether this worker also does what one of them must do: refunds, publishing, trimming, rebuilds."""

    shards: range
    first: bool


ALL: Final = Share(range(SHARDS), True)
"""Of a worker alone."""


def share_of(name: str, workers: Sequence[str]) -> Share:
    """An even range of shards for each worker, in their order; none where there are more workers than shards."""
    place, count = workers.index(name), len(workers)
    return Share(range(SHARDS * place // count, SHARDS * (place + 1) // count), place == 0)


class Shares:
    """The share of the worker with a name, renewed each second."""

    def __init__(self, db: Engine, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._name = name
        self._clock = clock
        self._next = 0.0
        self.mine = ALL

    def renew(self) -> bool:
        """Notes that this worker is there, a second after the last time at the earliest. True where its share is another now.

        Raises ServerAway; DBAPIError where somebody keeps the table locked.
        """
        if self._clock() < self._next:
            return False
        with self._rows() as conn:
            workers = persist_workers.seen(conn, self._name)
        before, self.mine = self.mine, share_of(self._name, workers)
        self._next = self._clock() + RENEW_S
        return before != self.mine

    def leave(self) -> None:
        """Gives the share to the others. The next `renew` takes one again."""
        self._next = 0.0
        with self._rows() as conn:
            persist_workers.leave(conn, self._name)

    @contextmanager
    def _rows(self) -> Iterator[Connection]:
        """A transaction that waits for no lock of a stranger: persist goes on with the share that it has."""
        with writing(self._db) as conn:
            conn.execute(_SHORT)
            yield conn
