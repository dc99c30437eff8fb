"""Time limits of tests. A test allows several times the promised seconds, because its machine has other work too.

A broken promise takes far longer, or never ends. `make bench` measures the speed on a quiet machine.
"""

from __future__ import annotations

from collections.abc import Callable

PATIENCE_S = 60.0
"""How long a test waits for a condition. The wait ends when the condition holds, so only a failing test takes so long.
"""
TIMES = 4
TRIES = 10
LEAST_S = 3.0
"""The least time limit: a busy machine may pause for a second or two."""


def in_time(took_s: float, promised_s: float) -> bool:
    """Whether something that took `took_s` seconds is clearly faster than one that hangs."""
    return took_s < max(TIMES * promised_s, LEAST_S)


def beside_well(took_s: float, promised_s: float, well_s: float) -> bool:
    """Whether something that meets a server that hangs kept its promise, for promises that `in_time` would stretch too far.

    well_s: what the same takes here while nothing hangs. A slow machine may take a few times that longer, and no more.
    """
    return took_s < promised_s + max(1.0, TIMES * well_s)


def at_best(promised: float, measure: Callable[[int], float]) -> bool:
    """Whether at least two of several tries keep a promise that is too short for `in_time`.

    measure: makes one try, by its number. A busy machine fails some tries; a broken program rarely passes two by
    chance.
    """
    kept = 0
    for number in range(TRIES):
        kept += measure(number) < promised
        if kept == 2:
            return True
    return False
