"""What a shard of Redis must have by PostgreSQL, as hashes in small slices: plans, open counters, remembered ids,
holds.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from sqlalchemy import Connection, Engine

from engine.domain.budget import BUDGETS, LIFETIME_FIELD, LIFTED
from engine.domain.flights import flight_field
from engine.domain.limit_changes import named_steps
from engine.domain.money import MAX_TOTAL_MICROS
from engine.domain.periods import (
    at_ms,
    counter_field_on,
    date_of,
    day_number,
    days_of_month,
    month_of_date,
    ms_of,
)
from engine.domain.zone_text import Zone
from engine.flows.rebuild.late import NO_GRACE, Late
from engine.flows.rebuild.rollover import NO_CARRIES, Carries
from engine.ledger import breakers, flight_sums, lifetimes, periods, quarantine, spend_read
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


def open_counters(
    db: Engine, brands: Sequence[BrandRecord], now: int, last_ms: int, takes_late: Container[int] = ()
) -> Counted:
    """The fields of the days and months that are not closed, each brand's by its time zone. last_ms: the instant of the latest
    row, which a wrong clock may have put after `now`; its day's counter is included. takes_late: brands whose day before is
    not closed, nor its month.
    """
    zones = {brand.id: Zone.parse(brand.zone) for brand in brands}
    days = {brand_id: zone.day_of(now) for brand_id, zone in zones.items()}
    firsts = {brand_id: next(days_of_month(zone.month_of(now))) for brand_id, zone in zones.items()}
    befores = {
        brand_id: next(days_of_month(month_of_date(date_of(first - 1))))
        if brand_id in takes_late and days[brand_id] == first
        else first
        for brand_id, first in firsts.items()
    }
    last = max(zone.day_of(max(now, last_ms)) for zone in zones.values())
    earliest = min(*befores.values(), *(day - 1 for day in days.values()))
    with db.connect() as conn:
        totals = spend_read.campaign_totals(conn, list(zones), date_of(earliest), date_of(last))
        # A counter of a closed day would stay for good: no close removes it again.
        closed = periods.last_totals(conn, list(zones), date_of(earliest))
        ended = {id_: day_number(on) for (id_, period), on in closed.items() if period == "day"}
        # Yesterday's counter is final before a correction of it, and so is that of a month that is over.
        corrected = _corrected(conn, zones, {brand_id: (day - 1, day) for brand_id, day in days.items()})
        of_month = _corrected(
            conn, zones, {i: (befores[i], first) for i, first in firsts.items() if befores[i] < first}
        )
        for key, micros in quarantine.sums(conn, list(zones)).items():
            totals[key] = totals.get(key, 0) + micros
    sums: dict[tuple[int, int | None], dict[str, int]] = {}
    for (brand_id, campaign_id, on), micros in totals.items():
        number = day_number(on)
        for owner in ((brand_id, campaign_id), (brand_id, None)):
            fields = sums.setdefault(owner, {})
            counted = (
                [(counter_field_on("day", on), micros - corrected.get((brand_id, campaign_id, on), 0))]
                if number >= days[brand_id] or ended.get(brand_id, 0) < number == days[brand_id] - 1
                else []
            )
            if number >= befores[brand_id]:
                counted.append((counter_field_on("month", on), micros - of_month.get((brand_id, campaign_id, on), 0)))
            for name, amount in counted:
                fields[name] = fields.get(name, 0) + amount
    return {
        owner: [part for name, micros in fields.items() for part in (name, str(stored(micros)))]
        for owner, fields in sums.items()
    }


def _corrected(
    conn: Connection, zones: Mapping[int, Zone], spans: Mapping[int, tuple[int, int]]
) -> dict[tuple[int, int, date], int]:
    """The corrections of each brand's days of a span (the end excluded), which came after it had ended."""
    alike: dict[tuple[int, int, int], list[int]] = {}
    for brand_id, (first, end) in spans.items():
        alike.setdefault((first, end, zones[brand_id].midnight_ms(end)), []).append(brand_id)
    found: dict[tuple[int, int, date], int] = {}
    for (first, end, ended), ids in alike.items():
        found |= spend_read.correction_totals(conn, ids, date_of(first), date_of(end - 1), at_ms(ended))
    return found


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
    """The fields of its limits, flights, brake, pacing and scheduled changes."""
    fields = ["x", campaign.limits.compiled or LIFTED] if campaign.has_own else []
    for place, flight in enumerate(campaign.flights, 1):
        fields += [f"f{place}", flight.compiled]
    if campaign.brake.compiled:
        fields += ["br", campaign.brake.compiled]
    return fields + _named(campaign)


def _was(of_day: tuple[int, Sequence[int | None]] | None) -> list[str]:
    """The field `was`: a day and the limits at its end, where they were others."""
    if of_day is None:
        return []
    day, limits = of_day
    return ["was", ":".join((str(day), *("" if limit is None else str(limit) for limit in limits)))]


def _named(row: BrandRecord | CampaignRecord) -> list[str]:
    """The fields of pacing and of scheduled changes."""
    return [text for part in (*row.pace, *named_steps(row.steps)) for text in part.split("=", 1)]


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
    late: Late = NO_GRACE,
    carries: Carries = NO_CARRIES,
) -> Iterator[Hash]:
    """Every fixed hash with its guard field (but for memories that are kept), and every brand and campaign with plan and the counters of the open periods.

    late: what it must have of the day before.
    """
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
            b.stops,
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
        fields += _was(late.limits.get(("brand", b.id)))
        fields += ["zone", b.zone] if b.zone else []
        fields += ["closed", str(late.closed[b.id])] if b.id in late.closed else []
        fields += carries.field(b)
        yield keys.brand(b.id), fields + _named(b) + counted.get((b.id, None), [])
        for key in keys.holds(b.id):
            yield key, []
    for c in campaigns:
        fields = ["v", str(c.version), "on", _bit(c.enabled), "archived", _bit(c.archived_at is not None), *_own(c)]
        fields += _was(late.limits.get(("campaign", c.id)))
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
