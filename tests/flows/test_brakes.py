"""Brakes in a whole system: catalog, journal, log, status, metrics, rebuild, verify and doctor, and the person who resumes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from engine.domain.brake import Brake, Trip
from engine.domain.ids import shard_of
from engine.domain.periods import MINUTE_MS, at_ms
from engine.errors import InvalidBudget, ServerAway
from engine.flows.catalog.check import check_all
from engine.flows.verify.findings import Check
from engine.ledger import breakers
from engine.live.keys import keys_of_brand
from engine.views.doctor.breakers import look_at_breakers
from engine.views.metrics import Metrics
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_status_and_close import instant

NOON = instant(2037, 11, 30, 12)
TRIPPED = datetime(2037, 11, 30, 12, tzinfo=UTC)


def braked(system: System) -> tuple[int, int]:
    """A campaign that may spend 4 units a minute by tries, and whose breaker stands at 5."""
    at(system, NOON)
    brand_id, (one,) = brand_with_campaigns(system)
    system.persister.drain_all()
    changed = system.manage.update_campaign(one, "anna", rate_limit_micros=4_000_000, breaker_micros=5_000_000)
    assert changed.published and changed.row.brake == Brake(4_000_000, 5_000_000, 1)
    return brand_id, one


def persisted(system: System) -> None:
    system.status.refresh(system.persister.drain_all().changed_brands)


def found(system: System, *ids: str) -> dict[str, Check]:
    return {check.id: check for check in system.verifier.verify() if check.id in ids or check.findings}


def test_a_breaker_that_opens_is_in_the_log_the_status_the_metrics_and_the_doctor_with_the_next_pass_of_persist(
    clock: System,
) -> None:
    _, one = braked(clock)
    assert clock.client.try_spend(one, "4.000001").reasons == ("rate",)
    assert clock.client.try_spend(one, "3").outcome == "accepted"
    assert clock.client.record_spend(one, "2.000001").reasons == ("rate", "breaker")
    assert found(clock) == {}, "with a backlog"
    persisted(clock)
    campaign = clock.catalog.campaign(one)
    assert (campaign.status, campaign.reasons, campaign.enabled) == ("paused", ("breaker",), True)
    last = "SELECT at, status, array_to_string(reasons, ','), actor FROM status_change ORDER BY id DESC LIMIT 1"
    assert rows(clock, last) == [(TRIPPED, "paused", "breaker", "engine")]
    assert rows(clock, "SELECT * FROM breaker_trip") == [(one, 1, TRIPPED, 5_000_001)]
    cold = Metrics(clock.db, clock.plain, clock.jobs_redis).read().cold
    assert cold is not None and cold.breakers_open == 1
    (finding,) = look_at_breakers(clock.db)
    assert (finding.state, f"campaign {one} spent" in finding.detail, f"campaign resume {one}" in finding.todo) == (
        "warn", True, True,
    )  # fmt: skip
    view = clock.overview.campaign(one)
    assert view.reasons == ("breaker",)
    assert (view.sentence, view.broken, view.broken_ms, view.again_ms) == (
        "paused: switched off by its breaker", True, NOON, None,
    )  # fmt: skip
    # What is spent after it is counted and has its rows all the same.
    at(clock, NOON + MINUTE_MS)
    assert clock.client.record_spend(one, "7").outcome == "recorded"
    persisted(clock)
    assert rows(clock, "SELECT sum(amount_micros)::bigint FROM spend") == [(12_000_001,)]
    assert found(clock) == {}


def test_a_person_resumes_and_no_job_does_and_no_job_undoes_it(clock: System) -> None:
    _, one = braked(clock)
    clock.client.record_spend(one, "6")
    at(clock, NOON + 3_600_000)
    check_all(clock.publisher, clock.status)
    persisted(clock)
    assert clock.client.try_spend(one, "1").reasons == ("breaker",)
    # A person's switch and the breaker are two causes: a pause stays when the breaker is changed, and the breaker when it is paused.
    clock.manage.pause_campaign(one, "anna")
    assert clock.catalog.campaign(one).reasons == ("manual", "breaker")
    clock.manage.update_campaign(one, "anna", breaker_micros=None)
    assert clock.catalog.campaign(one).reasons == ("manual", "breaker")
    at(clock, NOON + 3_600_007)
    changed = clock.manage.resume_campaign(one, "bert")
    assert changed.published and changed.closed_breaker
    assert (changed.row.status, changed.row.reasons, changed.row.breaker_round) == ("active", (), 2)
    trail = "SELECT actor, field, old, new FROM catalog_change WHERE entity_id = :c ORDER BY id DESC LIMIT 2"
    with clock.db.connect() as conn:
        told = {tuple(row) for row in conn.execute(text(trail), {"c": one})}
    assert told == {("bert", "breaker", "open", "closed"), ("bert", "enabled", "false", "true")}
    assert rows(clock, "SELECT actor, status FROM status_change ORDER BY id DESC LIMIT 1") == [("bert", "active")]
    assert clock.client.try_spend(one, "1").outcome == "accepted"
    check_all(clock.publisher, clock.status)
    persisted(clock)
    assert clock.catalog.campaign(one).reasons == ()
    # Again is no change.
    assert clock.manage.resume_campaign(one, "bert").nothing
    assert found(clock) == {}


def test_a_breaker_that_the_log_does_not_know_yet_is_closed_by_what_redis_says(clock: System) -> None:
    _, one = braked(clock)
    clock.client.record_spend(one, "6")
    assert clock.catalog.campaign(one).reasons == ()
    assert clock.manage.resume_campaign(one, "bert").closed_breaker
    # The entry comes later, and is of the round before: it opens nothing.
    persisted(clock)
    assert clock.catalog.campaign(one).reasons == ()
    with clock.db.connect() as conn:
        assert breakers.open_of(conn, [one]) == {}
    assert clock.client.try_spend(one, "4").reasons == ("rate",)
    assert found(clock) == {}


def test_a_rebuild_keeps_an_open_breaker_open_and_a_closed_one_closed(clock: System) -> None:
    brand_id, one = braked(clock)
    clock.client.record_spend(one, "6")
    keys = keys_of_brand(brand_id)
    before = clock.hot_redis.hgetall(keys.campaign(one))
    # The entry is in the journal alone, which is carried over first.
    clock.hot_redis.delete(keys.campaign(one), keys.brand(brand_id))
    clock.rebuilder.rebuild([shard_of(brand_id)])
    after = clock.hot_redis.hgetall(keys.campaign(one))
    for field in (b"br", b"bk", b"x"):
        assert (field, after.get(field)) == (field, before.get(field))
    persisted(clock)
    for again in range(2):
        clock.hot_redis.flushall()
        at(clock, NOON + MINUTE_MS + again)
        clock.rebuilder.rebuild(range(64))
        assert clock.client.try_spend(one, "1").reasons == (("breaker",) if not again else ())
        assert clock.hot_redis.hget(keys.shard, "layout") == b"2"
        check_all(clock.publisher, clock.status)
        assert clock.catalog.campaign(one).reasons == (("breaker",) if not again else ())
        assert found(clock) == {}
        clock.manage.resume_campaign(one, "bert")
    # Lifted while it is open, it stays open over a rebuild too.
    clock.client.record_spend(one, "9")
    clock.manage.update_campaign(one, "anna", breaker_micros=None, rate_limit_micros=None)
    persisted(clock)
    clock.hot_redis.flushall()
    at(clock, NOON + 2 * MINUTE_MS)
    clock.rebuilder.rebuild(range(64))
    assert clock.client.try_spend(one, "1").reasons == ("breaker",)
    assert found(clock) == {}


def test_verify_names_a_breaker_that_is_open_in_one_of_the_two_only(clock: System) -> None:
    brand_id, one = braked(clock)
    clock.client.record_spend(one, "6")
    persisted(clock)
    key = keys_of_brand(brand_id).campaign(one)
    since = clock.hot_redis.hget(key, "bk")
    clock.hot_redis.hdel(key, "bk")
    named = found(clock, "V8")["V8"].findings
    assert f"campaign {one} has its breaker closed in Redis, open in the log" in named
    clock.hot_redis.hset(key, "bk", since)
    assert found(clock) == {}
    with clock.db.begin() as conn:
        conn.execute(text("DELETE FROM breaker_trip"))
    named = found(clock, "V8")["V8"].findings
    assert named == [f"campaign {one} has its breaker open in Redis, closed in the log"]
    clock.hot_redis.hset(key, "br", "1,2,3")
    assert (
        f"campaign {one} has brake 1,2,3 in Redis, the catalog says 4000000,5000000,1"
        in found(clock, "V12")["V12"].findings
    )


def test_an_entry_that_says_what_no_breaker_says_is_set_aside(clock: System) -> None:
    brand_id, one = braked(clock)
    keys = keys_of_brand(brand_id)
    for told in (f"{one}:1", "7:1:5", f"{one}:-1:5", f"{one}:1:9000000000000001", f"{one}:99999999999:5"):
        n = int(clock.hot_redis.hincrby(keys.shard, "n", 1))
        clock.hot_redis.xadd(keys.journal, {"f": "3", "n": n, "k": told}, f"{NOON}-*")
    clock.persister.drain_all()
    assert rows(clock, "SELECT count(*) FROM quarantine") == [(5,)]
    assert rows(clock, "SELECT count(*) FROM breaker_trip") == [(0,)]


def test_an_entry_that_comes_twice_opens_a_breaker_once(clock: System) -> None:
    _, one = braked(clock)
    with clock.db.begin() as conn:
        for at_instant in (NOON, NOON + 5):
            breakers.add(conn, [breakers.TripRow(one, 1, at_ms(at_instant), 6)])
        assert breakers.open_of(conn, [one]) == {one: TRIPPED}
    assert Trip(one, 1, 6) < Trip(one, 2, 0)


def test_a_campaign_that_the_catalog_lost_comes_back_with_its_brake(ready: System) -> None:
    _, (one, two) = brand_with_campaigns(ready, 2)
    ready.manage.update_campaign(two, "anna", rate_limit_micros=4, breaker_micros=5)
    with ready.db.begin() as conn:
        conn.execute(text("DELETE FROM status_change"))
        conn.execute(text("DELETE FROM campaign WHERE id = :c"), {"c": two})
        conn.execute(text("UPDATE brand SET next_ordinal = 2"))
    ready.restored.take_back()
    assert ready.catalog.campaign(two).brake == Brake(4, 5, 1)
    assert ready.catalog.campaign(one).brake == Brake()


def test_with_redis_away_a_person_closes_the_breaker_that_the_log_knows(
    clock: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, one = braked(clock)
    clock.client.record_spend(one, "6")
    clock.persister.drain_all()

    def away(*_: object) -> None:
        raise ServerAway("Redis", "there", "start it")

    monkeypatch.setattr(clock.live, "read_campaign", away)
    assert clock.manage.resume_campaign(one, "bert").closed_breaker
    assert clock.client.try_spend(one, "1").reasons == ("rate",)


@pytest.mark.parametrize("amount", [0, -1, 9_000_000_000_000_001])
def test_a_brake_that_is_none_is_refused_by_name_and_nothing_changes(ready: System, amount: int) -> None:
    _, (one,) = brand_with_campaigns(ready)
    for name in ("breaker", "rate_limit"):
        with pytest.raises(InvalidBudget, match=name):
            ready.manage.update_campaign(one, "anna", **{f"{name}_micros": amount})
    with pytest.raises(InvalidBudget, match="breaker"):
        ready.manage.create_campaign(one >> 16, "x", None, None, "anna", brake=Brake(None, amount))
    assert ready.catalog.campaign(one).brake == Brake()


@pytest.mark.parametrize("wiped", [False, True])
def test_after_a_rebuild_the_limit_and_the_breaker_count_what_the_minute_has_spent(clock: System, wiped: bool) -> None:
    brand_id, one = braked(clock)
    assert clock.client.record_spend(one, "2")
    at(clock, NOON + MINUTE_MS)
    assert clock.client.record_spend(one, "3", event_id="e")
    assert clock.client.refund(one, "1", event_id="e")
    assert clock.client.settle(clock.client.reserve(one, "0.5").hold_id or "", "0.5")
    at(clock, NOON + MINUTE_MS + 1)
    persisted(clock)
    if wiped:
        clock.hot_redis.flushdb()
        at(clock, NOON + MINUTE_MS + 1)
    clock.rebuilder.rebuild(range(64) if wiped else [shard_of(brand_id)])
    assert clock.client.try_spend(one, "0.500001").reasons == ("rate",)
    assert clock.client.try_spend(one, "0.5")
    assert clock.client.record_spend(one, "1").reasons == ("rate",)
    assert clock.client.record_spend(one, "0.000001").reasons == ("rate", "breaker")
    persisted(clock)
    assert found(clock) == {}


def test_a_rebuild_in_the_minute_in_which_a_person_closed_the_breaker_does_not_open_it_again(clock: System) -> None:
    brand_id, one = braked(clock)
    assert clock.client.record_spend(one, "7").reasons == ("rate", "breaker")
    persisted(clock)
    assert clock.manage.resume_campaign(one, "anna").published
    with clock.db.begin() as conn:
        conn.execute(text("UPDATE campaign SET breaker_closed_at = :at"), {"at": TRIPPED})
    clock.rebuilder.rebuild([shard_of(brand_id)])
    assert clock.client.record_spend(one, "5").reasons == ("rate",)
    assert clock.client.record_spend(one, "0.000001").reasons == ("rate", "breaker")
    persisted(clock)
    assert found(clock) == {}
