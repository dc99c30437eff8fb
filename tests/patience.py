"""What a promise in seconds may take in a test: several times what was promised, since the machine that runs the tests has other work too.

A promise that is broken takes far longer, or for ever; how fast a thing is on a quiet machine is for `make bench`.
"""

TIMES = 4


def in_time(took_s: float, promised_s: float) -> bool:
    """Whether something that took so many seconds is told apart from one that hangs."""
    return took_s < TIMES * promised_s
