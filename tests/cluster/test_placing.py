"""Shards are placed evenly, in one step or key by key, while bidders spend; and the embedded cluster of `up --cluster`."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from engine import BudgetClient
from engine.cli import cli
from engine.cli.run import run
from engine.errors import Refused
from engine.flows.upkeep.placing import Move, Node, Placement, Placer, moves_to_balance
from engine.live.admin import LiveRedis
from engine.live.transport.routed import open_transport
from engine.live.transport.routes import Place
from engine.local.servers import EmbeddedServers
from engine.settings import Settings
from engine.wiring import System
from tests.cluster.load import Load, campaign_of, counted, figures, logged, plant_all
from tests.cluster.servers import Cluster
from tests.cluster.test_faults import CROWD
from tests.live.plant import Plant

A, B, C = (Node(name, Place("h", number)) for number, name in enumerate("abc"))


@pytest.mark.parametrize(
    ("counts", "moves"), [((64, 0, 0), 42), ((22, 21, 21), 0), ((30, 30, 4), 17), ((0, 64, 0), 42), ((21, 22, 21), 0)]
)
def test_the_fewest_moves_make_it_even(counts: tuple[int, int, int], moves: int) -> None:
    owners = [node for node, count in zip((A, B, C), counts, strict=True) for _ in range(count)]
    placement = Placement((A, B, C), dict(enumerate(owners)))
    found = moves_to_balance(placement)
    assert len(found) == moves
    after = Counter({**placement.of, **{move.shard: move.target for move in found}}.values())
    assert sorted(after.values()) == [21, 21, 22]
    assert all(placement.of[move.shard] == move.source for move in found)
    assert isinstance(found, list) and all(isinstance(move, Move) for move in found)


@pytest.mark.parametrize("key_by_key", [False, True])
def test_balance_moves_shards_under_load(
    cluster: Cluster, plant: Plant, live: LiveRedis, key_by_key: bool, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for shard in cluster.shards_of(cluster.primaries[0])[:4]:
        cluster.move(shard, cluster.primaries[1])
    monkeypatch.setenv("REDIS_URL", cluster.url)
    with Load(cluster.url) as load:
        assert run(cli, ["cluster", "balance", "--dry-run", "--json"]) == 0
        planned = json.loads(capsys.readouterr().out)
        assert run(cli, ["cluster", "balance", "--json", *(["--key-by-key"] if key_by_key else [])]) == 0
        told = json.loads(capsys.readouterr().out)
    assert told["moves"] == planned["moves"] and len(told["moves"]) == 4
    assert max(told["shards"].values()) - min(told["shards"].values()) <= 1
    how = "key by key" if key_by_key else "in one step"
    line = figures(f"balance {how}", load.account, logged(cluster), moves=4)
    assert counted(live) == len(logged(cluster)), line
    assert load.account.longest() < (1000 if key_by_key else 250) * CROWD
    assert run(cli, ["cluster", "balance"]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_balance_is_for_clusters(hot_url: str) -> None:
    with pytest.raises(Refused, match="is no cluster"):
        Placer(hot_url)


@pytest.mark.long
def test_an_embedded_cluster_keeps_its_data_and_its_size(tmp_path: Path) -> None:
    servers = EmbeddedServers(tmp_path / "data", nodes=3)
    try:
        urls = servers.start()
        assert urls.hot.startswith("redis+cluster://:")
        system = System(Settings.load({"BUDGET_DATA_DIR": str(tmp_path / "data"), "BUDGET_ENV_FILE": os.devnull}, None))
        assert system.settings.redis_url == urls.hot
        wire = open_transport(urls.hot)
        plant_all(LiveRedis(wire), None)
        wire.close()
        with BudgetClient.from_url(urls.hot, timeout_ms=5000) as client:
            for shard in range(64):
                client.record_spend(campaign_of(shard), "2", event_id=f"kept-{shard}")
        assert len(set(system.plain.each())) == 3
        system.close()
        servers.stop()
        with pytest.raises(Refused, match="has a cluster of 3 nodes: start it so"):
            EmbeddedServers(tmp_path / "data", nodes=4).start()
        # Without a number it is what it was; on other ports the nodes find each other too.
        (tmp_path / "data" / "ports.json").write_text('{"node1": 1, "node2": 1, "node3": 1}')
        again = servers = EmbeddedServers(tmp_path / "data")
        urls = again.start()
        with BudgetClient.from_url(urls.hot, timeout_ms=10_000) as client:
            for shard in range(64):
                result = client.record_spend(campaign_of(shard), "2", event_id=f"kept-{shard}")
                assert result.outcome == "duplicate", shard
        wire = open_transport(urls.hot)
        assert counted(LiveRedis(wire)) == 64 * 2_000_000
        wire.close()
    finally:
        servers.remove()
