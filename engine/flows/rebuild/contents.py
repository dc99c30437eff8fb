"""What a shard of Redis must have by PostgreSQL, as hashes in small slices: plans, open counters, remembered ids,
holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import Engine

from engine.domain.budget import BUDGETS, LIFETIME_FIELD, LIFTED
from engine.domain.flights import flight_field
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.periods import (
    at_ms,
    counter_field_on,
    date_of,
    day_number,
    day_of,
    day_start_ms,
    days_of_month,
    month_of,
    ms_of,
)
from engine.ledger import breakers, flight_sums, lifetimes, quarantine, spend_read
from engine.ledger.holds import HoldRow
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.live.admin import TURN
from engine.live.keys import ShardKeys
from engine.live.scripts import script
from engine.live.transport.pool import Call

Hash = tuple[str, list[str]]
"""A key and its fields and values, flat."""

Counted = Mapping[tuple[int, int | None], list[str]]
"""Counters of brands (campaign None) and campaigns: {(brand, campaign): [field, micros, ...]}."""

_VALUES_A_CALL: Final = 600


def open_counters(db: Engine, brand_ids: Sequence[int], now: int, last_ms: int) -> Counted:
    """The fields of the days and months that are not closed. last_ms: the instant of the latest row, which a wrong
    clock may have put after `now`; its day's counter is included.
    """
    day, month = day_of(now), month_of(now)
    first = next(days_of_month(month))
    with db.connect() as conn:
        totals = spend_read.campaign_totals(
            conn, brand_ids, date_of(min(first, day - 1)), date_of(max(day, day_of(last_ms)))
        )
        # Yesterday's counter is final before a correction of it: it counts in the month only.
        corrected = spend_read.correction_totals(
            conn, brand_ids, date_of(day - 1), date_of(day - 1), at_ms(day_start_ms(day))
        )
        for key, micros in quarantine.sums(conn, brand_ids).items():
            totals[key] = totals.get(key, 0) + micros
    sums: dict[tuple[int, int | None], dict[str, int]] = {}
    for (brand_id, campaign_id, on), micros in totals.items():
        number = day_number(on)
        for owner in ((brand_id, campaign_id), (brand_id, None)):
            fields = sums.setdefault(owner, {})
            counted = (
                [(counter_field_on("day", on), micros - corrected.get((brand_id, campaign_id, on), 0))]
                if number >= day - 1
                else []
            )
            if number >= first:
                counted.append((counter_field_on("month", on), micros))
            for name, amount in counted:
                fields[name] = fields.get(name, 0) + amount
    return {
        owner: [part for name, micros in fields.items() for part in (name, str(stored(micros)))]
        for owner, fields in sums.items()
    }


def with_lifetimes(db: Engine, counted: Counted, campaigns: Sequence[CampaignRecord]) -> Counted:
    """The counters, with those of lifetime budgets and of flights, and since when breakers are open."""
    limited = [c for c in campaigns if c.limits.lifetime is not None]
    with db.connect() as conn:
        spent = lifetimes.spent(conn, [c.id for c in limited])
        flown = flight_sums.spent(conn, [c.id for c in campaigns])
        broken = breakers.open_of(conn, [c.id for c in campaigns if c.breaker_round])
    fields: dict[tuple[int, int | None], list[str]] = {
        (c.brand_id, c.id): [LIFETIME_FIELD, str(stored(spent[c.id]))] for c in limited
    }
    for c in campaigns:
        # Those in the plan that have not spent yet need a counter too.
        counters = {flight.counter: 0 for flight in c.flights} | {f: m for (id_, f), m in flown.items() if id_ == c.id}
        for counter, micros in counters.items():
            fields.setdefault((c.brand_id, c.id), []).extend((flight_field(counter), str(stored(micros))))
    for c in campaigns:
        if c.id in broken:
            fields.setdefault((c.brand_id, c.id), []).extend(("bk", str(ms_of(broken[c.id]))))
    return {**counted} | {owner: [*counted.get(owner, ()), *own] for owner, own in fields.items()}


def _own(campaign: CampaignRecord) -> list[str]:
    """The fields of its limits, flights, brake and pacing."""
    fields = ["x", campaign.limits.compiled or LIFTED] if campaign.has_own else []
    for place, flight in enumerate(campaign.flights, 1):
        fields += [f"f{place}", flight.compiled]
    if campaign.brake.compiled:
        fields += ["br", campaign.brake.compiled]
    return fields + _pacing(campaign.pace)


def _pacing(parts: Sequence[str]) -> list[str]:
    """The fields of a pacing; the minute begins anew."""
    return [text for part in parts for text in part.split("=", 1)]


def stored(micros: int) -> int:
    """A sum as a script can read it. A sum above the largest total, from entries that no script wrote, is cut: the
    budget is used up, and verify names the difference. Uncut, it would take the shard out of use after each
    rebuild.
    """
    return max(-MAX_TOTAL_MICROS, min(micros, MAX_TOTAL_MICROS))


def plan_hashes(
    keys: ShardKeys,
    brands: Sequence[BrandRecord],
    campaigns: Sequence[CampaignRecord],
    counted: Counted,
    held: Sequence[HoldRow],
    keeps_memories: bool = False,
) -> Iterator[Hash]:
    """Every fixed hash with its guard field (but for memories that are kept), and every brand and campaign with plan and the counters of the open periods."""
    highest: dict[int, int] = {}
    for c in campaigns:
        highest[c.brand_id] = max(highest.get(c.brand_id, 0), c.ordinal)
    registry = ["#", "1"]
    for b in brands:
        registry += [str(b.id), str(highest.get(b.id, 0))]
    yield keys.registry, registry
    for key in () if keeps_memories else (*keys.requests, *keys.events):
        yield key, ["#", "1"]
    held_of: dict[int, int] = {}
    held_by: dict[int, dict[int, int]] = {c.brand_id: {} for c in campaigns if c.has_own}
    for hold in held:
        held_of[hold.brand_id] = held_of.get(hold.brand_id, 0) + hold.held_micros
        if hold.brand_id in held_by:
            sums = held_by[hold.brand_id]
            sums[hold.campaign_id] = sums.get(hold.campaign_id, 0) + hold.held_micros
    for b in brands:
        fields = [
            "v",
            str(b.version),
            "archived",
            _bit(b.archived_at is not None),
            "held",
            str(stored(held_of.get(b.id, 0))),
        ]
        for kind in BUDGETS:
            limit = kind.limit_of(b)
            fields += [kind.stored, "" if limit is None else str(limit)]
        if b.id in held_by:
            fields += ["own", "1"]
            for campaign_id, micros in held_by[b.id].items():
                fields += [f"h:{campaign_id}", str(stored(micros))]
        yield keys.brand(b.id), fields + _pacing(b.pace) + counted.get((b.id, None), [])
        for key in keys.holds(b.id):
            yield key, []
    for c in campaigns:
        fields = ["v", str(c.version), "on", _bit(c.enabled), "archived", _bit(c.archived_at is not None), *_own(c)]
        yield keys.campaign(c.id), [*fields, "schedule", c.schedule.compiled, *counted.get((c.brand_id, c.id), [])]


def memory_slices(key: str, remembered: Mapping[str, str]) -> Iterator[Hash]:
    """Remembered ids of one hash, in slices."""
    flat = [part for item in remembered.items() for part in item]
    for start in range(0, len(flat), 2 * TURN):
        yield key, flat[start : start + 2 * TURN]


def hold_slices(keys: ShardKeys, held: Sequence[HoldRow]) -> Iterator[tuple[Hash, Hash]]:
    """The open holds of each brand and their expiry, in slices."""
    by_brand: dict[int, list[HoldRow]] = {}
    for hold in held:
        by_brand.setdefault(hold.brand_id, []).append(hold)
    for brand_id, of_brand in by_brand.items():
        holds_key, expiry_key = keys.holds(brand_id)
        for start in range(0, len(of_brand), TURN):
            fields: list[str] = []
            scores: list[str] = []
            for hold in of_brand[start : start + TURN]:
                expires = "0" if hold.expires_at is None else str(ms_of(hold.expires_at))
                name = f"{hold.campaign_id}:{hold.hold_id}"
                fields += [name, f"{hold.held_micros},{expires}"]
                scores += [expires, name]
            yield (holds_key, fields), (expiry_key, scores)


def set_calls(keys: ShardKeys, token: str, mode: str, hashes: Iterable[Hash]) -> Iterator[Call]:
    """Calls of `rebuild_set` that write hashes under a token, each of few enough keys and values to be short.

    The registry of very many brands is one hash, and is cut into slices that add to it.
    """
    part: list[Hash] = []
    size = 0
    for key, values in hashes:
        for start in range(0, max(len(values), 1), _VALUES_A_CALL):
            piece = values[start : start + _VALUES_A_CALL]
            if part and (start or len(part) == TURN or size + len(piece) > _VALUES_A_CALL):
                yield _slice_call(keys, token, mode, part)
                part, size = [], 0
            if start:
                yield _slice_call(keys, token, "add", [(key, piece)])
                continue
            part.append((key, piece))
            size += len(piece)
    if part:
        yield _slice_call(keys, token, mode, part)


def _slice_call(keys: ShardKeys, token: str, mode: str, part: Sequence[Hash]) -> Call:
    args = [token, mode]
    for _, values in part:
        args += [str(len(values)), *values]
    return Call(script("rebuild_set"), (keys.shard, *(key for key, _ in part)), args)


def _bit(value: bool) -> str:
    return "1" if value else "0"
