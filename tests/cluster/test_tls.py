"""TLS to a cluster and to Sentinel, with a Redis that has TLS (Debian's): every node that the map names is reached with TLS."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from engine import AsyncBudgetClient, BudgetClient, Spend, Unavailable
from engine.domain.ids import shard_of
from engine.flows.upkeep.placing import Move, Placer
from engine.live.admin import LiveRedis
from engine.live.transport.routed import open_transport
from engine.local.forming import own_id
from engine.local.servers import Urls
from engine.settings import Settings
from engine.views.doctor import examine
from engine.wiring import System
from tests.cluster.load import brand_in, campaign_of, plant_all
from tests.cluster.sentinel import MASTER, SENTINEL_PASSWORD, Watched
from tests.cluster.servers import PASSWORD, Cluster, Kind, running
from tests.docs.documents import ROOT
from tests.live.plant import mark
from tests.ops.programs import checked, program
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.timeout(180)
TITLE = "### TLS for Redis, command by command\n"
SECTION = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition(TITLE)[2].partition("\n### ")[0]
MOVED = 5
"""A shard that is planted only after it has moved."""


class Encrypted(Kind):
    """Debian's Redis, with the certificates of docs/operations.md."""

    def __init__(self, folder: Path) -> None:
        self.server = program("redis-server")
        self.folder = folder
        make = re.findall(r"^```sh\n(.*?)^```$", SECTION, re.M | re.S)[0]
        make = make.replace("DNS:redis.internal,IP:10.0.0.5", "IP:127.0.0.1").replace("rsa:3072", "rsa:2048")
        checked("bash", "-euc", f"cd '{folder}'\n{make}")

    def program(self) -> str:
        return self.server

    def listen(self, port: int) -> str:
        lines = [f"port 0\ntls-port {port}\ntls-replication yes\ntls-auth-clients no"]
        for name, file in (("cert-file", "redis.pem"), ("key-file", "redis.key"), ("ca-cert-file", "ca.pem")):
            lines.append(f"tls-{name} {self.folder}/{file}")
        return "\n".join(lines)

    def client(self, port: int, password: str, retry: Retry | None = None) -> redis.Redis:
        given = retry or Retry(NoBackoff(), 0)
        trusted = str(self.folder / "ca.pem")
        return redis.Redis(
            "127.0.0.1", port, password=password, socket_timeout=5, retry=given, ssl=True, ssl_ca_certs=trusted
        )


class OfCluster(Encrypted):
    """The same as a node."""

    def listen(self, port: int) -> str:
        return super().listen(port) + "\ntls-cluster yes"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def cluster(certificates: Path) -> Iterator[Cluster]:
    """Two primaries without replicas."""
    kind = OfCluster(certificates)
    with running(lambda folder: Cluster(folder, primaries=2, replicas=0, kind=kind)) as made:
        yield made


@pytest.fixture(scope="module")
def watched(certificates: Path) -> Iterator[Watched]:
    kind = Encrypted(certificates)
    with running(lambda folder: Watched(folder, kind=kind)) as made:
        yield made


def awaited(url: str) -> set[str]:
    async def main() -> set[str]:
        async with AsyncBudgetClient.from_url(url, timeout_ms=20_000) as client:
            spends = (client.record_spend(campaign_of(s), amount_micros=1, event_id=f"a-{s}") for s in range(64))
            return {each.outcome for each in await asyncio.gather(*spends)}

    return asyncio.run(main())


def system_on(url: str, jobs: str, ledger_url: str) -> System:
    environ = {"REDIS_URL": url, "JOBS_REDIS_URL": jobs, "DATABASE_URL": ledger_url}
    return System(Settings.load({**environ, "BUDGET_ENV_FILE": os.devnull, "SECRET_KEY": "tests-only"}, None))


def spend(url: str, campaigns: Iterable[int]) -> None:
    with BudgetClient.from_url(url, timeout_ms=20_000) as client:
        assert {client.record_spend(campaign, "1").outcome for campaign in campaigns} == {"recorded"}


def campaign_in(system: System, name: str) -> int:
    brand = system.manage.create_brand(name, None, None, None, "tests").row
    return system.manage.create_campaigns(brand.id, ["One"], "tests")[0].id


def batch() -> list[Spend]:
    return [Spend(campaign_of(s), amount_micros=1, event_id=f"b-{s}") for s in range(64)]


def test_each_node_of_a_cluster_is_reached_with_tls_also_one_that_only_the_map_names(
    cluster: Cluster, certificates: Path
) -> None:
    first, second = cluster.primaries
    url = f"rediss+cluster://:{PASSWORD}@{first.place}?ssl_ca_certs={certificates}/ca.pem"
    wire = open_transport(url)
    live = LiveRedis(wire)
    plant = plant_all(live, None)
    with BudgetClient.from_url(url, timeout_ms=20_000) as client, client.watch() as watch:
        assert {each.outcome for each in client.record_spends(batch())} == {"recorded"}
        assert all(node.plain.dbsize() > 0 for node in (first, second))
        assert watch.wait_ready(PATIENCE_S), watch.why
        # A slot that is empty moves at once, and the client learns it from a MOVED.
        home, slot = cluster.owner(MOVED), cluster.slot(MOVED)
        other = second if home is first else first
        home.plain.delete(*home.plain.scan_iter(f"budget:{{{MOVED}}}:*"))
        for node in (other, home):
            node.plain.execute_command("CLUSTER", "SETSLOT", slot, "NODE", own_id(other.plain))
        mark(live, plant.instance, MOVED)
        plant._made.discard(brand_in(MOVED))
        plant._made.discard(campaign_of(MOVED))
        plant.brand(brand_id=brand_in(MOVED))
        assert client.record_spend(campaign_of(MOVED), amount_micros=1, event_id="moved").outcome == "recorded"
    assert awaited(url) == {"recorded"}
    wire.close()


@pytest.mark.parametrize("wrong", ["no authority", "no TLS", "another name"])
def test_what_is_no_node_for_tls_is_refused(cluster: Cluster, certificates: Path, wrong: str) -> None:
    place, trust = cluster.primaries[0].place, f"?ssl_ca_certs={certificates}/ca.pem"
    url = {
        "no authority": f"rediss+cluster://:{PASSWORD}@{place}",
        "no TLS": f"redis+cluster://:{PASSWORD}@{place}",
        "another name": f"rediss+cluster://:{PASSWORD}@{place.replace('127.0.0.1', 'localhost')}{trust}",
    }[wrong]
    with BudgetClient.from_url(url, timeout_ms=500) as client, pytest.raises(Unavailable):
        client.record_spend(campaign_of(1), amount_micros=1)


@pytest.mark.long
def test_jobs_doctor_and_the_move_of_a_shard_work_over_tls(
    cluster: Cluster, certificates: Path, servers: Urls, jobs_redis: redis.Redis, ledger_url: str
) -> None:
    url = f"rediss+cluster://:{PASSWORD}@{cluster.primaries[0].place}?ssl_ca_certs={certificates}/ca.pem"
    for node in cluster.primaries:
        node.plain.flushall()
    made = system_on(url, servers.jobs, ledger_url)
    try:
        assert len(made.rebuilder.rebuild_missing()) == 64
        campaigns = [campaign_in(made, f"Brand {i}") for i in range(8)]
        spend(url, campaigns)
        shard = shard_of(campaigns[0] >> 16)
        home = cluster.owner(shard)
        to = next(node for node in cluster.primaries if node is not home)
        placer = Placer(url)
        placement = placer.read()
        target = next(node for node in placement.nodes if node.place.port == to.port)
        placer.move(Move(shard, placement.of[shard], target), placement.nodes)
        placer.close()
        assert cluster.owner(shard) is to
        spend(url, campaigns)
        made.persister.drain_all()
        assert {check.id: check.findings for check in made.verifier.verify() if check.findings} == {}
        found = {each.name: each.state for each in examine(made.settings, lambda jobs: [])}
        assert [found[f"hot Redis {node.place}"] for node in cluster.primaries] == ["ok", "ok"]
    finally:
        made.close()


@pytest.mark.long
def test_sentinel_and_its_primary_are_reached_with_tls_and_followed(
    watched: Watched, certificates: Path, ledger_url: str
) -> None:
    url = (
        f"rediss+sentinel://:{PASSWORD}@127.0.0.1:{watched.port}/{MASTER}/0"
        f"?sentinel_password={SENTINEL_PASSWORD}&ssl_ca_certs={certificates}/ca.pem"
    )
    made = system_on(url, url.replace("/0?", "/1?"), ledger_url)
    try:
        assert len(made.rebuilder.rebuild_missing()) == 64
        campaign = campaign_in(made, "One")
        spend(url, [campaign])
        made.jobs_redis.set("told", "before")
        watched.fail_over()
        spend(url, [campaign])
        made.persister.drain_all()
        assert {check.id: check.findings for check in made.verifier.verify() if check.findings} == {}
        assert made.jobs_redis.get("told") == b"before"
    finally:
        made.close()
