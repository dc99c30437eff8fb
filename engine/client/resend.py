"""Sends acknowledged calls again, from a thread of its own, when their shard may have lost them: a transport around another."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Final

from engine.client.around import TransportAround
from engine.client.kept import (
    CHECK_S,
    CLOSE_EACH_S,
    CLOSE_S,
    KeptCalls,
    again,
    answered,
    left_out,
    refused_now,
)
from engine.live.transport.pool import Call, NoAnswer, Reply
from engine.live.transport.protocol import Transport

log: Final = logging.getLogger("engine.client")
_ANSWER_S: Final = 2.0
_TOGETHER: Final = 100
_ALL: Final[weakref.WeakSet[ResendingTransport]] = weakref.WeakSet()


class ResendingTransport(TransportAround):
    """A transport that keeps what its calls changed for `keep_s` seconds. Thread-safe; usable after fork."""

    def __init__(self, inner: Transport, keep_s: float) -> None:
        self._inner = inner
        self._keep_s = keep_s
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        self._kept = KeptCalls(self._keep_s)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False

    def call(self, call: Call, timeout_s: float) -> Reply:
        """The reply to one call. Raises NoAnswer."""
        reply = self._inner.call(call, timeout_s)
        if self._kept.note(call, reply):
            self._look_now()
        return reply

    def call_all(self, calls: Sequence[Call], timeout_s: float, away_after_s: float | None = None) -> list[Reply]:
        """The replies to calls in order. Raises NoAnswer with those that did arrive."""
        try:
            replies = self._inner.call_all(calls, timeout_s, away_after_s)
        except NoAnswer as failure:
            self._note_all(calls, failure.replies)
            raise
        self._note_all(calls, replies)
        return replies

    def _note_all(self, calls: Sequence[Call], replies: Sequence[Reply | None]) -> None:
        new = [self._kept.note(call, reply) for call, reply in zip(calls, replies, strict=False) if reply is not None]
        if any(new):
            self._look_now()

    def _look_now(self) -> None:
        """A shard's state is to be known before it can change."""
        if self._thread is None:
            with self._lock:
                if self._thread is None and not self._closed:
                    self._thread = threading.Thread(target=self._run, name="budget-resend", daemon=True)
                    self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        while not self._closed:
            self._wake.clear()  # before the look: what is noted meanwhile is looked at next
            try:
                self.check()
            except Exception:  # a thread of its own: nobody else would say so, and the next look comes anyway
                log.exception("acknowledged spends could not be looked at")
            self._wake.wait(CHECK_S)

    def check(self) -> None:
        """Looks at the shards once, and sends again what they may have lost."""
        questions = self._kept.questions()
        if not questions:
            return
        for call, reply in zip(questions, self._ask(questions), strict=True):
            key = call.keys[0]
            self._kept.compare(key, self._inner.where_of(key), reply, time.monotonic())
        for key, calls in self._kept.due().items():
            if all(self._send(calls[at : at + _TOGETHER]) for at in range(0, len(calls), _TOGETHER)):
                self._kept.sent(key)
                log.warning(
                    "%d acknowledged calls to %s were sent again: the server or its data changed", len(calls), key
                )

    def _ask(self, calls: Sequence[Call]) -> Sequence[Reply | None]:
        try:
            return self._inner.call_all(calls, _ANSWER_S)
        except NoAnswer as failure:
            return [*failure.replies, *[None] * (len(calls) - len(failure.replies))]

    def _send(self, calls: Sequence[Call]) -> bool:
        """Whether all of them were answered."""
        replies = self._ask([again(kept) for kept in calls])
        if not all(map(answered, replies)):
            return False
        facts = [
            fact for kept, reply in zip(calls, replies, strict=True) if reply and (fact := refused_now(kept, reply))
        ]
        return all(map(answered, self._ask(facts))) if facts else True

    def close(self) -> None:
        """Ends the thread, looks at the shards once more, and closes the connections that are not in use. Where a
        shard is away or was lost, it sends its calls again first, for at most CLOSE_S seconds.
        """
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_ANSWER_S)
            self._thread = None
            self._look_for_the_last_time()
        self._inner.close()

    def _look_for_the_last_time(self) -> None:
        until = time.monotonic() + CLOSE_S
        while True:
            try:
                self.check()
            except Exception:  # what is open is to be closed all the same
                log.exception("acknowledged spends could not be looked at")
                return
            if not (unsure := self._kept.unsure()):
                return
            if time.monotonic() > until:
                log.warning("%s", left_out(unsure))
                return
            time.sleep(CLOSE_EACH_S)

    def forget(self) -> None:
        """In a forked child: the parent's calls are the parent's to send again."""
        self._begin()


def _forget_all() -> None:
    for transport in list(_ALL):
        transport.forget()


os.register_at_fork(after_in_child=_forget_all)
