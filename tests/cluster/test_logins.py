"""Logins on a cluster: what `acl` prints is enough for every call of a bidder, and a node that refuses SCRIPT LOAD is survived."""

from __future__ import annotations

import asyncio

import pytest

from engine import AsyncBudgetClient, BudgetClient, Spend
from engine.live.acl import acl_setuser
from tests.cluster.load import campaign_of, logged
from tests.cluster.servers import PASSWORD, Cluster
from tests.live.plant import Plant
from tests.patience import PATIENCE_S

LOGINS = {
    "bidder": acl_setuser("bidder"),
    "no-script": ["no-script", "on", "~*", "&*", "+@all", "-script"],
}


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_with_the_least_rights_spends_watches_and_follows_a_slot(
    cluster: Cluster, plant: Plant, login: str
) -> None:
    for node in cluster.nodes:
        node.plain.execute_command("ACL", "SETUSER", *LOGINS[login], "resetpass", f">{PASSWORD}")
        node.plain.execute_command("ACL", "LOG", "RESET")
        node.plain.script_flush()
    url = cluster.url.replace(f"://:{PASSWORD}", f"://{login}:{PASSWORD}")

    async def awaited() -> None:
        async with AsyncBudgetClient.from_url(url, timeout_ms=10_000) as client:
            results = await asyncio.gather(
                *(client.record_spend(campaign_of(s), amount_micros=1, event_id=f"a-{s}") for s in range(64))
            )
            assert {result.outcome for result in results} == {"recorded"}

    try:
        with BudgetClient.from_url(url, timeout_ms=10_000, wait_replicas=1) as client, client.watch() as watch:
            batch = [Spend(campaign_of(s), amount_micros=1, event_id=f"b-{s}") for s in range(64)]
            assert {(r.outcome, r.replicated) for r in client.record_spends(batch)} == {("recorded", True)}
            cluster.move(5, next(n for n in cluster.primaries if n is not cluster.owner(5)))
            assert client.try_spend(campaign_of(5), amount_micros=1, event_id="one").outcome == "accepted"
            assert watch.wait_ready(PATIENCE_S), watch.why
        asyncio.run(awaited())
        if login == "bidder":
            assert [node.plain.execute_command("ACL", "LOG") for node in cluster.nodes] == [[]] * 6, "no denial"
        assert sum(logged(cluster).values()) == 129
    finally:
        for node in cluster.nodes:
            node.plain.execute_command("ACL", "DELUSER", login)
