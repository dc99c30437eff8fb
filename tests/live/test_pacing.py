"""A paced budget is spent along its curve on every path: at most one amount ahead, to the millisecond, and facts are never refused."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from typing import Final

import pytest

from engine.client.sync import BudgetClient, Spend
from engine.domain.budget import OwnLimits
from engine.domain.curves import PPM, Points, check
from engine.domain.flights import PlannedFlight
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.pacing import Pace, Pacing, compiled
from engine.domain.periods import DAY_MS, MINUTE_MS, at_ms, ms_of, next_month_ms
from engine.domain.schedule import Schedule
from engine.live.admin import BrandPlan, CampaignPlan
from engine.live.keys import keys_of_brand
from engine.live.replies import SpendResult
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_one_more_budget import NOW, OTHER, WAYS, alone, call
from tests.model import pacing as model

KEYS: Final = keys_of_brand(BRAND)
HASH: Final = KEYS.campaign(CAMPAIGN)
DAILY: Final = 100_000_000
EVEN: Final = compiled(Pacing("even", "asap"))
STEEP: Final = check([(0, 0), (32_400, 0), (43_200, 600_000), (61_200, 600_000), (86_400, PPM)])
CASES: Final = int(os.environ.get("RETRY_CASES", "150"))
"""`RETRY_CASES=10000` asks so many."""


def curved(points: Points, catch_up: str = "asap") -> tuple[str, ...]:
    return compiled(Pacing("custom:c", catch_up), None, {0: points})


def pace(plant: Plant, version: int, parts: tuple[str, ...], daily: int | None = DAILY) -> None:
    """Publishes the brand's pacing."""
    brought = plant.live.bring(plant.instance, BrandPlan(BRAND, version, daily, None, False, False, parts), [])
    assert brought is not None and not brought.ahead


def pace_own(
    plant: Plant,
    version: int,
    parts: tuple[str, ...],
    daily: int | None = DAILY,
    schedule: Schedule | None = None,
    flights: tuple[PlannedFlight, ...] = (),
) -> None:
    """Publishes the first campaign's own daily budget and its pacing."""
    limits = OwnLimits(daily)
    plan = CampaignPlan(
        CAMPAIGN, version, True, False, schedule or Schedule(), False, limits, None, flights, pace=parts
    )
    brought = plant.live.bring(plant.instance, BrandPlan(BRAND, 0, None, None, False, False), [plan])
    assert brought is not None and not brought.uncounted


@pytest.fixture
def midnight(plant: Plant, clock: None) -> int:
    """A brand with two campaigns, at the beginning of a day."""
    at = next_month_ms(plant.live.now_ms())
    plant.at(at)
    NOW[0] = at
    plant.brand(daily="100")
    plant.campaign(OTHER)
    return at


def allowed(parts: tuple[str, ...], ms: int, limit: int = DAILY) -> int:
    found = model.allowed(parts, limit, ms)
    known = Pace.of(parts)
    assert known is not None and known.allowed(limit, ms) == found
    return found


@pytest.mark.parametrize("owner", ["brand", "campaign"])
@pytest.mark.parametrize("way", WAYS)
def test_a_try_passes_while_less_is_spent_than_is_due_and_the_last_may_be_one_amount_ahead(
    plant: Plant, midnight: int, way: str, owner: str
) -> None:
    (pace if owner == "brand" else pace_own)(plant, 2, EVEN)
    assert call(plant, "try_spends", *WAYS[way](5_000_000))[1].endswith(b"x512*%d" % (1 if "alone" in way else 2))
    plant.at(midnight + 8_610_000)  # a tenth is due
    assert allowed(EVEN, midnight + 8_610_000) == 10_000_000
    NOW[0] = midnight + 8_610_000
    reply = call(plant, "try_spends", *WAYS[way](9_999_998))
    assert (b"x" in reply[1], reply[3], len(reply)) == (False, b"%d:0" % CAMPAIGN, 4)
    spent = plant.spent()
    assert spent == (9_999_998 if "alone" in way else 9_999_999)
    # One amount may go past what is due; the next is refused, and nothing says that the campaign does not run.
    reply = call(plant, "try_spends", *WAYS[way](30_000_000))
    whole = "alone" in way
    assert reply[1] == (b"k*1" if whole else b"k*1,x512*1")
    last = call(plant, "try_spends", *WAYS[way](1))
    assert (last[1].endswith(b"x512*%d" % (1 if whole else 2)), last[3]) == (True, b"%d:0" % CAMPAIGN)
    assert not [change for entry in plant.entries() for change in entry.changes]
    assert plant.live.read_campaign(CAMPAIGN).campaigns[CAMPAIGN].reasons == ()  # type: ignore[union-attr]
    assert b"x" not in call(plant, "record_spends", *WAYS[way](50_000_000))[1]


@pytest.mark.parametrize("parts", [EVEN, curved(STEEP), curved(STEEP, "300"), compiled(Pacing("ahead", "spread"))])
def test_a_refused_spend_passes_at_the_instant_that_it_was_told_and_not_a_millisecond_before(
    plant: Plant, client: BudgetClient, midnight: int, parts: tuple[str, ...]
) -> None:
    drawn = random.Random(f"{parts}")
    asked, at, limit = 0, midnight, DAILY
    for number in range(CASES):
        if number % 10 == 0:
            # Another day, on which what is due has been spent, of the brand or of the campaign or of both.
            at = midnight + number // 10 * DAY_MS + drawn.randrange(DAY_MS - 3_600_000)
            limit, of_both = drawn.choice((DAILY, 997, 10**9, 86_399, MAX_TOTAL_MICROS)), drawn.random() < 0.5
            plant.at(at)
            pace(plant, number + 2, parts if of_both else (), limit)
            pace_own(plant, number + 2, EVEN if of_both else parts, limit // 2)
            day = f"d:{at // DAY_MS}"
            plant.plain.hset(plant.key(), day, model.allowed(parts, limit, at) - drawn.choice((0, 1, limit // 100)))
            plant.plain.hset(
                HASH, day, model.allowed(EVEN if of_both else parts, limit // 2, at) - drawn.choice((0, limit // 90))
            )
        at += drawn.choice((0, 1, 777, 60_000))
        plant.at(at)
        amount = max(limit // drawn.choice((50, 200, 3000)), 1)
        tried = try_one(client, amount)
        if tried.reasons != ("pacing",):
            continue
        asked += 1
        assert tried.retry_at is not None
        at = ms_of(tried.retry_at)
        plant.at(at - 1)
        before = try_one(client, amount)
        assert (before.outcome, before.reasons, before.retry_at) == ("refused", ("pacing",), tried.retry_at)
        plant.at(at)
        assert try_one(client, amount), (number, at)
    assert asked > CASES // 3


def try_one(client: BudgetClient, micros: int) -> SpendResult:
    return client.try_spend(CAMPAIGN, amount_micros=min(micros, 10**12))


def test_the_instant_of_a_retry_is_told_on_every_path_and_only_to_who_was_refused(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    pace(plant, 2, EVEN)
    plant.at(midnight + 8_610_000)
    client.record_spend(CAMPAIGN, amount_micros=20_000_000)
    wanted = midnight + 17_220_000 + 87  # a fifth, and one ppm: 86.1 ms
    for way in WAYS.values():
        reply = call(plant, "try_spends", *way(7))
        assert reply[4:] == [b"%d:%d" % (CAMPAIGN, wanted)]
    both = (f"{CAMPAIGN},1,,;{OTHER},1,,;",)
    told = call(plant, "try_spends", "both", *both)[4]
    assert set(told.split(b";")) == {b"%d:%d" % (CAMPAIGN, wanted), b"%d:%d" % (OTHER, wanted)}
    assert len(call(plant, "record_spends", *alone(1))) == 4
    held = client.reserve(CAMPAIGN, "1", ttl=timedelta(seconds=5))
    assert (held.reasons, held.retry_at) == (("pacing",), at_ms(wanted))
    results = client.try_spends([Spend(CAMPAIGN, "1") for _ in range(10)] + [Spend(OTHER, "1") for _ in range(10)])
    assert {result.retry_at for result in results} == {at_ms(wanted)}
    assert client.record_spend(CAMPAIGN, amount_micros=1).retry_at is None


@pytest.mark.parametrize(("catch_up", "percent"), [("300", 300), ("150", 150), ("spread", 199)])
def test_a_minute_spends_no_more_than_its_cap_and_the_next_begins_with_nothing(
    plant: Plant, client: BudgetClient, midnight: int, catch_up: str, percent: int
) -> None:
    parts = compiled(Pacing("even", catch_up))
    pace(plant, 2, parts, 86_100_000_000)
    at = midnight + 43_050_000 - 43_050_000 % MINUTE_MS
    plant.at(at)
    # Half of the day nothing was spent: only the cap holds it back, of which `spread` makes 199 %.
    owner = model.Owner(parts, 86_100_000_000, 0, 0, 0)
    most = model.cap(owner, at)
    assert most is not None
    assert abs(most - 60_000_000 * percent // 100) < 60_000
    step = most // 10
    took = [client.try_spend(CAMPAIGN, amount_micros=step) for _ in range(12)]
    assert [bool(result) for result in took] == [True] * (10 if most == 10 * step else 11) + [False] * (
        2 if most == 10 * step else 1
    )
    assert (took[-1].reasons, took[-1].retry_at) == (("pacing",), at_ms(at + MINUTE_MS))
    plant.at(at + MINUTE_MS - 1)
    assert not client.try_spend(CAMPAIGN, amount_micros=1)
    plant.at(at + MINUTE_MS)
    assert client.try_spend(CAMPAIGN, amount_micros=1)
    # What is recorded counts to the minute, and is not refused.
    assert client.record_spend(CAMPAIGN, amount_micros=10 * most)
    assert client.try_spend(CAMPAIGN, amount_micros=1).retry_at is not None


def test_a_cap_in_the_last_minute_of_a_day_is_over_when_the_next_day_s_curve_begins(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    pace(plant, 2, compiled(Pacing("even", "100")), 1_440_000)
    plant.at(midnight + DAY_MS - 1)
    assert client.try_spend(CAMPAIGN, amount_micros=1_000)
    refused = client.try_spend(CAMPAIGN, amount_micros=1_000)
    # At midnight nothing is due yet: the first micro is with the first ppm, after 86.1 ms.
    assert (refused.reasons, refused.retry_at) == (("pacing",), at_ms(midnight + DAY_MS + 87))
    plant.at(midnight + DAY_MS + 86)
    assert client.try_spend(CAMPAIGN, amount_micros=1_000).reasons == ("pacing",)
    plant.at(midnight + DAY_MS + 87)
    assert client.try_spend(CAMPAIGN, amount_micros=1_000)


def test_holds_and_leases_are_bounded_by_what_is_due(plant: Plant, client: BudgetClient, midnight: int) -> None:
    pace(plant, 2, EVEN)
    plant.at(midnight + 8_610_000)
    assert (
        call(plant, "holds", f"R,{CAMPAIGN},a,9999999,60000;R,{CAMPAIGN},b,5000000,60000;R,{CAMPAIGN},c,1,60000;")[1]
        == b"a,a,x512"
    )
    assert call(plant, "try_spends", *alone(1))[1] == b"x512*1"
    assert call(plant, "lease", str(CAMPAIGN), "l1", "10", "60000", "1")[1] == b"x512"
    assert call(plant, "holds", f"S,{CAMPAIGN},a,20000000,;L,{CAMPAIGN},b,,;")[1] == b"o,l"
    assert call(plant, "holds", f"R,{CAMPAIGN},d,1,60000;")[1] == b"x512"
    plant.at(midnight + 4 * 8_610_000)  # 40 are due, 20 spent
    reply = call(plant, "lease", str(CAMPAIGN), "l1", "90000000", "60000", "1")
    assert (reply[1], reply[4]) == (b"p", b"20000000")
    # Nothing is left of what is due: the lease stays as it is, and another gets nothing.
    assert call(plant, "lease", str(CAMPAIGN), "l1", "30000000", "60000", "2", "888")[4] == b"20000000"
    assert call(plant, "lease", str(CAMPAIGN), "l2", "30000000", "60000", "1", "888")[1] == b"x512"
    drawn = call(
        plant,
        "draw_spends",
        "draw-1",
        f"{CAMPAIGN},19999999,1;",
        b"\x01\x04\x00" + (19_999_999).to_bytes(4, "little"),
        "l1",
        "",
    )
    assert drawn[1] == b"k*1"
    # One micro is on hold and due is one micro more than is spent: the lease has all of it.
    assert call(plant, "lease", str(CAMPAIGN), "l1", "30000000", "60000", "3", "888")[4] == b"1"
    plant.at(midnight + 4 * 8_610_000 + 87)
    reply = call(plant, "lease", str(CAMPAIGN), "l1", "30000000", "60000", "4", "888")
    assert (reply[1], reply[4]) == (b"p", b"888")


def test_a_campaign_s_curve_is_flat_outside_its_hours_and_complete_before_they_end(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    hours = Schedule.parse({"start_time": "09:00", "end_time": "17:00"})
    parts = compiled(Pacing("even", "asap"), hours)
    pace_own(plant, 2, parts, schedule=hours)
    hour = 3_600_000
    assert [allowed(parts, midnight + h * hour) for h in (0, 9, 13, 17, 23)] == [0, 0, 50_526_300, DAILY, DAILY]
    assert allowed(parts, midnight + 17 * hour - 300_000) == DAILY
    plant.at(midnight + 9 * hour)
    refused = client.try_spend(CAMPAIGN, "10")
    assert refused.reasons == ("pacing",) and refused.retry_at is not None
    plant.at(midnight + 13 * hour)
    assert client.try_spend(CAMPAIGN, "60")
    assert not client.try_spend(CAMPAIGN, "1")
    plant.at(midnight + 18 * hour)
    assert client.try_spend(CAMPAIGN, "1").reasons == ("schedule",)


def test_a_flight_s_start_is_told_as_the_instant_at_which_pacing_lets_it_pass(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    tomorrow = midnight + DAY_MS
    pace_own(plant, 2, EVEN, flights=(PlannedFlight(1, 1, tomorrow, tomorrow + DAY_MS, 10**9),))
    plant.at(midnight + DAY_MS // 2)
    refused = client.try_spend(CAMPAIGN, "1")
    assert (refused.reasons, refused.retry_at) == (("flight",), at_ms(tomorrow + 87))
    plant.at(tomorrow + 86)
    assert client.try_spend(CAMPAIGN, "1").reasons == ("pacing",)
    plant.at(tomorrow + 87)
    assert client.try_spend(CAMPAIGN, "1")


def test_a_weekday_has_its_own_curve_and_a_replaced_one_holds_from_the_next_call_on(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    early, late = check([(3_600, PPM)]), check([(82_800, 0), (86_400, PPM)])
    weekday = (midnight // DAY_MS + 3) % 7 + 1
    parts = compiled(Pacing("traffic", "asap"), None, {day: early if day == weekday else late for day in range(1, 8)})
    pace(plant, 2, parts)
    plant.at(midnight + 3_600_000)
    assert client.try_spend(CAMPAIGN, "60")
    plant.at(midnight + DAY_MS + 3_600_000)
    assert client.try_spend(CAMPAIGN, "1").reasons == ("pacing",)
    pace(plant, 3, EVEN)
    assert sorted(field.decode() for field in plant.plain.hkeys(plant.key()) if field[:1] in (b"p", b"c")) == ["p"]
    assert client.try_spend(CAMPAIGN, "1")
    pace(plant, 4, ())
    assert client.try_spend(CAMPAIGN, "99")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("p", "1,1000000,300"),
        ("p", "0,999999,300"),
        ("p", "0,1000000,"),
        ("p", "x"),
        ("s", "1"),
        ("s", "99999999,0"),
        ("c1", "000000000000"),
    ],
)
def test_a_malformed_pacing_takes_the_shard_out_of_use_and_lets_nothing_pass(
    plant: Plant, client: BudgetClient, midnight: int, field: str, value: str
) -> None:
    pace(plant, 2, curved(STEEP) if field == "c1" else EVEN)
    plant.at(midnight + DAY_MS // 2)
    plant.plain.hset(plant.key(), field, value)
    assert client.try_spend(CAMPAIGN, "1").outcome == "not_ready"
    assert plant.live.read_shard(BRAND % 64).lost


def test_publish_refuses_a_curve_that_falls_or_does_not_end_with_the_whole_budget(plant: Plant, midnight: int) -> None:
    for curve in ("000000000000432000600000864000500000", "000000000000864000999999", "1", ""):
        with pytest.raises(Exception, match="pacing of brand"):
            pace(plant, 2, ("p=1,1000000,300", f"c1={curve}"))
    assert plant.plain.hget(plant.key(), "p") is None


def test_another_pacing_in_the_same_version_is_told_to_the_publisher(plant: Plant, midnight: int) -> None:
    pace(plant, 2, curved(STEEP))
    for parts in (EVEN, (), curved(check([(86_400, PPM)]))):
        brought = plant.live.bring(plant.instance, BrandPlan(BRAND, 2, DAILY, None, False, False, parts), [])
        assert brought is not None and brought.ahead == {BRAND: 2}


def test_a_batch_is_counted_by_its_sum_where_it_fits_and_one_by_one_where_not(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    pace(plant, 2, EVEN)
    plant.at(midnight + 8_610_000)
    outcomes = [bool(r) for r in client.try_spends([Spend(CAMPAIGN, None, None, 3_000_000) for _ in range(20)])]
    assert outcomes == [True] * 4 + [False] * 16
    assert plant.spent() == 12_000_000


def test_facts_are_counted_in_a_batch_with_a_repeated_event_however_much_is_due(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    pace(plant, 2, EVEN)
    plant.at(midnight + 8_610_000)
    # A repeated event makes the script look at each spend.
    spends = [Spend(CAMPAIGN, None, f"win-{number % 9}", 3_000_000) for number in range(10)]
    assert [result.outcome for result in client.record_spends(spends)] == ["recorded"] * 9 + ["duplicate"]
    assert plant.spent() == 27_000_000


def test_on_a_flat_part_of_the_curve_what_is_behind_is_made_good(
    plant: Plant, client: BudgetClient, midnight: int
) -> None:
    pace(plant, 2, curved(STEEP, "100"), 1_440_000_000)
    plant.at(midnight + 50_000_000)  # flat since noon: 60 % are due, and nothing is spent
    took = [client.try_spend(CAMPAIGN, amount_micros=250_000) for _ in range(6)]
    assert [bool(result) for result in took] == [True] * 4 + [False] * 2
    assert took[-1].retry_at == at_ms(midnight + 50_040_000)
