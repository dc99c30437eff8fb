"""Keeps the figures that the page showed last, to show them with their age while PostgreSQL does not answer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from engine.views.models import Snapshot


@dataclass(frozen=True, slots=True)
class ShownFigures:
    """Figures that were read together. at: when, in monotonic seconds."""

    snapshot: Snapshot
    spends: Any
    switches: Any
    at: float

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.at


class LastShown:
    """The newest figures that any viewer saw. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._figures: ShownFigures | None = None

    def keep(self, snapshot: Snapshot, spends: Any, switches: Any) -> None:
        with self._lock:
            self._figures = ShownFigures(snapshot, spends, switches, time.monotonic())

    def get(self) -> ShownFigures | None:
        with self._lock:
            return self._figures
