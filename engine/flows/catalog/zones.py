"""Time zones of brands between catalog and Redis: that a change never takes back the day of a brand, and how long a published zone is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from engine.domain.flights import instant_text
from engine.domain.zone_text import Zone
from engine.domain.zones import RIGHT_FOR_MS
from engine.errors import InvalidInput
from engine.ledger.records import BrandRecord
from engine.ledger.zones import ZonedBrand
from engine.live.inspect import PAGE, Inspector
from engine.live.keys import keys_of_brand

_MOMENT_MS: Final = 5_000
"""A change that begins so soon may come too late."""


class WrongZone(NamedTuple):
    """A published zone that is wrong, or will be within a week. until_ms: from when on."""

    brand_id: int
    until_ms: int
    text: str


def published(inspector: Inspector, brand_ids: Sequence[int]) -> dict[int, str]:
    """{brand id: the text of its zone in Redis}, empty for UTC; without brands that are not there."""
    keys = [keys_of_brand(brand_id).brand(brand_id) for brand_id in brand_ids]
    found: dict[int, str] = {}
    for start in range(0, len(keys), PAGE):
        lines = inspector.fields(keys[start : start + PAGE], ("v", "zone"))
        part = brand_ids[start : start + PAGE]
        found |= {
            brand_id: line[1] or ""
            for brand_id, line in zip(part, lines, strict=True)
            if line is not None and line[0] is not None
        }
    return found


def begins_late(inspector: Inspector, brands: Sequence[BrandRecord], now_ms: int) -> dict[int, tuple[int, int]]:
    """Brands whose new zone should have begun by now, or begins in a moment, and which Redis does not have:
    {brand id: (when it can begin, now)}. That is the next midnight of the zone that Redis has.
    """
    late = {}
    live = published(inspector, [brand.id for brand in brands])
    for brand in brands:
        if brand.id not in live:
            continue
        try:
            told = Zone.parse(live[brand.id])
        except InvalidInput:
            continue  # it is written anew as a whole
        wrong_ms = brand.zones.right_until_ms(told.text, now_ms)
        if wrong_ms is not None and wrong_ms <= now_ms + _MOMENT_MS:
            late[brand.id] = told.next_day_ms(now_ms + _MOMENT_MS), now_ms
    return late


def wrong_zones(inspector: Inspector, zoned: Sequence[ZonedBrand], now_ms: int) -> Iterator[WrongZone]:
    """Published zones that are not what the catalog's compile to, for a week ahead."""
    live = published(inspector, [brand.id for brand in zoned])
    for brand in zoned:
        if brand.id not in live:
            continue
        try:
            until_ms = brand.zones.right_until_ms(live[brand.id], now_ms)
        except InvalidInput as error:
            yield WrongZone(brand.id, now_ms, f"brand {brand.id}: {error}")
            continue
        if until_ms is not None and until_ms < now_ms + RIGHT_FOR_MS:
            text = f"brand {brand.id} is in {brand.zones.label(now_ms)}, and its zone in Redis is right until {instant_text(until_ms)} only"
            yield WrongZone(brand.id, until_ms, text)
