"""Reads the live state from outside, for `verify`: plain reads in small pieces, none of which blocks Redis for long.
Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import redis

from engine.live.hush import away
from engine.live.keys import keys_of_brand, shard_keys
from engine.live.transport.connection import arguments, command

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
    """A brand's open holds at one instant: the sum in its hash, {name: (micros, expires_ms)} of the holds, {name: expires_ms} of the expiry."""

    held: int
    holds: Mapping[str, tuple[int, int]]
    expiry: Mapping[str, int]


class Inspector:
    """Reads keys without the scripts."""

    def __init__(self, plain: redis.Redis, where: str) -> None:
        self._plain = plain
        self._where = where

    def pages(self, *, with_ttl: bool = True) -> Iterator[list[SeenKey]]:
        """Yields every key, page by page, without those that vanish meanwhile. with_ttl: reads each one's time to
        live; else it counts as none.
        """
        cursor = 0
        while True:
            cursor, names = self._asked(lambda at=cursor: self._plain.scan(at, count=PAGE))  # type: ignore[misc]  # mypy cannot infer a default
            kinds = self._replies([command((b"TYPE", name)) for name in names])
            ttls = self._replies([command((b"PTTL", name)) for name in names]) if with_ttl else [-1] * len(names)
            yield [
                SeenKey(name.decode(errors="backslashreplace"), kind.decode(), int(ttl))
                for name, kind, ttl in zip(names, kinds, ttls, strict=True)
                if kind != b"none"
            ]
            if not cursor:
                return

    def info(self) -> Mapping[str, Any]:
        """The server's INFO."""
        found: Mapping[str, Any] = self._asked(self._plain.info)
        return found

    def fields(self, keys: Sequence[str], names: Sequence[str]) -> list[list[str | None] | None]:
        """Fields of hashes, in order; None for what is no hash."""
        out: list[list[str | None] | None] = []
        head, tail = b"*%d\r\n$5\r\nHMGET\r\n" % (2 + len(names)), arguments(names)
        for start in range(0, len(keys), PAGE):
            for got in self._replies([head + arguments((key,)) + tail for key in keys[start : start + PAGE]]):
                wrong = isinstance(got, redis.ResponseError)
                out.append(None if wrong else [None if v is None else v.decode(errors="replace") for v in got])
        return out

    def remembered_verbs(self, shard: int, request_ids: Sequence[str]) -> dict[str, str]:
        """{request id: `r` or `t`} of the calls in the dedup window; after a rebuild the verb is not known any more."""
        verbs: dict[str, str] = {}
        for key in shard_keys(shard).requests:
            for start in range(0, len(request_ids), PAGE):
                part = list(request_ids[start : start + PAGE])
                asked = self._asked(lambda key=key, part=part: self._plain.hmget(key, part))  # type: ignore[misc]  # as above
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
        keys = keys_of_brand(brand_id)
        holds_key, expiry_key = keys.holds(brand_id)
        if int(self._asked(lambda: self._plain.hlen(holds_key))) <= _WHOLE:
            pipe = self._plain.pipeline(transaction=True)
            pipe.hget(keys.brand(brand_id), "held")
            pipe.hgetall(holds_key)
            pipe.zrange(expiry_key, 0, -1, withscores=True)
            return _holds(*self._asked(pipe.execute))
        for _ in range(tries):
            before = self._asked(lambda: self._plain.hget(keys.shard, "n"))
            held = self._asked(lambda: self._plain.hget(keys.brand(brand_id), "held"))
            holds = self._asked(lambda: dict(self._plain.hscan_iter(holds_key, count=PAGE)))
            expiry = self._asked(lambda: list(self._plain.zscan_iter(expiry_key, count=PAGE)))
            if self._asked(lambda: self._plain.hget(keys.shard, "n")) == before:
                return _holds(held, holds, expiry)
        return None

    def due_holds(self, brand_ids: Sequence[int], now_ms: int) -> dict[int, int]:
        """{brand id: number of expired holds that are not removed yet}, where there are any. A key of another type
        counts as one: the sweep's script finds it and has its shard rebuilt.
        """
        pipe = self._plain.pipeline(transaction=False)
        for brand_id in brand_ids:
            pipe.zcount(keys_of_brand(brand_id).holds(brand_id)[1], "-inf", now_ms)
        counts = self._asked(lambda: pipe.execute(raise_on_error=False))
        found = {b: 1 if isinstance(due, Exception) else int(due) for b, due in zip(brand_ids, counts, strict=True)}
        return {brand: due for brand, due in found.items() if due}

    def _replies(self, commands: Sequence[bytes]) -> list[Any]:
        """The replies to encoded commands in one pipeline, errors included. redis-py's own pipeline takes three times
        the CPU.
        """
        return list(self._asked(lambda: self._exchange(commands))) if commands else []

    def _exchange(self, commands: Sequence[bytes]) -> list[Any]:
        pool = self._plain.connection_pool
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

    def _asked(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            raise away(self._plain, self._where, error) from None


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error


def _holds(held: bytes | None, holds: Mapping[bytes, bytes], expiry: Sequence[tuple[bytes, float]]) -> BrandHolds:
    read = {}
    for name, value in holds.items():
        micros, expires, *_ = value.split(b",")
        read[name.decode()] = (int(micros), int(expires))
    return BrandHolds(int(held or 0), read, {name.decode(): int(score) for name, score in expiry})
