"""What the calls of an async client return. The call is accepted when it is made, which keeps the order, and is
awaited like a coroutine.

`SpendFuture` is a future, so a spend needs no task of its own, which would be most of its cost under asyncio. `begun`
makes any other call. Both can be passed wherever a coroutine can: `create_task`, a `TaskGroup`, `asyncio.run`.
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
    """The result of a spend."""

    __slots__ = ("given_up",)

    given_up: Callable[[int], None]
    """Gets a 1 when the caller cancels before the result exists. Set by the maker: an `__init__` would cost a tenth
    of a spend.
    """

    def cancel(self, msg: Any = None) -> bool:
        if not super().cancel(msg):
            return False
        self.given_up(1)
        return True

    # The coroutine's methods. They need no state between two steps: whether the result exists is all there is to
    # know.

    def send(self, value: None) -> Any:
        return self.__await__().send(value)

    def throw(self, *why: Any) -> Any:
        self.cancel()
        return self.__await__().throw(*why)

    def close(self) -> None:
        self.cancel()


def begun(call: Callable[_Given, Coroutine[Any, Any, _Result]]) -> Callable[_Given, Coroutine[Any, Any, _Result]]:
    """A coroutine function whose calls run at once up to their first wait. Errors are raised when the call is
    awaited.
    """

    @wraps(call)
    def begins(*args: _Given.args, **kwargs: _Given.kwargs) -> Coroutine[Any, Any, _Result]:
        coroutine = call(*args, **kwargs)
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # such as in the parentheses of asyncio.run
            return coroutine
        return _Begun(coroutine)

    return begins


class _Begun(Coroutine[Any, Any, _Result]):
    """A coroutine after its first step: what it waits for then, or how it ended, is passed on when it is awaited."""

    __slots__ = ("_end", "_rest", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, _Result]) -> None:
        self._rest = coroutine
        self._end: BaseException | None = None
        self._waits_for: asyncio.Future[Any] | None = None
        try:
            self._waits_for = coroutine.send(None)
        except Exception as end:  # noqa: BLE001  # raised when it is awaited; a result is a StopIteration
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
            waits_for.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # nothing else reads it

    def __await__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)
