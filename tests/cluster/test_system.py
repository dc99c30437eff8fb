"""The jobs, page, doctor, verify and metrics on a cluster: with all nodes, over a failover, and with one node away for good."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import text

from engine import jobs
from engine.domain.ids import shard_of
from engine.flows.catalog.check import check_all
from engine.flows.persist.persister import ShardsStuck
from engine.flows.upkeep.sweep import sweep_expired
from engine.live.repair import probe_shards
from engine.local.servers import Urls
from engine.settings import Settings
from engine.views.board import ANSWER_S
from engine.views.doctor import examine
from engine.wiring import COMMANDS, System
from tests.cluster.load import note
from tests.cluster.servers import Cluster, until
from tests.patience import PATIENCE_S, in_time
from web import create_app

BRANDS = 24
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def whole(cluster: Cluster, servers: Urls, jobs_redis: redis.Redis, ledger_url: str) -> Iterator[System]:
    """A system on the cluster: rebuilt from an empty log, with a brand and a campaign in every shard."""
    environ = {
        "REDIS_URL": cluster.url,
        "JOBS_REDIS_URL": servers.jobs,
        "DATABASE_URL": ledger_url,
        "BUDGET_ENV_FILE": os.devnull,
        "SECRET_KEY": "tests-only",
    }
    made = System(Settings.load(environ, None), COMMANDS)
    assert len(made.rebuilder.rebuild_missing()) == 64
    for i in range(BRANDS):
        brand = made.manage.create_brand(f"Brand {i}", 1_000_000_000, None, None, "tests").row
        made.manage.create_campaigns(brand.id, ["One"], "tests")
    yield made
    made.close()


def spend(system: System, name: str, brands: list[int] | None = None) -> set[str]:
    """A spend on every brand (of some); the event ids."""
    ids = [c.id for c in system.catalog.campaigns() if brands is None or c.brand_id in brands]
    events = {f"{name}-{campaign}" for campaign in ids}
    for campaign in ids:
        assert system.client.record_spend(campaign, "1.5", event_id=f"{name}-{campaign}").outcome == "recorded"
    return events


def logged(system: System) -> list[str]:
    with system.db.connect() as conn:
        return list(conn.execute(text("SELECT event_id FROM spend_log")).scalars())


def findings(system: System) -> dict[str, tuple[str, str]]:
    return {f.name: (f.state, f.detail) for f in examine(system.settings, lambda redis_of_jobs: [])}


def failed_checks(system: System) -> dict[str, list[str]]:
    return {check.id: check.findings for check in system.verifier.verify() if check.findings}


@pytest.mark.long
def test_every_job_and_view_works_on_a_cluster_over_a_failover(cluster: Cluster, whole: System) -> None:
    acknowledged = spend(whole, "first")
    whole.persister.drain_all()
    shard = cluster.shards_of(cluster.primaries[1])[0]
    cluster.move(shard, cluster.primaries[0])
    cluster.fail_over(cluster.replicas[2])
    acknowledged |= spend(whole, "second")
    whole.persister.drain_all()
    assert sorted(logged(whole)) == sorted(acknowledged), "0 lost, 0 doubled"
    assert failed_checks(whole) == {}
    assert whole.live.lacking == {}
    check_all(whole.publisher, whole.status)
    assert whole.closer.close_ended().waiting == []
    assert sweep_expired(whole.db, whole.live, whole.inspector).holds == 0
    assert probe_shards(whole.live, whole.catalog.highest_ordinals()) == set()
    page = whole.overview.snapshot()
    assert page.note is None
    assert all(brand.ready and brand.daily_spend == 3_000_000 for brand in page.brands)
    assert {part.key: part.state for part in whole.overview.health().parts}["redis"] == "ok"
    figures = whole.metrics.read()
    assert figures.hot is not None
    assert (figures.hot.not_ready, figures.backlog, figures.hot.spends["recorded", ""]) == (0, 0, 2 * BRANDS)
    found = findings(whole)
    assert {name for name, (state, _) in found.items() if state == "fail"} <= {"scheduler", "schedule"}, found
    assert sum(name.startswith("hot Redis 127.0.0.1:") for name in found) == 3
    assert found["cluster"][0] == "ok" and found["shards"][0] == "ok"
    note(f"a system on a cluster: {len(acknowledged)} acknowledged, all once in spend_log, verify passes")


@pytest.mark.long
def test_one_node_away_stops_no_other_shard_and_is_named(cluster: Cluster, whole: System) -> None:
    node, replica = cluster.primaries[1], cluster.replicas[1]
    mine = set(cluster.shards_of(node))
    others = [brand.id for brand in whole.catalog.brands() if shard_of(brand.id) not in mine]
    before = spend(whole, "before")
    whole.persister.drain_all()
    took: dict[str, float] = {}

    def timed(what: str, began: float) -> None:
        took[what] = time.monotonic() - began

    began = time.monotonic()
    findings(whole)
    timed("doctor before", began)
    replica.signal(signal.SIGSTOP)  # nobody takes over
    node.signal(signal.SIGSTOP)
    try:
        after = spend(whole, "after", others)
        began = time.monotonic()
        with pytest.raises(ShardsStuck, match=node.place):
            whole.persister.drain_all()
        timed("persist", began)
        assert sorted(logged(whole)) == sorted(before | after), "the other shards' spends are in the log"
        began = time.monotonic()
        page = whole.overview.snapshot()
        timed("page", began)
        assert {brand.id for brand in page.brands if brand.ready} == set(others)
        health = {part.key: part for part in whole.overview.health().parts}
        assert health["redis"].state == "down"
        assert node.place in health["redis"].detail
        began = time.monotonic()
        figures = whole.metrics.read()
        timed("metrics", began)
        assert figures.hot is not None and figures.hot.not_ready == len(mine)
        visitor = create_app(whole).test_client()
        for path, status in (("/readyz", 503), ("/live", 200), ("/metrics", 200)):
            began = time.monotonic()
            answer = visitor.get(path, base_url="http://localhost")
            timed(path, began)
            assert answer.status_code == status, path
            assert node.place in answer.text or path != "/live", "only the page, behind its login, names servers"
        began = time.monotonic()
        failed = failed_checks(whole)
        timed("verify", began)
        assert any(node.place in line for lines in failed.values() for line in lines), failed
        assert not any("could not be judged" in line and node.place not in line for f in failed.values() for line in f)
        began = time.monotonic()
        check_all(whole.publisher, whole.status)
        timed("check", began)
        assert any(node.place in str(gone) for gone in whole.live.lacking.values())
        began = time.monotonic()
        found = findings(whole)
        timed("doctor", began)
        assert any(state == "fail" and node.place in name for name, (state, _) in found.items()), found
    finally:
        node.signal(signal.SIGCONT)
        replica.signal(signal.SIGCONT)
    note("one node frozen: " + ", ".join(f"{what} {seconds:.1f} s" for what, seconds in took.items()))
    for what, promised_s in (("page", 1), ("metrics", 0.5), ("/readyz", 0.5), ("/metrics", 0.5), ("/live", 3)):
        assert in_time(took[what], promised_s), f"{what} waits for the node: {took[what]:.1f} s"
    assert in_time(took["doctor"] - took["doctor before"], ANSWER_S), "it waits for the node once"
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            whole.persister.drain_all()
            break
        except ShardsStuck:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert failed_checks(whole) == {}
    assert whole.live.lacking == {}


@pytest.mark.long
def test_a_job_names_the_node_that_is_away_and_is_well_after_its_replica_took_over(
    cluster: Cluster, whole: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.jobs.system", lambda: whole)
    node, replica = cluster.primaries[2], cluster.replicas[2]
    node.wait_for_replica()
    replica.signal(signal.SIGSTOP)
    node.kill()
    try:
        assert node.place in jobs.sweep()
        with whole.db.connect() as conn:
            told = conn.execute(
                text("SELECT outcome, detail FROM job_run WHERE job = 'sweep' ORDER BY id DESC")
            ).first()
        assert told is not None and told.outcome == "failed" and node.place in told.detail
    finally:
        replica.signal(signal.SIGCONT)
    until(lambda: replica.role() == "master")
    until(lambda: "expired" in jobs.sweep() and not whole.live.lacking)
