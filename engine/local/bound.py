"""Child processes that end with this process, by whatever signal it is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
# Loaded here and not in the child: between fork and exec few calls are safe.
_prctl: Callable[..., int] | None = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def dies_with_us(number: signal.Signals) -> Callable[[], None]:
    """Returns a preexec_fn for Popen: the child gets the signal when the thread that started it ends. So start
    children from the main thread.

    Linux only; on other systems the next start ends the leftover processes. Popen changes the user before it calls
    this function; a later change of user would clear the setting.
    """
    parent = os.getpid()

    def bind() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
            if os.getppid() != parent:
                # The parent died between fork and prctl.
                os.kill(os.getpid(), number)

    return bind


def processes_in(folder: Path) -> list[int]:
    """The ids of processes whose current folder is this one: servers of a killed `up` that are still shutting down.
    Linux only.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(entry / "cwd")) == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found
