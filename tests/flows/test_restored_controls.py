"""PostgreSQL restored to a backup while brands have zones, rollover, flights, scheduled limits, brakes, alerts, webhooks and operations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text

from engine.domain.alerts import check_kind
from engine.domain.brake import Brake
from engine.domain.money import MICROS
from engine.domain.periods import DAY_MS, HOUR_MS
from engine.flows.catalog.check import check_all
from engine.ledger import alert_rules, alerts, webhooks
from engine.wiring import System
from tests.backup import Backup
from tests.flows.test_alerts import decide, spend
from tests.flows.test_restored_catalog import not_passed
from tests.flows.test_webhooks import due_now, receiving, send
from tests.ports import free_port


class Shop(NamedTuple):
    """A brand with a zone, rollover and a scheduled change, one campaign with a running flight, one with a brake."""

    brand: int
    flown: int
    braked: int


def made(system: System) -> Shop:
    manage, now = system.manage, system.live.now_ms()
    brand = manage.create_brand("Aurora", 100 * MICROS, 2000 * MICROS, None, "ann", time_zone="Europe/Berlin", rollover_cap_micros=50 * MICROS).row.id  # fmt: skip
    flown = manage.create_campaign(brand, "flown", None, None, "ann").row.id
    braked = manage.create_campaign(brand, "braked", None, None, "ann", brake=Brake(None, 20 * MICROS)).row.id
    manage.add_flight(flown, "ann", None, now + 5 * DAY_MS, 40 * MICROS, False)
    manage.schedule_limit("brand", brand, "ann", "daily", ("set", 90 * MICROS), now + 2 * DAY_MS, now + 3 * DAY_MS)
    return Shop(brand, flown, braked)


def procedure(system: System) -> None:
    """Steps 4 and 5 of docs/operations.md."""
    system.publisher.recognise()
    system.publisher.publish_pending()
    system.status.refresh(system.persister.drain_all().changed_brands)
    check_all(system.publisher, system.status)


def counted(file: Path) -> list[str]:
    """What a receiver that keeps ids counts."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    return list(dict.fromkeys(id_ for id_, _ in lines))


def lost_of(system: System) -> list[str]:
    """What the trail has of plans that only Redis had."""
    query = text("SELECT note FROM catalog_change WHERE field = 'plan in Redis' ORDER BY id")
    with system.db.connect() as conn:
        return [str(note) for note in conn.execute(query).scalars()]


def test_what_a_restore_loses_of_flights_limits_zones_and_brakes_is_told_and_no_other_inherits_it(
    ready: System, backup: Callable[[], Backup]
) -> None:
    shop, manage = made(ready), ready.manage
    spend(ready, shop.flown, "10")
    earlier, now = backup(), ready.live.now_ms()
    manage.cancel_limit(1, "ann")
    manage.schedule_limit("brand", shop.brand, "ann", "daily", ("set", 70 * MICROS), now + DAY_MS, now + 4 * DAY_MS)
    manage.update_brand(shop.brand, "ann", rollover_cap_micros=20 * MICROS, time_zone="America/New_York")
    manage.change_flight(shop.flown, 1, "ann", ends_ms=now + HOUR_MS)
    manage.add_flight(shop.flown, "ann", now + 2 * HOUR_MS, now + DAY_MS, 7 * MICROS, False)
    lost = manage.create_campaign(shop.brand, "new", None, None, "ann").row.id
    manage.add_flight(lost, "ann", None, now + DAY_MS, 30 * MICROS, False)
    spend(ready, lost, "30")
    spend(ready, shop.braked, "25")
    assert ready.client.status(shop.braked).reasons == ("breaker",)
    earlier.restore()
    procedure(ready)
    told = "\n".join(lost_of(ready))
    for what in ("step of limits", "time zone", "rollover", "present flight", "next flight"):
        assert what in told, (what, told)
    assert ready.client.status(lost).reasons[0] == "archived"
    assert not_passed(ready) == []
    again = manage.add_flight(shop.flown, "ann", now + 6 * DAY_MS, now + 7 * DAY_MS, 7 * MICROS, False)
    assert again.published
    manage.resume_campaign(shop.braked, "ann")
    assert ready.client.try_spend(shop.braked, "1").outcome == "accepted"
    assert ready.client.try_spend(shop.flown, "30").outcome == "accepted"
    assert ready.client.try_spend(shop.flown, "1").reasons == ("flight_budget",)
    other = manage.create_campaign(shop.brand, "other", None, None, "ann").row.id
    manage.add_flight(other, "ann", None, now + DAY_MS, 3 * MICROS, False)
    assert other != lost and ready.client.try_spend(other, "3").outcome == "accepted"
    ready.status.refresh(ready.persister.drain_all().changed_brands)
    assert not_passed(ready) == []


def test_a_receiver_counts_each_alert_once_over_a_restore_and_misses_none_that_is_new(
    ready: System, backup: Callable[[], Backup], tmp_path: Path
) -> None:
    shop, file, port = made(ready), tmp_path / "counted", free_port()
    other = ready.manage.create_brand("Borealis", 100 * MICROS, None, None, "ann").row.id
    (its,) = (c.id for c in ready.manage.create_campaigns(other, ["c"], "ann"))
    hook = webhooks.create(ready.db, "anna", "Duty", f"http://127.0.0.1:{port}/hook")
    alert_rules.write(ready.db, "anna", check_kind("daily"), (80, 95), True, shop.brand)
    spend(ready, its, "96")
    decide(ready)
    with receiving(file, hook.secret, port):
        send(ready)
        before = counted(file)
        assert len(before) == 2, "80 and 95 %"
        earlier = backup()
        spend(ready, shop.braked, "25")
        decide(ready)
        spend(ready, shop.braked, "60")
        decide(ready)
        send(ready)
        test = webhooks.add_test(ready.db, "anna", hook.webhook.id)
        send(ready)
        seen = counted(file)
        assert len(seen) == 5, "the breaker, 80 %, and a test"
        ready.manage.update_brand(other, "ann", daily_budget_micros=120 * MICROS)
        earlier.restore()
        procedure(ready)
        decide(ready)
        due_now(ready)
        send(ready)
        assert counted(file) == seen, "nothing counts again"
        spend(ready, its, "5")
        decide(ready)
        spend(ready, shop.braked, "11")
        decide(ready)
        assert webhooks.add_test(ready.db, "anna", hook.webhook.id) != test
        send(ready)
        assert len(counted(file)) == len(seen) + 3, "100 % of one, 95 % of the other, and a test"
    numbers = [e.id for e in alerts.history(ready.db, None, 99)]
    assert len(numbers) == len(set(numbers))
    assert not_passed(ready) == []


def test_an_operation_that_a_restore_lost_leaves_its_number_to_no_other(
    ready: System, backup: Callable[[], Backup]
) -> None:
    shop = made(ready)
    earlier = backup()
    lost = paused(ready)
    assert ready.client.status(shop.braked).reasons == ("brand_paused",)
    earlier.restore()
    procedure(ready)
    assert ready.client.status(shop.braked).status == "active", "the restored catalog's word"
    assert "archive or pause" in "\n".join(lost_of(ready))
    made_after = paused(ready)
    assert made_after > lost, "who noted the number of the lost one undoes no other"
    ready.operations.begin(ready.operations.undo(made_after, "ann").id, "ann")
    assert ready.client.status(shop.braked).status == "active"
    assert not_passed(ready) == []


def paused(system: System) -> int:
    """Pauses everything; the operation's number."""
    operation = system.operations.preview_everything("pause", "ann")
    assert system.operations.begin(operation.id, "ann").state == "done"
    return operation.id
