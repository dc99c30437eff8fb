"""A process that is asked to stop ends, at whatever moment the signal comes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from engine.stop_flag import StopFlag
from tests.patience import PATIENCE_S, in_time

STORM = """
import signal, time
from engine.stop_flag import StopFlag
flag = StopFlag()
rang = 0
def ring(*_):
    global rang
    rang += 1
    flag.set()
signal.signal(signal.SIGALRM, ring)
until = time.monotonic() + 20
for turn in range(20_000):
    if time.monotonic() > until:
        break
    came = rang
    # One signal a turn: 0 to 100 us after its start.
    signal.setitimer(signal.ITIMER_REAL, 0.000001 + turn % 100 / 1_000_000)
    flag.wait(0.00005)
    while rang == came:
        pass
    flag.clear()
print(rang)
"""


def test_a_signal_at_any_moment_of_a_wait_sets_the_flag_and_stops_nothing() -> None:
    """With a `threading.Event` in its place, the program waits for itself within a second."""
    done = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert int(done.stdout) > 1000


def test_all_who_wait_are_woken_and_a_cleared_flag_wakes_nobody() -> None:
    flag, woken = StopFlag(), []
    waiting = [threading.Thread(target=lambda: woken.append(flag.wait(PATIENCE_S))) for _ in range(4)]
    for each in waiting:
        each.start()
    began = time.monotonic()
    flag.set()
    for each in waiting:
        each.join()
    assert woken == [True] * 4
    assert in_time(time.monotonic() - began, 2)
    flag.clear()
    assert not flag.wait(0.01)
    assert not flag.is_set()
    flag.set()
    assert flag.wait(0)
