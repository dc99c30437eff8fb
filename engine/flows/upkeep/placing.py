"""Places the shards evenly on the nodes of a cluster. Only the 64 slots that shards use are moved; bidders go on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import redis
from redis import exceptions

from engine.errors import BudgetError, Refused, ServerAway
from engine.live.transport.cluster import SLOT_OF
from engine.live.transport.plain import impatient_redis
from engine.live.transport.routed import finder_of
from engine.live.transport.routes import SHARD_KEYS, NoRoute, Place
from engine.urls import masked, redis_places

_ANSWER_S: Final = 5.0
_MOVES_S: Final = 60.0
"""A slot that is not moved by then is named, and left as it is."""
_POLL_S: Final = 0.02
_KEYS: Final = 100
_NODE = "SETSLOT"


class Node(NamedTuple):
    """A primary: its id in the cluster and where it is."""

    node_id: str
    place: Place


class Move(NamedTuple):
    """One shard from a node to another."""

    shard: int
    source: Node
    target: Node


class Placement(NamedTuple):
    """Who has which shard. nodes: every primary, those without a shard too."""

    nodes: tuple[Node, ...]
    of: Mapping[int, Node]

    def counts(self) -> dict[Node, int]:
        """How many shards each node has."""
        return {node: sum(owner == node for owner in self.of.values()) for node in self.nodes}


class Placer:
    """Reads and changes where the shards are. Raises Refused where the URL is none of a cluster."""

    def __init__(self, url: str) -> None:
        finder = finder_of(url)
        if finder is None or redis_places(url).kind != "cluster":
            raise Refused(f"REDIS_URL {masked(url)} is no cluster: its shards are on one server")
        self._finder = finder
        self._clients: dict[Place, redis.Redis] = {}

    def read(self) -> Placement:
        """The present placement. Raises ServerAway; Refused where shards have no node."""
        try:
            found = self._finder.find(None, time.monotonic() + _ANSWER_S)
        except NoRoute as nobody:
            raise ServerAway("Redis", self._finder.where, nobody.why) from None
        missing = [shard for shard, key in enumerate(SHARD_KEYS) if key not in found]
        if missing:
            raise Refused(f"{len(missing)} shards have no node, first {missing[0]}: run `valkey-cli --cluster fix`")
        nodes = tuple(self._nodes(next(iter(found.values()))))
        by_place = {node.place: node for node in nodes}
        return Placement(nodes, {shard: by_place[found[key]] for shard, key in enumerate(SHARD_KEYS)})

    def _nodes(self, asked: Place) -> Iterator[Node]:
        """Every primary that is well."""
        for line in self._ask(asked, "NODES").decode().splitlines():
            node_id, address, flags = line.split()[:3]
            if "master" in flags and not {"fail", "fail?", "handshake", "noaddr"} & set(flags.split(",")):
                host, _, port = address.partition("@")[0].rpartition(":")
                yield Node(node_id, Place(host or asked.host, int(port)))

    def move(self, move: Move, nodes: Sequence[Node], *, key_by_key: bool = False) -> None:
        """Moves a shard, in one step where the server can (CLUSTER MIGRATESLOTS), else key by key. Raises BudgetError, ServerAway."""
        slot = SLOT_OF[SHARD_KEYS[move.shard]]
        try:
            if key_by_key or not self._at_once(move, slot):
                self._key_by_key(move, slot, nodes)
        except exceptions.ResponseError as error:
            raise BudgetError(f"shard {move.shard} was not moved to {move.target.place}: {error}") from None
        except (exceptions.RedisError, OSError) as error:
            raise ServerAway("Redis", str(move.source.place), str(error)) from None

    def _at_once(self, move: Move, slot: int) -> bool:
        """False where the server does not know how."""
        try:
            self._ask(move.source.place, "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", move.target.node_id)
        except exceptions.ResponseError as error:
            if "unknown subcommand" in str(error).lower() or "wrong number" in str(error).lower():
                return False
            raise
        self._until(move, lambda: self._owner_at(move.target.place, slot) == move.target.place)
        return True

    def _key_by_key(self, move: Move, slot: int, nodes: Sequence[Node]) -> None:
        source, target = move.source.place, move.target.place
        self._ask(target, _NODE, slot, "IMPORTING", move.source.node_id)
        self._ask(source, _NODE, slot, "MIGRATING", move.target.node_id)
        login = urlsplit(self._finder.url_of(target))
        words = ["AUTH2", unquote(login.username or "default"), unquote(login.password)] if login.password else []
        while keys := self._ask(source, "GETKEYSINSLOT", slot, _KEYS):
            self._client(source).execute_command(  # type: ignore[no-untyped-call]
                "MIGRATE", target.host, target.port, "", 0, int(_ANSWER_S * 1000), *words, "KEYS", *keys
            )
        # The new owner first: until it knows, nobody may be sent to it.
        for place in (target, source, *(node.place for node in nodes if node.place not in (source, target))):
            self._ask(place, _NODE, slot, "NODE", move.target.node_id)

    def _owner_at(self, place: Place, slot: int) -> Place | None:
        for low, high, primary, *_ in self._ask(place, "SLOTS"):
            if low <= slot <= high:
                return Place((primary[0] or b"").decode() or place.host, int(primary[1]))
        return None

    def _until(self, move: Move, done: Callable[[], bool]) -> None:
        until = time.monotonic() + _MOVES_S
        while not done():
            if time.monotonic() > until:
                raise BudgetError(
                    f"shard {move.shard} is not at {move.target.place} after {_MOVES_S:.0f} s:"
                    f" look at CLUSTER GETSLOTMIGRATIONS at {move.source.place}"
                )
            time.sleep(_POLL_S)

    def _ask(self, place: Place, *words: object) -> Any:
        return self._client(place).execute_command("CLUSTER", *words)  # type: ignore[no-untyped-call]

    def _client(self, place: Place) -> redis.Redis:
        if place not in self._clients:
            self._clients[place] = impatient_redis(self._finder.url_of(place), _ANSWER_S)
        return self._clients[place]

    def close(self) -> None:
        """Closes its connections."""
        for client in self._clients.values():
            client.close()


def moves_to_balance(placement: Placement) -> list[Move]:
    """The fewest moves after which no node has more than one shard more than another."""
    counts = placement.counts()
    least, more = divmod(len(placement.of), len(placement.nodes))
    # Those that have most keep the odd ones.
    by_load = sorted(placement.nodes, key=lambda node: (-counts[node], node))
    wanted = {node: least + (i < more) for i, node in enumerate(by_load)}
    takers = [node for node in by_load for _ in range(wanted[node] - counts[node])]
    moves: list[Move] = []
    for node in by_load:
        shards = sorted(shard for shard, owner in placement.of.items() if owner == node)
        for shard in shards[wanted[node] :]:
            moves.append(Move(shard, node, takers.pop()))
    return moves
