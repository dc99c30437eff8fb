"""The golden vectors' stories of time zones."""

from __future__ import annotations

from typing import Final

from engine.domain.periods import DAY_MS, HOUR_MS
from engine.domain.schedule import Schedule
from engine.live.scripts import LAYOUT
from tools.golden_steps import (
    BRAND,
    EVENT_MS,
    FIRST,
    INSTANCE,
    KEYS,
    NOON,
    REQUEST_MS,
    SECOND,
    Case,
    Step,
    ask,
    at,
    hold,
    line,
    named,
    plan,
    publish,
    record,
    refund,
    step,
)

BERLIN: Final = "3600000,1806195600000,7200000,1824944400000,3600000"
"""An hour ahead of UTC; in summer, from 2027-03-28 01:00 UTC to 2027-10-31 01:00 UTC, two."""
_NEW_YORK: Final = f"3600000,{at('2026-11-23T23:00:00')},-18000000"
_MIDNIGHT: Final = at("2026-11-23T23:00:00")
_SUMMER: Final = at("2027-06-30T22:00:00")
_EVENTS: Final = (("e1", 0, 10), ("e2", 1, 5), ("e3", 0, 20))
_FIRST_HOUR: Final = Schedule.parse({"start_time": "00:00", "end_time": "01:00"}).compiled


def _zoned(version: int, zone: str, ms: int = NOON, pacing: str = "") -> Step:
    """Publishes the brand's zone."""
    keys = [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND)]
    text = f"{pacing}|zone={zone}" if zone else pacing
    return step("publish", keys, (LAYOUT, INSTANCE, BRAND, version, "10000000", "25000000", 0, 0, text), ms)


def _watched(ms: int) -> Step:
    return step("read_watched", [KEYS.shard, KEYS.brand(BRAND), KEYS.campaign(FIRST)], [LAYOUT], ms)


def _rebuilt(ms: int, *late_from: str) -> list[Step]:
    """A rebuild that writes the brand's `closed` and begins a new journal."""
    last_day = _MIDNIGHT // DAY_MS - 1
    return [
        step("rebuild_begin", [KEYS.shard, KEYS.journal], [INSTANCE, "token"], ms),
        step("rebuild_set", [KEYS.shard, KEYS.brand(BRAND)], ["token", "add", 2, "closed", last_day], ms),
        step(
            "rebuild_finish",
            [KEYS.shard, KEYS.journal],
            ["token", INSTANCE, 2, 9, "", 0, REQUEST_MS, EVENT_MS, "own", 60, "", *late_from],
            ms,
        ),
    ]


ZONED: Final = (
    Case(
        "the day and the month of a brand with a time zone begin at its own midnight, in winter and in summer",
        [
            _zoned(2, BERLIN),
            record("a", line(FIRST, 9_000_000, "win-1"), ms=_MIDNIGHT - 1),
            ask("b", line(FIRST, 2_000_000), ms=_MIDNIGHT - 1),
            plan(FIRST, SECOND, ms=_MIDNIGHT - 1),
            ask("c", line(FIRST, 2_000_000), ms=_MIDNIGHT),
            {**named("try_spends", "d", f"{FIRST},30,2;{SECOND},5,1;", 20780, *_EVENTS), "at": _MIDNIGHT},
            refund(1_000_000, "win-1", ms=_MIDNIGHT + 1),
            refund(10, "e1", ms=_MIDNIGHT + 2),
            hold(f"R,{FIRST},bid-1,1000000,60000;S,{FIRST},bid-1,900000,;", ms=_MIDNIGHT + 3),
            _watched(_MIDNIGHT + 4),
            record("e", line(FIRST, 3_000_000), ms=_SUMMER - 1),
            record("f", line(FIRST, 4_000_000), ms=_SUMMER),
            plan(FIRST, SECOND, ms=_SUMMER),
        ],
    ),
    Case(
        "hours and pacing follow the clock of the brand",
        [
            _zoned(2, BERLIN, pacing="|p=0,1000000,0"),
            publish(BRAND, 1, "10000000", "25000000", [(FIRST, 2, 1, 0, _FIRST_HOUR, 0)], NOON, 0),
            ask("a", line(FIRST, 1), line(SECOND, 1), ms=_MIDNIGHT - 1),
            ask("b", line(FIRST, 1), line(SECOND, 1), ms=_MIDNIGHT),
            ask("c", line(FIRST, 50_000), line(SECOND, 1), ms=_MIDNIGHT + 600_000),
            ask("d", line(SECOND, 30_000), ms=_MIDNIGHT + 600_000),
            ask("e", line(SECOND, 1), ms=_MIDNIGHT + 600_000),
            ask("f", line(FIRST, 1), ms=_MIDNIGHT + HOUR_MS),
        ],
    ),
    Case(
        "another zone is a change at an instant, and no day comes twice",
        [
            _zoned(2, BERLIN),
            record("a", line(FIRST, 10_000_000), ms=_MIDNIGHT - 1),
            _zoned(3, _NEW_YORK, ms=_MIDNIGHT - 1),
            # In New York it is still the same day: 33 hours of it.
            ask("b", line(FIRST, 1), ms=_MIDNIGHT),
            ask("c", line(FIRST, 1), ms=at("2026-11-24T04:59:59.999")),
            ask("d", line(FIRST, 1), ms=at("2026-11-24T05:00:00")),
            _zoned(4, "", ms=at("2026-11-24T05:00:00")),
            plan(FIRST, ms=at("2026-11-24T05:00:00")),
            step("adjust", [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.campaign(FIRST), KEYS.brand(BRAND)],
                 [LAYOUT, INSTANCE, "d:20781", "5", "one", "9"], at("2026-11-24T05:00:01")),
        ],
    ),
    Case(
        "after a rebuild late spends of a zone count to the day before where the brand's own `closed` says so",
        [
            _zoned(2, BERLIN),
            step("stamp", [KEYS.shard], [LAYOUT, INSTANCE, 0, 0, 60], NOON),
            *_rebuilt(_MIDNIGHT + 1, "0"),
            record("a", line(FIRST, 3_000_000, "win-1", _MIDNIGHT - 1), ms=_MIDNIGHT + 2),
            *_rebuilt(_MIDNIGHT + 3),
            record("b", line(FIRST, 2_000_000, "win-2", _MIDNIGHT - 1), ms=_MIDNIGHT + 4),
        ],
    ),
    Case(
        "a malformed zone takes the shard out of use before any money moves",
        [ask("a", line(FIRST, 1)), plan(FIRST)],
        then=[("HSET", KEYS.brand(BRAND), "zone", "3600000,")],
    ),
)  # fmt: skip
