"""/metrics: every figure the people on call need, and alert rules that hold their tongue while all is well and speak when it is not."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text

from engine.domain.brake import Brake
from engine.ledger import runs
from engine.views.metrics import Metrics
from engine.wiring import System
from tests.web.conftest import HERE, Visitor, brand_with, spend_now
from tests.web.rules import Scrape, fires, names_in, rules, scraped
from web import create_app

HOUR_MS = 3_600_000


def healthy(system: System) -> None:
    """Everything that runs beside the servers has run just now."""
    for job in ("persist", "publish", "check", "close_day", "close_month", "sweep", "verify"):
        with runs.run(system.db, job) as told:
            told.detail = "PASS V1 V2" if job == "verify" else ""
    system.jobs_redis.set("budget:scheduler:heartbeat", int(time.time() * 1000))
    system.jobs_redis.sadd("rq:workers", "rq:worker:test")
    system.jobs_redis.hset(
        "rq:worker:test", mapping={"queues": "persist,jobs,verify", "birth": "2026-11-23T00:00:00.000000Z"}
    )


def scrape(system: System) -> Scrape:
    answer = create_app(system).test_client().get("/metrics", base_url=HERE)
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain")
    return scraped(answer.get_data(as_text=True))


def value(samples: Scrape, name: str, **labels: str) -> float:
    return samples[f"budget_engine_{name}"][frozenset(labels.items())]


def expression(name: str) -> str:
    return next(rule.expression for rule in rules() if rule.name == f"BudgetEngine{name}")


def verify_failed(system: System) -> None:
    with runs.run(system.db, "verify") as told:
        told.outcome, told.detail = "failed", "FAIL V1 5 micros: brand 1 day; PASS V2"


def sql(statement: str) -> Callable[[System], None]:
    def run(system: System) -> None:
        with system.db.begin() as conn:
            conn.execute(text(statement))

    return run


def full(system: System) -> None:
    used = system.hot_redis.info("memory")["used_memory"]
    system.hot_redis.config_set("maxmemory", int(used * 1.05))


def breaker_opened(system: System) -> None:
    brand = system.manage.create_brand("Fast", None, None, None, "test").row
    made = system.manage.create_campaign(brand.id, "c", None, None, "test", brake=Brake(None, 1))
    system.client.record_spend(made.row.id, "1")
    system.status.refresh([brand.id])


def scheduled(system: System, *after: str) -> int:
    """A change of a limit that begins in an hour, and what happens to it."""
    brand, _ = brand_with(system, f"Brand {len(after)}", daily=1_000_000)
    in_an_hour = int(time.time() * 1000) + HOUR_MS
    system.manage.schedule_limit("brand", brand, "test", "daily", ("set", 2_000_000), in_an_hour, None)
    for statement in after:
        sql(statement)(system)
    return brand


PASSED = "UPDATE limit_change SET next_at = now() - interval '61 seconds'"
AHEAD = "UPDATE brand SET version = version + 1 WHERE id IN (SELECT brand_id FROM limit_change)"
BREAKS: dict[str, Callable[[System], object]] = {
    "ShardsNotReady": lambda s: s.hot_redis.hdel("budget:{7}:shard", "mark"),
    "ShardsStopped": sql("UPDATE journal_cursor SET stopped = 'lost' WHERE shard = 3"),
    "RedisAlmostFull": full,
    "Quarantine": sql(
        "INSERT INTO quarantine (shard, generation, n, entry_id, fields, sums, reason) VALUES (1, 1, 9, '5-1', '{}', '[]', 'x')"
    ),
    "BreakerOpen": breaker_opened,
    "LimitChangesOverdue": lambda s: scheduled(s, PASSED),
    "LimitChangesUnpublished": lambda s: scheduled(s, AHEAD),
    "Drift": verify_failed,
    "VerifyFailed": verify_failed,
    "VerifyOld": sql("UPDATE job_run SET finished_at = now() - interval '1 hour' WHERE job = 'verify'"),
    "JobOverdue": sql("UPDATE job_run SET started_at = now() - interval '1 hour' WHERE job = 'check'"),
    "JobFailed": sql("UPDATE job_run SET outcome = 'failed' WHERE job = 'publish'"),
    "NoWorker": lambda s: s.jobs_redis.srem("rq:workers", "rq:worker:test"),
    "QueueWithoutWorker": lambda s: s.jobs_redis.hset("rq:worker:test", "queues", "persist,jobs"),
    "SchedulerSilent": lambda s: s.jobs_redis.delete("budget:scheduler:heartbeat"),
}


@pytest.fixture
def well(ready: System) -> System:
    healthy(ready)
    ready.persister.drain_all()
    return ready


def test_no_alert_fires_while_all_is_well_and_each_metric_that_a_rule_names_is_there(well: System) -> None:
    samples = scrape(well)
    assert len(rules()) > 10
    for rule in rules():
        assert names_in(rule.expression) <= set(samples), rule.name
        assert not fires(rule.expression, samples, time.time()), rule.name


@pytest.mark.parametrize("name", BREAKS)
def test_each_broken_state_fires_its_alert(name: str, well: System) -> None:
    try:
        BREAKS[name](well)
        assert fires(expression(name), scrape(well), time.time())
    finally:
        well.hot_redis.config_set("maxmemory", 0)


def test_a_part_that_is_away_fires_and_its_figures_are_missing_instead_of_zero(well: System) -> None:
    lost = System(replace(well.settings, redis_url="redis://127.0.0.1:1/0"))
    samples = scrape(lost)
    assert fires(expression("PartDown"), samples, time.time())
    assert value(samples, "part_up", part="redis") == 0
    assert "budget_engine_shards_not_ready" not in samples
    assert value(samples, "quarantine_entries") == 0
    lost.close()


def test_each_rule_has_a_state_here_that_fires_it() -> None:
    here = pathlib.Path(__file__).read_text(encoding="utf-8")
    for rule in rules():
        name = rule.name.removeprefix("BudgetEngine")
        assert name in BREAKS or f'fires(expression("{name}")' in here, name


def test_a_page_that_is_not_scraped_fires() -> None:
    assert fires(expression("Gone"), {}, 0)


def test_spends_that_wait_for_postgresql_grow_old(well: System) -> None:
    _, (campaign,) = brand_with(well)
    well.client.record_spend(campaign, "1")
    samples = scrape(well)
    assert value(samples, "journal_entries") >= 1
    old = {**samples, "budget_engine_journal_oldest_age_seconds": {frozenset[tuple[str, str]](): 61.0}}
    assert not fires(expression("JournalOld"), samples, time.time())
    assert fires(expression("JournalOld"), old, time.time())
    well.persister.drain_all()
    samples = scrape(well)
    assert (value(samples, "journal_entries"), value(samples, "journal_oldest_age_seconds")) == (0, 0)


def test_the_backlog_is_told_while_postgresql_is_away(well: System) -> None:
    _, (campaign,) = brand_with(well)
    well.persister.drain_all()
    metrics = Metrics(well.db, well.plain, well.jobs_redis)
    assert metrics.read().backlog == 0
    metrics._db = System(replace(well.settings, database_url="postgresql://nobody@127.0.0.1:1/none")).db
    well.client.record_spend(campaign, "1")
    figures = metrics.read()
    assert (figures.cold, figures.backlog) == (None, 1)


def test_redis_is_full_when_its_growth_reaches_the_limit(well: System) -> None:
    now = [0.0]
    metrics = Metrics(well.db, well.plain, well.jobs_redis, lambda: now[0])
    assert metrics._growth.full_in_s(1_000, 10_000) == float("inf")
    now[0] = 100.0
    assert metrics._growth.full_in_s(2_000, 10_000) == 800
    assert metrics._growth.full_in_s(10_000, 10_000) == 0
    assert fires(expression("RedisFullSoon"), {"budget_engine_redis_full_seconds": {frozenset(): 800.0}}, 0)
    assert fires(expression("KeysEvicted"), {"budget_engine_redis_evicted_keys_total": {frozenset(): 1.0}}, 0)


def test_scheduled_changes_are_waiting_until_they_are_a_minute_late_and_told_where_redis_does_not_have_them(
    well: System,
) -> None:
    def told() -> tuple[float, ...]:
        samples = scrape(well)
        return tuple(value(samples, f"limit_changes_{state}") for state in ("waiting", "overdue", "unpublished"))

    assert told() == (0, 0, 0)
    brand = scheduled(well)
    assert told() == (1, 0, 0)
    sql("UPDATE limit_change SET next_at = now() - interval '30 seconds'")(well)
    assert told() == (1, 0, 0)
    sql(PASSED)(well)
    assert told() == (0, 1, 0)
    sql(AHEAD)(well)
    assert told() == (0, 1, 1)
    well.publisher.publish_pending()
    assert told() == (0, 1, 0)
    ((change, *_),) = well.catalog.limits.every("brand", brand, over=False)
    well.manage.cancel_limit(change.id, "test")
    assert told() == (0, 0, 0)


def test_spends_are_counted_by_outcome_and_cause(ready: System) -> None:
    brand, (campaign, paused) = brand_with(ready, daily=3_000_000, campaigns=2)
    ready.manage.pause_campaign(paused, "test")
    spend_now(ready, campaign, "1")
    ready.client.record_spend(campaign, "1", event_id="e")
    ready.client.record_spend(campaign, "1", event_id="e")
    ready.client.record_spend(campaign, "2", event_id="e")
    for _ in range(2):
        ready.client.try_spend(campaign, "5", request_id="again")
    ready.client.try_spend(paused, "5")
    ready.client.try_spend(campaign, "1")
    ready.client.record_spend(brand * 65536 + 9, "1")
    ready.client.reserve(campaign, "9")
    samples = scrape(ready)
    counted = {
        tuple(v for _, v in sorted(key, reverse=True)): n for key, n in samples["budget_engine_spends_total"].items()
    }
    assert {key: n for key, n in counted.items() if n} == {
        ("recorded", ""): 2,
        ("accepted", ""): 1,
        ("duplicate", ""): 1,
        ("conflict", ""): 1,
        ("unknown_campaign", ""): 1,
        ("repeated", ""): 1,
        ("refused", "daily_budget"): 1,
        ("refused", "manual,daily_budget"): 1,
    }
    assert value(samples, "holds_refused_total", cause="daily_budget") == 1


def test_without_a_token_only_this_machine_may_scrape_and_with_one_whoever_sends_it(
    ready: System, guarded: Callable[[], Visitor]
) -> None:
    client = guarded().client
    assert client.get("/metrics", base_url=HERE).status_code == 200
    assert client.get("/metrics", base_url="http://budgets.example").status_code == 403
    assert client.get("/metrics", base_url=HERE, headers={"X-Forwarded-For": "198.51.100.7"}).status_code == 403
    assert client.get("/metrics", base_url=HERE, environ_base={"REMOTE_ADDR": "198.51.100.7"}).status_code == 403
    ready.settings = replace(ready.settings, metrics_token="s3cret")
    far = create_app(ready).test_client()
    where = {"base_url": "http://budgets.example", "environ_base": {"REMOTE_ADDR": "198.51.100.7"}}
    assert far.get("/metrics", **where).status_code == 401
    assert far.get("/metrics", **where, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert far.get("/metrics", **where, headers={"Authorization": "Bearer s3cret"}).status_code == 200
