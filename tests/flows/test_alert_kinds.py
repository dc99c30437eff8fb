"""The kinds of alerts beside budgets: breakers, silence, spikes, delivery, projections, and the engine itself."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from engine.domain.alerts import BY_KIND
from engine.domain.money import MICROS
from engine.domain.pacing import Pacing
from engine.domain.periods import DAY_MS, MINUTE_MS, at_ms
from engine.errors import ServerAway
from engine.flows.alerts.desk import Decided
from engine.ledger import alert_rules, alerts, webhooks
from engine.views.alert_facts import troubles
from engine.views.health import HEARTBEAT_KEY
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock
from tests.flows.test_alerts import NOON, brand, decide, levels, spend


def test_an_open_breaker_alerts_until_a_person_resumes_the_campaign_and_again_when_it_opens_again(
    ready: System,
) -> None:
    _, campaign = brand(ready, "Aurora", None)
    ready.manage.update_campaign(campaign, "anna", breaker_micros=10 * MICROS)
    spend(ready, campaign, "11")
    decide(ready)
    assert levels(ready, "breaker") == [(0, 1, None)]
    ready.manage.resume_campaign(campaign, "anna")
    decide(ready)
    assert levels(ready, "breaker") == [(0, 1, "recovered")]
    spend(ready, campaign, "11")
    decide(ready)
    assert levels(ready, "breaker") == [(0, 1, "recovered"), (0, 1, None)], (
        "another round of the brake is another alert"
    )


def ran_since_yesterday(system: System) -> None:
    with system.db.begin() as conn:
        conn.execute(text("UPDATE campaign SET created_at = :at"), {"at": at_ms(NOON - DAY_MS)})
        conn.execute(text("UPDATE status_change SET at = :at"), {"at": at_ms(NOON - DAY_MS)})


def filled(system: System, brand_id: int, before_ms: int, micros: int, days: int = 7) -> None:
    """The same minutes of the last days: one row a minute of half an hour before an instant."""
    with system.db.begin() as conn:
        for back in range(1, days + 1):
            for minute in range(1, 31):
                when = at_ms(before_ms - back * DAY_MS - minute * MINUTE_MS)
                conn.execute(
                    text("INSERT INTO brand_minute VALUES (:day, :brand, :at, :micros)"),
                    {"day": when.date(), "brand": brand_id, "at": when, "micros": micros},
                )


def test_a_brand_that_goes_silent_where_it_usually_spends_alerts_and_one_that_rests_does_not(clock: System) -> None:
    at(clock, NOON - 60 * MINUTE_MS)
    usual, first = brand(clock, "Aurora", None)
    _, second = brand(clock, "Borealis", None)
    born_on_the_moved_clock(clock)
    ran_since_yesterday(clock)
    for campaign in (first, second):
        spend(clock, campaign, "1")
    filled(clock, usual, NOON, 1000)
    at(clock, NOON - 35 * MINUTE_MS)
    assert decide(clock).opened == 0, "25 minutes are no silence"
    at(clock, NOON)
    decide(clock)
    assert [e.subject for e in alerts.list_open(clock.db, None, 9) if e.kind == "silence"] == [f"brand:{usual}"]
    spend(clock, first, "1")
    decide(clock)
    assert levels(clock, "silence") == [(30, 1, "recovered")]


def test_spend_that_the_log_does_not_have_yet_is_no_silence(clock: System) -> None:
    at(clock, NOON - 60 * MINUTE_MS)
    id_, campaign = brand(clock, "Aurora", None)
    born_on_the_moved_clock(clock)
    ran_since_yesterday(clock)
    spend(clock, campaign, "1")
    filled(clock, id_, NOON, 1000)
    at(clock, NOON)
    clock.client.record_spend(campaign, "1")
    assert decide(clock).opened == 0


def test_ten_minutes_with_three_times_the_usual_alert_and_the_usual_does_not(clock: System) -> None:
    at(clock, NOON - 5 * MINUTE_MS)
    id_, campaign = brand(clock, "Aurora", 100)
    born_on_the_moved_clock(clock)
    filled(clock, id_, NOON, 100_000)
    spend(clock, campaign, "2.9")
    at(clock, NOON)
    assert decide(clock).opened == 0
    at(clock, NOON - 4 * MINUTE_MS)
    spend(clock, campaign, "0.1")
    at(clock, NOON)
    decide(clock)
    (found,) = [e for e in alerts.list_open(clock.db, None, 9) if e.kind == "spike"]
    assert found.detail == "3.00 in 10 minutes, 300 % of the usual 1.00"


def test_a_paced_brand_that_spends_too_little_alerts_and_recovers_beyond_its_level(clock: System) -> None:
    at(clock, NOON)
    made = clock.manage.create_brand("Aurora", 100 * MICROS, None, None, "test", pacing=Pacing("even")).row
    (campaign,) = clock.manage.create_campaigns(made.id, ["one"], "test")
    born_on_the_moved_clock(clock)
    spend(clock, campaign.id, "39")
    decide(clock)
    (found,) = [e for e in alerts.list_open(clock.db, None, 9) if e.kind == "under"]
    assert found.detail == "39.00 spent, 77 % of the 50.17 that is due by now"
    spend(clock, campaign.id, "2")
    assert decide(clock).ended == 0, "81 % keeps it open"
    spend(clock, campaign.id, "5")
    decide(clock)
    assert levels(clock, "under") == [(80, 1, "recovered")]


def test_a_paced_brand_whose_campaigns_have_just_begun_alerts_nobody(ready: System) -> None:
    made = ready.manage.create_brand("Aurora", 100 * MICROS, None, None, "test", pacing=Pacing("even")).row
    (campaign,) = ready.manage.create_campaigns(made.id, ["one"], "test")
    spend(ready, campaign.id, "0.01")
    assert decide(ready).opened == 0


def test_a_budget_that_runs_out_an_hour_before_the_day_s_end_alerts(clock: System) -> None:
    at(clock, NOON)
    id_, campaign = brand(clock, "Aurora", 100)
    born_on_the_moved_clock(clock)
    ran_since_yesterday(clock)
    spend(clock, campaign, "70")
    decide(clock)
    (found,) = [e for e in alerts.list_open(clock.db, None, 9) if e.kind == "projected"]
    assert found.detail.startswith("100.00 a day runs out about 17:0") and found.brand_id == id_


def engine_s(system: System) -> list[tuple[str, int, str | None]]:
    return [(e.subject, e.round, e.end_reason) for e in reversed(alerts.history(system.db, None, 99)) if not e.brand_id]


def look(system: System) -> Decided:
    return system.alerts.decide_engine(troubles(system.overview.health()), system.alerts.rules())


def test_a_scheduler_that_is_down_alerts_and_trouble_that_comes_back_soon_is_the_same_trouble(ready: System) -> None:
    webhooks.create(ready.db, "anna", "Duty", "https://hooks.example.com/x")
    look(ready)
    assert engine_s(ready) == [("part:worker", 1, None), ("part:scheduler", 1, None)]
    assert len(webhooks.log(ready.db, 9)) == 2
    ready.jobs_redis.set(HEARTBEAT_KEY, ready.live.now_ms())
    look(ready)
    assert engine_s(ready)[1] == ("part:scheduler", 1, "recovered")
    ready.jobs_redis.delete(HEARTBEAT_KEY)
    look(ready)
    assert engine_s(ready)[1] == ("part:scheduler", 1, None)
    assert len(webhooks.log(ready.db, 9)) == 3, "its return within 15 minutes is not told again"
    ready.jobs_redis.set(HEARTBEAT_KEY, ready.live.now_ms())
    look(ready)
    with ready.db.begin() as conn:
        conn.execute(
            text("UPDATE alert_event SET ended_at = ended_at - interval '16 minutes' WHERE ended_at IS NOT NULL")
        )
    ready.jobs_redis.delete(HEARTBEAT_KEY)
    look(ready)
    assert engine_s(ready)[1:] == [("part:scheduler", 1, "recovered"), ("part:scheduler", 2, None)]
    alert_rules.write(ready.db, "anna", BY_KIND["health"], (), False)
    look(ready)
    assert [end for *_, end in engine_s(ready)] == ["off", "recovered", "off"]


def test_with_redis_away_the_engine_s_alert_is_opened_and_no_brand_s_ends(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "81")
    decide(ready)

    def away(_: object) -> Any:
        raise ServerAway("Redis", "there", "start it")

    monkeypatch.setattr(ready.overview, "figures", away)
    with pytest.raises(ServerAway):
        ready.alerts.run(ready.alert_facts.read, lambda: troubles(ready.overview.health()))
    assert ("part:scheduler", 1, None) in engine_s(ready)
    assert [end for *_, end in levels(ready)] == [None, None]
