"""Script calls of jobs and pages: each bounded, and at once refused for a server that said nothing a moment ago. One server of several that is
away costs its own shards only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

from engine.errors import ServerAway, ServerHangs
from engine.live.hush import HANGS, HOLD_S, SilentServer
from engine.live.transport.pool import Call, NoAnswer, Reply
from engine.live.transport.protocol import Transport
from engine.live.transport.routes import SHARD_KEYS

AWAY_AFTER_S: Final = 0.3
"""When Redis refuses connections for this many seconds, it counts as away, and the whole timeout is not waited for."""

_NODE_HOLD_S: Final = 3.0
"""So long one server of several that says nothing is not asked again: whoever reads all shards would wait for it each time."""


class Asking:
    """Sends calls over a transport."""

    def __init__(self, wire: Transport, timeout_s: float = 5.0) -> None:
        self.wire = wire
        self._timeout_s = timeout_s
        self._hush: dict[str, SilentServer] = {}
        self._lacking: dict[str, ServerAway] = {}

    @property
    def lacking(self) -> dict[str, ServerAway]:
        """Servers, of several, that did not answer when they were last called, and still have shards."""
        homes = {self.wire.where_of(key) for key in SHARD_KEYS} if self._lacking else ()
        return {where: gone for where, gone in self._lacking.items() if where in homes}

    def known_silent(self, servers: Iterable[str], hold_s: float) -> None:
        """Servers of several that were seen to hang: for so long their calls are refused at once."""
        self.wire.locate(self._timeout_s)
        for where in servers:
            self._hush[where] = SilentServer(hold_s)
            self._hush[where].nothing(time.monotonic())

    def call_all(self, calls: Sequence[Call]) -> list[Reply]:
        """Replies to script calls, pipelined. Raises ServerAway, at once while an earlier call has had no reply."""
        replies, gone = self._replies(calls)
        if gone is not None:
            raise gone
        return replies  # type: ignore[return-value]  # all there

    def call_some(self, calls: Sequence[Call]) -> list[Reply | None]:
        """The same with several servers, where one may be away: None for its calls. Raises ServerAway when no server answers."""
        replies, gone = self._replies(calls)
        if gone is not None and not any(replies):
            raise gone
        return replies

    def _replies(self, calls: Sequence[Call]) -> tuple[list[Reply | None], ServerAway | None]:
        """The replies, None where there is none, and the first reason why."""
        homes = [self.wire.where_of(call.keys[0]) for call in calls]
        replies: list[Reply | None] = [None] * len(calls)
        gone: list[ServerAway] = [
            self._hangs(home, silent_s)
            for home in dict.fromkeys(homes)
            if (silent_s := self._silence(home).silent_s(self._timeout_s)) is not None
        ]
        silent = {one.where for one in gone}
        asked = [i for i, home in enumerate(homes) if home not in silent]
        if asked:
            asked_at, failure = time.monotonic(), None
            found: Sequence[Reply | None] = ()
            try:
                found = self.wire.call_all([calls[i] for i in asked], self._timeout_s, AWAY_AFTER_S)
            except NoAnswer as error:
                found, failure = error.replies or [None] * len(asked), error
            finally:
                lost = dict.fromkeys(
                    self.wire.where_of(calls[i].keys[0])
                    for i, reply in zip(asked, found, strict=False)
                    if reply is None
                )
                for home in {self.wire.where_of(calls[i].keys[0]) for i in asked} - set(lost):
                    self._silence(home).answered()
                    self._lacking.pop(home, None)
            for i, reply in zip(asked, found, strict=True):
                replies[i] = reply
            gone += [self._gone(home, failure, asked_at) for home in lost] if failure is not None else []
        for one in gone:
            # All of them at once is Redis as a whole.
            one.partial = self.wire.several and (any(replies) or len({*homes}) == 1)
            if one.partial:
                self._lacking[one.where] = one
        return replies, gone[0] if gone else None

    def _gone(self, home: str, failure: NoAnswer, asked_at: float) -> ServerAway:
        if failure.silent:
            return self._hangs(home, self._silence(home).nothing(asked_at))
        self._silence(home).answered()
        return ServerAway("Redis", home, f"{failure.why}; check REDIS_URL and that the server runs")

    def _silence(self, home: str) -> SilentServer:
        return self._hush.get(home) or self._hush.setdefault(
            home, SilentServer(_NODE_HOLD_S if self.wire.several else HOLD_S)
        )

    def _hangs(self, home: str, silent_s: float) -> ServerHangs:
        return ServerHangs("Redis", home, silent_s, HANGS)
