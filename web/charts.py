"""Paths of small charts, drawn by templates as SVG: no script, no style attribute, so that they show under the strict policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SPARK_HEIGHT: Final = 24
_BAR: Final = 4


def bars(values: Sequence[int]) -> str | None:
    """The path of bars against the largest value, each 4 wide in a height of 24; None where nothing is above zero."""
    largest = max(values, default=0)
    if largest <= 0:
        return None
    parts = []
    for place, value in enumerate(values):
        height = max(1, round(value * SPARK_HEIGHT / largest)) if value > 0 else 0
        if height:
            parts.append(f"M{place * _BAR} {SPARK_HEIGHT}v-{height}h3v{height}z")
    return "".join(parts)
