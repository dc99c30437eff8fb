"""Rebuilds beside persist: a process of their own, begun by the persist worker, so that no shard that is well waits for one that is not.

A rebuild of a busy shard takes a processor for seconds. In a thread of the persist worker it would hold up persist for as long.
No queue rings it: a shard that lost its mark takes no spends, and comes back within seconds even while RQ's Redis is away.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from engine.errors import BudgetError
from engine.local.bound import dies_with_us

_CODE: Final = "from engine.jobs import rebuild_lost_shards; rebuild_lost_shards()"


class RebuildBeside:
    """Runs one rebuild of all shards without a mark at a time, as a child process. environ: its settings; a rebuild that failed is told at the next question."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._process: subprocess.Popen[str] | None = None

    def look_after(self, begin: bool) -> bool:
        """Begins one where that is wanted and none is under way; answers whether one is now. Raises BudgetError with what the one before said at its end."""
        process = self._process
        if process is not None:
            if process.poll() is None:
                return True
            self._process = None
            said = "" if process.stdout is None else process.stdout.read().strip()
            if process.returncode:
                raise BudgetError(said or f"a rebuild ended without a word, status {process.returncode}")
        if not begin:
            return False
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            env=self._environ,
            start_new_session=True,
            preexec_fn=dies_with_us(signal.SIGKILL),  # noqa: PLW1509  # it makes two system calls, and no more
        )
        return True

    def stop(self, patience_s: float) -> bool:
        """Asks it to end and waits; False when it had to be killed. That may be in the middle: the next one begins again."""
        process = self._process
        if process is None or process.poll() is not None:
            return True
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
        return True


def child_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment with these settings, and no file that could say otherwise."""
    ours = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in settings}
    return {**ours, **settings, "BUDGET_ENV_FILE": os.devnull}
