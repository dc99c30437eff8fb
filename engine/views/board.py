"""The state of several servers, each asked by a thread of its own: who looks never waits for one that hangs, and sees what it said last.

At most one question a server is under way, however many look (a crowd of viewers must not use up what a hanging server keeps busy). A look asks anew and waits
for the answers, so that it sees what is true now; where the answer before was bad news, it waits for a moment only.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

ANSWER_S: Final = 1.5
"""A server that has not answered after so long hangs."""
_GRACE_S: Final = 0.3
"""A look waits for so much longer: what a server's own client found out is known then to those who ask next, and they need not wait again."""
BAD_NEWS_S: Final = 0.3
"""How long a look waits for a server that did not answer the last time."""
EACH_S: Final = 2.0
"""Between two questions where the board asks by itself."""
_IDLE_S: Final = 30.0
_ALL: Final[weakref.WeakSet[Board]] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Told:
    """What a server said last, `age_s` ago; good: whether it was well, `good_value` being the last such answer, `good_age_s` ago.

    silent_s: how long the question that is under way has had no answer, where that is too long; else None. value is None before the first answer.
    """

    value: Any
    age_s: float
    good_value: Any
    good_age_s: float
    silent_s: float | None


class Board:
    """asks: name -> asks one server; answers what it said, and whether it is well. Thread-safe; usable after fork."""

    def __init__(self, asks: Mapping[str, Callable[[], tuple[Any, bool]]], answer_s: float = ANSWER_S) -> None:
        self._asks = dict(asks)
        self._answer_s = answer_s
        self._each_s: float | None = None
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        self._askers = {name: _Asker(name, ask) for name, ask in self._asks.items()}

    def keep_asking(self, each_s: float = EACH_S) -> None:
        """From now on the board asks by itself, all the time; also in a forked child, where it begins anew with the first look."""
        self._each_s = each_s
        for asker in self._askers.values():
            asker.keep_on(each_s)

    def look(self, *, latest: bool = False) -> dict[str, Told]:
        """What each server says now. latest: what it said last, where the board asks by itself; else as without it."""
        now = time.monotonic()
        if self._each_s is not None:
            for asker in self._askers.values():
                asker.keep_on(self._each_s)
        for asker in self._askers.values():
            asker.want()
        for asker in self._askers.values():
            if not (latest and self._each_s is not None and asker.has_answered):
                asker.wait(now, self._answer_s)
        return {name: asker.told(self._answer_s) for name, asker in self._askers.items()}

    def silent_s(self, name: str) -> float | None:
        """For how long a server is known to say nothing; None where it is not. It is asked anew, and waited for only where it is known to hang."""
        asker, now = self._askers[name], time.monotonic()
        asker.want()
        if asker.silence(self._answer_s) is not None:
            asker.wait(now, self._answer_s)
        return asker.silence(self._answer_s)


class _Asker:
    def __init__(self, name: str, ask: Callable[[], tuple[Any, bool]]) -> None:
        self._name = name
        self._ask = ask
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._each_s: float | None = None
        self._asked_at: float | None = None
        """When the question under way was asked."""
        self._answered = self._good = (0.0, 0.0, None)
        """Of the last answer, and of the last good one: asked at, answered at, value."""
        self._well = True
        self._silent_since: float | None = None
        """Asked then, it said nothing in time, and has not been well since."""
        self._error: BaseException | None = None

    @property
    def has_answered(self) -> bool:
        return self._answered[1] > 0

    def keep_on(self, each_s: float) -> None:
        with self._news:
            self._each_s = each_s
            self._start()

    def want(self) -> None:
        with self._news:
            self._wanted = True
            self._start()
            self._news.notify_all()

    def wait(self, since: float, answer_s: float) -> None:
        """Until there is an answer to a question asked at `since` or later, or none is to be expected. Raises what asking raised unforeseen."""
        with self._news:
            until = since + (answer_s + _GRACE_S if self._well else BAD_NEWS_S)
            while self._answered[0] < since and (left := until - time.monotonic()) > 0:
                if self._silent_s(answer_s + _GRACE_S) is not None:
                    break
                self._news.wait(left)
            if self._error is not None:
                raise self._error

    def told(self, answer_s: float) -> Told:
        with self._news:
            now = time.monotonic()
            return Told(
                self._answered[2], now - self._answered[1], self._good[2], now - self._good[1], self._silent_s(answer_s)
            )

    def silence(self, answer_s: float) -> float | None:
        """For how long it has said nothing, as far as is known."""
        with self._news:
            since = self._silent_since
            return self._silent_s(answer_s) if since is None else time.monotonic() - since

    def _silent_s(self, answer_s: float) -> float | None:
        silent = 0.0 if self._asked_at is None else time.monotonic() - self._asked_at
        return silent if silent >= answer_s else None

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"ask-{self._name}", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._news:
                if not self._wanted:
                    self._news.wait(self._each_s or _IDLE_S)
                if not self._wanted and self._each_s is None:
                    self._thread = None
                    return
                self._wanted = False
                asked_at = self._asked_at = time.monotonic()
            value, well, error = None, False, None
            try:
                value, well = self._ask()
            except BaseException as failed:  # noqa: BLE001  # told to whoever looks; the thread must not end of it
                error = failed
            with self._news:
                self._asked_at, self._well, self._error = None, well, error
                if well:
                    self._silent_since = None
                elif time.monotonic() - asked_at >= 0.9 * ANSWER_S and self._silent_since is None:
                    self._silent_since = asked_at
                if error is None:
                    self._answered = (asked_at, time.monotonic(), value)
                else:
                    self._answered = (asked_at, self._answered[1], self._answered[2])
                if well:
                    self._good = self._answered
                self._news.notify_all()


def _begin_anew() -> None:
    for board in list(_ALL):
        board._begin()


os.register_at_fork(after_in_child=_begin_anew)
