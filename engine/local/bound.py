"""Child processes whose end is bound to ours: whoever kills us, by whatever signal, ends them too."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
# Loaded here, not in the child: between fork and exec little is allowed.
_prctl: Callable[..., int] | None = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def dies_with_us(number: signal.Signals) -> Callable[[], None]:
    """A preexec_fn: the child gets the signal when the thread that made it ends, so start children from the main thread.

    Linux only; elsewhere the next start finds what was left. Popen changes the user before it calls this: changing it after would undo it.
    """
    parent = os.getpid()

    def bind() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
            if os.getppid() != parent:
                # It died in between.
                os.kill(os.getpid(), number)

    return bind


def processes_in(folder: Path) -> list[int]:
    """Processes that work in a folder: the servers of an `up` that was killed, on their way out. Linux only."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(entry / "cwd")) == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found
