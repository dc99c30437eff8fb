"""A brand with a time zone has days, months and hours of its own, exact to the millisecond, on every path that counts money."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from engine.client.sync import BudgetClient, Spend
from engine.domain.periods import DAY_MS, HOUR_MS, date_of, day_of, month_of_date, ms_of
from engine.domain.schedule import Schedule
from engine.domain.zone_text import Zone
from engine.domain.zones import zone_text
from engine.errors import InvalidInput
from engine.live.admin import BrandPlan
from engine.live.keys import keys_of_brand
from engine.live.packed import VERSION, pack
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_one_more_budget import NOW, OTHER, WAYS, alone, call
from tests.live.test_pacing import EVEN

KEYS: Final = keys_of_brand(BRAND)
BERLIN, KOLKATA, CAIRO = "Europe/Berlin", "Asia/Kolkata", "Africa/Cairo"
LORD_HOWE, ST_JOHNS, CHATHAM = "Australia/Lord_Howe", "America/St_Johns", "Pacific/Chatham"
MIDNIGHTS: Final = {
    "Berlin in summer": (BERLIN, datetime(2037, 7, 14, 22, tzinfo=UTC)),
    "Berlin in winter": (BERLIN, datetime(2037, 1, 14, 23, tzinfo=UTC)),
    "Berlin before a day of 23 hours": (BERLIN, datetime(2037, 3, 28, 23, tzinfo=UTC)),
    "Berlin after a day of 23 hours": (BERLIN, datetime(2037, 3, 29, 22, tzinfo=UTC)),
    "Berlin before a day of 25 hours": (BERLIN, datetime(2037, 10, 24, 22, tzinfo=UTC)),
    "Berlin after a day of 25 hours": (BERLIN, datetime(2037, 10, 25, 23, tzinfo=UTC)),
    "Berlin at a month's end": (BERLIN, datetime(2037, 7, 31, 22, tzinfo=UTC)),
    "Berlin at a leap day": (BERLIN, datetime(2040, 2, 28, 23, tzinfo=UTC)),
    "Kolkata at a year's end": (KOLKATA, datetime(2037, 12, 31, 18, 30, tzinfo=UTC)),
    "Cairo before a day of 23 hours": (CAIRO, datetime(2037, 4, 22, 22, tzinfo=UTC)),
    "Cairo after its last hour came twice": (CAIRO, datetime(2037, 10, 29, 22, tzinfo=UTC)),
    "Lord Howe in its summer": (LORD_HOWE, datetime(2037, 1, 31, 13, tzinfo=UTC)),
    "Lord Howe in its winter": (LORD_HOWE, datetime(2037, 6, 30, 13, 30, tzinfo=UTC)),
    "St Johns in summer": (ST_JOHNS, datetime(2037, 8, 1, 2, 30, tzinfo=UTC)),
    "St Johns in winter": (ST_JOHNS, datetime(2037, 2, 1, 3, 30, tzinfo=UTC)),
    "Chatham in its summer": (CHATHAM, datetime(2037, 1, 31, 10, 15, tzinfo=UTC)),
    "Chatham in its winter": (CHATHAM, datetime(2037, 6, 30, 11, 15, tzinfo=UTC)),
}


def bring(
    plant: Plant,
    zone: str,
    version: int = 2,
    daily: int | None = 10_000_000,
    monthly: int | None = 100_000_000,
    pace: tuple[str, ...] = (),
) -> None:
    """Publishes the brand with the text of a zone."""
    plan = BrandPlan(BRAND, version, daily, monthly, False, False, pace, zone)
    brought = plant.live.bring(plant.instance, plan, [])
    assert brought is not None and not brought.ahead


def planted(plant: Plant, name: str, at: int) -> str:
    """A brand with a zone and two campaigns, twelve hours before an instant; the text of its zone."""
    move(plant, at - 12 * HOUR_MS)
    plant.brand(daily="10", monthly="100")
    plant.campaign(OTHER)
    bring(plant, text := zone_text(name, at - 12 * HOUR_MS))
    return text


def move(plant: Plant, ms: int) -> None:
    plant.at(ms)
    NOW[0] = ms


def ms_at(*when: int) -> int:
    return ms_of(datetime(*when, tzinfo=UTC))


def counters(plant: Plant, key: str, *fields: str) -> list[int]:
    found: list[Any] = plant.plain.hmget(key, *fields)
    return [int(value or 0) for value in found]


@pytest.fixture(params=MIDNIGHTS, ids=str)
def midnight(request: pytest.FixtureRequest, plant: Plant, clock: None) -> tuple[int, int]:
    """The midnight of a zone and the number of the day that begins with it; it is twelve hours before."""
    name, when = MIDNIGHTS[request.param]
    at = ms_of(when)
    local = when.astimezone(ZoneInfo(name))
    assert (local.hour, local.minute) == (0, 0)
    planted(plant, name, at)
    day = day_of(ms_of(local.replace(tzinfo=UTC)))
    return at, day


@pytest.mark.parametrize("way", WAYS)
def test_a_day_and_its_month_begin_at_the_midnight_of_the_brand_and_not_a_millisecond_before(
    plant: Plant, midnight: tuple[int, int], way: str
) -> None:
    at, day = midnight
    for owner in (KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN)):
        assert plant.plain.hkeys(owner) == [f for f in plant.plain.hkeys(owner) if not f.startswith((b"d:", b"m:"))]
    move(plant, at - 1)
    assert b"x" not in call(plant, "record_spends", *WAYS[way](9_999_998))[1]
    assert call(plant, "try_spends", *alone(5))[1] == b"x8*1"
    move(plant, at)
    assert b"x" not in call(plant, "try_spends", *WAYS[way](4_000_000))[1]
    # The first call of a dedup window takes the slow path, this one may take the fast one.
    move(plant, at + 1)
    assert b"x" not in call(plant, "try_spends", *WAYS[way](1_000_000))[1]
    more = 0 if "alone" in way else 1
    before, today = date_of(day - 1), date_of(day)
    months = [month_of_date(before), month_of_date(today)]
    spent = [9_999_998 + more, 5_000_000 + 2 * more]
    monthly = [sum(spent)] * 2 if months[0] == months[1] else spent
    fields = (f"d:{day - 1}", f"d:{day}", f"m:{months[0]}", f"m:{months[1]}")
    for owner in (KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN)):
        assert counters(plant, owner, *fields) == [*spent, *monthly]
        assert sum(field.startswith((b"d:", b"m:")) for field in plant.plain.hkeys(owner)) == len(set(fields))
    live = plant.live.read_campaign(CAMPAIGN)
    assert live is not None
    assert (live.daily_spend, live.monthly_spend, live.campaigns[CAMPAIGN].daily_spend) == (
        spent[1],
        monthly[1],
        spent[1],
    )
    first, second, _ = (entry for entry in plant.entries() if entry.request_id)
    assert (first.day_of(BRAND), second.day_of(BRAND)) == (day - 1, day)
    assert {spend.day for spend in second.spends()} == {day}


def test_holds_settled_and_leases_drawn_after_midnight_count_to_the_new_day(
    plant: Plant, midnight: tuple[int, int]
) -> None:
    at, day = midnight
    move(plant, at - 1)
    assert call(plant, "holds", f"R,{CAMPAIGN},bid-1,6000000,60000;")[1] == b"a"
    assert call(plant, "lease", str(CAMPAIGN), "lease-1", "4000000", "60000", "1")[1] == b"a"
    assert call(plant, "try_spends", *alone(1))[1] == b"x8*1"
    move(plant, at)
    assert call(plant, "holds", f"S,{CAMPAIGN},bid-1,5000000,;")[1] == b"s"
    drawn = pack([CAMPAIGN], [CAMPAIGN], [3_000_000], VERSION)
    assert call(plant, "draw_spends", "lease-1/1", *drawn, "lease-1", "")[1] == b"k*1"
    assert counters(plant, KEYS.brand(BRAND), f"d:{day - 1}", f"d:{day}") == [0, 8_000_000]
    assert [spend.day for entry in plant.entries() for spend in entry.spends()] == [day, day]
    assert counters(plant, KEYS.brand(BRAND), "held") == [1_000_000]


@pytest.mark.parametrize("way", ["alone with an event id", "a batch with event ids", "packed with event ids"])
def test_a_refund_gives_money_back_on_the_brand_s_own_day_of_the_spend(
    plant: Plant, client: BudgetClient, midnight: tuple[int, int], way: str
) -> None:
    at, day = midnight
    move(plant, at - 1)
    sent = WAYS[way](9_999_998)
    assert b"x" not in call(plant, "record_spends", *sent)[1]
    stored = plant.plain.hkeys(KEYS.events[0]) + plant.plain.hkeys(KEYS.events[1])
    event = next(field for field in stored if re.fullmatch(rb"81:win-\d+", field))
    name = event.decode().partition(":")[2]
    kept = plant.plain.hget(KEYS.events[0], event) or plant.plain.hget(KEYS.events[1], event)
    assert kept == f"{CAMPAIGN},9999998,{day - 1}".encode()
    # Within its day it frees the budget of that day.
    assert client.refund(CAMPAIGN, "1", name, refund_id="part-1").outcome == "refunded"
    assert call(plant, "try_spends", *alone(900_000))[1] == b"k*1"
    move(plant, at)
    # A closed day never changes: only the month that goes on does.
    assert client.refund(CAMPAIGN, "2", name, refund_id="part-2").outcome == "refunded"
    same_month = date_of(day - 1).month == date_of(day).month
    month = month_of_date(date_of(day))
    more = 0 if "alone" in way else 1
    expected = 9_999_998 + more - 1_000_000 + 900_000
    fields = (f"d:{day - 1}", f"d:{day}", f"m:{month}")
    assert counters(plant, KEYS.brand(BRAND), *fields) == [expected, 0, expected - 2_000_000 if same_month else 0]
    rows = [(spend.kind, spend.day, spend.amount_micros) for entry in plant.entries() for spend in entry.spends()]
    assert rows[-1] == ("correction", day - 1, -2_000_000)
    assert ("refund", day - 1, -1_000_000) in rows


def test_a_refund_may_name_the_brand_s_present_day_also_where_utc_has_not_reached_it(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    at = ms_at(2037, 6, 30, 11, 15)
    planted(plant, CHATHAM, at)
    move(plant, at)
    day = day_of(at) + 1
    assert client.record_spend(CAMPAIGN, "3", event_id="soon-forgotten")
    move(plant, at + 3 * HOUR_MS)
    answer = client.refund(CAMPAIGN, "1", "soon-forgotten", spent_on=date_of(day))
    assert answer.outcome == "pending"
    asked = plant.entries()[-1]
    assert [(refund.day, refund.asked) for refund in asked.refunds()] == [(day, True)]
    with pytest.raises(InvalidInput):
        client.refund(CAMPAIGN, "1", "soon-forgotten", spent_on=date_of(day + 1))
    # That it has no such campaign is said on that day as well.
    assert client.refund(CAMPAIGN + 9, "1", "soon-forgotten", spent_on=date_of(day)).outcome == "unknown_campaign"
    neighbour = BRAND + 64
    plant.brand(brand_id=neighbour, daily="10")
    with pytest.raises(InvalidInput):
        client.refund(neighbour * 65536 + 1, "1", "soon-forgotten", spent_on=date_of(day))


@pytest.mark.parametrize(
    ("name", "opens", "closes"),
    [
        (BERLIN, (2037, 7, 15, 7), (2037, 7, 15, 15)),
        (BERLIN, (2037, 1, 15, 8), (2037, 1, 15, 16)),
        (KOLKATA, (2037, 7, 15, 3, 30), (2037, 7, 15, 11, 30)),
        (CHATHAM, (2037, 7, 14, 20, 15), (2037, 7, 15, 4, 15)),
        (ST_JOHNS, (2037, 7, 15, 11, 30), (2037, 7, 15, 19, 30)),
    ],
)
@pytest.mark.parametrize("way", WAYS)
def test_hours_open_and_close_by_the_clock_of_the_brand(
    plant: Plant, clock: None, name: str, opens: tuple[int, ...], closes: tuple[int, ...], way: str
) -> None:
    planted(plant, name, ms_at(*opens))
    day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][
        datetime(*opens, tzinfo=UTC).astimezone(ZoneInfo(name)).weekday()
    ]
    hours = Schedule.parse([{"days": [day], "start_time": "09:00", "end_time": "17:00"}])
    plant.campaign(CAMPAIGN, version=2, schedule=hours)
    for at, code in (
        (ms_at(*opens) - 1, b"x4"),
        (ms_at(*opens), b"k"),
        (ms_at(*closes) - 1, b"k"),
        (ms_at(*closes), b"x4"),
    ):
        move(plant, at)
        # The first call of a dedup window takes the slow path, the second one the fast one.
        for _ in range(2):
            assert call(plant, "try_spends", *WAYS[way](1))[1] == code + (b"*1" if "alone" in way else b"*2")
        live = plant.live.read_campaign(CAMPAIGN)
        assert live is not None and live.campaigns[CAMPAIGN].reasons == (("schedule",) if code == b"x4" else ())


@pytest.mark.parametrize(("day", "hours"), [((2037, 3, 29), 23), ((2037, 10, 25), 25), ((2037, 7, 15), 24)])
def test_a_pace_is_spread_over_the_whole_of_the_brand_s_day_of_23_24_or_25_hours(
    plant: Plant, client: BudgetClient, clock: None, day: tuple[int, int, int], hours: int
) -> None:
    begins = ms_of(datetime(*day, tzinfo=ZoneInfo(BERLIN)))
    text = planted(plant, BERLIN, begins)
    zone = Zone.parse(text)
    assert (zone.midnight_ms(zone.day_of(begins)), zone.day_length_ms(zone.day_of(begins))) == (begins, hours * HOUR_MS)
    bring(plant, text, 3, 100_000_000, None, EVEN)
    for tenth in range(1, 10):
        at = begins + hours * HOUR_MS * tenth // 10
        due = 100_000_000 * (((at - begins) * DAY_MS // (hours * HOUR_MS)) * 1_000_000 // 86_100_000) // 1_000_000
        spent = plant.spent()
        move(plant, at)
        if due > spent:
            assert client.record_spend(CAMPAIGN, Decimal(due - plant.spent()) / 1_000_000)
        refused = client.try_spend(CAMPAIGN, "0.000001")
        assert (refused.outcome, refused.reasons) == ("refused", ("pacing",))
        # It passes at the instant that it was told.
        assert refused.retry_at is not None
        told = ms_of(refused.retry_at)
        move(plant, told - 1)
        assert not client.try_spend(CAMPAIGN, "0.000001")
        move(plant, told)
        assert client.try_spend(CAMPAIGN, "0.000001")


def test_a_packed_batch_of_brands_on_two_days_counts_to_the_day_of_each(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    neighbour, at = BRAND + 64, ms_at(2037, 7, 14, 22)
    planted(plant, BERLIN, at)
    plant.brand(brand_id=neighbour, daily="10")
    move(plant, at)
    other = neighbour * 65536 + 1
    for events in (False, True):
        spends = [Spend(c, "0.1", f"e-{c}-{i}" if events else None) for i in range(6) for c in (CAMPAIGN, other)]
        assert all(client.record_spends(spends)) and all(client.try_spends([s._replace(event_id=None) for s in spends]))
    day = day_of(at)
    for brand, campaign, days in ((BRAND, CAMPAIGN, [0, 2_400_000]), (neighbour, other, [2_400_000, 0])):
        for key in (keys_of_brand(brand).brand(brand), keys_of_brand(brand).campaign(campaign)):
            assert counters(plant, key, f"d:{day}", f"d:{day + 1}") == days


@pytest.mark.parametrize("way", [way for way in WAYS if "event" in way])
def test_an_event_is_kept_with_the_day_of_the_brand_by_whatever_path_it_came(
    plant: Plant, clock: None, way: str
) -> None:
    at = ms_at(2037, 7, 15, 3)
    planted(plant, "America/Los_Angeles", at)
    move(plant, at)
    for _ in range(2):
        assert b"x" not in call(plant, "try_spends", *WAYS[way](1))[1]
    kept = {name: value for key in KEYS.events for name, value in plant.plain.hgetall(key).items() if name != b"#"}
    assert len(kept) == (2 if "alone" in way else 4)
    assert {value.rpartition(b",")[2] for value in kept.values()} == {b"%d" % (day_of(at) - 1)}
