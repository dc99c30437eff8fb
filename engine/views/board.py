"""The state of several servers, each asked by a thread of its own. A reader never waits for a server that hangs, and
gets its last answer.

One question per server is in flight at a time, however many read, so that many viewers do not overload a hanging
server. A reader triggers a new question and waits for its answer. Where the last answer was bad, it waits only
briefly.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

ANSWER_S: Final = 1.5
"""Seconds without an answer after which a server hangs."""
_GRACE_S: Final = 0.3
"""How much longer a reader waits: the server's own client then knows the result, and later readers need not wait
again.
"""
BAD_NEWS_S: Final = 0.3
"""Seconds that a reader waits for a server that did not answer the last time."""
EACH_S: Final = 2.0
"""Seconds between two questions where the board asks by itself."""
_IDLE_S: Final = 30.0
_REST: Final = 4
"""A part rests so many times as long as its answer took, and is busy for a fifth of the time at most."""
_LONGEST_REST_S: Final = 5.0
_ALL: Final[weakref.WeakSet[Board]] = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Told:
    """A server's last answer, `age_s` ago; good: whether the server was well; `good_value` is the last such answer,
    `good_age_s` ago.

    good_asked_at: when the question of `good_value` was asked, in monotonic seconds. silent_s: how long the present question has had no answer, where that is too long; else None. value is None before
    the first answer.
    """

    value: Any
    age_s: float
    good_value: Any
    good_age_s: float
    good_asked_at: float
    silent_s: float | None


class Board:
    """asks: name -> asks one server; returns its answer, and whether it is well. Thread-safe; usable after fork."""

    def __init__(
        self,
        asks: Mapping[str, Callable[[], tuple[Any, bool]]],
        answer_s: float = ANSWER_S,
        fresh_s: float = 0.0,
        rests: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """rests: how many times as long as its answer took a part is left alone, where that is another number than usual. fresh_s: a part that was asked less than this ago is not asked again. One whose answers take long is asked more seldom,
        so that a board never keeps a server busy.
        """
        self._asks = dict(asks)
        self._rests = dict(rests)
        self._fresh_s = fresh_s
        self._answer_s = answer_s
        self._each_s: float | None = None
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        self._askers = {name: _Asker(name, ask, self._rests.get(name, _REST)) for name, ask in self._asks.items()}

    def keep_asking(self, each_s: float = EACH_S) -> None:
        """Lets the board ask by itself all the time; in a forked child from the first read on."""
        self._each_s = each_s
        for asker in self._askers.values():
            asker.keep_on(each_s)

    def look(
        self, *, latest: bool = False, content_s: float = 0.0, since: Mapping[str, float] = MappingProxyType({})
    ) -> dict[str, Told]:
        """The present answer of each server. latest: the last answer, where the board asks by itself. content_s: an answer of at most
        this age is taken without waiting for a newer one. since: by server the instant (monotonic seconds) after which the question
        must have been asked.
        """
        now = time.monotonic()
        if self._each_s is not None:
            for asker in self._askers.values():
                asker.keep_on(self._each_s)
        least = {name: since.get(name, 0.0) for name in self._askers}
        stale = {
            name: asker for name, asker in self._askers.items() if not asker.is_fresh(now, self._fresh_s, least[name])
        }
        for name, asker in stale.items():
            # Whoever is content with an answer of some age is with that of the question under way.
            if not (self._fresh_s and asker.is_asking(least[name])):
                asker.want()
        for name, asker in stale.items():
            if asker.is_fresh(now, content_s, least[name]):
                continue
            if not (latest and self._each_s is not None and asker.has_answered):
                asker.wait(now, self._answer_s, max(now - self._fresh_s, least[name]))
        return self.last()

    def last(self) -> dict[str, Told]:
        """The last answer of each server; asks none."""
        return {name: asker.told(self._answer_s) for name, asker in self._askers.items()}

    def prepare(self) -> None:
        """Asks each server once, and waits for none, so that the first reader need not wait for all of the answer."""
        for asker in self._askers.values():
            asker.want()

    def silent_s(self, name: str) -> float | None:
        """How long a server has not answered; None where that is not known. Asks it again, and waits only where it is
        known to hang.
        """
        asker, now = self._askers[name], time.monotonic()
        asker.want()
        if asker.silence(self._answer_s) is not None:
            asker.wait(now, self._answer_s, now)
        return asker.silence(self._answer_s)


class _Asker:
    def __init__(self, name: str, ask: Callable[[], tuple[Any, bool]], rest: int) -> None:
        self._name = name
        self._rest = rest
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
        """Asked then, it did not answer in time, and has not been well since."""
        self._error: BaseException | None = None

    @property
    def has_answered(self) -> bool:
        return self._answered[1] > 0

    def is_fresh(self, now: float, fresh_s: float, since: float) -> bool:
        """Whether its last answer is young enough, for its age and for how long it took, and was asked for after `since`."""
        with self._news:
            asked_at, answered_at, _ = self._answered
            if asked_at < since:
                return False
            rest_s = max(fresh_s, self._rest * (answered_at - asked_at)) if fresh_s else 0.0
            return answered_at > 0 and now - asked_at < min(rest_s, _LONGEST_REST_S)

    def keep_on(self, each_s: float) -> None:
        with self._news:
            self._each_s = each_s
            self._start()

    def want(self) -> None:
        with self._news:
            self._wanted = True
            self._start()
            self._news.notify_all()

    def is_asking(self, since: float) -> bool:
        """Whether a question is under way that was asked after `since`, or about to be."""
        with self._news:
            return self._wanted or (self._asked_at is not None and self._asked_at >= since)

    def wait(self, now: float, answer_s: float, since: float) -> None:
        """Waits for an answer to a question asked at `since` or later, unless none is to be expected. Raises unexpected errors of
        the question.
        """
        with self._news:
            until = now + (answer_s + _GRACE_S if self._well else BAD_NEWS_S)
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
                self._answered[2],
                now - self._answered[1],
                self._good[2],
                now - self._good[1],
                self._good[0],
                self._silent_s(answer_s),
            )

    def silence(self, answer_s: float) -> float | None:
        """How long it has not answered, as far as is known."""
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
            except BaseException as failed:  # noqa: BLE001  # raised in the readers; the thread must not end
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
