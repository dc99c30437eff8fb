"""The last figures that were shown, for while PostgreSQL does not answer; the page shows their age."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from engine.views.models import Snapshot


@dataclass(frozen=True, slots=True)
class Seen:
    """Figures that were read together; at: monotonic seconds."""

    snapshot: Snapshot
    spends: Any
    switches: Any
    at: float

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.at


class Kept:
    """The newest figures shown to any viewer. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Seen | None = None

    def keep(self, snapshot: Snapshot, spends: Any, switches: Any) -> None:
        with self._lock:
            self._seen = Seen(snapshot, spends, switches, time.monotonic())

    def seen(self) -> Seen | None:
        with self._lock:
            return self._seen
