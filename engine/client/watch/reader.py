"""The calls of a watch to the shards' servers. With several servers, one that is away costs its own shards only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from engine.live.keys import shard_keys
from engine.live.replies import NOT_READY, head
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call, NoAnswer, Reply
from engine.live.transport.protocol import Transport
from engine.live.transport.routes import SHARD_OF

ANSWER_S: Final = 2.0
_NODE_ANSWER_S: Final = 1.0
"""For one server of several: the channel is not read while it is waited for, and may not count as silent for that."""
_PROBE_S: Final = 0.3
"""For a server that did not answer before: others must not wait for it again."""
_AWAY_S: Final = 0.9
"""So long its shards are not read again: until the next beat."""


class ServerGone(Exception):
    """One server of several does not answer; the message says which and why."""


class ShardReader:
    """Sends a watch's calls. heard: takes a server, the round trip's two instants by `time.monotonic()` and its time."""

    def __init__(self, wire: Transport, heard: Callable[[str, float, float, int], None]) -> None:
        self._wire = wire
        self._heard = heard
        self._away: dict[str, tuple[float, str]] = {}
        self._read_from: dict[int, str] = {}

    def home(self, shard: int) -> str:
        """The server that has a shard."""
        return self._wire.where_of(shard_keys(shard).shard)

    def moved(self, shards: Sequence[int]) -> list[int]:
        """The shards that another server has than when they were read: what it published meanwhile may have been missed."""
        return [shard for shard in shards if self._read_from.get(shard, self.home(shard)) != self.home(shard)]

    def first(self, call: Call) -> Reply:
        """A call with which the reading of a shard begins. Raises as `ask`."""
        shard = SHARD_OF[call.keys[0]]
        self._read_from[shard] = self.home(shard)
        return self.ask(call)

    def ask(self, call: Call) -> Reply:
        """One call, whose reply has its server's time too. Raises NoAnswer, or ServerGone where there are other servers."""
        home = self._wire.where_of(call.keys[0])
        self._refuse_away(home)
        sent_s = time.monotonic()
        try:
            patience_s = _NODE_ANSWER_S if self._wire.several else ANSWER_S
            reply = self._wire.call(call, _PROBE_S if home in self._away else patience_s)
        except NoAnswer as failure:
            raise self._gone(home, failure) from None
        self._away.pop(home, None)
        if head(reply) != NOT_READY:
            self._heard(home, sent_s, time.monotonic(), int(reply[2]))
        return reply

    def ask_all(self, calls: list[Call]) -> list[Reply]:
        """Many calls to one shard. Raises as `ask`."""
        try:
            return self._wire.call_all(calls, ANSWER_S)
        except NoAnswer as failure:
            raise self._gone(self._wire.where_of(calls[0].keys[0]), failure) from None

    def marks(self, shards: Sequence[int]) -> dict[int, Reply | str]:
        """The state of shards, and the time of each of their servers; or why there is none. Raises NoAnswer with one server."""
        code = script("read_watched")
        found: dict[int, Reply | str] = {}
        rest: list[int] = []
        timed: set[str] = set()
        for shard in shards:
            home = self.home(shard)
            if home in timed:
                rest.append(shard)
                continue
            timed.add(home)
            try:
                found[shard] = self.ask(Call(code, (shard_keys(shard).shard,), (LAYOUT,)))
            except ServerGone as gone:
                found[shard] = str(gone)
        there = [shard for shard in rest if self.home(shard) not in self._away]
        found.update((shard, self._away[self.home(shard)][1]) for shard in rest if shard not in there)
        calls = [Call(code, (shard_keys(shard).shard,), (LAYOUT,)) for shard in there]
        try:
            replies: Sequence[Reply | None] = self._wire.call_all(calls, ANSWER_S) if calls else []
            why = ""
        except NoAnswer as failure:
            if not self._wire.several:
                raise
            replies, why = failure.replies, failure.why
        found.update((shard, why if reply is None else reply) for shard, reply in zip(there, replies, strict=True))
        return found

    def _refuse_away(self, home: str) -> None:
        until, why = self._away.get(home, (0.0, ""))
        if time.monotonic() < until:
            raise ServerGone(why)

    def _gone(self, home: str, failure: NoAnswer) -> Exception:
        """What is raised for a server without an answer."""
        if not self._wire.several:
            return failure
        self._away[home] = (time.monotonic() + _AWAY_S, failure.why)
        return ServerGone(failure.why)
