"""A counter that differs from its log."""

from __future__ import annotations

from dataclasses import dataclass

from engine.flows.verify.logged import Owner


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter that differs from its log, at journal number n of its shard. field: in the hash (`d:20748`)."""

    shard: int
    key: str
    owner: Owner
    field: str
    period: str
    counted: int
    logged: int
    n: int

    @property
    def apart(self) -> int:
        """Micros that the counter has too many (negative: too few)."""
        return self.counted - self.logged

    @property
    def wrong_micros(self) -> int:
        """What is wrong with the counter: its difference from the log or, where it agrees, how far it is below 0."""
        return self.apart or self.counted

    def __str__(self) -> str:
        if not self.apart:
            below = "no counter is below 0: more was given back than spent"
            return f"{self.owner} {self.period}: Redis and the log count {self.counted} micros, and {below}"
        return f"{self.owner} {self.period}: Redis counts {self.counted} micros, logged are {self.logged} ({self.apart:+d})"
