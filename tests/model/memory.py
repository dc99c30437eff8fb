"""What was seen before, and for how long: the rule of the two hashes that take turns.

Time is cut into windows of equal length, counted from 1970. What was written in one window is remembered through the next: for at least one
length and less than two. Reading does not refresh it.
"""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")


class Memory(Generic[V]):
    """Names and what is remembered of each."""

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self._kept: dict[str, tuple[int, V]] = {}

    def remember(self, name: str, value: V, now: int) -> None:
        """Written in the window of `now`, over whatever was there."""
        self._kept[name] = (now // self.window_ms, value)

    def recall(self, name: str, now: int) -> V | None:
        """What is remembered of a name; None when nothing is, or no longer."""
        written, value = self._kept.get(name, (None, None))
        return value if written is not None and now // self.window_ms - written <= 1 else None

    def forget_all(self) -> None:
        self._kept.clear()
