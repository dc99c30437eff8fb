"""A brand's clock: its days are those of its zone, never go back, and a plan's text stays right with every job dead."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC as IN_UTC
from datetime import datetime

import pytest

from engine.domain.periods import DAY_MS, HOUR_MS, MINUTE_MS, date_of, day_number, ms_of
from engine.domain.zone_text import MOST_CHARACTERS, UTC, Zone
from engine.domain.zones import QUARTER_MS, UTC_ZONE, BrandZone, InvalidZone, check_zone, names, zone_text
from engine.errors import InvalidInput
from tests.patience import PATIENCE_S

FIRST, LAST = 2025, 2039


def at(text: str) -> int:
    return ms_of(datetime.fromisoformat(text).replace(tzinfo=IN_UTC))


def day(text: str) -> int:
    return day_number(datetime.fromisoformat(text).date())


def clock(name: str) -> Zone:
    return BrandZone.of(name).clock


@pytest.mark.parametrize("share", [100, pytest.param(1, marks=pytest.mark.long)])
def test_the_local_day_never_goes_back_in_any_zone_and_a_text_of_57_characters_says_all_that_is_needed(
    share: int,
) -> None:
    """Of one zone in so many, or of all."""
    begin, end = at(f"{FIRST}-01-01"), at(f"{LAST + 1}-01-01")
    shortest = {2025: 10**15, 2027: 10**15}
    for of, name in list({clock(name): name for name in names()}.items())[::share]:
        zone = BrandZone.of(name)
        # Samoa skipped a day in 2011, and Kiritimati in 1994: those years are over, and no clock here knows them.
        assert all(offset % QUARTER_MS == 0 for offset in of.offsets), name
        for change in [begin, *(c for c in of.changes if begin < c < end)]:
            assert of.day_of(change) in (of.day_of(change - 1), of.day_of(change - 1) + 1), (name, change)
            for now in (change - 1, change, change + 1):
                text = zone.text(now)
                assert len(text) <= MOST_CHARACTERS and Zone.parse(text).text == text, (name, text)
                today = of.day_of(now)
                for number in (today - 1, today, today + 1):
                    assert Zone.parse(text).midnight_ms(number) == of.midnight_ms(number), (name, now)
                wrong = zone.right_until_ms(text, now)
                for year, least in shortest.items():
                    if wrong is not None and now >= at(f"{year}-01-03"):
                        shortest[year] = min(least, wrong - now)
    # Morocco ends its summer time for good in 2026. Elsewhere it is the length of a lunar year.
    assert shortest[2025] > 180 * DAY_MS
    assert shortest[2027] > 345 * DAY_MS


@pytest.mark.parametrize(
    ("name", "on", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-11-29", 24),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Pacific/Chatham", "2026-04-05", 25),
        ("America/St_Johns", "2026-11-01", 25),
        ("Africa/Casablanca", "2026-02-15", 25),
        ("Africa/Cairo", "2026-04-24", 23),
        ("Africa/Cairo", "2026-10-29", 25),
        ("Asia/Kolkata", "2026-10-25", 24),
    ],
)
def test_a_day_is_as_long_as_the_clocks_of_its_zone_make_it(name: str, on: str, hours: float) -> None:
    of = clock(name)
    assert of.day_length_ms(day(on)) == hours * HOUR_MS
    begins = of.midnight_ms(day(on))
    assert (of.day_of(begins - 1), of.day_of(begins)) == (day(on) - 1, day(on))
    assert of.time_of_day(begins + HOUR_MS) == (HOUR_MS, hours * HOUR_MS)
    assert of.next_day_ms(begins) == begins + hours * HOUR_MS


def test_a_month_begins_on_the_local_first() -> None:
    assert clock("Asia/Kolkata").month_start_ms(202612) == at("2026-11-30T18:30")
    assert clock("America/St_Johns").next_month_ms(at("2026-11-30T23:00")) == at("2026-12-01T03:30")
    assert clock("Pacific/Chatham").month_of(at("2026-12-31T10:15")) == 202701
    assert UTC.next_month_ms(at("2026-11-30T23:00")) == at("2026-12-01")


def test_a_time_that_clocks_show_twice_has_two_instants_and_one_that_they_leave_out_has_none() -> None:
    berlin = clock("Europe/Berlin")
    assert berlin.instants_of(at("2026-10-25T02:30")) == (at("2026-10-25T00:30"), at("2026-10-25T01:30"))
    assert berlin.instants_of(at("2026-03-29T02:30")) == ()
    assert berlin.instants_of(at("2026-11-29T12:00")) == (at("2026-11-29T11:00"),)
    assert UTC.instants_of(5) == (5,)


def test_the_text_begins_with_the_day_before_so_that_todays_midnight_can_be_told_from_it() -> None:
    after = at("2026-10-25T10:00")
    text = zone_text("Europe/Berlin", after)
    assert text.startswith(f"{2 * HOUR_MS},{at('2026-10-25T01:00')},{HOUR_MS},")
    assert zone_text("Europe/Berlin", after + 2 * DAY_MS).startswith(f"{HOUR_MS},{at('2027-03-28T01:00')}")
    assert (zone_text("Asia/Kolkata", after), zone_text(None, after)) == ("19800000", "")


@pytest.mark.parametrize(
    ("before", "name", "said", "lengths"),
    [
        ("Europe/Berlin", "America/New_York", "takes effect on 30 Nov 2026 00:00 Europe/Berlin, 29 Nov 23:00 UTC; 29 Nov has 30 hours", (30, 24)),
        ("America/New_York", "Europe/Berlin", "takes effect on 30 Nov 2026 00:00 America/New_York, 30 Nov 05:00 UTC; 30 Nov has 18 hours", (24, 18)),
        ("Europe/Berlin", None, "takes effect on 30 Nov 2026 00:00 Europe/Berlin, 29 Nov 23:00 UTC; 29 Nov has 25 hours", (25, 24)),
        (None, "Asia/Kolkata", "takes effect on 30 Nov 2026 00:00 UTC, 30 Nov 00:00 UTC; 30 Nov has 18 hours 30 minutes", (24, 18.5)),
        ("Pacific/Kiritimati", "Pacific/Niue", "30 Nov has 49 hours", (24, 49)),
        ("Etc/GMT+12", "Etc/GMT-14", "29 Nov is skipped; 30 Nov has 22 hours", (0, 22)),
    ],
)  # fmt: skip
def test_another_zone_begins_at_the_next_midnight_of_the_old_one_and_no_day_comes_twice(
    before: str | None, name: str | None, said: str, lengths: tuple[float, float]
) -> None:
    now = at("2026-11-29T10:00")
    zone = BrandZone.of(before).changed(name, now)
    assert said in zone.told() and BrandZone.parse(zone.stored) == zone
    assert tuple(zone.clock.day_length_ms(day(f"2026-11-{on}")) / HOUR_MS for on in (29, 30)) == lengths
    days = [zone.clock.day_of(now + quarter * QUARTER_MS) for quarter in range(4 * 24 * 6)]
    assert days == sorted(days)
    assert Zone.parse(zone.text(now)).day_of(zone.since_ms + 3 * DAY_MS) == clock(name or "Etc/GMT").day_of(
        zone.since_ms + 3 * DAY_MS
    )
    assert (zone.label(now), zone.label(zone.since_ms)) == (before or "UTC", name or "UTC")


def test_a_change_that_waits_is_replaced_and_the_way_back_is_none() -> None:
    now = at("2026-11-29T10:00")
    waits = BrandZone.of("Europe/Berlin").changed("Asia/Kolkata", now)
    assert waits.changed("Asia/Kolkata", now) == waits
    assert waits.changed("Europe/Berlin", now) == BrandZone.of("Europe/Berlin")
    again = waits.changed("America/New_York", now + HOUR_MS)
    assert again.steps == ((0, "Europe/Berlin"), (waits.since_ms, "America/New_York"))
    assert BrandZone().changed(None, now) == UTC_ZONE


def test_a_text_of_another_law_is_found_with_the_instant_from_which_on_it_is_wrong() -> None:
    now = at("2026-11-29T10:00")
    berlin = BrandZone.of("Europe/Berlin")
    assert berlin.right_until_ms("3600000", now) == at("2027-03-28T01:00")
    assert berlin.right_until_ms("", now) == berlin.clock.midnight_ms(day("2026-11-28"))
    assert BrandZone.of("Asia/Kolkata").right_until_ms("19800000", now) is None


@pytest.mark.parametrize(
    "name",
    ["Berlin", "europe/berlin", "", " ", "../../etc/passwd", "Factory", "<script>", "Europe/Berlin\n/x", "EST5EDT4"],
)
def test_a_name_that_is_no_zone_is_refused_with_the_value_and_a_way_out(name: str) -> None:
    with pytest.raises(InvalidZone, match="is no time zone: use a name of the IANA list") as refused:
        check_zone(name)
    assert refused.value.field == "time_zone"


def test_every_name_of_utc_is_none() -> None:
    assert [check_zone(name) for name in ("UTC", "Etc/UTC", "GMT", "Africa/Abidjan")] == [None] * 4
    assert check_zone(" Europe/Berlin ") == "Europe/Berlin"


@pytest.mark.parametrize(
    "text", ["x", "1,2", "1,2,3,4", "3600000,5,0,4,0", "3600000,5,0,5,0", "999999999", "1,2,3,4,5,6,7", "٣", "+1"]
)
def test_a_text_that_is_no_clock_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no zone of a plan"):
        Zone.parse(text)


def test_a_day_that_a_text_makes_short_begins_at_the_first_instant_that_is_in_it_or_later() -> None:
    skips = Zone((0, DAY_MS), (10 * DAY_MS,))
    assert (skips.midnight_ms(10), skips.midnight_ms(11), skips.day_length_ms(10)) == (10 * DAY_MS, 10 * DAY_MS, 0)
    assert date_of(skips.day_of(10 * DAY_MS)) == date_of(11)
    assert skips.midnight_ms(12) == 11 * DAY_MS and skips.midnight_ms(9) == 9 * DAY_MS + 0 * MINUTE_MS


def test_a_bidder_that_reads_a_brands_clock_needs_neither_names_nor_their_rules() -> None:
    code = (
        "import sys; from engine import *; import engine.domain.zone_text as z; z.Zone.parse('3600000').day_of(0);"
        "bad = {'zoneinfo', 'tzdata', 'engine.domain.zones'} & set(sys.modules); sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
