"""What the calls of an async client give: taken when they are made, so that they keep the order in which they were made, and awaited like a coroutine.

A spend needs no task of its own to wait for its answer: `SpendFuture` is a future, which is awaited and gathered without one; that is most of what a spend under asyncio
costs. `begun` is any other call. Both go wherever what an `async def` gives goes: `create_task`, a `TaskGroup`, `asyncio.run`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from engine.live.replies import SpendResult

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


class SpendFuture(asyncio.Future[SpendResult], Coroutine[Any, Any, SpendResult]):
    """The answer to a spend."""

    __slots__ = ("given_up",)

    given_up: Callable[[int], None]
    """Takes a 1 when the caller cancels it before the answer is there. Set by who makes it: an `__init__` would cost a tenth of a spend."""

    def cancel(self, msg: Any = None) -> bool:
        if not super().cancel(msg):
            return False
        self.given_up(1)
        return True

    # As a coroutine. Nothing is kept between two steps: whether the answer is there is all there is to know.

    def send(self, value: None) -> Any:
        return self.__await__().send(value)

    def throw(self, *why: Any) -> Any:
        self.cancel()
        return self.__await__().throw(*why)

    def close(self) -> None:
        self.cancel()


def begun(call: Callable[_Given, Coroutine[Any, Any, _Result]]) -> Callable[_Given, Coroutine[Any, Any, _Result]]:
    """A call that goes to where it first waits at once. What is wrong with it is told to who awaits it."""

    @wraps(call)
    def begins(*args: _Given.args, **kwargs: _Given.kwargs) -> Coroutine[Any, Any, _Result]:
        coroutine = call(*args, **kwargs)
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # such as between the brackets of asyncio.run
            return coroutine
        return _Begun(coroutine)

    return begins


class _Begun(Coroutine[Any, Any, _Result]):
    """A coroutine that has taken its first step: what it waits for then, or how it ended, is told when it is awaited."""

    __slots__ = ("_end", "_rest", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, _Result]) -> None:
        self._rest = coroutine
        self._end: BaseException | None = None
        self._waits_for: asyncio.Future[Any] | None = None
        try:
            self._waits_for = coroutine.send(None)
        except Exception as end:  # noqa: BLE001  # an error is told when it is awaited, and a result is a StopIteration
            self._end = end

    def send(self, value: None) -> Any:
        if self._end is not None:
            end, self._end = self._end, None
            raise end
        if self._waits_for is not None:
            first, self._waits_for = self._waits_for, None
            return first
        return self._rest.send(value)

    def throw(self, *why: Any) -> Any:
        if self._end is not None:
            raise why[0]
        self._stop()
        return self._rest.throw(*why)

    def close(self) -> None:
        self._stop()
        self._rest.close()

    def _stop(self) -> None:
        waits_for, self._waits_for = self._waits_for, None
        if waits_for is not None:
            waits_for.cancel()
            waits_for.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nobody else looks at it

    def __await__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)
