"""What a fault test saw, in one line at the end of the run: attempts, acknowledged, faults, and what must be 0."""

from __future__ import annotations

from dataclasses import dataclass

SEEN: list[str] = []
"""The lines of this run; the terminal summary prints them."""


@dataclass(slots=True)
class Figures:
    """The figures of one test. lost, doubled, overspent: micros that must be 0. more: anything else worth a number."""

    attempts: int = 0
    acknowledged: int = 0
    faults: int = 0
    lost: int = 0
    doubled: int = 0
    overspent: int = 0
    more: str = ""

    def __str__(self) -> str:
        text = (
            f"attempts {self.attempts:,}  acknowledged {self.acknowledged:,}  faults {self.faults:,}"
            f"  lost {self.lost}  doubled {self.doubled}  overspent {self.overspent} micros"
        )
        return f"{text}  {self.more}" if self.more else text


def tell(name: str, seen: Figures) -> None:
    """Notes the figures for the summary, and fails the test when money went wrong."""
    SEEN.append(f"{name}: {seen}")
    assert (seen.lost, seen.doubled, seen.overspent) == (0, 0, 0), f"{name}: {seen}"
