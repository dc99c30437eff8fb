"""A pause of a whole brand in a whole system: catalog, trail, status, rebuild, verify, check and undo."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from engine.domain.ids import shard_of
from engine.errors import Conflict
from engine.flows.catalog.check import check_all
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_status_and_close import instant

NOON = instant(2037, 11, 30, 12)


def ready(system: System) -> tuple[int, int, int]:
    at(system, NOON)
    brand_id, (one, other) = brand_with_campaigns(system, 2)
    system.persister.drain_all()
    return brand_id, one, other


def test_a_paused_brand_stops_all_its_campaigns_and_a_resume_starts_those_that_nobody_paused(clock: System) -> None:
    brand_id, one, other = ready(clock)
    clock.manage.pause_campaign(other, "anna")
    changed = clock.manage.pause_brand(brand_id, "anna", "the tag is wrong")
    assert (changed.published, changed.running_before, changed.running) == (True, 1, 0)
    assert clock.catalog.campaign(one).reasons == ("brand_paused",)
    assert clock.catalog.campaign(other).reasons == ("manual", "brand_paused")
    assert clock.client.try_spend(one, "1").reasons == ("brand_paused",)
    assert clock.manage.pause_brand(brand_id, "bert").nothing
    check_all(clock.publisher, clock.status)
    assert clock.catalog.campaign(one).reasons == ("brand_paused",)
    resumed = clock.manage.resume_brand(brand_id, "bert")
    assert (resumed.running_before, resumed.running) == (0, 1)
    assert clock.client.try_spend(one, "1").outcome == "accepted"
    assert clock.client.try_spend(other, "1").reasons == ("manual",)
    trail = "SELECT actor, old, new, note FROM catalog_change WHERE field = 'paused' ORDER BY id"
    assert rows(clock, trail) == [
        ("anna", "false", "true", "the tag is wrong"),
        ("bert", "true", "false", None),
    ]


def test_a_rebuild_keeps_a_brand_paused_and_verify_finds_it_right(clock: System) -> None:
    brand_id, one, _ = ready(clock)
    clock.manage.pause_brand(brand_id, "anna")
    clock.rebuilder.rebuild([shard_of(brand_id)])
    assert clock.client.try_spend(one, "1").reasons == ("brand_paused",)
    assert [check for check in clock.verifier.verify() if check.findings] == []


def test_a_pause_that_redis_forgot_is_found_and_made_good(clock: System) -> None:
    brand_id, one, _ = ready(clock)
    clock.manage.pause_brand(brand_id, "anna")
    clock.hot_redis.hset(keys_of_brand(brand_id).brand(brand_id), "archived", "0")
    assert clock.client.try_spend(one, "1").outcome == "accepted"
    assert any("archive or pause" in str(found) for check in clock.verifier.verify() for found in check.findings)


def test_an_archived_brand_is_not_paused_and_the_refusal_says_why(clock: System) -> None:
    brand_id, *_ = ready(clock)
    clock.manage.archive_brand(brand_id, "anna")
    with pytest.raises(Conflict, match="is archived since"):
        clock.manage.pause_brand(brand_id, "anna")


def test_the_cause_began_when_the_brand_was_paused(clock: System) -> None:
    brand_id, one, _ = ready(clock)
    clock.manage.pause_brand(brand_id, "anna")
    with clock.db.connect() as conn:
        paused = conn.execute(text("SELECT paused_at FROM brand WHERE id = :b"), {"b": brand_id}).scalar_one()
        told = conn.execute(
            text("SELECT at, status FROM status_change WHERE campaign_id = :c ORDER BY id DESC LIMIT 1"), {"c": one}
        ).one()
    # A status is written to the millisecond.
    assert tuple(told) == (paused.replace(microsecond=paused.microsecond // 1000 * 1000), "paused")


def test_an_undo_of_a_pause_resumes_the_brand(clock: System) -> None:
    brand_id, one, _ = ready(clock)
    clock.manage.pause_brand(brand_id, "anna")
    made = clock.operations.of_row(clock.catalog.brand(brand_id))
    assert made is not None
    clock.operations.begin(clock.operations.undo(made, "bert").id, "bert")
    assert not clock.catalog.brand(brand_id).paused
    assert clock.client.try_spend(one, "1").outcome == "accepted"
