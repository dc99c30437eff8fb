"""Campaigns of one compiled schedule and one time zone: they open and close together."""

from __future__ import annotations

from engine.domain.hours import Hours
from engine.domain.zone_text import Zone


class Group:
    """The campaigns of one compiled schedule in one zone. ready: those that only the schedule may stop. users: how many they are."""

    __slots__ = ("hours", "open", "ready", "text", "users", "zone")

    def __init__(self, text: str, zone: Zone, ready: set[int], now_ms: int) -> None:
        self.text = text
        self.zone = zone
        self.hours = Hours(text)
        self.open = self.is_open(now_ms)
        self.ready = ready
        self.users = 0

    def is_open(self, now_ms: int) -> bool:
        """Whether its hours are open at an instant."""
        return self.hours.is_open(self.zone.local_ms(now_ms))

    def next_change_ms(self, now_ms: int) -> int | None:
        """The first instant after `now_ms` at which its hours may open or close; None when they never do."""
        edge = self.hours.next_change_ms(self.zone.local_ms(now_ms))
        if edge is None:
            return None
        # Where the clock is put forward or back, an edge is skipped or comes twice.
        candidates = (*self.zone.instants_of(edge), *self.zone.changes)
        return min((at for at in candidates if at > now_ms), default=None)
