"""Runs rebuilds in one thread of the persist worker, so that healthy shards are persisted meanwhile and can be closed
on time.

It needs no queue: a shard without a mark takes no spends, and must come back within seconds even while RQ's Redis is
away.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable


class RebuildBeside:
    """Runs one rebuild at a time in a thread. Its error is raised at the next call."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def look_after(self, work: Callable[[], None] | None) -> bool:
        """Begins the work unless one is running; returns whether one is running now. None begins nothing. Raises the
        error of the one before.
        """
        if self._thread is not None:
            if self._thread.is_alive():
                return True
            self._thread = None
            if self._error is not None:
                error, self._error = self._error, None
                raise error
        if work is None:
            return False
        self._thread = threading.Thread(
            # Its log lines have the id of the job that began it.
            target=contextvars.copy_context().run,
            args=(self._run, work),
            name="rebuild",
            daemon=True,
        )
        self._thread.start()
        return True

    def wait(self, patience_s: float) -> bool:
        """Waits for its end; False when it goes on. It may be killed in the middle: the next rebuild begins again."""
        if self._thread is not None:
            self._thread.join(patience_s)
            return not self._thread.is_alive()
        return True

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # raised again where persist logs its errors
            self._error = error
