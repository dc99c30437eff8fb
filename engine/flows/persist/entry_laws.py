"""The rules for journal entries: what the scripts can write and the ledger can store. An entry that breaks one is
quarantined whole.

Whoever can write to Redis can append an entry. Each value is checked here once, so that ingest, a rebuild and verify
meet no surprise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.domain.brake import MAX_ROUND
from engine.domain.budget import LIFETIME_FIELD
from engine.domain.causes import BREAKER, OTHER, cause_of
from engine.domain.flights import MAX_NO, flight_of_field
from engine.domain.ids import MAX_BRAND_ID, are_text_ids, is_campaign_id
from engine.domain.money import MAX_AMOUNT_MICROS, MAX_TOTAL_MICROS
from engine.domain.periods import DAY_MS, day_of, split_counter_field
from engine.live.grammar import whole
from engine.live.journal import Entry
from engine.live.logged import UNITEMISED, LoggedSpend
from engine.live.outcome_runs import MOST_SPENDS

MOST_BYTES: Final = 1 << 20
"""Bytes of the largest entry that is read: a call of 1,000 spends with the longest ids has about 130,000."""
LAST_INSTANT_MS: Final = 253_402_300_799_999
"""The end of the year 9999, the last that Python and this schema represent. `lua/lib/constants.lua` has the same."""
_MAX_GENERATION: Final = 2**31 - 1
_MAX_REQUEST_ID: Final = 80
_LAST_DAY: Final = day_of(LAST_INSTANT_MS)


def check_size(fields: Mapping[bytes, bytes]) -> None:
    """Raises ValueError for an entry that is larger than any that a script writes."""
    size = sum(len(name) + len(value) for name, value in fields.items())
    if size > MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes, more than a script writes ({MOST_BYTES:,} at most)")


def check_entry(entry: Entry) -> None:
    """Raises ValueError that names the first value that no script writes."""
    if entry.ms > LAST_INSTANT_MS:
        raise ValueError(f"{entry.ms} is not an instant")
    if not 1 <= entry.n <= MAX_TOTAL_MICROS:
        raise ValueError(f"{entry.n} is not the number of an entry")
    if entry.generation is not None and not 1 <= entry.generation <= _MAX_GENERATION:
        raise ValueError(f"{entry.generation} is not a generation")
    if len(entry.request_id) > _MAX_REQUEST_ID or (entry.request_id and not _are_ids(entry.request_id)):
        raise ValueError(f"{entry.request_id[:60]!r} is not a request id")
    _check_changes(entry)
    for campaign_id, flight in (entry.flights or {}).items():
        _check_campaign(campaign_id)
        _check_range(flight, MAX_NO, "the number of a flight")
    for brand_id, offset in (entry.zones or {}).items():
        _check_range(brand_id - 1, MAX_BRAND_ID - 1, "less than a brand")
        _check_range(abs(offset), 2 * DAY_MS - 1, "the offset of a time zone")
        _check_range(entry.day_of(brand_id), _LAST_DAY, "a day")
    for told in entry.carries:
        _check_range(told.brand_id - 1, MAX_BRAND_ID - 1, "less than a brand")
        _check_range(told.day, _LAST_DAY, "a day")
        _check_range(told.left, MAX_TOTAL_MICROS, "what a day left")
        _check_range(told.before or 0, MAX_TOTAL_MICROS, "a limit")
    _check_spends(entry)
    for step in entry.hold_steps():
        _check_campaign(step.campaign_id)
        _check_names([step.hold_id])
        _check_range(step.held_micros, MAX_TOTAL_MICROS, "what a hold has")
        _check_range(step.settled_micros, MAX_TOTAL_MICROS, "what a hold has")
        _check_range(step.expires_ms or 0, LAST_INSTANT_MS, "the end of a hold")
    for refund in entry.refunds():
        _check_campaign(refund.campaign_id)
        _check_range(refund.micros - 1, MAX_AMOUNT_MICROS - 1, "less than a refund")
        _check_names([name for name in (refund.event_id, refund.refund_id) if name is not None])
    for line in entry.adjustments():
        _check_adjustment(line.owner, line.owner_id, line.field, line.difference_micros)
        _check_names([line.name])


def _check_changes(entry: Entry) -> None:
    """Budgets that turned, and breakers that opened."""
    for change in entry.changes:
        if not 1 <= change.brand_id <= MAX_BRAND_ID or not _is_budget(change.cause):
            raise ValueError(f"{change.cause[:40]!r} of brand {change.brand_id} is not a budget")
        if change.campaign_id is not None:
            _check_campaign(change.campaign_id)
        if change.direction not in ("exhausted", "restored"):
            raise ValueError(f"{change.direction[:40]!r} is not what becomes of a budget")
    for trip in entry.trips:
        _check_campaign(trip.campaign_id)
        _check_range(trip.round, MAX_ROUND, "the round of a breaker")
        _check_range(trip.spent, MAX_TOTAL_MICROS, "what a minute has")


def _is_budget(cause: str) -> bool:
    """Whether a cause is one of money or a breaker, of this release or, as `other`, of a later one."""
    row = cause_of(cause)
    return (row.kind == "money" and row.lasting == "standing") or cause in (BREAKER, OTHER)


def _check_spends(entry: Entry) -> None:
    call = entry.simple
    size = entry.body.count(";") if entry.packed is None else entry.packed.size
    if size > MOST_SPENDS:
        raise ValueError(f"{size} spends are more than a call has ({MOST_SPENDS} at most)")
    if call is not None:
        for line in call.sums:
            _check_campaign(line.campaign_id)
            _check_range(line.micros, MOST_SPENDS * MAX_AMOUNT_MICROS, "a sum")
        if max(call.micros, default=0) > MAX_AMOUNT_MICROS:
            raise ValueError(f"{max(call.micros)} micros is not an amount")
        _check_names(call.events or ())
        return
    names: list[str] = []
    for spend in entry.spends():
        _check_spend(spend, entry)
        names += [name for name in (spend.event_id, spend.hold_id, spend.refund_id) if name is not None]
    for position in entry.late or ():
        _check_range(position, size - 1, "the position of a spend")
    _check_names(names)


def _check_spend(spend: LoggedSpend, entry: Entry) -> None:
    today = entry.day_of(spend.brand_id)
    campaign_id, micros = spend.campaign_id, abs(spend.amount_micros)
    _check_campaign(campaign_id)
    if not 0 < micros <= (MAX_AMOUNT_MICROS if spend.kind != UNITEMISED else MOST_SPENDS * MAX_AMOUNT_MICROS):
        raise ValueError(f"{spend.amount_micros} micros is not an amount")
    if spend.occurred_ms is not None:
        _check_range(spend.occurred_ms, LAST_INSTANT_MS, "an instant")
    if spend.day is not None and not 0 <= spend.day <= today:
        raise ValueError(f"day {spend.day} is not one up to that of its entry")
    if spend.late and not _is_booked_rightly(spend, today, spend.brand_id in (entry.zones or ())):
        raise ValueError(f"day {spend.day} is not one to which a late spend of that instant counts")


def _is_booked_rightly(spend: LoggedSpend, today: int, zoned: bool) -> bool:
    """Whether a late spend is booked to the day before its entry, on which it occurred, or to that of its entry. today: of its
    brand. zoned: the brand has a time zone, whose day is at most one from that of UTC.
    """
    occurred = None if spend.occurred_ms is None else day_of(spend.occurred_ms)
    if occurred is None:
        return False
    if zoned:
        return spend.day == today or (spend.day == today - 1 and abs(occurred - spend.day) <= 1)
    if occurred >= today:
        return False
    return spend.day == today or spend.day == occurred == today - 1


def _check_adjustment(owner: str, owner_id: int, field: str, difference_micros: int) -> None:
    _check_range(abs(difference_micros), MAX_TOTAL_MICROS, "what a counter has")
    if owner == "campaign":
        _check_campaign(owner_id)
        if field == LIFETIME_FIELD or flight_of_field(field) is not None:
            return
    elif owner != "brand" or not 1 <= owner_id <= MAX_BRAND_ID:
        raise ValueError(f"{owner[:20]!r} {owner_id} is neither a brand nor a campaign")
    period, digits = split_counter_field(field) or ("", "")
    number = whole(digits)
    if number is None or (number > _LAST_DAY if period == "day" else not _is_month(number)):
        raise ValueError(f"{field[:40]!r} is not a counter of a day or a month")


def _is_month(number: int) -> bool:
    return 1970_01 <= number <= 9999_12 and 1 <= number % 100 <= 12


def _check_campaign(campaign_id: int) -> None:
    if not is_campaign_id(campaign_id):
        raise ValueError(f"{campaign_id} is not a campaign")


def _check_range(number: int, most: int, what: str) -> None:
    if not 0 <= number <= most:
        raise ValueError(f"{number} is not {what}")


def _check_names(names: list[str] | tuple[str, ...]) -> None:
    if names and not are_text_ids(names):
        raise ValueError(f"among {' '.join(names)[:80]!r} is something that is not an id")


def _are_ids(request_id: str) -> bool:
    return are_text_ids([request_id[start : start + 64] for start in range(0, len(request_id), 64)])
