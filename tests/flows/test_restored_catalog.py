"""PostgreSQL restored to a backup while Redis goes on: what the catalog says is what bidders get, and nobody inherits another's id."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from engine.domain.ids import shard_of
from engine.domain.schedule import Schedule
from engine.flows.catalog.check import check_all
from engine.flows.catalog.publish import brand_plan
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.backup import Backup
from tests.flows.test_persist import brand_with_campaigns


def limits(system: System, brand_id: int) -> tuple[int | None, int | None]:
    """What Redis enforces."""
    brand = system.live.read_brand(brand_id, 0)
    assert brand is not None
    return brand.daily_limit, brand.monthly_limit


def not_passed(system: System) -> list[str]:
    return [f"{check.id}: {check.findings}" for check in system.verifier.verify() if check.result != "PASS"]


def test_a_budget_changed_after_a_restore_is_the_one_that_redis_enforces(
    ready: System, backup: Callable[[], Backup]
) -> None:
    brand, (campaign,) = brand_with_campaigns(ready, daily=10_000_000)
    earlier = backup()
    for micros in (11_000_000, 12_000_000):
        ready.manage.update_brand(brand, "ann", daily_budget_micros=micros)
    earlier.restore()
    changed = ready.manage.update_brand(brand, "ann", daily_budget_micros=5_000_000)
    assert (changed.published, changed.nothing) == (True, False)
    assert limits(ready, brand) == (5_000_000, None)
    assert ready.client.try_spend(campaign, "5.01").outcome == "refused"
    assert ready.client.try_spend(campaign, "5").outcome == "accepted"


def test_a_budget_under_the_very_version_that_redis_has_with_another_content_is_enforced_too(
    ready: System, backup: Callable[[], Backup]
) -> None:
    brand, _ = brand_with_campaigns(ready, daily=10_000_000)
    earlier = backup()
    ready.manage.update_brand(brand, "ann", daily_budget_micros=12_000_000)
    earlier.restore()
    assert ready.manage.update_brand(brand, "ann", daily_budget_micros=5_000_000).row.version == 3
    assert limits(ready, brand) == (5_000_000, None)


def test_a_pause_and_a_schedule_set_after_a_restore_hold(ready: System, backup: Callable[[], Backup]) -> None:
    _, (paused, planned) = brand_with_campaigns(ready, 2)
    earlier = backup()
    for _ in range(2):
        for campaign in (paused, planned):
            ready.manage.pause_campaign(campaign, "ann")
            ready.manage.resume_campaign(campaign, "ann")
    earlier.restore()
    ready.manage.pause_campaign(paused, "ann")
    first_minute = Schedule.parse({"start_time": "00:00", "end_time": "00:01"})
    ready.manage.update_campaign(planned, "ann", schedule=first_minute)
    assert ready.client.try_spend(paused, "1").reasons == ("manual",)
    plan = ready.hot_redis.hget(keys_of_brand(planned >> 16).campaign(planned), "schedule")
    assert plan == first_minute.compiled.encode()


def test_a_late_publish_of_an_older_plan_changes_neither_redis_nor_the_catalog(ready: System) -> None:
    brand, _ = brand_with_campaigns(ready, daily=10_000_000)
    older = ready.catalog.owed([brand])
    ready.manage.update_brand(brand, "ann", daily_budget_micros=12_000_000)
    brought = ready.live.bring(ready.instance, brand_plan(older[0].brand, create=False), [])
    assert brought is not None and brought.ahead == {brand: 2}
    ready.publisher._overtake({brand: (older[0], {brand: 2})})
    assert ready.catalog.brand(brand).version == 2
    assert limits(ready, brand) == (12_000_000, None)


def test_a_raised_version_stands_in_the_trail_with_the_reason(ready: System, backup: Callable[[], Backup]) -> None:
    brand, _ = brand_with_campaigns(ready, daily=10_000_000)
    earlier = backup()
    ready.manage.update_brand(brand, "ann", daily_budget_micros=12_000_000)
    earlier.restore()
    ready.manage.update_brand(brand, "ann", daily_budget_micros=5_000_000)
    with ready.db.connect() as conn:
        trail = conn.execute(text("SELECT actor, old, new, note FROM catalog_change WHERE field = 'version'")).one()
    assert trail[:3] == ("engine", "2", "3")
    assert trail[3] == "Redis had version 2 with other content: the catalog's word stands, under a version above it"


def test_a_version_that_no_publish_wrote_takes_its_shard_out_of_use_and_a_rebuild_mends_it(ready: System) -> None:
    brand, _ = brand_with_campaigns(ready, daily=10_000_000)
    ready.hot_redis.hset(keys_of_brand(brand).brand(brand), "v", 2**53)
    assert not ready.manage.update_brand(brand, "ann", daily_budget_micros=5_000_000).published
    ready.rebuilder.rebuild_missing()
    assert limits(ready, brand) == (5_000_000, None)
    assert not_passed(ready) == []


def test_a_new_brand_gets_no_id_that_a_lost_one_had_and_none_of_its_spend_and_budget(
    ready: System, backup: Callable[[], Backup]
) -> None:
    brand_with_campaigns(ready)
    earlier = backup()
    lost, (campaign,) = brand_with_campaigns(ready, daily=7_000_000, name="Borealis")
    ready.client.record_spend(campaign, "6")
    earlier.restore()
    made, (its,) = brand_with_campaigns(ready, daily=10_000_000, name="Corona")
    assert made != lost
    assert limits(ready, made) == (10_000_000, None)
    assert ready.client.try_spend(its, "10").outcome == "accepted"
    assert ready.overview.brand(made).daily_spend == 10_000_000


def test_a_brand_that_a_restore_lost_comes_back_archived_with_its_budgets_and_what_it_spent(
    ready: System, backup: Callable[[], Backup]
) -> None:
    brand_with_campaigns(ready)
    earlier = backup()
    lost, (campaign,) = brand_with_campaigns(ready, daily=7_000_000, name="Borealis")
    ready.client.record_spend(campaign, "6")
    earlier.restore()
    assert str(check_all(ready.publisher, ready.status).mended) == (
        "1 brands and 1 campaigns that the catalog had lost came back from Redis, archived"
    )
    brand = ready.catalog.brand(lost)
    assert (brand.name, brand.daily_budget_micros, brand.archived) == (f"Lost brand {lost}", 7_000_000, True)
    assert ready.client.try_spend(campaign, "1").reasons == ("archived",)
    ready.persister.drain_all()
    assert ready.overview.brand(lost).daily_spend == 6_000_000
    assert not_passed(ready) == []
    ready.manage.unarchive_brand(lost, "ann", name="Borealis")
    ready.manage.unarchive_campaign(campaign, "ann")
    assert ready.client.try_spend(campaign, "1").outcome == "accepted"
    assert ready.client.try_spend(campaign, "0.01").outcome == "refused"


def test_new_campaigns_get_no_numbers_of_lost_ones(ready: System, backup: Callable[[], Backup]) -> None:
    brand, _ = brand_with_campaigns(ready)
    earlier = backup()
    lost = [c.id for c in ready.manage.create_campaigns(brand, ["x", "y"], "ann")]
    earlier.restore()
    made = ready.manage.create_campaign(brand, "z", None, None, "ann")
    assert made.published
    assert made.row.id == max(lost) + 1
    assert [ready.catalog.campaign(campaign).archived for campaign in lost] == [True, True]
    assert ready.client.status(made.row.id).status == "active"
    assert [ready.client.status(campaign).reasons for campaign in lost] == [("archived",)] * 2
    check_all(ready.publisher, ready.status)
    assert not_passed(ready) == []


def test_a_rebuild_after_a_restore_forgets_no_id(ready: System, backup: Callable[[], Backup]) -> None:
    brand_with_campaigns(ready)
    earlier = backup()
    lost, (campaign,) = brand_with_campaigns(ready, daily=7_000_000, name="Borealis")
    ready.client.record_spend(campaign, "6")
    earlier.restore()
    ready.rebuilder.rebuild()
    made, _ = brand_with_campaigns(ready, name="Corona")
    assert made > lost
    check_all(ready.publisher, ready.status)
    assert ready.overview.brand(lost).daily_spend == 6_000_000
    assert not_passed(ready) == []


def test_a_brand_is_made_while_redis_is_away_or_not_ready(ready: System) -> None:
    """The look at ids is no condition: a change is kept whatever Redis does."""
    for shard in range(64):
        ready.live.unmark(ready.instance, shard, "test")
    assert ready.manage.create_brand("Aurora", None, None, None, "ann").row.id == 1


def test_another_instances_brands_are_not_taken_for_lost_ones(ready: System) -> None:
    ready.hot_redis.hset("budget:{1}:registry", "1", "3")
    mark = ready.hot_redis.hget("budget:{1}:shard", "mark")
    assert mark is not None
    ready.hot_redis.hset("budget:{1}:shard", "mark", "someone-else:1")
    assert not ready.restored.take_back()
    assert not ready.restored.before_a_brand()


def test_a_number_in_a_registry_without_its_brand_moves_no_ids(ready: System) -> None:
    ready.hot_redis.hset("budget:{63}:registry", str(2**37 - 1), "3")
    ready.hot_redis.hset("budget:{1}:registry", "65", "99999")
    assert not ready.restored.take_back()
    assert brand_with_campaigns(ready)[0] == 1


@pytest.mark.parametrize(
    ("field", "value"), [("daily", "9000000000"), ("archived", "1"), ("v", "7"), ("monthly", "1000000")]
)
def test_a_check_mends_a_plan_that_differs_in_redis_and_says_so(ready: System, field: str, value: str) -> None:
    brand, _ = brand_with_campaigns(ready, daily=10_000_000)
    ready.hot_redis.hset(keys_of_brand(brand).brand(brand), field, value)
    assert [check.id for check in ready.verifier.verify() if check.result != "PASS"] != []
    checked = check_all(ready.publisher, ready.status)
    assert str(checked).endswith("; 1 plans that differed in Redis published again")
    assert limits(ready, brand) == (10_000_000, None)
    assert not_passed(ready) == []
    assert str(check_all(ready.publisher, ready.status)) == "0 brands published, 0 campaigns changed"


def test_a_check_mends_a_campaign_that_was_switched_in_redis_by_hand(ready: System) -> None:
    brand, (campaign,) = brand_with_campaigns(ready)
    ready.hot_redis.hset(keys_of_brand(brand).campaign(campaign), "on", "0")
    check_all(ready.publisher, ready.status)
    assert ready.client.try_spend(campaign, "1").outcome == "accepted"
    assert not_passed(ready) == []


def test_the_persist_job_recognises_a_restored_catalog_and_publishes_everything_again(
    ready: System, backup: Callable[[], Backup]
) -> None:
    brand, _ = brand_with_campaigns(ready, daily=10_000_000)
    earlier = backup()
    ready.manage.update_brand(brand, "ann", daily_budget_micros=12_000_000)
    lost, _ = brand_with_campaigns(ready, daily=7_000_000, name="Borealis")
    earlier.restore()
    mended = ready.publisher.recognise()
    assert str(mended) == (
        "1 brands and 1 campaigns that the catalog had lost came back from Redis, archived;"
        " 1 plans that differed in Redis published again"
    )
    assert limits(ready, brand) == (10_000_000, None)
    assert ready.catalog.brand(lost).archived
    assert ready.publisher.recognise() is None, "once"
    ready.status.refresh_all()
    assert not_passed(ready) == []


def test_a_catalog_that_only_went_on_is_not_taken_for_a_restored_one(ready: System) -> None:
    brand, _ = brand_with_campaigns(ready, daily=10_000_000)
    for micros in (11_000_000, 12_000_000):
        ready.manage.update_brand(brand, "ann", daily_budget_micros=micros)
        assert ready.publisher.recognise() is None


@pytest.mark.parametrize("odd", ["", "nan", "-1", "9" * 40])
def test_an_odd_number_of_changes_in_redis_stops_nothing(ready: System, odd: str) -> None:
    brand, (campaign,) = brand_with_campaigns(ready, daily=10_000_000)
    ready.hot_redis.hset(keys_of_brand(brand).shard, "catalog", odd)
    assert ready.publisher.recognise() is None
    assert ready.manage.update_brand(brand, "ann", daily_budget_micros=5_000_000).published
    assert ready.client.try_spend(campaign, "5").outcome == "accepted"


@pytest.mark.parametrize("kind", ["campaign", "brand"])
def test_what_was_made_after_the_state_that_redis_went_back_to_is_spent_for_again_after_a_check(
    kind: str, ready: System
) -> None:
    manage, redis = ready.manage, ready.hot_redis
    first = manage.create_brand("first", 10_000_000, None, None, "test").row.id
    old = manage.create_campaigns(first, ["old"], "test")[0].id
    assert ready.client.record_spend(old, "1")
    ready.persister.drain_all()
    before = {key: redis.dump(key) for key in redis.scan_iter(f"budget:{{{shard_of(first)}}}:*")}
    brand = first
    while kind == "brand" and (brand == first or shard_of(brand) != shard_of(first)):
        brand = manage.create_brand(f"brand {brand}", 10_000_000, None, None, "test").row.id
    new = manage.create_campaigns(brand, ["new"], "test")[0].id
    assert ready.client.status(new).status == "active"
    redis.delete(*redis.scan_iter(f"budget:{{{shard_of(first)}}}:*"))
    for key, value in before.items():
        redis.restore(key, 0, value)
    assert ready.client.record_spend(new, "1").outcome == "unknown_campaign"
    assert str(shard_of(first)) in str(check_all(ready.publisher, ready.status))
    assert ready.client.record_spend(new, "1").outcome == "not_ready"
    ready.rebuilder.rebuild_missing()
    assert ready.client.record_spend(new, "2").outcome == "recorded"
    assert str(ready.client.try_spend(old, "10").daily_spend) == ("3.000000" if kind == "campaign" else "1.000000")
    ready.persister.drain_all()
    assert "lost what was published" not in str(check_all(ready.publisher, ready.status))
