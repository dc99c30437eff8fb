"""What brands spent in each of the last 24 hours, read for the brands that a page shows and kept for a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Engine

from engine.domain.periods import HOUR_MS, at_ms
from engine.ledger import minutes

HOURS: Final = 24
_KEPT_S: Final = 60.0
_MOST: Final = 20_000


class Sparks:
    """Thread-safe."""

    def __init__(self, db: Engine) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[float, tuple[int, ...]]] = {}

    def of(self, brand_ids: Sequence[int], now_ms: int) -> dict[int, tuple[int, ...]]:
        """{brand: micros of each of the last 24 hours, this one last}. Raises ServerAway."""
        with self._lock:
            now = time.monotonic()
            young = {id_: kept[1] for id_ in brand_ids if (kept := self._kept.get(id_)) and now - kept[0] < _KEPT_S}
            wanted = [id_ for id_ in brand_ids if id_ not in young]
            if wanted:
                young |= self._read(wanted, now_ms, now)
            return young

    def _read(self, brand_ids: Sequence[int], now_ms: int, now: float) -> dict[int, tuple[int, ...]]:
        last = now_ms // HOUR_MS
        hours = range(last - HOURS + 1, last + 1)
        with self._db.connect() as conn:
            found = minutes.of_hours(conn, brand_ids, at_ms(hours[0] * HOUR_MS))
        read = {id_: tuple(found.get((id_, hour), 0) for hour in hours) for id_ in brand_ids}
        if len(self._kept) > _MOST:
            self._kept.clear()
        self._kept.update({id_: (now, values) for id_, values in read.items()})
        return read
