"""Reads the live state from outside, for `verify`: plain reads in small pieces, none of which blocks Redis for long.
Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import redis
from redis import exceptions

from engine.domain.ids import shard_of
from engine.errors import ServerAway
from engine.live.hush import away
from engine.live.keys import keys_of_brand, shard_keys, shard_of_key
from engine.live.transport.connection import arguments, command
from engine.live.transport.plain import PlainRedis

PAGE: Final = 500
_WHOLE: Final = 2000
"""Holds of a brand that are read at one instant; more are read in pages and compared until they did not change."""


class SeenKey(NamedTuple):
    """A key with its type, and its time to live in ms (-1: none)."""

    name: str
    kind: str
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class BrandHolds:
    """A brand's open holds at one instant: the sum in its hash, {name: (micros, expires_ms)} of the holds, {name: expires_ms} of the expiry.
    own: {campaign id: sum}, None where the brand keeps no sums of its campaigns.
    """

    held: int
    holds: Mapping[str, tuple[int, int]]
    expiry: Mapping[str, int]
    own: Mapping[int, int] | None = None


class Inspector:
    """Reads keys without the scripts."""

    def __init__(self, plain: PlainRedis) -> None:
        self._plain = plain
        self._lacking: dict[int, ServerAway] = {}

    def pages(self, *, with_ttl: bool = True) -> Iterator[list[SeenKey]]:
        """Yields every key, page by page, without those that vanish meanwhile. with_ttl: reads each one's time to
        live; else it counts as none. Raises ServerAway; for one of several servers after all others.
        """
        gone: ServerAway | None = None
        for where, server in self._servers().items():
            try:
                yield from self._pages(where, server, with_ttl)
            except ServerAway as away_:
                if not away_.partial:
                    raise
                gone = away_
        if gone is not None:
            raise gone

    def _pages(self, where: str, server: redis.Redis, with_ttl: bool) -> Iterator[list[SeenKey]]:
        cursor = 0
        while True:
            cursor, names = self._asked(where, lambda at=cursor: server.scan(at, count=PAGE))  # type: ignore[misc]  # mypy cannot infer a default
            kinds = self._replies(where, server, [command((b"TYPE", name)) for name in names])
            ttls = self._replies(where, server, [command((b"PTTL", name)) for name in names]) if with_ttl else []
            yield [
                SeenKey(name.decode(errors="backslashreplace"), kind.decode(), int(ttl))
                for name, kind, ttl in zip(names, kinds, ttls or [-1] * len(names), strict=True)
                if isinstance(kind, bytes) and kind != b"none" and not isinstance(ttl, Exception)
            ]
            if not cursor:
                return

    def infos(self) -> Mapping[str, Mapping[str, Any]]:
        """Each server's INFO, by host and port, without those of several that are away. Raises ServerAway."""
        found: dict[str, Mapping[str, Any]] = {}
        for where, server in self._servers().items():
            try:
                found[where] = self._asked(where, server.info)
            except ServerAway as gone:
                if not gone.partial:
                    raise
        return found

    def fields(self, keys: Sequence[str], names: Sequence[str]) -> list[list[str | None] | None]:
        """Fields of hashes, in order; None for what is no hash. Also None for a shard that `lacks` knows."""
        out: list[list[str | None] | None] = []
        head, tail = b"*%d\r\n$5\r\nHMGET\r\n" % (2 + len(names)), arguments(names)
        for start in range(0, len(keys), PAGE):
            part = keys[start : start + PAGE]
            shards = [shard_of_key(key) for key in part] if self._plain.routed else [0] * len(part)
            for got in self._spread([head + arguments((key,)) + tail for key in part], shards):
                wrong = got is None or isinstance(got, redis.ResponseError)
                out.append(None if wrong else [None if v is None else v.decode(errors="replace") for v in got])
        return out

    def lacks(self, shard: int) -> bool:
        """Whether the last reading had nothing of a shard because its server, one of several, is away."""
        return shard in self._lacking

    def refuse_lacking(self) -> None:
        """After all others were read: raises ServerAway where a server of several was away."""
        for gone in self._lacking.values():
            raise gone

    def remembered_verbs(self, shard: int, request_ids: Sequence[str]) -> dict[str, str]:
        """{request id: `r` or `t`} of the calls in the dedup window; after a rebuild the verb is not known any more."""
        verbs: dict[str, str] = {}
        for key in shard_keys(shard).requests:
            for start in range(0, len(request_ids), PAGE):
                part = list(request_ids[start : start + PAGE])
                asked = self._run(shard, lambda server, key=key, part=part: server.hmget(key, part))  # type: ignore[misc]  # as above
                for name, value in zip(part, asked, strict=True):
                    if value is not None and value[:1] in (b"r", b"t"):
                        verbs[name] = value[:1].decode()
        return verbs

    def holds(self, brand_id: int, tries: int = 5) -> BrandHolds | None:
        """A brand's holds at one instant; None when there are very many and they always changed. Raises ValueError
        for malformed values.
        """
        try:
            return self._brand_holds(brand_id, tries)
        except redis.ResponseError as error:
            raise ValueError(str(error)) from None

    def _brand_holds(self, brand_id: int, tries: int) -> BrandHolds | None:
        keys, shard = keys_of_brand(brand_id), shard_of(brand_id)
        holds_key, expiry_key = keys.holds(brand_id)

        def whole(server: redis.Redis) -> Any:
            pipe = server.pipeline(transaction=True)
            pipe.hgetall(keys.brand(brand_id))
            pipe.hgetall(holds_key)
            pipe.zrange(expiry_key, 0, -1, withscores=True)
            return pipe.execute()

        if int(self._run(shard, lambda server: server.hlen(holds_key))) <= _WHOLE:
            return _holds(*self._run(shard, whole))
        for _ in range(tries):
            before = self._run(shard, lambda server: server.hget(keys.shard, "n"))
            brand = self._run(shard, lambda server: server.hgetall(keys.brand(brand_id)))
            holds = self._run(shard, lambda server: dict(server.hscan_iter(holds_key, count=PAGE)))
            expiry = self._run(shard, lambda server: list(server.zscan_iter(expiry_key, count=PAGE)))
            if self._run(shard, lambda server: server.hget(keys.shard, "n")) == before:
                return _holds(brand, holds, expiry)
        return None

    def due_holds(self, brand_ids: Sequence[int], now_ms: int) -> dict[int, int]:
        """{brand id: number of expired holds that are not removed yet}, where there are any. A key of another type
        counts as one: the sweep's script finds it and has its shard rebuilt. Without shards that `lacks` knows.
        """
        commands = [command(("ZCOUNT", keys_of_brand(b).holds(b)[1], "-inf", str(now_ms))) for b in brand_ids]
        counts = self._spread(commands, [shard_of(b) for b in brand_ids])
        found = {
            b: 1 if isinstance(due, Exception) else int(due)
            for b, due in zip(brand_ids, counts, strict=True)
            if due is not None
        }
        return {brand: due for brand, due in found.items() if due}

    def _servers(self) -> Mapping[str, redis.Redis]:
        return self._asked(self._plain.where, self._plain.each)  # type: ignore[no-any-return]

    def _spread(self, commands: Sequence[bytes], shards: Sequence[int]) -> list[Any]:
        """The replies to commands for shards, errors included, in one pipeline a server; None where a server of several is away."""
        if not self._plain.routed:
            return self._replies(self._plain.where, self._plain.of(0), commands)
        found: list[Any] = [None] * len(commands)
        by_server: dict[str, list[int]] = {}
        self._asked(self._plain.where, self._plain.each)
        for i, shard in enumerate(shards):
            by_server.setdefault(self._plain.where_of(shard), []).append(i)
        for where, places in by_server.items():
            try:
                server = self._plain.of(shards[places[0]])
                for i, reply in zip(places, self._replies(where, server, [commands[i] for i in places]), strict=True):
                    found[i] = (
                        reply if not isinstance(reply, exceptions.AskError) else self._again(commands[i], shards[i])
                    )
                    self._lacking.pop(shards[i], None)
            except (ServerAway, redis.ConnectionError, redis.TimeoutError) as gone:
                known = gone if isinstance(gone, ServerAway) else self._away(where, gone)
                self._lacking.update((shards[i], known) for i in places)
        return found

    def _again(self, text: bytes, shard: int) -> Any:
        """The reply of a shard that has moved."""

        def ask(server: redis.Redis) -> Any:
            (reply,) = _exchange(server, [text])
            if isinstance(reply, exceptions.AskError):
                raise reply
            return reply

        return self._run(shard, ask)

    def _run(self, shard: int, ask: Callable[[redis.Redis], Any]) -> Any:
        return self._asked(self._plain.where_of(shard), lambda: self._plain.run(shard, ask))

    def _replies(self, where: str, server: redis.Redis, commands: Sequence[bytes]) -> list[Any]:
        """The replies to encoded commands in one pipeline, errors included. redis-py's own pipeline takes three times
        the CPU.
        """
        return list(self._asked(where, lambda: _exchange(server, commands))) if commands else []

    def _asked(self, where: str, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            self._plain.failed(where, error)
            raise self._away(where, error) from None

    def _away(self, where: str, error: Exception) -> ServerAway:
        return away(where, error, self._plain.timeout_s, self._plain.several)


def _exchange(server: redis.Redis, commands: Sequence[bytes]) -> list[Any]:
    pool = server.connection_pool
    connection: Any = pool.get_connection()

    def ask() -> list[Any]:
        connection.send_packed_command([b"".join(commands)])
        return [_reply(connection) for _ in commands]

    try:
        found: list[Any] = connection.retry.call_with_retry(ask, lambda _: connection.disconnect())
    except BaseException:
        # Unread replies would be taken for those of the next commands.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)
    return found


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _holds(
    brand: Mapping[bytes, bytes], holds: Mapping[bytes, bytes], expiry: Sequence[tuple[bytes, float]]
) -> BrandHolds:
    read, own = {}, None
    if brand.get(b"own") == b"1":
        own = {int(name[2:]): int(value) for name, value in brand.items() if name.startswith(b"h:")}
    for name, value in holds.items():
        micros, expires, *_ = value.split(b",")
        read[name.decode()] = (int(micros), int(expires))
    ends = {name.decode(): int(score) for name, score in expiry}
    return BrandHolds(int(brand.get(b"held") or 0), read, ends, own)
