"""The result of an invariant's check: PASS or FAIL, what was checked, each finding, and how much money it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from engine.errors import BudgetError

PASS: Final = "PASS"
FAIL: Final = "FAIL"
SHOWN: Final = 20
"""Findings that are listed one by one; the difference includes them all."""
TRIES: Final = 3
"""On a live system a difference counts when a second look finds it too: a close may prune a counter between two
reads.
"""

T = TypeVar("T")


@dataclass(slots=True)
class Check:
    """One invariant: what was checked, and the findings."""

    id: str
    title: str
    checked: str = ""
    findings: list[str] = field(default_factory=list)
    brands: dict[int, int] = field(default_factory=dict)
    """Micros by brand: of each brand the largest difference, not the sum over its days and months."""
    waits: bool = False
    """Whether all findings wait for a person, with rows and sums in order: verify goes on from here all the same."""
    _worst: dict[str, int] = field(default_factory=dict)

    @property
    def result(self) -> str:
        return FAIL if self.findings else PASS

    @property
    def difference_micros(self) -> int:
        """How much money is unaccounted for: of each owner the largest difference, so that one lost spend does not
        count for its day and again for its month.
        """
        return sum(self._worst.values())

    def find(self, text: str, owner: str = "", micros: int = 0, brand_id: int | None = None) -> None:
        """Adds a finding about a brand or campaign."""
        self.findings.append(text)
        self._worst[owner] = max(self._worst.get(owner, 0), abs(micros))
        if brand_id is not None and abs(micros) > abs(self.brands.get(brand_id, 0)):
            self.brands[brand_id] = micros


class NotVerifiable(BudgetError):
    """A shard cannot be checked, because it is not in use."""


def confirmed(look: Callable[[], Iterable[T]], tries: int = TRIES) -> list[T]:
    """The findings of a look that a second look finds too."""
    found: list[T] = []
    for _ in range(tries):
        found = list(look())
        if not found:
            break
    return found


def summary(checks: Iterable[Check]) -> str:
    """All checks in one line for job_run: `PASS V2 V4; FAIL V1 500000 micros: brand 1 day ...`."""
    listed = list(checks)
    passed = [check.id for check in listed if check.result == PASS]
    failed = [
        f"{FAIL} {check.id} {check.difference_micros} micros: {check.findings[0][:120]}"
        for check in listed
        if check.findings
    ]
    return "; ".join([*failed, *([f"{PASS} {' '.join(passed)}"] if passed else [])])


def failed_in(line: str) -> tuple[str, ...]:
    """The ids that a summary calls failed."""
    return tuple(re.findall(rf"\b{FAIL} (V\d+) \d+ micros:", line))
