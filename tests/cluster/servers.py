"""Real clusters for tests: nodes of the embedded Valkey in a folder in memory, each a process that a test may stop, freeze or kill."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from engine.live.transport.cluster import SLOT_OF
from engine.live.transport.routes import SHARD_KEYS
from engine.local.binaries import find_valkey
from engine.local.bound import dies_with_us
from engine.local.forming import even_ranges, form, own_id, wait_until_whole
from tests.patience import PATIENCE_S
from tests.ports import free_port

NODE_TIMEOUT_MS = 1000
PASSWORD = "cluster-tests"
AGAIN = Retry(NoBackoff(), 2, supported_errors=(redis.ConnectionError,))
"""Connections that a failover closed are made anew; a server that hangs is waited for once."""
_CONFIG = """\
bind 127.0.0.1
{listen}
dir "{folder}"
requirepass {password}
masterauth {password}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
repl-diskless-sync-delay 0
{more}
"""
_CLUSTER = """\
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout {timeout}
cluster-port {bus}
cluster-require-full-coverage no
cluster-replica-validity-factor 0
cluster-allow-replica-migration no
"""


class Kind:
    """What is started as a server: the embedded Valkey, without TLS."""

    def program(self) -> str:
        """Its path."""
        found = find_valkey()
        return str(found.path(found.parts[0]))

    def listen(self, port: int) -> str:
        """The lines of its configuration about its port."""
        return f"port {port}"

    def client(self, port: int, password: str, retry: Retry | None = None) -> redis.Redis:
        """For plain commands."""
        given = retry or Retry(NoBackoff(), 0)
        return redis.Redis("127.0.0.1", port, password=password, socket_timeout=5, retry=given)


EMBEDDED = Kind()


class Node:
    """One server."""

    def __init__(self, folder: Path, more: str = "", kind: Kind = EMBEDDED) -> None:
        self.folder = folder
        folder.mkdir()
        self.port = free_port()
        self.more = more
        self.kind = kind
        self.process: subprocess.Popen[bytes] | None = None
        self.plain = kind.client(self.port, PASSWORD)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.launch()
        until(self.answers)

    def launch(self, more: str = "") -> None:
        """Starts it without waiting for it. more: lines of its configuration for this start."""
        listen = self.kind.listen(self.port)
        config = _CONFIG.format(listen=listen, folder=self.folder, password=PASSWORD, more=self.more + more)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.kind.program(), "-"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=dies_with_us(signal.SIGKILL),  # noqa: PLW1509  # two system calls, and no more
            )
        assert self.process.stdin is not None
        self.process.stdin.write(config.encode())
        self.process.stdin.close()

    def answers(self) -> bool:
        with contextlib.suppress(redis.RedisError, OSError):
            return bool(self.plain.ping())
        return False

    def wait_for_replica(self) -> None:
        """Waits until a replica has all that this server has now; one that was just made may still fetch everything."""
        written = int(self.plain.info("replication")["master_repl_offset"])
        until(lambda: self._has_replica(written))

    def _has_replica(self, written: int) -> bool:
        # WAIT would ask only for what its own connection wrote.
        with contextlib.suppress(redis.ConnectionError):  # a Sentinel that changes its role closes its connections
            told = self.plain.info("replication")
            replicas = (told.get(f"slave{i}", {}) for i in range(int(told["connected_slaves"])))
            return any(of.get("state") == "online" and of["offset"] >= written for of in replicas)
        return False

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self.plain.close()

    def role(self) -> str:
        with contextlib.suppress(redis.RedisError, OSError):
            return str(self.plain.info("replication")["role"])
        return "does not say"


class Cluster:
    """Three primaries and, where wanted, a replica of each."""

    def __init__(
        self,
        folder: Path,
        primaries: int = 3,
        replicas: int = 3,
        timeout_ms: int = NODE_TIMEOUT_MS,
        kind: Kind = EMBEDDED,
    ) -> None:
        self.nodes = []
        for i in range(primaries + replicas):
            more = _CLUSTER.format(timeout=timeout_ms, bus=free_port())
            self.nodes.append(Node(folder / f"node-{i}", more, kind))
        self.primaries = self.nodes[:primaries]
        self.replicas = self.nodes[primaries:]
        self.timeout_s = timeout_ms / 1000
        form([n.plain for n in self.primaries], [n.plain for n in self.replicas], bus_of=self._bus)

    def _bus(self, port: int) -> int:
        node = next(n for n in self.nodes if n.port == port)
        return int(node.more.partition("cluster-port ")[2].split()[0])

    @property
    def url(self) -> str:
        places = ",".join(n.place for n in self.primaries)
        return f"redis+cluster://:{PASSWORD}@{places}"

    def owner(self, shard: int) -> Node:
        """The primary of a shard, as the first node that answers says. Just after a failover some still name the dead one: they are asked again."""
        found: list[Node] = []
        until(lambda: found.extend(self._living_owner(SLOT_OF[SHARD_KEYS[shard]])) or bool(found))
        return found[0]

    def _living_owner(self, slot: int) -> Iterator[Node]:
        for node in self.nodes:
            with contextlib.suppress(redis.RedisError, OSError):
                for low, high, primary, *_ in node.plain.execute_command("CLUSTER SLOTS", NEVER_DECODE=True):
                    if low <= slot <= high:
                        yield from (n for n in self.nodes if n.port == primary[1] and n.alive)
                        return

    def shards_of(self, node: Node) -> list[int]:
        return [shard for shard in range(64) if self.owner(shard) is node]

    def move(self, shard: int, to: Node) -> None:
        """Moves a shard's slot in one step, and waits until it is there."""
        source, slot = self.owner(shard), SLOT_OF[SHARD_KEYS[shard]]
        source.plain.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", own_id(to.plain))
        until(lambda: self.owner(shard) is to)

    def fail_over(self, to: Node) -> None:
        """Makes a replica the primary by hand, and waits until both know."""
        other = next(
            n for pair in zip(self.primaries, self.replicas, strict=True) if to in pair for n in pair if n is not to
        )
        to.plain.execute_command("CLUSTER", "FAILOVER")

        def over() -> bool:
            nonlocal asked
            if to.role() == "master":
                return other.role() == "slave"
            if (
                time.monotonic() - asked > 6
            ):  # an election that nobody won is over by then, and has to be asked for again
                asked = time.monotonic()
                to.plain.execute_command("CLUSTER", "FAILOVER")
            return False

        asked = time.monotonic()
        until(over)
        until(lambda: other.plain.info("replication").get("master_link_status") == "up")

    def restore(self) -> None:
        """All nodes run, the first ones are primaries again with the slots that they began with, and all is empty."""
        for node in self.nodes:
            if not node.alive:
                node.start()
            node.signal(signal.SIGCONT)
        until(lambda: all(node.answers() for node in self.nodes))
        wait_until_whole([node.plain for node in self.nodes])
        for node in self.primaries:
            if node.role() != "master":
                self.fail_over(node)
        for node in self.primaries:
            node.plain.flushall()
            node.plain.script_flush()
        for shard in range(64):
            home = self.primaries[
                next(i for i, (low, high) in enumerate(even_ranges(3)) if low <= self.slot(shard) <= high)
            ]
            if self.owner(shard) is not home:
                self.move(shard, home)
        wait_until_whole([node.plain for node in self.nodes])

    def slot(self, shard: int) -> int:
        return SLOT_OF[SHARD_KEYS[shard]]

    def end(self) -> None:
        for node in self.nodes:
            node.end()


def until(done: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class Ends(Protocol):
    """Servers that run until `end`."""

    def end(self) -> None: ...


Servers = TypeVar("Servers", bound=Ends)


@contextlib.contextmanager
def running(make: Callable[[Path], Servers]) -> Iterator[Servers]:
    """Servers in a folder in memory, ended and removed at the end."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="budget cluster ", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        made = make(folder)
        try:
            yield made
        finally:
            made.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
