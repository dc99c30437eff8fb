"""The lanes of a cluster, or of the primary that Sentinel names: each server has one, and requests change lanes when their shard has moved.

A server that hangs holds up its own lane only.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from redis import exceptions

from engine.client.aio.coalescing import PendingRequest
from engine.client.aio.lanes import PAUSE_S, Lane, LaneOwner
from engine.live.transport.aio import AsyncAddress, AsyncConnection
from engine.live.transport.connection import command
from engine.live.transport.node import CONNECT_S, NO_PRIMARY
from engine.live.transport.pool import NoAnswer, passes, translated
from engine.live.transport.routes import PATIENCE_S, Finder, NoRoute, Place, RouteMap

_ASKING: Final = command(("ASKING",))
_FIND_S: Final = 1.0


class RoutedLanes:
    """All lanes, and the map by which requests find theirs."""

    def __init__(self, owner: LaneOwner, finder: Finder) -> None:
        self._owner = owner
        self.routes: RouteMap[NodeLane] = RouteMap(finder, self._lane_at)
        self.lobby = Lobby(owner, self)
        """Where requests wait for the map."""
        self.all: list[Lane] = [self.lobby]

    def _lane_at(self, place: Place) -> NodeLane:
        made = NodeLane(self._owner, self, place)
        self.all.append(made)
        return made

    def lane_of(self, shard_key: str) -> Lane:
        """The lane of a shard: that of its server, or the lobby where none is known."""
        return self.routes.by_key.get(shard_key) or self.lobby

    def close(self) -> None:
        """The map is not kept any more."""
        self.routes.closed = True

    async def refresh(self, blamed: Place | None) -> NoRoute | None:
        """Asks for the map, once for all lanes. Returns why nobody could say."""
        try:
            until = time.monotonic() + _FIND_S
            await asyncio.to_thread(self.routes.refresh, self.routes.version, blamed, until)
        except NoRoute as nobody:
            return nobody
        return None

    def change(self, lane: Lane, requests: list[PendingRequest]) -> None:
        """Puts requests, in their order, before what waits in another lane."""
        lane.queue[:0] = requests
        lane.wake(asyncio.get_running_loop())


class NodeLane(Lane):
    """The lane of one server of several."""

    def __init__(self, owner: LaneOwner, lanes: RoutedLanes, place: Place) -> None:
        super().__init__(owner, AsyncAddress(lanes.routes.finder.url_of(place)))
        self._lanes = lanes
        self.place = place
        self._pause = self._down = False
        self._asked: dict[PendingRequest, Place] = {}
        """Requests that go to another server once: their slot is on its way there."""
        self.asking: set[PendingRequest] = set()
        """Requests that are here for that reason."""
        self._connect_s = CONNECT_S

    async def _connect(self) -> AsyncConnection:
        asks_first = self._lanes.routes.finder.asks_first
        if asks_first:
            await self._lanes.refresh(None)
            if self.place not in self._lanes.routes.places.values():
                raise exceptions.ConnectionError("another server is the primary now")
        try:
            link = await self._address.connect_to_node(min(self._owner.timeout_s, self._connect_s))
        except (exceptions.TimeoutError, TimeoutError):
            self._connect_s += CONNECT_S / 4
            raise
        self._connect_s = CONNECT_S
        link.watch(PATIENCE_S, self._replaced)
        if asks_first:
            link.send(command(("ROLE",)))
            role = await link.receive()
            if isinstance(role, list) and role[0] != b"master":
                link.drop()
                raise exceptions.ConnectionError(NO_PRIMARY)
        return link

    async def _replaced(self) -> bool:
        routes = self._lanes.routes
        return not await asyncio.to_thread(routes.serves, self.place, time.monotonic() + PATIENCE_S)

    async def _lost(self) -> None:
        await self._lanes.refresh(self.place)
        self._pause = True

    def _before(self, pending: PendingRequest) -> bytes:
        return _ASKING if pending in self.asking else b""

    def _refused(self, pending: PendingRequest, error: exceptions.ResponseError) -> None:
        if isinstance(error, exceptions.MovedError):
            self.why = f"the shard has moved to {error.host}:{error.port}"
            self._lanes.routes.correct(pending.shard_key, Place(error.host or self.place.host, int(error.port)))
        elif isinstance(error, exceptions.AskError):
            self.why = f"the shard is moving to {error.host}:{error.port}"
            self._asked[pending] = Place(error.host or self.place.host, int(error.port))
        elif passes(error):
            self._says(str(translated(error, str(self.place), [])))
            self._pause = True
            self._down = self._down or isinstance(error, exceptions.ClusterDownError)
        else:
            super()._refused(pending, error)

    async def _attempt(self) -> None:
        await super()._attempt()
        self.asking.difference_update(self.flight)
        if self._down:
            await self._lanes.refresh(None)
        if self._pause:
            await asyncio.sleep(PAUSE_S)
        self._pause = self._down = False

    def _sort_out(self, left: list[PendingRequest]) -> list[PendingRequest]:
        by_lane: dict[Lane, list[PendingRequest]] = {}
        for pending in left:
            place = self._asked.pop(pending, None)
            lane = self._lanes.lane_of(pending.shard_key) if place is None else self._lanes.routes.node(place)
            if place is not None:
                self._lanes.routes.node(place).asking.add(pending)
            by_lane.setdefault(lane, []).append(pending)
        for lane, requests in by_lane.items():
            # Its own go with what has come meanwhile: a shard that cannot be served for a moment holds up no other.
            self._lanes.change(lane, requests)
        return []


class Lobby(Lane):
    """Requests of shards whose server is not known yet."""

    def __init__(self, owner: LaneOwner, lanes: RoutedLanes) -> None:
        self._lanes = lanes
        super().__init__(
            owner, AsyncAddress(lanes.routes.finder.url_of(Place("localhost", 1))), lanes.routes.finder.where
        )

    async def _attempt(self) -> None:
        nobody = await self._lanes.refresh(None)
        finder = self._lanes.routes.finder
        if nobody is None:
            self.why = f"Redis {finder.where} has shards that no node serves: look at CLUSTER INFO"
        else:
            self.why = nobody.why
            if nobody.final:
                for pending in self.flight:
                    self._owner.fail(pending, NoAnswer(nobody.why, []))
                return
        if any(self._lanes.lane_of(pending.shard_key) is self for pending in self.flight):
            await asyncio.sleep(4 * PAUSE_S)

    def _sort_out(self, left: list[PendingRequest]) -> list[PendingRequest]:
        stay = []
        for pending in left:
            lane = self._lanes.lane_of(pending.shard_key)
            if lane is self:
                stay.append(pending)
            else:
                lane.queue.append(pending)
                lane.wake(asyncio.get_running_loop())
        return stay
