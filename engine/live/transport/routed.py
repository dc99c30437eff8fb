"""Calls to several servers, as `ConnectionPool` has them to one: each goes to the server that has its shard, all within one deadline.

A call that meets a moved slot, a demoted primary or a lost node is sent again, to whoever has its shard then. That is safe because its request id is inside.
"""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final

from redis import exceptions

from engine.errors import InvalidSetting, shown
from engine.live.transport.busy_poll import MOST_US
from engine.live.transport.held import HoldingNodePool, HoldingPool
from engine.live.transport.node import CONNECT_S, NodeConnection, NodeExchange, NodePool
from engine.live.transport.pool import (
    RECENT_S,
    Call,
    ConnectionPool,
    NoAnswer,
    Reply,
    Unreadable,
    is_of_the_server,
    is_timeout,
    named,
    one_line,
    passes,
    translated,
)
from engine.live.transport.protocol import Transport
from engine.live.transport.routes import PATIENCE_S, SHARD_OF, Finder, NoRoute, Place, RouteMap
from engine.urls import masked, redis_complaint, redis_places

_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.05
_AT_ONCE: Final = 2
"""A call that was sent on so often is sent on after a pause: two nodes may each say that the other has the shard, for a moment."""


def open_transport(url: str, busy_poll_us: int = MOST_US, holds: bool = False) -> Transport:
    """Connections for the Redis, cluster or Sentinel that a URL names. Nothing connects yet. Raises InvalidSetting.

    holds: for a caller that waits for replicas, see `held.py`.
    """
    finder = finder_of(url)
    if finder is None:
        return HoldingPool(url, busy_poll_us) if holds else ConnectionPool(url, busy_poll_us)
    return RoutedPool(finder, busy_poll_us, HoldingNodePool if holds else NodePool)


def finder_of(url: str) -> Finder | None:
    """Who says where the shards are; None where the URL names one server. Raises InvalidSetting."""
    scheme = url.partition("://")[0] if isinstance(url, str) else ""
    if "+" not in scheme:
        return None
    what = redis_complaint(url)
    if what is not None:
        raise InvalidSetting(
            f"REDIS_URL {shown(masked(url))} {what}: write it like redis+cluster://host:6379,host:6379"
            " or redis+sentinel://host:26379/master-name/0",
            "REDIS_URL",
        )
    places = redis_places(url)
    if places.kind == "cluster":
        from engine.live.transport.cluster import ClusterFinder  # a bidder with one Redis needs neither

        return ClusterFinder(places)
    from engine.live.transport.sentinel import SentinelFinder

    return SentinelFinder(places)


class _Batch:
    """Calls under way: the replies that are here, and what stands in the way of the others."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = calls
        self.replies: list[Reply | None] = [None] * len(calls)
        self.asking: dict[int, Place] = {}
        """Calls that are sent once to another node than the map's: their slot is on its way there."""
        self.why = "no time was left"
        self.told_s: dict[Place, float] = {}
        """When each node last said why not, in monotonic seconds."""
        self.silent = False
        self.failure: Exception | None = None
        """What no repeat mends."""
        self.connect_s = CONNECT_S
        """More after each node that did not take a connection in time: it may be slow instead of frozen."""
        self.blamed: Place | None = None
        self.refresh = self.pause = False
        self.refused = False
        """Whether a node refused connections, or closed one."""

    def left(self) -> list[int]:
        return [i for i, reply in enumerate(self.replies) if reply is None]

    def begin(self) -> None:
        """A new round."""
        self.blamed, self.refresh, self.pause, self.silent, self.refused = None, False, False, False, False

    def lost(self, pool: NodePool, error: Exception) -> None:
        """A node did not answer."""
        place = pool.place
        if not is_timeout(error):
            pool.close()  # its other connections ended with this one
        if not is_timeout(error) or time.monotonic() - self.told_s.get(place, 0.0) > RECENT_S:
            self.why = f"Redis at {place} does not answer: {one_line(error)}"
            self.silent = is_timeout(error)
            if not self.silent:
                self.told_s[place] = time.monotonic()
        self.refused = self.refused or not is_timeout(error)
        self.blamed, self.refresh, self.pause = place, True, True


class RoutedPool:
    """Connections to all nodes of a cluster, or to the primary that Sentinel names. Thread-safe; usable after fork."""

    def __init__(
        self, finder: Finder, busy_poll_us: int = MOST_US, node_pool: Callable[..., NodePool] = NodePool
    ) -> None:
        self._busy_poll_us = busy_poll_us
        self._node_pool = node_pool
        self.routes: RouteMap[NodePool] = RouteMap(finder, self._pool_at)
        self._listeners = count(random.randrange(64))
        """Which node is listened to next: each client begins with another one."""

    def _pool_at(self, place: Place) -> NodePool:
        finder = self.routes.finder
        still = self.routes.still if finder.asks_first else None
        return self._node_pool(finder.url_of(place), place, self._busy_poll_us, self.routes.serves, still)

    @property
    def where(self) -> str:
        """What the URL names, as messages show it."""
        return self.routes.finder.where

    @property
    def several(self) -> bool:
        """Whether the shards are on several servers, as far as is known."""
        return len(set(self.routes.places.values())) > 1

    def where_of(self, shard_key: str) -> str:
        """Host and port of the server that has a shard, by the shard's first key."""
        place = self.routes.places.get(shard_key)
        return self.where if place is None else str(place)

    def locate(self, timeout_s: float) -> None:
        """Reads the map, where there is none yet. Raises nothing."""
        if not self.routes.places:
            with suppress(NoRoute):
                self.routes.refresh(self.routes.version, None, time.monotonic() + timeout_s)

    def call(self, call: Call, timeout_s: float) -> Reply:
        """The reply to one call. Raises NoAnswer."""
        began = time.monotonic()
        pool = self.routes.by_key.get(call.keys[0])
        if pool is not None:
            reply = pool._quick(call, timeout_s, began)
            if reply is not None:
                return reply
        return self._repeated((call,), timeout_s, began)[0]

    def call_all(self, calls: Sequence[Call], timeout_s: float, away_after_s: float | None = None) -> list[Reply]:
        """The replies to calls in order, from all nodes at once. Raises NoAnswer with the replies that did arrive.

        away_after_s: as in `ConnectionPool.call_all`, for each node.
        """
        began = time.monotonic()
        if len(calls) == 1 and (pool := self.routes.by_key.get(calls[0].keys[0])) is not None:
            only = pool._quick(calls[0], timeout_s, began)
            if only is not None:
                return [only]
        return self._repeated(calls, timeout_s, began, away_after_s)

    def _repeated(
        self, calls: Sequence[Call], timeout_s: float, began: float, away_after_s: float | None = None
    ) -> list[Reply]:
        """The replies to calls that began at a monotonic second, asked for again until the time is over."""
        deadline, pause_s = began + timeout_s, _PAUSE_S
        batch = _Batch(calls)
        for rounds in count():
            if deadline <= time.monotonic():
                raise NoAnswer(batch.why, batch.replies, batch.silent)
            batch.begin()
            seen = self.routes.version
            try:
                self._round(batch, deadline)
            except NoAnswer:
                raise
            except Exception as error:
                raise NoAnswer(f"the call to Redis {self.where} failed: {named(error)}", batch.replies) from error
            if batch.failure is not None:
                raise batch.failure from None
            if not batch.left():
                return batch.replies  # type: ignore[return-value]  # each place is filled
            if batch.refused and away_after_s is not None:
                deadline = min(deadline, began + max(away_after_s, time.monotonic() - began))
            if batch.refresh:
                self._refresh(batch, seen, deadline)
            if (batch.pause or rounds >= _AT_ONCE) and deadline - time.monotonic() > pause_s:
                time.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise AssertionError("rounds have no end but the deadline")

    def _refresh(self, batch: _Batch, seen: int, deadline: float) -> None:
        try:
            self.routes.refresh(seen, batch.blamed, deadline)
        except NoRoute as nobody:
            if nobody.final:
                raise NoAnswer(nobody.why, batch.replies) from None
            if batch.blamed is None and time.monotonic() < deadline:
                batch.why, batch.silent, batch.pause = nobody.why, nobody.silent, True

    def _round(self, batch: _Batch, deadline: float) -> None:
        """Sends what has no reply to all nodes at once, and reads what they answer."""
        if not self.routes.by_key:
            batch.refresh = True
            self._refresh(batch, self.routes.version, deadline)
            batch.refresh = False
            if not self.routes.by_key:
                batch.pause = True
                return
        groups: dict[tuple[NodePool, bool], list[int]] = {}
        for i in batch.left():
            key = batch.calls[i].keys[0]
            asked = batch.asking.pop(i, None)
            pool = self.routes.by_key.get(key) if asked is None else self.routes.node(asked)
            if pool is not None:
                groups.setdefault((pool, asked is not None), []).append(i)
            elif not batch.pause:
                what = f"no node of Redis {self.where} serves shard {SHARD_OF.get(key, key)}"
                batch.why = f"{what}: look at CLUSTER INFO and give its slots to a node (`valkey-cli --cluster fix`)"
                batch.refresh = batch.pause = True
        under_way: list[NodeExchange] = []
        try:
            # A node to which a connection must be made first may take a while: the others are at work by then.
            for (pool, asking), places in sorted(groups.items(), key=lambda item: not item[0][0].is_open):
                self._begin(batch, under_way, pool, asking, places, deadline)
            while under_way:
                self._read(batch, under_way, deadline)
        finally:
            for exchange in under_way:
                exchange.link.drop()

    def _begin(
        self,
        batch: _Batch,
        under_way: list[NodeExchange],
        pool: NodePool,
        asking: bool,
        places: list[int],
        deadline: float,
    ) -> None:
        def took(i: int, reply: Any) -> None:
            self._took(batch, pool, i, reply)

        link: NodeConnection | None = None
        try:
            link = pool.take(deadline, batch.connect_s)
            exchange = NodeExchange(pool, link, batch.calls, places, asking, took)
            exchange.send(deadline)
            under_way.append(exchange)
        except (exceptions.AuthenticationError, exceptions.AuthorizationError) as error:
            batch.failure = NoAnswer(f"Redis at {pool.place} refuses the login: {error}", batch.replies)
        except exceptions.ResponseError as error:  # of the login
            self._took(batch, pool, places[0], error)
        except (exceptions.RedisError, OSError) as error:
            if link is not None:
                link.drop()
            elif is_timeout(error):
                batch.connect_s += CONNECT_S / 4
            batch.lost(pool, error)

    def _read(self, batch: _Batch, under_way: list[NodeExchange], deadline: float) -> None:
        """Waits until a node says something, and takes it. Ends with the nodes that are done, lost or replaced."""
        until = min(deadline, time.monotonic() + PATIENCE_S)
        # A node alone is waited for where its reply is read.
        for exchange in _readable(under_way, until) if len(under_way) > 1 else list(under_way):
            try:
                exchange.receive(until)
                exchange.send(deadline)
            except (exceptions.RedisError, OSError) as error:
                _end(under_way, exchange)
                batch.lost(exchange.pool, error)
                continue
            if exchange.done:
                under_way.remove(exchange)
                if batch.blamed == exchange.pool.place:  # it is no primary now, and never again on this connection
                    exchange.link.drop()
                else:
                    answered = [batch.calls[i] for i in exchange.sent if batch.replies[i] is not None]
                    exchange.pool.give(exchange.link, answered)
        now = time.monotonic()
        for exchange in list(under_way):
            if now >= deadline:
                _end(under_way, exchange)
                batch.lost(exchange.pool, TimeoutError("no answer in time"))
            elif now - exchange.heard_s >= PATIENCE_S and exchange.pool.replaced():
                _end(under_way, exchange)
                batch.lost(exchange.pool, exceptions.ConnectionError("it says nothing, and was replaced"))

    def _took(self, batch: _Batch, pool: NodePool, i: int, reply: Any) -> None:
        """Puts a reply in its place, or takes note of what an error means."""
        place, key = pool.place, batch.calls[i].keys[0]
        if type(reply) is list and reply:
            batch.replies[i] = reply
        elif isinstance(reply, exceptions.MovedError):
            batch.why = f"shard {SHARD_OF.get(key, key)} has moved to {reply.host}:{reply.port}"
            self.routes.correct(key, Place(reply.host or place.host, int(reply.port)))
        elif isinstance(reply, exceptions.AskError):
            batch.why = f"shard {SHARD_OF.get(key, key)} is moving to {reply.host}:{reply.port}"
            batch.asking[i] = Place(reply.host or place.host, int(reply.port))
        elif isinstance(reply, exceptions.ResponseError):
            said = translated(reply, str(place), batch.replies)
            if not passes(reply):
                batch.failure = batch.failure or said
                return
            batch.why, batch.told_s[place], batch.pause = str(said), time.monotonic(), True
            if is_of_the_server(reply):
                batch.blamed, batch.refresh = place, True
            elif isinstance(reply, exceptions.ClusterDownError):
                batch.refresh = True
        else:
            what = f"Redis at {place} answered {shown(reply)}, which no script does"
            batch.failure = batch.failure or Unreadable(what, batch.replies)

    def own_connection(self, timeout_s: float) -> Any:
        """A connection for the caller alone, to listen on. PUBLISH reaches every node of a cluster, so any will do: each time another
        one is tried first. Raises redis' errors, OSError.
        """
        try:
            self.routes.refresh(self.routes.version, None, time.monotonic() + timeout_s)
        except NoRoute as nobody:
            if nobody.final or not self.routes.places:
                raise exceptions.ConnectionError(nobody.why) from None
        places = list(dict.fromkeys(self.routes.places.values()))
        first, last = next(self._listeners), exceptions.ConnectionError("no node is known")
        for i in range(len(places)):
            try:
                place = places[(first + i) % len(places)]
                return self.routes.node(place).own_connection(min(timeout_s, CONNECT_S))
            except (exceptions.RedisError, OSError) as error:
                last = exceptions.ConnectionError(f"{place}: {one_line(error)}")
        raise last

    def close(self) -> None:
        """Closes the connections that are not in use."""
        self.routes.closed = True
        for pool in list(self.routes.nodes.values()):
            pool.close()


def _readable(under_way: list[NodeExchange], until: float) -> list[NodeExchange]:
    """Those that have something to read, waiting for one until a monotonic second."""
    ready = [each for each in under_way if each.link.has_read()]
    if ready:
        return ready
    poll = select.poll()
    by_file = {each.link.fileno(): each for each in under_way}
    for file in by_file:
        poll.register(file, select.POLLIN)
    found = poll.poll(max(until - time.monotonic(), 0) * 1000)
    return [by_file[file] for file, _ in found]


def _end(under_way: list[NodeExchange], exchange: NodeExchange) -> None:
    exchange.link.drop()
    under_way.remove(exchange)
