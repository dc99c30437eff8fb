"""Keeps a test's two reads of the clock on one day: none begins in the last seconds before midnight UTC."""

from __future__ import annotations

import time
from typing import Final

_DAY_S: Final = 86_400
QUICK_S: Final = 20.0
LONG_S: Final = 60.0


def wait_over(least_s: float) -> float:
    """Waits until midnight UTC is over, where it is nearer than `least_s`; returns the seconds that it waited.

    A spend before midnight is none of the day after. Tests of midnight itself move the clock.
    """
    left_s = _DAY_S - time.time() % _DAY_S
    if left_s >= least_s:
        return 0.0
    time.sleep(left_s + 0.05)
    return left_s
