"""Ways in which a Redis that answers refuses every call: each is a real server in that state, and ends with its block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol, cast

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from engine.local.valkey import Valkey
from tests.patience import PATIENCE_S
from tests.processes.conftest import back, until

BIG: Final = 150_000
"""Commands of an append-only file that takes some seconds to be read, with the pause of `key-load-delay` after each."""


class Server(Protocol):
    """A server of a test: its URL, and the folder that it saves to."""

    @property
    def url(self) -> str: ...
    @property
    def folder(self) -> Path: ...


def client_of(server: Server) -> redis.Redis:
    """A client that tells each refusal at once."""
    return redis.Redis.from_url(server.url, socket_timeout=PATIENCE_S, retry=Retry(NoBackoff(), 0))


@contextmanager
def _set(server: Server, **values: str) -> Iterator[None]:
    """Settings of a running server, with _ for -, and the old ones after it."""
    with client_of(server) as plain:
        before = {name: plain.config_get(name.replace("_", "-"))[name.replace("_", "-")] for name in values}
        for name, value in values.items():
            plain.config_set(name.replace("_", "-"), value)
        try:
            yield
        finally:
            for name, value in before.items():
                plain.config_set(name.replace("_", "-"), value)


@contextmanager
def without_replicas(server: Server, wanted: str = "1") -> Iterator[None]:
    """NOREPLICAS: fewer replicas than it must have to take writes."""
    with _set(server, min_replicas_to_write=wanted):
        yield


@contextmanager
def full_memory(server: Server) -> Iterator[None]:
    """OOM: no memory is left for a write."""
    with _set(server, maxmemory="1"):
        yield


@contextmanager
def unsaved(server: Server) -> Iterator[None]:
    """MISCONF: its last snapshot failed, because a folder has the name of the file."""
    in_the_way = server.folder / "dump.rdb"
    in_the_way.mkdir()
    try:
        with _set(server, save="3600 1"), client_of(server) as plain:
            plain.bgsave()
            until(lambda: plain.info("persistence")["rdb_last_bgsave_status"] == "err")
            yield
    finally:
        in_the_way.rmdir()
        with client_of(server) as plain:
            plain.bgsave()
            until(lambda: plain.info("persistence")["rdb_last_bgsave_status"] == "ok")
        in_the_way.unlink()


@contextmanager
def a_replica(server: Server) -> Iterator[None]:
    """READONLY: it was made a replica, of a server that is not there."""
    with client_of(server) as plain:
        plain.replicaof("127.0.0.1", "1")
        try:
            yield
        finally:
            plain.replicaof("NO", "ONE")


@contextmanager
def a_stale_replica(server: Server) -> Iterator[None]:
    """MASTERDOWN: the same, and it answers no reads either."""
    with _set(server, replica_serve_stale_data="no"), a_replica(server):
        yield


@contextmanager
def busy(server: Server) -> Iterator[None]:
    """BUSY: somebody's script does not end."""
    with _set(server, busy_reply_threshold="10"), client_of(server) as plain:

        def endless() -> None:
            with suppress(redis.ResponseError), client_of(server) as other:
                other.eval("while true do end", 0)

        thread = threading.Thread(target=endless)
        thread.start()
        try:
            until(lambda: says(plain, "BUSY"))
            yield
        finally:
            plain.script_kill()
            thread.join()
            until(plain.ping)


@contextmanager
def loading(server: Server) -> Iterator[None]:
    """LOADING: it was restarted, and reads a big append-only file. The block must end before it has."""
    valkey = cast(Valkey, server)
    with client_of(valkey) as plain:
        other = redis.Redis.from_url(valkey.url.removesuffix("/0") + "/1")
        with other.pipeline(transaction=False) as pipe:
            for i in range(BIG):
                pipe.set(f"filler {i}", i)
            pipe.execute()
        valkey.stop()
        valkey.more = lambda: "key-load-delay 10\n"  # type: ignore[method-assign]
        try:
            valkey.launch()
            until(lambda: says(plain, "loading"))
            yield
            assert says(plain, "loading"), "the block took longer than the load"
        finally:
            del valkey.more  # type: ignore[attr-defined]
            valkey.stop()
            back(valkey)
            other.flushdb()
            other.close()


def says(plain: redis.Redis, word: str) -> bool:
    """Whether the answer to a PING is an error with this word, in whatever letters."""
    try:
        plain.ping()
    except redis.RedisError as error:
        return word.lower() in str(error).lower()
    return False


REFUSALS: Final[dict[str, Callable[[Server], AbstractContextManager[None]]]] = {
    "MISCONF": unsaved,
    "LOADING": loading,
    "NOREPLICAS": without_replicas,
    "BUSY": busy,
    "READONLY": a_replica,
    "MASTERDOWN": a_stale_replica,
    "OOM": full_memory,
}
_LONG: Final = ("LOADING", "MASTERDOWN", "BUSY")
EACH: Final = [pytest.param(word, marks=pytest.mark.long if word in _LONG else ()) for word in REFUSALS]
"""For parametrize."""
