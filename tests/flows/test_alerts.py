"""Alerts: each threshold once a period, again only after a raised budget, and no brand's trouble is another's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from engine import jobs
from engine.domain.alerts import BY_KIND, check_kind, check_levels, holding_of
from engine.domain.money import MICROS
from engine.domain.periods import DAY_MS, ms_of
from engine.errors import InvalidInput, NotFound
from engine.flows.alerts.desk import Decided
from engine.ledger import alert_rules, alerts
from engine.wiring import System
from tests.flows.conftest import at, born_on_the_moved_clock

NOON = ms_of(datetime(2027, 3, 10, 12, tzinfo=UTC))


def brand(system: System, name: str, daily: int | None = 100, monthly: int | None = None) -> tuple[int, int]:
    budgets = [None if value is None else value * MICROS for value in (daily, monthly)]
    made = system.manage.create_brand(name, *budgets, None, "test").row
    return made.id, system.manage.create_campaigns(made.id, [f"{name} 1"], "test")[0].id


def decide(system: System) -> Decided:
    rules = system.alerts.rules()
    looked = system.alert_facts.read(rules)
    return system.alerts.decide(looked.facts, rules, looked.failed, looked.unknown)


def spend(system: System, campaign: int, amount: str) -> None:
    system.client.record_spend(campaign, amount)
    system.status.refresh(system.persister.drain_all().changed_brands)


def levels(system: System, kind: str = "daily") -> list[tuple[int, int, str | None]]:
    """Level, round and how it ended, in the order in which they were opened."""
    return [(e.level, e.round, e.end_reason) for e in reversed(alerts.history(system.db, None, 100)) if e.kind == kind]


def test_a_jump_over_several_thresholds_opens_each_once_and_no_more_that_day(ready: System) -> None:
    _, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "49.999999")
    assert decide(ready).opened == 0
    spend(ready, campaign, "46")
    assert decide(ready).opened == 3
    assert levels(ready) == [(50, 1, None), (80, 1, None), (95, 1, None)]
    assert decide(ready).opened == 0
    spend(ready, campaign, "4.1")
    assert decide(ready).opened == 1
    assert [level for level, *_ in levels(ready)] == [50, 80, 95, 100]
    (shown,) = [e for e in alerts.list_open(ready.db, None, 10) if e.kind == "daily"]
    assert (shown.level, shown.severity) == (100, "critical"), "the highest level stands for the lower ones"
    assert shown.detail == "100 % reached: 100.099999 of 100.00 spent today"


def test_a_raised_budget_ends_an_alert_as_recovered_and_the_next_crossing_alerts_again(ready: System) -> None:
    id_, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "96")
    decide(ready)
    ready.manage.update_brand(id_, "anna", daily_budget_micros=150 * MICROS)
    assert decide(ready).ended == 2
    assert levels(ready) == [(50, 1, None), (80, 1, "raised"), (95, 1, "raised")]
    spend(ready, campaign, "24")
    assert decide(ready).opened == 1
    assert levels(ready)[-1] == (80, 2, None)


def test_a_raised_budget_that_is_used_up_before_anybody_looks_alerts_again(ready: System) -> None:
    id_, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "100")
    decide(ready)
    ready.manage.update_brand(id_, "anna", daily_budget_micros=120 * MICROS)
    spend(ready, campaign, "20")
    decide(ready)
    assert levels(ready)[2:] == [(95, 1, "raised"), (100, 1, "raised"), (95, 2, None), (100, 2, None)]


def test_a_refund_and_the_same_crossing_again_alert_nobody_twice(ready: System) -> None:
    _, campaign = brand(ready, "Aurora")
    ready.client.record_spend(campaign, "85", event_id="one")
    decide(ready)
    ready.client.refund(campaign, "20", event_id="one")
    assert decide(ready).ended == 1
    assert levels(ready) == [(50, 1, None), (80, 1, "recovered")]
    spend(ready, campaign, "20")
    assert decide(ready).opened == 0
    assert levels(ready) == [(50, 1, None), (80, 1, None)]


def test_a_new_day_ends_the_alerts_of_the_last_and_its_budget_alerts_anew(clock: System) -> None:
    at(clock, NOON)
    _, campaign = brand(clock, "Aurora", 100, 1000)
    born_on_the_moved_clock(clock)
    spend(clock, campaign, "600")
    decide(clock)
    assert levels(clock, "monthly") == [(50, 1, None)]
    at(clock, NOON + DAY_MS)
    assert decide(clock).ended == 4
    spend(clock, campaign, "50")
    decide(clock)
    assert levels(clock)[-2:] == [(100, 1, "period"), (50, 1, None)]
    assert levels(clock, "monthly") == [(50, 1, None)]


def test_one_odd_brand_stops_no_alert_of_the_others(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [brand(ready, name) for name in ("Aurora", "Borealis", "Corona")]
    for _, campaign in ids:
        spend(ready, campaign, "60")
    odd = ids[1][0]
    joined, written = ready.overview.joined, alerts.open_

    def breaks(found: Any, live: Any) -> Any:
        if any(each.id == odd for each in found.brands):
            raise ValueError("odd")
        return joined(found, live)

    with monkeypatch.context() as patch:
        patch.setattr(ready.overview, "joined", breaks)
        done = decide(ready)
    assert (done.brands, done.opened) == (2, 2)
    assert str(done).endswith(f"1 brands could not be decided: brand {odd}: ValueError: odd")

    def refuses(conn: Any, held: Any, again_ms: Any) -> Any:
        if held.brand_id == odd and held.key.level == 80:  # the alert at 50 is written before it
            raise KeyError("odd")
        return written(conn, held, again_ms)

    for _, campaign in ids:
        spend(ready, campaign, "25")
    with monkeypatch.context() as patch:
        patch.setattr(alerts, "open_", refuses)
        assert decide(ready).opened == 2
    assert decide(ready).opened == 2, "none of its own was written, and both come as soon as they can"
    assert {e.brand_id for e in alerts.list_open(ready.db, None, 10)} == {id_ for id_, _ in ids}


def test_a_run_with_more_alerts_than_it_has_time_for_leaves_them_to_the_next_and_loses_none(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Aurora", "Borealis", "Corona"):
        _, campaign = brand(ready, name)
        spend(ready, campaign, "60")
    monkeypatch.setattr("engine.flows.alerts.desk._TOGETHER", 1)
    with monkeypatch.context() as patch:
        patch.setattr("engine.flows.alerts.desk.LONGEST_S", -1.0)
        done = decide(ready)
    assert (done.opened, done.left) == (0, 3) and "the next run goes on with 3 brands" in str(done)
    assert (decide(ready).opened, decide(ready).opened) == (3, 0)


def test_a_plan_that_cannot_be_read_stops_no_alert_of_the_others(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [brand(ready, name) for name in ("Aurora", "Borealis")]
    for _, campaign in ids:
        spend(ready, campaign, "60")
    plain = ready.overview.figures

    def figures(brand_ids: Any) -> Any:
        if ids[0][0] in brand_ids:
            raise ValueError("invalid literal for int(): 'x'")
        return plain(brand_ids)

    monkeypatch.setattr(ready.overview, "figures", figures)
    done = decide(ready)
    assert (done.opened, list(done.failed)) == (1, [ids[0][0]])


def test_two_processes_that_decide_at_once_open_each_alert_once(ready: System) -> None:
    _, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "60")
    rules = ready.alerts.rules()
    looked = ready.alert_facts.read(rules)
    with ready.db.connect() as conn:
        assert alerts.open_events(conn) == {}
    results = [ready.alerts.decide(looked.facts, rules) for _ in range(2)]
    assert [each.opened for each in results] == [1, 0]
    with ready.db.begin() as conn:  # and where both had seen that nothing is open
        assert alerts.open_(conn, holding_of(looked.facts[0], rules)[0], None) is None


def test_figures_that_are_not_live_decide_nothing(ready: System) -> None:
    id_, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "96")
    decide(ready)
    ready.hot_redis.flushdb()
    assert decide(ready).ended == 0
    assert [end for *_, end in levels(ready)] == [None] * 3
    assert id_


def test_an_archived_brand_and_a_rule_that_is_off_end_their_alerts(ready: System) -> None:
    gone, first = brand(ready, "Aurora")
    _, second = brand(ready, "Borealis")
    for campaign in (first, second):
        spend(ready, campaign, "60")
    decide(ready)
    ready.manage.archive_brand(gone, "anna")
    alert_rules.write(ready.db, "anna", BY_KIND["daily"], (), False)
    assert decide(ready).ended == 2
    assert [end for *_, end in levels(ready)] == ["off", "off"]
    alert_rules.drop(ready.db, "anna", BY_KIND["daily"], 0)
    assert decide(ready).opened == 0, "it goes on and is not told twice"


def test_a_brand_s_own_rule_stands_in_place_of_that_of_every_brand(ready: System) -> None:
    own, first = brand(ready, "Aurora")
    _, second = brand(ready, "Borealis")
    alert_rules.write(ready.db, "anna", BY_KIND["daily"], (30,), True, own)
    for campaign in (first, second):
        spend(ready, campaign, "55")
    decide(ready)
    assert [level for level, *_ in levels(ready)] == [30, 50]
    trail = [(c.entity, c.entity_id, c.field, c.old, c.new) for c in ready.overview.catalog_changes(5, None, None)]
    assert ("alert", own, "daily", None, "30 %") in trail


def test_who_has_seen_an_alert_is_kept_and_it_counts_no_more_until_a_higher_one(ready: System) -> None:
    id_, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "60")
    decide(ready)
    assert alerts.counts(ready.db) == {}, "half of a budget is a note"
    spend(ready, campaign, "21")
    decide(ready)
    (shown,) = alerts.list_open(ready.db, None, 9)
    assert alerts.counts(ready.db) == {id_: 1}
    seen = alerts.acknowledge(ready.db, shown.id, "anna")
    assert seen.acknowledged_by == "anna" and alerts.counts(ready.db) == {}
    assert alerts.acknowledge(ready.db, shown.id, "boris").acknowledged_by == "anna"
    spend(ready, campaign, "15")
    decide(ready)
    assert alerts.counts(ready.db) == {id_: 1}


def test_what_is_muted_counts_no_more_and_other_brands_do(ready: System) -> None:
    ids = [brand(ready, name) for name in ("Aurora", "Borealis")]
    for _, campaign in ids:
        spend(ready, campaign, "81")
    decide(ready)
    shown = alerts.list_open(ready.db, [ids[0][0]], 9)[0]
    alerts.mute(ready.db, shown.id, 8, "anna")
    assert alerts.counts(ready.db) == {ids[1][0]: 1}
    spend(ready, ids[0][1], "19")
    decide(ready)
    muted = [e.muted for e in alerts.history(ready.db, [ids[0][0]], 9)]
    assert muted == [True, True, False, False], "what is opened meanwhile is written, and marked"
    alerts.unmute(ready.db, shown.id, "anna")
    assert alerts.counts(ready.db) == {ids[0][0]: 1, ids[1][0]: 1}
    with pytest.raises(InvalidInput, match="hours 5 is none of 1, 8, 24, 168"):
        alerts.mute(ready.db, shown.id, 5, "anna")


def test_an_alert_of_a_brand_out_of_sight_is_none(ready: System) -> None:
    _, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "81")
    decide(ready)
    found = alerts.list_open(ready.db, None, 1)[0]
    assert alerts.list_open(ready.db, [99], 9) == alerts.history(ready.db, [99], 9) == []
    for change in (
        lambda: alerts.acknowledge(ready.db, found.id, "anna", [99]),
        lambda: alerts.mute(ready.db, found.id, 1, "anna", [99]),
        lambda: alerts.unmute(ready.db, found.id, "anna", [99]),
    ):
        with pytest.raises(NotFound):
            change()
    assert alerts.count_of(alerts.counts(ready.db), [99]) == 0


def test_the_job_writes_a_row_and_old_alerts_are_dropped(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "services", lambda: ready)
    _, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "81")
    assert jobs.alerts() == "1 brands: 4 alerts opened, 0 ended", "no worker and no scheduler run here"
    with ready.db.begin() as conn:
        span = timedelta(days=alerts.KEEP_DAYS, hours=1)
        conn.execute(
            text("UPDATE alert_event SET ended_at = now() - :span, end_reason = 'period' WHERE level = 50"),
            {"span": span},
        )
    assert alerts.prune(ready.db) == 1
    assert [e.level for e in alerts.history(ready.db, None, 9) if e.brand_id] == [80]


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("daily", "80, x", "levels: 'x' is not a whole number from 1 to 1000"),
        ("daily", "0", "levels: '0' is not"),
        ("daily", "", "give 1 to 10"),
        ("silence", "10, 20", "Silence has one level"),
        ("breaker", "5", "Breaker has no levels"),
    ],
)
def test_wrong_levels_are_refused_by_name(kind: str, given: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check_levels(check_kind(kind), given)
