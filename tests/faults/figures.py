"""What a fault test saw, in one line at the end of the run: attempts, acknowledged, faults, and what must be 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pytest

PROPERTY: Final = "figures"


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


def tell(item: pytest.Item, seen: Figures) -> None:
    """Notes the figures for the summary, and fails the test when money went wrong."""
    name = item.name.removeprefix("test_")
    item.user_properties.append((PROPERTY, f"{name}: {seen}"))
    assert (seen.lost, seen.doubled, seen.overspent) == (0, 0, 0), f"{name}: {seen}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints what was noted; the lines come with the reports, so that they also arrive from other test processes."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    lines = sorted(text for report in reports for name, text in report.user_properties if name == PROPERTY)
    if lines:
        terminalreporter.section("faults: what was seen")
        for line in lines:
            terminalreporter.write_line(line)
