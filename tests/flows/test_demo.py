"""The demo shows flights, a limit a minute and a breaker that its own traffic opens."""

from __future__ import annotations

import random

import pytest

from engine.client.sync import Spend
from engine.domain.causes import BREAKER, RATE
from engine.errors import BudgetError
from engine.feeds.demo import ROUND_S, SAMPLES, Traffic, make_samples, names_of
from engine.feeds.demo_controls import (
    ACTOR,
    BURST_FROM_S,
    BURST_S,
    CONTROLS,
    RESUME_AFTER_S,
    Person,
)
from engine.live.replies import REFUSED
from engine.wiring import System

BURSTS = "Live concert"


def of_name(made: dict[str, list[int]], name: str) -> int:
    return next(campaign for campaign, known in names_of(made).items() if known == name)


def test_the_demos_own_traffic_opens_a_breaker_and_its_person_resumes_the_campaign(ready: System) -> None:
    made = make_samples(ready.catalog, ready.manage)
    broken, now, said = of_name(made, BURSTS), [0.0], []
    person = Person(ready.manage, names_of(made), lambda: now[0])
    traffic = Traffic(ready.client, made, random.Random(7), person)
    for _ in range(int(BURST_FROM_S / ROUND_S)):
        traffic.round()
    assert not ready.client.status(broken).reasons
    for _ in range(int(BURST_S / ROUND_S)):
        traffic.round()
    assert ready.client.status(broken).reasons == (BREAKER,)
    person.look(said.append)
    now[0] = RESUME_AFTER_S - 1.0
    person.look(said.append)
    assert len(said) == 1 and BURSTS in said[0]
    assert ready.client.status(broken).reasons == (BREAKER,)
    now[0] = RESUME_AFTER_S
    person.look(said.append)
    assert not ready.client.status(broken).reasons
    assert len(said) == 2 and "resumed" in said[1]
    with ready.db.connect() as conn:
        actors = conn.exec_driver_sql(
            "SELECT actor FROM catalog_change WHERE entity_id = %s AND field = 'breaker' AND new = 'closed'", (broken,)
        )
        assert actors.scalars().all() == [ACTOR]


def test_a_breaker_that_cannot_be_closed_is_tried_again_later(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    now, said, asked = [0.0], [], []

    class Away:
        def resume_campaign(self, campaign_id: int, actor: str) -> None:
            asked.append(campaign_id)
            raise BudgetError("the catalog is away")

    person = Person(Away(), {5: "x"}, lambda: now[0])  # type: ignore[arg-type]
    person.saw(5)
    for at in (0, RESUME_AFTER_S, RESUME_AFTER_S + 1, 2 * RESUME_AFTER_S):
        now[0] = at
        person.look(said.append)
    assert asked == [5, 5] and "not resumed yet: the catalog is away" in said[1]


def test_the_burst_and_not_the_usual_traffic_of_a_minute_opens_the_breaker() -> None:
    sample = next(sample for sample in SAMPLES if any(name == BURSTS for name, _ in sample.campaigns))
    price = sum(sample.cpm) / 2 / 1000
    usual = sample.bids_a_second / len(sample.campaigns) * price * 60
    burst = CONTROLS[BURSTS].burst_bids_a_second * BURST_S * price
    breaker = (CONTROLS[BURSTS].brake.breaker or 0) / 1e6
    assert usual * 2 < breaker < burst * 0.5, "a minute that ends in the burst has half of it"
    limit = (CONTROLS["Trial month"].brake.limit or 0) / 1e6
    assert limit < usual * 0.75, "its minute is never full"


def test_a_sample_campaign_with_a_limit_a_minute_is_refused_within_it(ready: System) -> None:
    made = make_samples(ready.catalog, ready.manage)
    limited = of_name(made, "Trial month")
    results = ready.client.try_spends([Spend(limited, "0.30")] * 10)
    assert {(result.outcome, result.reasons) for result in results[8:]} == {(REFUSED, (RATE,))}


def test_the_samples_have_two_flights_and_a_second_start_adds_none(ready: System) -> None:
    made = make_samples(ready.catalog, ready.manage)
    flown = of_name(made, "Series premiere")
    first = ready.catalog.flights.of([flown])[flown]
    assert len(first) == 2 and first[0].ends_ms == first[1].starts_ms
    assert ready.client.try_spend(flown, "0.01").outcome == "accepted"
    assert make_samples(ready.catalog, ready.manage) == made
    assert ready.catalog.flights.of([flown])[flown] == first


def test_a_start_after_all_flights_are_over_adds_others(ready: System) -> None:
    made = make_samples(ready.catalog, ready.manage)
    flown = of_name(made, "Series premiere")
    ready.manage.remove_flight(flown, 2, ACTOR)
    ready.manage.change_flight(flown, 1, ACTOR, ends_ms=None)
    assert ready.client.try_spend(flown, "0.01").reasons == ("flight",)
    make_samples(ready.catalog, ready.manage)
    assert ready.client.try_spend(flown, "0.01").outcome == "accepted"
