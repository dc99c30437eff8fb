"""PostgreSQL restored to a backup while Redis goes on: what the catalog says is what bidders get, and nobody inherits another's id."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text

from engine.domain.schedule import Schedule
from engine.flows.check import check_all
from engine.flows.publish import brand_plan
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.conftest import run_sql
from tests.flows.test_persist import brand_with_campaigns


class Backup:
    """A copy of the database as it is now; `restore` puts it back."""

    def __init__(self, postgres: Engine, system: System) -> None:
        self._postgres, self._system = postgres, system
        with system.db.connect() as conn:
            self._name = str(conn.execute(text("SELECT current_database()")).scalar_one())
        self._copy(self._name, f"{self._name}_kept")

    def restore(self) -> None:
        self._system.db.dispose()
        run_sql(self._postgres, f"DROP DATABASE {self._name} WITH (FORCE)")
        self._copy(f"{self._name}_kept", self._name)

    def remove(self) -> None:
        run_sql(self._postgres, f"DROP DATABASE IF EXISTS {self._name}_kept WITH (FORCE)")

    def _copy(self, source: str, target: str) -> None:
        self._system.db.dispose()
        run_sql(self._postgres, f"CREATE DATABASE {target} TEMPLATE {source}")


@pytest.fixture
def backup(postgres: Engine, ready: System) -> Iterator[Callable[[], Backup]]:
    made: list[Backup] = []

    def take() -> Backup:
        made.append(Backup(postgres, ready))
        return made[-1]

    yield take
    for one in made:
        one.remove()


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
    assert ready.live.bring(ready.instance, brand_plan(older[0].brand, create=False), []) == {brand: 2}
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
        trail = conn.execute(
            text("SELECT actor, old, new, note FROM catalog_change WHERE field = 'version'")
        ).one()
    assert trail[:3] == ("engine", "2", "3")
    assert trail[3] == "Redis had version 2 with other content: the catalog's word stands, under a version above it"


def test_a_version_that_no_publish_wrote_takes_its_shard_out_of_use_and_a_rebuild_mends_it(ready: System) -> None:
    brand, _ = brand_with_campaigns(ready, daily=10_000_000)
    ready.hot_redis.hset(keys_of_brand(brand).brand(brand), "v", 2**53)
    assert not ready.manage.update_brand(brand, "ann", daily_budget_micros=5_000_000).published
    ready.rebuilder.rebuild_missing()
    assert limits(ready, brand) == (5_000_000, None)
    assert not_passed(ready) == []
