"""An embedded Valkey (or Redis): append-only file, no eviction, a password, loopback only."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from engine.local.server import Server

# Counters must not be evicted, and the journal is on disk within a second. The append-only file is rewritten from
# 256 MB on instead of 64, because on few cores a rewrite delays spends.
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
# While one node is down, the others continue to serve their slots.
_CLUSTER_CONFIG = """\
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout 5000
cluster-port {bus_port}
cluster-require-full-coverage no
"""


class Valkey(Server):
    """The embedded Valkey server. Its configuration goes to stdin: other users can read a command line, and it has the
    password.
    """

    stop_signal: ClassVar = signal.SIGTERM
    # This build uses glibc's malloc instead of jemalloc. glibc caches 7 freed chunks of each size. A call with hundreds
    # of event ids frees more, which made it a tenth slower.
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
        """Further lines of the configuration."""
        return ""

    def answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_connect_timeout=1, socket_timeout=2, retry=Retry(NoBackoff(), 0))
        try:
            return bool(client.ping())
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            # The server does not listen yet, or still reads its file (BusyLoadingError).
            return False
        except redis.exceptions.ResponseError:
            # Another server has the port, and does not know this password.
            return False
        finally:
            client.close()


class ClusterNode(Valkey):
    """One node of an embedded cluster. bus_port: the port of its cluster bus."""

    bus_port = 0

    def more(self) -> str:
        return _CLUSTER_CONFIG.format(bus_port=self.bus_port)

    def client(self) -> redis.Redis:
        """A client for CLUSTER commands."""
        return redis.Redis.from_url(self.url, socket_timeout=5, retry=Retry(NoBackoff(), 0))


def _quoted(value: str | Path) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
