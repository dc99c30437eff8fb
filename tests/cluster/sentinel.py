"""A primary with a replica behind a real Sentinel, for tests: each a process that a test may stop, freeze or kill."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

import redis

from engine.local.bound import dies_with_us
from tests.cluster.servers import AGAIN, EMBEDDED, NODE_TIMEOUT_MS, PASSWORD, Kind, Node, until
from tests.ports import free_port

SENTINEL_PASSWORD = "sentinel-tests"
MASTER = "my-master"
_SENTINEL = """\
bind 127.0.0.1
{listen}
dir "{folder}"
requirepass {own}
sentinel monitor {master} 127.0.0.1 {primary} 1
sentinel auth-pass {master} {password}
sentinel down-after-milliseconds {master} {timeout}
sentinel failover-timeout {master} 3000
"""


# A server that a busy machine keeps from answering for so long is rather frozen: Sentinel changes nothing by itself before.
PATIENT_MS = 60_000


class Watched:
    """
    A primary with a replica, and a Sentinel that watches them.

    Sentinel is patient, so that only a test changes servers: one that kills or freezes the primary calls `hurry` first.
    """

    def __init__(self, folder: Path, timeout_ms: int = NODE_TIMEOUT_MS, kind: Kind = EMBEDDED) -> None:
        self.timeout_s = timeout_ms / 1000
        self.nodes = [Node(folder / "first", kind=kind)]
        self.nodes.append(Node(folder / "second", f"replicaof 127.0.0.1 {self.nodes[0].port}", kind))
        home = folder / "sentinel"
        home.mkdir()
        self.port = free_port()
        (home / "sentinel.conf").write_text(
            _SENTINEL.format(
                listen=kind.listen(self.port),
                folder=home,
                own=SENTINEL_PASSWORD,
                master=MASTER,
                primary=self.nodes[0].port,
                password=PASSWORD,
                timeout=timeout_ms,
            )
        )
        with (home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [kind.program(), home / "sentinel.conf", "--sentinel"],
                stdout=log,
                stderr=log,
                preexec_fn=dies_with_us(signal.SIGKILL),  # noqa: PLW1509  # two system calls, and no more
            )
        self.plain = kind.client(self.port, SENTINEL_PASSWORD, AGAIN)
        until(self._knows_both)
        self._wait_before_failover(PATIENT_MS)

    def _knows_both(self) -> bool:
        with contextlib.suppress(redis.RedisError, OSError):
            return len(self.plain.execute_command("SENTINEL", "REPLICAS", MASTER)) == 1 and self.current()
        return False

    def current(self) -> bool:
        """Whether the replica follows."""
        return any(n.answers() and n.plain.info("replication").get("master_link_status") == "up" for n in self.nodes)

    @property
    def url(self) -> str:
        return (
            f"redis+sentinel://:{PASSWORD}@127.0.0.1:1,127.0.0.1:{self.port}/{MASTER}/0"
            f"?sentinel_password={SENTINEL_PASSWORD}"
        )

    @property
    def primary(self) -> Node:
        _, port = self.plain.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return next(n for n in self.nodes if n.port == int(port))

    def hurry(self) -> None:
        """From now on Sentinel replaces a primary that does not answer for `timeout_s`, until `restore`."""
        self._wait_before_failover(int(self.timeout_s * 1000))

    def _wait_before_failover(self, timeout_ms: int) -> None:
        self.plain.execute_command("SENTINEL", "SET", MASTER, "down-after-milliseconds", timeout_ms)

    def restore(self) -> None:
        """Both run, one follows the other, both are empty, and Sentinel is patient."""
        self._wait_before_failover(PATIENT_MS)
        for node in self.nodes:
            if not node.alive:
                node.start()
            node.signal(signal.SIGCONT)
        until(lambda: all(n.answers() for n in self.nodes))
        until(lambda: self.primary.role() == "master")
        self._demote_others()
        until(self.current)
        self.primary.plain.flushall()

    def fail_over(self) -> None:
        """Has Sentinel make the replica the primary, and waits until both servers are what it says."""
        old = self.primary
        old.wait_for_replica()
        until(self._begins_failover)
        until(lambda: self.primary is not old and self.primary.role() == "master")
        self._demote_others()
        until(lambda: old.role() == "slave")

    def _begins_failover(self) -> bool:
        """Sentinel refuses as long as it has not asked the replica how it is since that was last demoted."""
        try:
            self.plain.execute_command("SENTINEL", "FAILOVER", MASTER)
        except redis.ResponseError as error:
            if str(error).startswith("NOGOODSLAVE"):
                return False
            raise
        return True

    def _demote_others(self) -> None:
        """Sentinel does so itself, and takes ten seconds, until it has asked each server for its role again."""
        primary = self.primary
        for node in self.nodes:
            if node is not primary and node.role() == "master":
                node.plain.replicaof("127.0.0.1", primary.port)
                for kind in ("normal", "pubsub"):  # as Sentinel does too
                    node.plain.execute_command("CLIENT", "KILL", "TYPE", kind)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for node in self.nodes:
            node.end()
