"""What a promise in seconds may take in a test: several times what was promised, since the machine that runs the tests has other work too.

A promise that is broken takes far longer, or for ever; how fast a thing is on a quiet machine is for `make bench`.
"""

from __future__ import annotations

from collections.abc import Callable

PATIENCE_S = 60.0
"""How long a test waits for a fact. A fact that comes ends the wait, so only a test that fails takes so long."""
TIMES = 4
TRIES = 10
LEAST_S = 3.0
"""However short a promise is, a machine that does other work may stand still for a second or two."""


def in_time(took_s: float, promised_s: float) -> bool:
    """Whether something that took so many seconds is told apart from one that hangs."""
    return took_s < max(TIMES * promised_s, LEAST_S)


def at_best(promised: float, measure: Callable[[int], float]) -> bool:
    """Whether two of several tries, each given its number, keep a promise that is too short for `in_time`. A busy machine breaks it now and then; what is
    broken keeps it by accident, and seldom twice."""
    kept = 0
    for number in range(TRIES):
        kept += measure(number) < promised
        if kept == 2:
            return True
    return False
