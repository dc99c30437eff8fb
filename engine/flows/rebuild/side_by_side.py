"""Work on many things, a few at a time in threads of their own, told in the caller's thread as each ends."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(things: Iterable[T], work: Callable[[T], R], at_once: int) -> Iterator[tuple[T, Callable[[], R]]]:
    """Each thing, as its work ends, with what answers the result or raises the error. When the caller leaves, nothing more is begun."""
    waiting = iter(things)
    under_way: dict[Future[R], T] = {}
    with ThreadPoolExecutor(at_once, thread_name_prefix="side-by-side") as pool:

        def begin() -> None:
            while len(under_way) < at_once and (thing := next(waiting, None)) is not None:
                # Its log lines carry the job of the caller.
                under_way[pool.submit(contextvars.copy_context().run, work, thing)] = thing

        begin()
        while under_way:
            ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in ended:
                yield under_way.pop(future), future.result
            begin()
