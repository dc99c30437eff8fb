"""The measure of pacing (`make pacing`) sees what it promises: small days through the controllers, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.into_docs import replaced
from benchmarks.pacing import PLANS, Case, Outcome, play
from benchmarks.pacing_exact import measure
from benchmarks.pacing_policies import FiveMinuteJob, LinkedIn, OurGate, OurGateAndRate, Policy
from benchmarks.pacing_traffic import Market, day_of_traffic, market
from engine.domain.curves import PPM
from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS

NOWHERE = Path("/nowhere")


@pytest.fixture(scope="module")
def seeded() -> Market:
    """The market where no real log is given."""
    return market(NOWHERE)


def played(of: Market, *kinds: type[Policy], offers: int) -> dict[type[Policy], list[Outcome]]:
    return dict(play(Case("well supplied", offers, 0.4, 2, kinds), of, PLANS["traffic"]))


def test_the_gate_overspends_nothing_and_is_nearer_to_the_plan_than_a_published_controller(seeded: Market) -> None:
    found = played(seeded, OurGate, LinkedIn, FiveMinuteJob, offers=4000)
    assert [one.course.overspent for one in found[OurGate]] == [0, 0]
    assert min(one.course.overspent for one in found[FiveMinuteJob]) > 0
    for ours, theirs in zip(found[OurGate], found[LinkedIn], strict=True):
        assert ours.off_ppm < 5_000 < theirs.off_ppm
        assert ours.course.used_ppm > 998_000


def test_a_pass_rate_makes_fewer_tries_and_does_not_keep_a_campaign_of_few_offers_waiting(seeded: Market) -> None:
    many = played(seeded, OurGate, OurGateAndRate, offers=20_000)
    assert all(
        rated.course.refused_ppm < plain.course.refused_ppm // 2
        for plain, rated in zip(many[OurGate], many[OurGateAndRate], strict=True)
    )
    few = played(seeded, OurGateAndRate, offers=500)
    assert all(one.course.used_ppm > 980_000 for one in few[OurGateAndRate])


def test_a_day_is_the_same_under_its_seed_has_its_outage_and_clumps_where_it_should(seeded: Market) -> None:
    day = day_of_traffic(seeded, 3000, 1)
    assert day == day_of_traffic(seeded, 3000, 1) != day_of_traffic(seeded, 3000, 2)
    assert list(day.instants) == sorted(day.instants)
    assert 0 <= day.instants[0] <= day.instants[-1] < DAY_MS
    assert all(0 < price <= bid for bid, price in zip(day.bids, day.prices, strict=True))
    quiet = day_of_traffic(seeded, 3000, 1, outage=(13 * HOUR_MS, 15 * HOUR_MS))
    assert not [ms for ms in quiet.instants if 13 <= ms // HOUR_MS < 15]
    clumped = day_of_traffic(seeded, 3000, 1, clumped=True)
    first = sum(ms % MINUTE_MS < 1000 for ms in clumped.instants) * PPM // len(clumped.instants)
    assert 320_000 < first < 400_000


def test_a_measured_table_takes_the_place_of_the_one_before_and_of_nothing_else() -> None:
    text = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n"
    new = replaced(text, "a", ["| new |"])
    assert new == "before\n<!-- a: begin -->\n\n| new |\n\n<!-- a: end -->\nafter\n"
    assert replaced(new, "a", ["| new |"]) == new
    with pytest.raises(ValueError, match="no block <!-- b: begin -->"):
        replaced(text, "b", [])


def test_a_refused_try_passes_at_the_millisecond_that_it_was_told_and_holds_overspend_nothing() -> None:
    told = list[str]()
    found = measure(told.append, 60, 60)
    assert (found.right, found.retries, found.holds, found.over) == (60, 60, 60, 0)
    assert told[0] == "| `retry_at`: refused one ms before, accepted at it | 60 of 60 |"
