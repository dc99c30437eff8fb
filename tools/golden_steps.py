"""The steps of the golden vectors: brands, campaigns, and a function for each script that builds a call as the Python
client does.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from engine.domain.ids import ORDINALS
from engine.domain.periods import ms_of
from engine.live.keys import keys_of_brand
from engine.live.scripts import LAYOUT

Step = dict[str, Any]

BRAND: Final = 81
NEIGHBOUR: Final = 145
"""Another brand of shard 17."""
FIRST, SECOND, UNKNOWN = (BRAND * ORDINALS + ordinal for ordinal in (1, 2, 3))
KEYS: Final = keys_of_brand(BRAND)
INSTANCE: Final = "11111111-2222-4333-8444-555555555555"
REQUEST_MS, EVENT_MS = 600_000, 3_600_000


def at(text: str) -> int:
    """The epoch milliseconds of a UTC instant."""
    return ms_of(datetime.fromisoformat(text).replace(tzinfo=UTC))


NOON: Final = at("2026-11-23T12:00:00")
"""A Monday."""


class Case(NamedTuple):
    """One case. then: Redis commands before the first step. planted: the case begins with brand 81 (10.00 a day, 25.00
    a month) and its campaigns 1 and 2, and brand 145 (no limits) with one campaign.
    """

    name: str
    steps: Sequence[Step]
    then: Sequence[Sequence[str | int]] = ()
    planted: bool = True


def step(script: str, keys: Sequence[str], argv: Sequence[object], ms: int = NOON) -> Step:
    return {
        "at": ms,
        "script": script,
        "keys": list(keys),
        "argv": [a if isinstance(a, dict) else str(a) for a in argv],
    }


def spends(script: str, request: str, lines: Sequence[str], ms: int = NOON, layout: str = LAYOUT) -> Step:
    """A charge call with the keys that its spends need, in the order of the Python client."""
    campaigns = list(dict.fromkeys(int(line.split(",", maxsplit=1)[0]) for line in lines))
    brands = list(dict.fromkeys(campaign // ORDINALS for campaign in campaigns))
    keys = list(KEYS.fixed)
    for brand in brands:
        keys += [KEYS.brand(brand), *(KEYS.holds(brand) if script == "try_spends" else ())]
    keys += map(KEYS.campaign, campaigns)
    made = step(script, keys, (layout, request, "".join(lines)), ms)
    return {**made, "any_order": [2, 3]} if len(campaigns) > 1 else made


def packed(
    script: str, request: str, sums: str, width: int, places: Sequence[int], amounts: Sequence[int], ms: int = NOON
) -> Step:
    """A packed charge call on the first two campaigns."""
    log = bytes((1, width, *places)) + b"".join(amount.to_bytes(width, "little") for amount in amounts)
    holds = KEYS.holds(BRAND) if script == "try_spends" else ()
    keys = [*KEYS.fixed, KEYS.brand(BRAND), *holds, KEYS.campaign(FIRST), KEYS.campaign(SECOND)]
    return {**step(script, keys, (LAYOUT, request, sums, {"hex": log.hex()}), ms), "any_order": [2, 3]}


def named(script: str, request: str, sums: str, day: int, *spends: tuple[str, int, int]) -> Step:
    """A packed charge call with event ids. spends: (event, index of the campaign, micros) each."""
    made = packed(script, request, sums, 4, [place for _, place, _ in spends], [micros for _, _, micros in spends])
    log = "02" + made["argv"][3]["hex"][2:]
    names = ",".join(f"{BRAND}:{event}" for event, _, _ in spends)
    kept = ";".join(f"{(FIRST, SECOND)[place]},{micros},{day}" for _, place, micros in spends)
    return {**made, "argv": [*made["argv"][:3], {"hex": log}, str(day), names, kept]}


def lease(
    micros: object, number: object, ttl: object = 60_000, campaign: int = FIRST, ms: int = NOON, name: str = "lease-1"
) -> Step:
    """Sets the amount that a lease has on hold."""
    keys = [*KEYS.fixed, KEYS.brand(BRAND), *KEYS.holds(BRAND), KEYS.campaign(campaign)]
    return step("lease", keys, (LAYOUT, campaign, name, micros, ttl, number), ms)


def draw(
    request: str,
    sums: str,
    *amounts: int,
    sent: object = "",
    ms: int = NOON,
    name: str = "lease-1",
    campaign: int = FIRST,
) -> Step:
    """Draws packed spends from a lease."""
    log = bytes((1, 4, *bytes(len(amounts)))) + b"".join(amount.to_bytes(4, "little") for amount in amounts)
    keys = [*KEYS.fixed, KEYS.brand(BRAND), *KEYS.holds(BRAND), KEYS.campaign(campaign)]
    return step("draw_spends", keys, (LAYOUT, request, sums, {"hex": log.hex()}, name, sent), ms)


def line(campaign: int, micros: object, event: str = "", occurred: object = "") -> str:
    return f"{campaign},{micros},{event},{occurred};"


def record(request: str, *lines: str, ms: int = NOON) -> Step:
    return spends("record_spends", request, lines, ms)


def ask(request: str, *lines: str, ms: int = NOON) -> Step:
    return spends("try_spends", request, lines, ms)


def hold(*operations: str, ms: int = NOON) -> Step:
    keys = [*KEYS.fixed, KEYS.brand(BRAND), KEYS.campaign(FIRST), *KEYS.holds(BRAND)]
    return step("holds", keys, [LAYOUT, "".join(operations)], ms)


def refund(
    micros: object, event: str, day: object = "", campaign: int = FIRST, ms: int = NOON, part: object = ""
) -> Step:
    keys = [*KEYS.fixed, KEYS.brand(BRAND), KEYS.campaign(campaign)]
    return step("refund", keys, [LAYOUT, campaign, event, micros, day, part], ms)


def decide(
    micros: object, event: str, day: object, verdict: str, part: object = "", instance: str = INSTANCE, ms: int = NOON
) -> Step:
    """The spend log's decision on a refund of the first campaign."""
    keys = [*KEYS.fixed, KEYS.brand(BRAND), KEYS.campaign(FIRST)]
    return step("decide_refund", keys, [LAYOUT, instance, FIRST, event, micros, day, part, verdict], ms)


def plan(*campaigns: int, brand: int = BRAND, ms: int = NOON) -> Step:
    return step("read_plan", [KEYS.shard, KEYS.brand(brand), *map(KEYS.campaign, campaigns)], [LAYOUT], ms)


def publish(
    brand: int,
    version: int,
    daily: str,
    monthly: str,
    campaigns: Sequence[tuple[object, ...]],
    ms: int,
    create: int = 1,
) -> Step:
    keys = [
        KEYS.shard,
        KEYS.registry,
        KEYS.journal,
        KEYS.brand(brand),
        *(KEYS.campaign(int(str(c[0]))) for c in campaigns),
    ]
    head = (LAYOUT, INSTANCE, brand, version, daily, monthly, 0, create)
    return step("publish", keys, (*head, *(part for c in campaigns for part in c)), ms)


def begun(ms: int) -> list[Step]:
    """The steps of a shard's first start: the rebuild of an empty log."""
    guards = (KEYS.registry, *KEYS.requests, *KEYS.events)
    return [
        step("rebuild_begin", [KEYS.shard, KEYS.journal], [INSTANCE, "token"], ms),
        step("rebuild_set", [KEYS.shard, *guards], ["token", "replace", *("2", "#", "1") * len(guards)], ms),
        step(
            "rebuild_finish",
            [KEYS.shard, KEYS.journal],
            ["token", INSTANCE, 1, 0, "", 0, REQUEST_MS, EVENT_MS],
            ms,
        ),
    ]


EARLY: Final = at("2026-11-23T08:00:00")
PLANTED: Final = [
    *begun(EARLY),
    publish(BRAND, 1, "10000000", "25000000", [(FIRST, 1, 1, 0, "", 1), (SECOND, 1, 1, 0, "", 1)], EARLY),
    publish(NEIGHBOUR, 1, "", "", [(NEIGHBOUR * ORDINALS + 1, 1, 1, 0, "", 1)], EARLY),
]
