"""Rebuilds beside persist: one thread of the persist worker, so that shards that are well go on being persisted, and so can be closed on time.

No queue rings it: a shard that lost its mark takes no spends, and comes back within seconds even while RQ's Redis is away.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable


class RebuildBeside:
    """Runs one rebuild at a time in a thread. An error of it is raised at the next question."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def look_after(self, work: Callable[[], None] | None) -> bool:
        """Begins the work unless one is under way; answers whether one is now. None begins nothing. Raises what the one before raised."""
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
            # Its lines carry the job that began it.
            target=contextvars.copy_context().run,
            args=(self._run, work),
            name="rebuild",
            daemon=True,
        )
        self._thread.start()
        return True

    def wait(self, patience_s: float) -> bool:
        """Waits for its end; False when it goes on. It may be left in the middle, as by a kill: the next one begins again."""
        if self._thread is not None:
            self._thread.join(patience_s)
            return not self._thread.is_alive()
        return True

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # it is raised again where persist tells its troubles
            self._error = error
