"""A fast path answers, counts and logs what the slow path does: both get the same call on the same state, over drawn plans."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import pytest
import redis
from redis.client import PubSub

from engine.domain.brake import NO_BRAKE, Brake
from engine.domain.budget import OwnLimits
from engine.domain.curves import PPM, check
from engine.domain.flights import PlannedFlight
from engine.domain.pacing import Pacing, compiled
from engine.domain.periods import DAY_MS, ms_of, next_month_ms
from engine.domain.schedule import Schedule
from engine.domain.zone_text import Zone
from engine.domain.zones import zone_text
from engine.live.admin import BrandPlan, CampaignPlan
from engine.live.keys import keys_of_brand
from engine.live.scripts import LAYOUT, RECORD, TRY, Script, assemble
from tests.live.plant import BRAND, CAMPAIGN, MOVABLE_CLOCK, Plant
from tests.live.test_one_more_budget import KEYS, NOW, OTHER, WAYS

CLOCK: Final = {"lib/clock.lua": MOVABLE_CLOCK}
LEFT: Final = {
    **CLOCK, "lib/charge.lua": "-- include: lib/call.lua\nlocal function charge() return { 'left' } end",
}  # fmt: skip
"""The fast paths alone: what they leave to the slow path is answered with `left`."""
NO_FAST: Final = {
    **CLOCK, "lib/fast_single.lua": "", "lib/fast_own.lua": "local function own_steps() end",
    "lib/fast_packed.lua": "-- include: lib/packed.lua\nlocal function open_packed() end\nlocal function fast_packed() end",
    "lib/fast_by_one.lua": "local function fast_by_one() end",
}  # fmt: skip
"""The slow path alone."""
PLANS: Final = 8
CALLS: Final = 30
HOURLY: Final = check([(0, 0), *((3600 * h, PPM * h * h // 576) for h in range(1, 24)), (86_400, PPM)])
STEEP: Final = check([(3_600, 300_000), (43_200, 300_000), (82_800, 900_000), (86_400, PPM)])
PACES: Final = (
    (),
    *(compiled(Pacing(mode, catch_up)) for mode in ("even", "ahead") for catch_up in ("asap", "100", "300", "spread")),
    *(compiled(Pacing("custom:c", catch_up), None, {0: c}) for c in (HOURLY, STEEP) for catch_up in ("asap", "150", "spread")),
    compiled(Pacing("traffic", "300"), None, {day: HOURLY if day % 2 else STEEP for day in range(1, 8)}),
)  # fmt: skip


def scripts_with(swap: dict[str, str]) -> dict[str, Script]:
    return {name: assemble(name, swap) for name in (RECORD, TRY)}


def heard(plain: redis.Redis, told: PubSub) -> list[bytes]:
    """What was published of the brand's shard since the last time, in order: a last message of our own comes after all of it."""
    plain.publish(KEYS.changes, b"last")
    messages = []
    while (message := told.parse_response())[2] != b"last":
        if message[0] == b"message":
            messages.append(message[2])
    return messages


class Pair:
    """The same calls by the fast paths alone and by the slow path alone, on one Redis whose state is put back between them."""

    def __init__(self, plant: Plant) -> None:
        self.plain = plant.plain
        self.fast, self.slow = scripts_with(LEFT), scripts_with(NO_FAST)
        for made in (*self.fast.values(), *self.slow.values()):
            self.plain.script_load(made.text)
        self.told = self.plain.pubsub()
        self.told.subscribe(KEYS.changes)
        self.met: Counter[str] = Counter()
        """How many calls of each kind the fast paths took, by verb and outcome; `left` those that they left."""

    def call(self, verb: str, *args: str | bytes) -> Any:
        """Raises AssertionError where the fast path took the call and anything differs. Returns the slow path's reply, whose state stays."""
        both = b"%d" % OTHER in b" ".join(arg if isinstance(arg, bytes) else arg.encode() for arg in args)
        keys = (
            *KEYS.fixed, KEYS.brand(BRAND), *(() if verb == RECORD else KEYS.holds(BRAND)),
            *map(KEYS.campaign, [CAMPAIGN, OTHER] if both else [CAMPAIGN]),
        )  # fmt: skip
        before = {key: self.plain.dump(key) for key in self._keys()}
        heard(self.plain, self.told)
        reply = self._send(self.fast[verb], keys, args)
        after, published = self._state(), heard(self.plain, self.told)
        if reply == [b"left"]:
            assert after == self._state_of(before), "the fast path wrote something and then left the call"
            assert published == []
        self._put_back(before)
        told = self._send(self.slow[verb], keys, args)
        messages = heard(self.plain, self.told)
        if reply != [b"left"]:
            assert reply == told
            assert (after, sorted(published)) == (self._state(), sorted(messages))
        self.met[f"{verb} {'left' if reply == [b'left'] else told[1].decode()}"] += 1
        return told

    def _send(self, made: Script, keys: tuple[str, ...], args: tuple[str | bytes, ...]) -> Any:
        return self.plain.evalsha(made.sha1, len(keys), *keys, LAYOUT, *args)

    def _keys(self) -> list[bytes]:
        return list(self.plain.scan_iter(match=keys_of_brand(BRAND).tag.replace("{", "\\{") + "*", count=1000))

    def _state(self) -> dict[bytes, Any]:
        read = {
            b"hash": self.plain.hgetall,
            b"stream": self.plain.xrange,
            b"zset": lambda key: self.plain.zrange(key, 0, -1, withscores=True),
        }
        return {key: read[self.plain.type(key)](key) for key in self._keys()}

    def _state_of(self, dumps: dict[bytes, Any]) -> dict[bytes, Any]:
        self._put_back(dumps)
        return self._state()

    def _put_back(self, dumps: dict[bytes, Any]) -> None:
        pipe = self.plain.pipeline()
        for key in set(self._keys()) - set(dumps):
            pipe.delete(key)
        for key, value in dumps.items():
            pipe.restore(key, 0, value, replace=True)
        pipe.execute()


@pytest.fixture
def pair(plant: Plant, clock: None) -> Iterator[Pair]:
    plant.at(next_month_ms(plant.live.now_ms()))
    plant.brand(daily="100", monthly="900")
    plant.campaign(OTHER)
    made = Pair(plant)
    with made.told:
        yield made


def draw_plan(plant: Plant, drawn: random.Random, version: int, at: int, zone: str = "") -> int:
    """Publishes a brand and its two campaigns as drawn; returns an amount that is small beside what they may spend."""
    limit = drawn.choice((997, 86_399, 10**6, 10**8, 9 * 10**15))
    monthly = drawn.choice((None, limit, 9 * 10**15))
    cap = (None, limit // 3, None, 7)[version % 4]
    brand = BrandPlan(BRAND, version, limit, monthly, False, False, drawn.choice(PACES), zone, rollover_cap=cap)
    campaigns = []
    for campaign_id in (CAMPAIGN, OTHER):
        own = drawn.random() < 0.8
        daily = drawn.choice((None, limit // 2 + 1, limit, 9 * 10**15)) if own else None
        flights: tuple[PlannedFlight, ...] = ()
        if own and drawn.random() < 0.3:
            starts = at + drawn.choice((-DAY_MS, -1, 40_000, DAY_MS))
            flights = (
                PlannedFlight(1, 1, starts, starts + 2 * DAY_MS, limit),
                PlannedFlight(2, 2, starts + 3 * DAY_MS, starts + 4 * DAY_MS, limit),
            )
        limits = (
            OwnLimits(daily, drawn.choice((None, limit)), None if flights else drawn.choice((None, limit)))
            if own
            else OwnLimits()
        )
        brake = (
            Brake(drawn.choice((None, limit // 100 + 1)), drawn.choice((None, limit // 10 + 1)), 1)
            if own and drawn.random() < 0.4
            else NO_BRAKE
        )
        hours = Schedule.parse({"start_time": "06:00", "end_time": "22:00"}) if drawn.random() < 0.2 else Schedule()
        pace = drawn.choice(PACES) if daily else ()
        campaigns.append(
            CampaignPlan(campaign_id, version, drawn.random() < 0.95, False, hours, False, limits, None, flights, brake, pace)
        )  # fmt: skip
    brought = plant.live.bring(plant.instance, brand, campaigns)
    assert brought is not None and not brought.ahead
    if cap is not None:
        plant.plain.hset(KEYS.brand(BRAND), "b", f"{cap},{Zone.parse(zone).day_of(at)},{limit // 2},")
    return max(min(limit // drawn.choice((20, 300, 3000)), 10**12), 1)


def forget(plain: redis.Redis) -> None:
    """Another plan begins with nothing spent, and with breakers closed."""
    for key in (KEYS.brand(BRAND), KEYS.campaign(CAMPAIGN), KEYS.campaign(OTHER)):
        for field in plain.hkeys(key):
            if field[:2] == b"f:":
                plain.hset(key, field, "0")
            elif field[:2] in (b"d:", b"m:") or field in (b"s", b"bk"):
                plain.hdel(key, field)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
def test_a_fast_path_answers_and_writes_what_the_slow_path_does(plant: Plant, pair: Pair, seed: int) -> None:
    drawn = random.Random(seed)
    day = next_month_ms(plant.live.now_ms())
    for version in range(2, PLANS + 2):
        at = day + version * DAY_MS + drawn.randrange(DAY_MS)
        plant.at(at)
        forget(plant.plain)
        amount = draw_plan(plant, drawn, version, at)
        for _ in range(CALLS):
            at += drawn.choice((0, 0, 1, 777, 20_000, 60_000, 3_600_000))
            NOW[0] = at
            plant.at(at)
            way = drawn.choice(("alone", "alone", *WAYS))
            micros = max(min(amount * drawn.choice((1, 1, 1, 7, 60)), 10**12), 1)
            told = pair.call(TRY if drawn.random() < 0.7 else RECORD, *WAYS[way](micros))
            assert told[0] == b"ok"
            if drawn.random() < 0.05:
                assert pair.call(RECORD, f"h-{at}-{drawn.random()}", f"{OTHER},{micros},,;")[0] == b"ok"
    for kind in ("record_spends k*1", "try_spends k*1", "try_spends x512*1", "try_spends k*2"):
        assert pair.met[kind] > 2, pair.met


ZONES: Final = {
    "Europe/Berlin": (2037, 3, 27), "Asia/Kolkata": (2037, 5, 30), "America/Los_Angeles": (2037, 10, 30),
    "Australia/Lord_Howe": (2037, 4, 3), "Pacific/Chatham": (2037, 9, 25), "Pacific/Kiritimati": (2037, 12, 29),
}  # fmt: skip
"""Shortly before a change of the offset, or a month's end."""
SHORT: Final = ("Europe/Berlin", "Pacific/Chatham")
"""The others are long tests."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", [*SHORT, *(pytest.param(name, marks=pytest.mark.long) for name in ZONES if name not in SHORT)]
)
def test_a_fast_path_of_a_brand_with_a_time_zone_does_what_the_slow_path_does(
    plant: Plant, pair: Pair, name: str
) -> None:
    drawn, day = random.Random(name), ms_of(datetime(*ZONES[name], tzinfo=UTC))
    clock = Zone.parse(zone_text(name, day - DAY_MS))
    plant.at(day - DAY_MS // 2)
    draw_plan(plant, drawn, 2, day - DAY_MS // 2, clock.text)
    for version in range(3, 2 * PLANS + 3):
        at = max(plant.live.now_ms(), day + (version - 3) * DAY_MS // 4 + drawn.randrange(DAY_MS // 4))
        plant.at(at)
        forget(plant.plain)
        amount = draw_plan(plant, drawn, version, at, clock.text)
        for _ in range(CALLS // 2):
            at += drawn.choice((0, 0, 1, 777, 777, 5_000, 60_000))
            if drawn.random() < 0.05:
                at = clock.midnight_ms(clock.day_of(at) + 1) - drawn.randrange(2)
            NOW[0] = at
            plant.at(at)
            way = drawn.choice(("alone", "alone", *WAYS))
            micros = max(min(amount * drawn.choice((1, 1, 1, 7, 60)), 10**12), 1)
            args = WAYS[way](micros)
            if way == "alone" and drawn.random() < 0.3:
                args = (*args[:1], f"{CAMPAIGN},{micros},,{at - drawn.choice((0, 5_000, 7_200_000))};")
            assert pair.call(TRY if drawn.random() < 0.7 else RECORD, *args)[0] == b"ok"
    counted = sum(times for kind, times in pair.met.items() if " k*" in kind)
    assert counted > 20 and pair.met.total() - pair.met["record_spends left"] - pair.met["try_spends left"] > 50, (
        pair.met
    )
