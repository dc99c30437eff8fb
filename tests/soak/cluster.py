"""The faults of a soak on a cluster: slots move, primaries are replaced, die, freeze and lag, beside what the soak of one Redis breaks."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.local.forming import wait_until_whole
from tests.cluster.servers import Cluster, Node
from tests.processes.conftest import Own, until
from tests.soak.chaos import PATIENCE_S, Chaos

RESENT_S = 3.0
"""After a primary was lost its clients look at the shards, and send again, within so long. Nothing else is broken meanwhile: a bidder that dies in
these seconds takes its calls along, which docs/cluster.md says."""


class ClusterChaos(Chaos):
    """Breaks one thing at a time on three primaries with a replica each."""

    def __init__(
        self,
        own: Own,
        folder: Path,
        seed: int,
        brands: dict[int, list[int]],
        budgets: list[int],
        cluster: Cluster,
        in_node: Path | None = None,
    ) -> None:
        self.cluster = cluster
        super().__init__(own, folder, seed, brands, budgets, in_node)

    def kinds(self) -> list[Callable[[], None]]:
        return [
            self.worker_killed, self.jobs_worker_killed, self.scheduler_killed, self.bidder_killed, self.jobs_redis_killed,
            self.postgresql_stopped, self.postgresql_killed, self.second_persister, self.shard_rebuilt_by_hand,
            self.key_deleted, self.key_of_wrong_type, self.redis_wiped,
            self.slots_moved, self.slots_moved, self.slots_moved, self.failover_by_hand, self.failover_by_hand,
            self.primary_killed, self.primary_killed, self.primary_frozen, self.primary_frozen, self.lagging_replica_promoted,
            self.replica_killed, self.replica_frozen,
        ]  # fmt: skip

    def always(self) -> None:
        for node in self.cluster.nodes:
            node.plain.config_set("appendfsync", "always")

    def slots_moved(self) -> None:
        for _ in range(self._chance.randint(1, 3)):
            shard = self._chance.randrange(64)
            home = self.cluster.owner(shard)
            self.cluster.move(shard, self._chance.choice([node for node in self._primaries() if node is not home]))

    def failover_by_hand(self) -> None:
        _, replica = self._pair()
        self.cluster.fail_over(replica)
        self._whole()

    def primary_killed(self) -> None:
        primary, replica = self._pair()
        primary.kill()
        self._taken_over(replica)
        primary.start()
        self._whole()

    def primary_frozen(self) -> None:
        """Shorter than the node timeout, or longer."""
        primary, _ = self._pair()
        primary.signal(signal.SIGSTOP)
        time.sleep(self._chance.uniform(0.3, 5))
        primary.signal(signal.SIGCONT)
        time.sleep(RESENT_S)
        self._whole()

    def lagging_replica_promoted(self) -> None:
        """The replica misses up to two seconds, and takes over with what it has."""
        primary, replica = self._pair()
        replica.kill()
        time.sleep(self._chance.uniform(0.5, 2))
        primary.kill()
        replica.start()
        self._taken_over(replica)
        primary.start()
        self._whole()

    def replica_killed(self) -> None:
        _, replica = self._pair()
        replica.kill()
        time.sleep(1)
        replica.start()
        self._whole()

    def replica_frozen(self) -> None:
        _, replica = self._pair()
        replica.signal(signal.SIGSTOP)
        time.sleep(self._chance.uniform(0.5, 3))
        replica.signal(signal.SIGCONT)
        self._whole()

    def redis_wiped(self) -> None:
        self._at_rest(lambda: [node.plain.flushall() for node in self._primaries()])

    def key_deleted(self) -> None:
        self._damage(lambda key: self._home(key).plain.delete(key))

    def key_of_wrong_type(self) -> None:
        def spoil(key: str) -> None:
            with self._home(key).plain.pipeline() as both:
                both.delete(key).set(key, "something else").execute()

        self._damage(spoil)

    def _primaries(self) -> list[Node]:
        return [node for node in self.cluster.nodes if node.role() == "master"]

    def _pair(self) -> tuple[Node, Node]:
        """A primary and its replica."""
        pair = self._chance.choice(list(zip(self.cluster.primaries, self.cluster.replicas, strict=True)))
        first, second = pair
        return (first, second) if first.role() == "master" else (second, first)

    def _home(self, key: str) -> Node:
        return self.cluster.owner(int(key.partition("{")[2].partition("}")[0]))

    def _taken_over(self, replica: Node) -> None:
        until(lambda: replica.role() == "master", PATIENCE_S, lambda: f"{replica.place} did not take over")
        time.sleep(RESENT_S)

    def _whole(self) -> None:
        until(self._is_whole, PATIENCE_S, lambda: "the cluster did not become whole")
        self.always()

    def _is_whole(self) -> Any:
        wait_until_whole([node.plain for node in self.cluster.nodes])
        return len(self._primaries()) == 3
