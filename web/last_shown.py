"""Keeps the figures that the page showed last, to show them with their age while PostgreSQL does not answer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from engine.views.models import Snapshot

Scope = frozenset[int] | None
MOST: Final = 20
"""Scopes of which the figures are kept, those shown last."""


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
    """The newest figures that any viewer with the same brands saw. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._figures: dict[Scope, ShownFigures] = {}

    def keep(self, scope: Scope, snapshot: Snapshot, spends: Any, switches: Any) -> None:
        """scope: the brands that the viewer sees, None for every brand."""
        with self._lock:
            self._figures.pop(scope, None)
            if len(self._figures) >= MOST:
                del self._figures[next(iter(self._figures))]
            self._figures[scope] = ShownFigures(snapshot, spends, switches, time.monotonic())

    def get(self, scope: Scope) -> ShownFigures | None:
        with self._lock:
            return self._figures.get(scope)
