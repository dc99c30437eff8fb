"""Flights on the command line: agreed, listed, moved while they run, and refused by name."""

from __future__ import annotations

import pytest

from engine.domain.flights import instant_text
from engine.domain.periods import HOUR_MS, day_of, day_start_ms
from engine.wiring import System
from tests.cli.conftest import Be

pytestmark = pytest.mark.usefixtures("ready")


def test_flights_are_agreed_listed_moved_and_ended_and_a_campaign_shows_its_own(be: Be, ready: System) -> None:
    be("brand", "create", "Acme")
    campaign = str(be("campaign", "create", "1", "Night", "--json").document["id"])
    now = ready.live.now_ms()
    soon, later = instant_text(now // 1000 * 1000 + HOUR_MS), instant_text(now // 1000 * 1000 + 2 * HOUR_MS)
    made = be("flight", "add", campaign, "--to", soon, "--budget", "5", "--carry", "--json")
    assert (made.status, made.err) == (0, "")
    assert {k: made.document[k] for k in ("no", "ends_at", "budget", "spend", "left", "carries_on", "state")} == {
        "no": 1, "ends_at": soon, "budget": "5.000000", "spend": "0.000000", "left": "5.000000", "carries_on": True,
        "state": "running",
    }  # fmt: skip
    assert be("flight", "add", campaign, "--from", soon, "--to", later, "--budget", "none").status == 0
    shown = be("campaign", "show", campaign, "--json").document
    assert (shown["status"], shown["flight"]["no"]) == ("active", 1)
    ready.client.record_spend(int(campaign), "2")
    # What happens is said before it happens: without a yes nothing does.
    asked = be("flight", "update", campaign, "1", "--to", "now")
    assert asked.status == 1
    assert "it ends at once: the campaign stops until its next flight begins" in asked.err
    assert "what was spent 2.000000 stays counted to it" in asked.err
    lowered = be("flight", "update", campaign, "1", "--budget", "2", "--no-carry", "--yes")
    assert lowered.status == 0 and "that is used up already" in lowered.err
    assert be("campaign", "show", campaign, "--json").document["reasons"] == ["flight_budget"]
    assert be("flight", "update", campaign, "1", "--to", "now", "--yes").status == 0
    listed = be("flight", "list", campaign, "--json").document
    assert [(flight["no"], flight["state"], flight["left"]) for flight in listed] == [
        (1, "over", "0.000000"),
        (2, "ahead", None),
    ]
    assert "2" in be("flight", "list", campaign).out
    assert be("campaign", "show", campaign, "--json").document["reasons"] == ["flight"]
    gone = be("flight", "remove", campaign, "2")
    assert gone.out.startswith(f"removed flight 2 of campaign {campaign}\n")


def test_a_flight_is_spread_over_its_days_and_the_list_has_the_part_of_today(be: Be, ready: System) -> None:
    be("brand", "create", "Acme")
    campaign = str(be("campaign", "create", "1", "Night", "--json").document["id"])
    ends = instant_text(day_start_ms(day_of(ready.live.now_ms()) + 10))
    made = be("flight", "add", campaign, "--to", ends, "--budget", "1000", "--spread", "even", "--json").document
    assert made["spread"] == "even" and 0 < float(made["today_budget"]) <= 1000 / 9
    assert "today" in be("flight", "list", campaign).out
    asked = be("flight", "update", campaign, "1", "--spread", "none")
    assert asked.status == 1 and "its days have no parts any more" in asked.err
    changed = be("flight", "update", campaign, "1", "--spread", "none", "--yes", "--json").document
    assert (changed["spread"], changed["today_budget"]) == ("none", None)
    assert be("flight", "add", campaign, "--to", ends, "--budget", "5", "--spread", "slow").status == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "2031-01-01", "--budget", "5"), "ends_at '2031-01-01' is no instant: give one by the clock of UTC"),
        (("--to", "tomorrow", "--budget", "5"), "ends_at 'tomorrow' is no instant"),
        (("--to", "2031-01-01T09:00Z", "--budget", "-1"), "budget '-1' is not a decimal amount"),
        (("--from", "2031-01-02T09:00Z", "--to", "2031-01-01T09:00Z", "--budget", "5"), "ends_at 2031-01-01T09:00Z"),
        (("--from", "2020-01-02T09:00Z", "--to", "2031-01-01T09:00Z", "--budget", "5"), "starts_at 2020-01-02T09:00Z"),
        (("--from", "2031-06-01T00:30+01:00", "--to", "2031-06-02T00:00Z", "--budget", "5"), "overlaps flight 1"),
    ],
)
def test_a_flight_that_does_not_fit_is_refused_in_one_line_and_nothing_changes(
    be: Be, ready: System, words: tuple[str, ...], said: str
) -> None:
    be("brand", "create", "Acme")
    campaign = str(be("campaign", "create", "1", "Night", "--json").document["id"])
    be("flight", "add", campaign, "--from", "2031-05-31T00:00Z", "--to", "2031-06-01T00:00Z", "--budget", "5")
    refused = be("flight", "add", campaign, *words)
    assert refused.status == 2
    (line,) = refused.err.strip().splitlines()
    assert said in line
    assert len(be("flight", "list", campaign, "--json").document) == 1
