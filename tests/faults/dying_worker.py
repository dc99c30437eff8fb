"""Turns a process into a persisting worker that kills itself at a named point. Only that process is patched: production code has no switch."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from engine import jobs
from engine.flows.persist import persister, posting
from engine.live.admin import LiveRedis

POINTS = ("after-read", "after-copy", "before-commit", "after-commit", "before-trim", "after-trim")
BATCH = 8
"""Entries in one transaction: few, so that there are many moments to die at."""


def die_at(point: str, nth: int) -> None:
    """From here on the nth passing of the point is this process' last instant."""
    left = nth

    def passed(due: object) -> None:
        nonlocal left
        left -= bool(due)
        if due and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def after(real: Callable[..., Any], due: Callable[[Any], object] = lambda answer: True) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            answer = real(*args, **kwargs)
            passed(due(answer))
            return answer

        return wrapped

    def before(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            passed(True)
            return real(*args, **kwargs)

        return wrapped

    step = persister.Persister.step
    persister.Persister.step = lambda self, shards, states=None: step(self, shards, states, batch=BATCH)  # type: ignore[method-assign,misc,assignment]
    trim_all = jobs.trim_all
    # Twice without a wait: what the first finds persisted, the second may trim.
    jobs.trim_all = lambda db, live, instance, keep: sum(trim_all(db, live, instance, 0) for _ in range(2))
    if point == "after-read":
        persister.in_sequence = after(persister.in_sequence)
    elif point == "after-copy":
        posting.spend_log.copy_rows = after(posting.spend_log.copy_rows, bool)
    elif point == "before-commit":
        persister.advance_cursor = after(persister.advance_cursor)
    elif point == "after-commit":
        persister.Persister.step = after(persister.Persister.step, lambda drained: drained.rows)  # type: ignore[method-assign]
    elif point == "before-trim":
        LiveRedis.trim = before(LiveRedis.trim)  # type: ignore[method-assign]
    elif point == "after-trim":
        LiveRedis.trim = after(LiveRedis.trim)  # type: ignore[method-assign]
    else:
        raise ValueError(f"{point} is no point to die at: {', '.join(POINTS)}")
