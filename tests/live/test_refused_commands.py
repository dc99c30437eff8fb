"""A provider that renames or forbids SCRIPT, CONFIG or INFO: spends are counted all the same, and doctor says what it could not see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis

from engine import AsyncBudgetClient, BudgetClient, Spend, Unavailable
from engine.live.scripts import NAMES, script
from engine.live.transport.loading import load_by_eval
from engine.live.transport.pool import ConnectionPool
from engine.settings import Settings
from engine.views.doctor import examine
from engine.wiring import System
from tests.live.plant import CAMPAIGN, Plant
from tests.patience import PATIENCE_S


@pytest.fixture
def login(hot_redis: redis.Redis, hot_url: str) -> Iterator[str]:
    """The URL of a login that may neither load scripts nor read or set the configuration."""
    hot_redis.execute_command("ACL", "SETUSER", "managed", "on", ">pw", "~*", "&*", "+@all", "-script", "-config")
    parts = urlsplit(hot_url)
    yield urlunsplit(parts._replace(netloc=f"managed:pw@127.0.0.1:{parts.port}"))
    hot_redis.execute_command("ACL", "DELUSER", "managed")


def test_spends_are_counted_where_script_load_is_refused(plant: Plant, login: str) -> None:
    plant.brand()
    plant.plain.script_flush()
    with BudgetClient.from_url(login) as client:
        try:
            first = client.record_spend(CAMPAIGN, "1")
        except Unavailable as refused:
            pytest.fail(f"a spend is not counted: {refused}")
        assert first.outcome == "recorded"
        assert {a.outcome for a in client.record_spends([Spend(CAMPAIGN, "1")] * 40)} == {"recorded"}
        plant.plain.script_flush()
        assert client.try_spend(CAMPAIGN, "1").outcome == "accepted"
        with client.watch() as watch:
            assert watch.wait_ready(PATIENCE_S), watch.why
    plant.plain.script_flush()

    async def main() -> set[str]:
        async with AsyncBudgetClient.from_url(login) as client:
            answers = await asyncio.gather(*(client.record_spend(CAMPAIGN, "1") for _ in range(20)))
            plant.plain.script_flush()
            answers += await asyncio.gather(*(client.record_spend(CAMPAIGN, "1") for _ in range(20)))
            return {answer.outcome for answer in answers}

    assert asyncio.run(main()) == {"recorded"}
    assert plant.spent() == (1 + 40 + 1 + 40) * 1_000_000


def test_where_eval_is_refused_too_the_refusal_is_told(plant: Plant, login: str) -> None:
    plant.brand()
    plant.plain.script_flush()
    plant.plain.execute_command("ACL", "SETUSER", "managed", "-eval")
    with (
        BudgetClient.from_url(login, timeout_ms=2000) as client,
        pytest.raises(Exception, match="(?i)permission") as told,
    ):
        client.record_spend(CAMPAIGN, "1")
    assert not isinstance(told.value, redis.RedisError) or isinstance(told.value, Unavailable)


def test_a_script_that_is_called_without_keys_writes_nothing(plant: Plant, hot_url: str) -> None:
    plant.brand()
    wire = ConnectionPool(hot_url)
    before = {key: plant.plain.dump(key) for key in plant.plain.scan_iter()}
    link = wire._take(10**9)
    for name in NAMES:
        link.send(load_by_eval(script(name)), 10**9)
        try:
            link.receive(10**9)
        except redis.ResponseError:
            pass
        assert plant.plain.script_exists(script(name).sha1) == [True], name
    assert {key: plant.plain.dump(key) for key in plant.plain.scan_iter()} == before
    link.drop()
    wire.close()


@pytest.mark.parametrize("refused", ["config", "info"])
def test_doctor_says_what_it_could_not_see(
    ready: System, login: str, environment: dict[str, str], refused: str
) -> None:
    ready.hot_redis.execute_command("ACL", "SETUSER", "managed", "+config", f"-{refused}")
    settings = Settings.load({**environment, "REDIS_URL": login}, None)
    found = {one.name: one for one in examine(settings, lambda _: [])}
    assert [one.name for one in found.values() if one.state == "fail"] == []
    unknown = found["appendfsync" if refused == "config" else "hot Redis"]
    assert unknown.state == "unknown" and "does not permit" in unknown.detail
    assert found["shards"].state == "ok"
