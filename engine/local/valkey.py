"""An embedded Valkey (or Redis): append-only file on, nothing evicted, a password, loopback only."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from engine.local.server import Server

# Money must not be evicted, and the journal is on disk within a second. The file is written anew from 256 MB on, not from 64: where cores are few,
# spends wait for it.
_CONFIG = """\
bind 127.0.0.1
protected-mode yes
port {port}
dir {folder}
requirepass {password}
appendonly yes
appendfsync everysec
auto-aof-rewrite-min-size 256mb
save ""
maxmemory-policy noeviction
maxclients 4000
tcp-backlog 128
daemonize no
"""
# While one node is away, the others go on with their slots.
_CLUSTER_CONFIG = """\
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout 5000
cluster-port {bus_port}
cluster-require-full-coverage no
"""


class Valkey(Server):
    """Started with its configuration on standard input: on the command line everybody would read the password."""

    stop_signal: ClassVar = signal.SIGTERM
    # This build allocates with the C library. glibc keeps 7 freed pieces of each size at hand; a call with hundreds of event ids frees more, and is
    # a tenth slower for it (jemalloc, which Redis usually comes with, has no such need).
    environ: ClassVar = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=2000"}

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def launch(self) -> None:
        self.data.make_private(self.folder)
        self.end_leftovers()
        config = _CONFIG.format(port=self.port, folder=_quoted(self.folder), password=_quoted(self.password))
        self.spawn([self.program.path(self.program.parts[0]), "-"], (config + self.more()).encode())

    def more(self) -> str:
        """Further lines of its configuration."""
        return ""

    def answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_connect_timeout=1, socket_timeout=2, retry=Retry(NoBackoff(), 0))
        try:
            return bool(client.ping())
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            # Not yet there, or still reading its file (BusyLoadingError).
            return False
        except redis.exceptions.ResponseError:
            # Another server on our port, which does not know our password.
            return False
        finally:
            client.close()


class ClusterNode(Valkey):
    """One node of an embedded cluster. bus_port: where the other nodes reach it."""

    bus_port = 0

    def more(self) -> str:
        return _CLUSTER_CONFIG.format(bus_port=self.bus_port)

    def client(self) -> redis.Redis:
        """For commands of the cluster."""
        return redis.Redis.from_url(self.url, socket_timeout=5, retry=Retry(NoBackoff(), 0))


def _quoted(value: str | Path) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
