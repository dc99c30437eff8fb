"""docs/reliability.md names tests that there are, and shows figures of a soak that passed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_each_fault_of_the_table_has_the_test_that_it_names() -> None:
    named = re.findall(r"`(test_\w+)`", TEXT)
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 15
    assert [name for name in named if f"def {name}(" not in code] == []


@pytest.mark.parametrize("soak", ["soak", "soak_on_a_cluster"])
def test_the_soak_that_is_shown_lost_doubled_and_overspent_nothing(soak: str) -> None:
    shown = TEXT.partition(f"<!-- {soak}: begin -->")[2].partition(f"<!-- {soak}: end -->")[0]
    assert "| micros lost, duplicated, invented, overspent | 0, 0, 0, 0 |" in shown
    assert "PASS" in shown and "FAIL" not in shown
