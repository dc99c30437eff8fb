"""Fault 12 through Sentinel: a primary dies, freezes or is demoted, and every client finds the next one."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import text

from engine import AsyncBudgetClient, BudgetClient, Spend
from engine.errors import BudgetError
from engine.live.admin import LiveRedis
from engine.live.journal import decode
from engine.live.keys import shard_keys
from engine.live.transport.primary import client_of
from engine.live.transport.routed import open_transport
from engine.settings import Settings
from engine.wiring import COMMANDS, System
from tests.cluster.load import TIMEOUT_MS, Account, campaign_of, counted, figures, plant_all
from tests.cluster.sentinel import MASTER, SENTINEL_PASSWORD, Watched
from tests.cluster.servers import running, until
from tests.cluster.test_faults import CROWD
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def started() -> Iterator[Watched]:
    with running(Watched) as made:
        yield made


@pytest.fixture
def watched(started: Watched) -> Watched:
    started.restore()
    return started


@pytest.fixture
def live(watched: Watched) -> Iterator[LiveRedis]:
    wire = open_transport(watched.url)
    made = LiveRedis(wire)
    plant_all(made, None)
    yield made
    wire.close()


def logged(watched: Watched) -> Counter[str]:
    found: Counter[str] = Counter()
    for shard in range(64):
        for item in watched.primary.plain.xrange(shard_keys(shard).journal):
            found.update(spend.event_id for spend in decode(*item).spends() if spend.event_id)
    return found


def spend_until_they_fail(client: BudgetClient, account: Account, name: str, count: int) -> None:
    for i in range(count):
        client.record_spend(campaign_of(i % 64), amount_micros=1, event_id=f"{name}-{i}")
        account.acknowledged.add(f"{name}-{i}")


@pytest.mark.parametrize("frozen", [False, True])
def test_a_primary_that_dies_or_freezes_is_replaced(watched: Watched, live: LiveRedis, frozen: bool) -> None:
    account, old = Account(), watched.primary
    heir = next(n for n in watched.nodes if n is not old)
    told: list[float] = []
    with BudgetClient.from_url(watched.url, TIMEOUT_MS) as client:
        spend_until_they_fail(client, account, "before", 100)
        old.wait_for_replica()
        watched.hurry()
        old.signal(signal.SIGSTOP) if frozen else old.kill()
        began = time.monotonic()

        def late(number: int) -> None:
            client.record_spend(campaign_of(number), amount_micros=1, event_id=f"late-{number}")
            told.append(time.monotonic() - began)
            account.acknowledged.add(f"late-{number}")

        threads = [threading.Thread(target=late, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: heir.role() == "master")
        promoted_s = time.monotonic() - began
        for thread in threads:
            thread.join()
        batch = [Spend(campaign_of(s), amount_micros=1, event_id=f"all-{s}") for s in range(64)]
        assert {r.outcome for r in client.record_spends(batch)} == {"recorded"}
        account.acknowledged.update(f"all-{s}" for s in range(64))
        if frozen:
            old.signal(signal.SIGCONT)
    account.longest_ms[0] = max(told) * 1000
    what = f"Sentinel: {'frozen' if frozen else 'kill -9'}"
    figures(what, account, logged(watched), promoted_after=f"{promoted_s:.2f} s")
    assert counted(live) == len(logged(watched))
    assert len(told) == 4 and max(told) < promoted_s + 0.7 * CROWD


def test_open_connections_to_a_demoted_primary_are_left(watched: Watched, live: LiveRedis) -> None:
    account = Account()

    async def awaited() -> None:
        async with AsyncBudgetClient.from_url(watched.url, timeout_ms=TIMEOUT_MS) as client:
            await client.record_spend(campaign_of(1), amount_micros=1, event_id="a-0")
            await asyncio.to_thread(watched.fail_over)
            began = time.monotonic()
            await asyncio.gather(
                *(client.record_spend(campaign_of(s), amount_micros=1, event_id=f"a-{s + 1}") for s in range(64))
            )
            account.longest_ms[1] = (time.monotonic() - began) * 1000
            account.acknowledged.update(f"a-{s}" for s in range(65))

    with BudgetClient.from_url(watched.url, TIMEOUT_MS) as client, client.watch(campaigns=[campaign_of(5)]) as watch:
        assert watch.wait_ready(PATIENCE_S), watch.why
        spend_until_they_fail(client, account, "before", 20)
        asyncio.run(awaited())
        began = time.monotonic()
        spend_until_they_fail(client, account, "after", 20)
        account.longest_ms[0] = (time.monotonic() - began) * 1000
        until(lambda: not watch.stale and watch.may_bid(campaign_of(5)))
    figures("Sentinel: failover by hand", account, logged(watched))
    assert counted(live) == len(logged(watched))


def said_to(url: str, timeout_ms: int = TIMEOUT_MS) -> str:
    with BudgetClient.from_url(url, timeout_ms) as client:
        try:
            client.record_spend(campaign_of(1), amount_micros=1)
        except BudgetError as error:
            assert "\n" not in str(error) and SENTINEL_PASSWORD not in str(error)
            return str(error)
    raise AssertionError("it was counted")


def test_what_is_wrong_with_a_sentinel_is_said_in_one_line(watched: Watched, live: LiveRedis) -> None:
    said = said_to(watched.url.replace("127.0.0.1:1,", "").replace(MASTER, "no-such"))
    assert "knows no master no-such: correct the name in the URL" in said
    said = said_to(watched.url.replace(f"?sentinel_password={SENTINEL_PASSWORD}", "").replace("127.0.0.1:1,", ""))
    assert "sentinel_password" in said
    said = said_to(f"redis+sentinel://127.0.0.1:1,127.0.0.1:2/{MASTER}", timeout_ms=500)
    assert f"no Sentinel of {MASTER} by Sentinel 127.0.0.1:1,127.0.0.1:2 answers" in said
    said = said_to(f"redis://:{SENTINEL_PASSWORD}@127.0.0.1:{watched.port}")
    assert "a Sentinel is named redis+sentinel://" in said


def test_jobs_and_pages_work_through_sentinel_and_follow_it(watched: Watched, ledger_url: str) -> None:
    environ = {
        "REDIS_URL": watched.url,
        "JOBS_REDIS_URL": watched.url.replace("/0?", "/1?"),
        "DATABASE_URL": ledger_url,
        "BUDGET_ENV_FILE": os.devnull,
        "SECRET_KEY": "tests-only",
    }
    made = System(Settings.load(environ, None), COMMANDS)
    try:
        assert made.settings.jobs_on_hot_redis
        assert len(made.rebuilder.rebuild_missing()) == 64
        brand = made.manage.create_brand("One", None, None, None, "tests").row
        (campaign,) = made.manage.create_campaigns(brand.id, ["First"], "tests")
        made.client.record_spend(campaign.id, "1", event_id="first")
        made.jobs_redis.set("told", "before")
        old = watched.primary
        heir = next(n for n in watched.nodes if n is not old)
        old.wait_for_replica()
        watched.hurry()
        old.kill()
        until(lambda: heir.role() == "master" and watched.primary is heir)
        made.client.record_spend(campaign.id, "1", event_id="second")
        made.persister.drain_all()
        with made.db.connect() as conn:
            assert sorted(conn.execute(text("SELECT event_id FROM spend_log")).scalars()) == ["first", "second"]
        assert {check.id: check.findings for check in made.verifier.verify() if check.findings} == {}
        assert made.overview.snapshot().note is None
        assert made.metrics.read().hot is not None
        assert made.jobs_redis.get("told") == b"before"
        made.jobs_redis.set("told", "after")
    finally:
        made.close()


def test_a_plain_client_follows_a_demotion(watched: Watched) -> None:
    client: redis.Redis = client_of(watched.url, socket_timeout=5)
    client.set("a", 1)
    watched.fail_over()
    client.set("a", 2)
    assert watched.primary.plain.get("a") == b"2"
    client.close()
