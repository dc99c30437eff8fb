"""Flights of campaigns in the catalog: what was agreed, its laws, and which two stand in a campaign's plan.

Every change is one of the campaign: its version rises, and its row has the plan, so publish, verify and a rebuild read the row alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, Final, TypedDict

from sqlalchemy import Connection, text

from engine.domain import flights as rules
from engine.domain.flights import Flight, InvalidFlight, PlannedFlight, instant_text
from engine.domain.money import check_budget_micros, format_optional, parse_budget
from engine.domain.periods import MINUTE_MS, at_ms, ms_of
from engine.errors import Conflict, NotFound
from engine.ledger import campaigns
from engine.ledger.changes import FieldChange
from engine.ledger.records import CampaignRecord, Keep

_LEFT_IN_PLAN_MS: Final = MINUTE_MS
"""A flight that is over stays in the plan this long: PostgreSQL's clock may be ahead of Redis', which ends it."""
_READ: Final = text(
    "SELECT campaign_id, no, starts_at, ends_at, budget_micros, carries, spread FROM flight"
    " WHERE campaign_id = ANY(CAST(:campaigns AS bigint[])) ORDER BY campaign_id, starts_at"
)
_NOW: Final = text("SELECT clock_timestamp()")
_LAST_NO: Final = text(
    "SELECT greatest(last_flight, (SELECT max(flight) FROM flight_total WHERE campaign_id = :campaign))"
    " FROM campaign WHERE id = :campaign"
)
_TRAIL: Final = text(
    "SELECT old, new FROM catalog_change WHERE entity = 'campaign' AND entity_id = :campaign AND field = 'flight'"
)
_BUDGET_TOLD: Final = re.compile(r"(\d+): .*, budget (none|[0-9.]+)(?:, |$)")
"""In a line that `told` wrote."""
_SET_LAST_NO: Final = text("UPDATE campaign SET last_flight = :no WHERE id = :campaign")
_INSERT: Final = text(
    "INSERT INTO flight (campaign_id, no, starts_at, ends_at, budget_micros, carries, spread)"
    " VALUES (:campaign, :no, :starts, :ends, :budget, :carries, :spread)"
    " ON CONFLICT (campaign_id, no) DO UPDATE SET starts_at = excluded.starts_at, ends_at = excluded.ends_at,"
    " budget_micros = excluded.budget_micros, carries = excluded.carries, spread = excluded.spread"
)
_DELETE: Final = text("DELETE FROM flight WHERE campaign_id = :campaign AND no = :no")
# Only a campaign of which a flight is over, or about to be, may need another plan.
_MOVING: Final = text(
    "SELECT id FROM campaign WHERE cardinality(flights) > 0 AND archived_at IS NULL AND EXISTS (SELECT FROM unnest(flights) AS f"
    " WHERE CAST(split_part(f, ',', 4) AS bigint) <= :before)"
    " AND EXISTS (SELECT FROM flight WHERE campaign_id = campaign.id AND ends_at > to_timestamp(:before / 1000.0)"
    " AND NOT EXISTS (SELECT FROM unnest(flights) AS f WHERE CAST(split_part(f, ',', 1) AS integer) = flight.no)) ORDER BY id"
)


class FlightChanges(TypedDict, total=False):
    """What `change` may be given. ends_ms: None is now. expected_version: of the campaign, None is any."""

    expected_version: int | None
    starts_ms: int | Keep
    ends_ms: int | Keep | None
    budget_micros: int | Keep | None
    carries: bool | Keep
    spread: str | Keep


def of_campaigns(connection: Connection, campaign_ids: Collection[int]) -> dict[int, list[Flight]]:
    """The flights of campaigns in the order of their instants."""
    found: dict[int, list[Flight]] = {campaign_id: [] for campaign_id in campaign_ids}
    for row in connection.execute(_READ, {"campaigns": list(campaign_ids)}) if found else ():
        flight = Flight(row.no, ms_of(row.starts_at), ms_of(row.ends_at), row.budget_micros, row.carries, row.spread)
        found[row.campaign_id].append(flight)
    return found


def one(connection: Connection, campaign_id: int, no: int) -> Flight:
    """A flight. Raises NotFound."""
    flights = of_campaigns(connection, [campaign_id])[campaign_id]
    for flight in flights:
        if flight.no == no:
            return flight
    raise NotFound(f"campaign {campaign_id} has no flight {no}: `campaign flight list {campaign_id}` shows all")


def now_ms(connection: Connection) -> int:
    """PostgreSQL's clock. It decides what a person may still change; Redis' clock decides which flight is in force."""
    return ms_of(connection.execute(_NOW).scalar_one())


def add(
    connection: Connection,
    campaign_id: int,
    actor: str,
    starts_ms: int | None,
    ends_ms: int,
    budget_micros: int | None,
    carries: bool,
    spread: str = rules.ASAP,
) -> CampaignRecord:
    """A new flight; starts_ms: None is now. Raises InvalidFlight, InvalidBudget, NotFound, Conflict."""
    check_budget_micros(budget_micros, "budget")
    rules.check_spread(spread)
    before = campaigns.locked(connection, campaign_id)
    campaigns.refuse_archived(before)
    if before.lifetime_budget_micros is not None:
        raise Conflict(
            f"campaign {campaign_id} has a lifetime budget, which is a flight without ends: set it to none first",
            "lifetime_budget",
        )
    now = now_ms(connection)
    if starts_ms is not None and starts_ms < now:
        raise InvalidFlight(
            f"starts_at {instant_text(starts_ms)} is in the past: give an instant from now on, or none", "starts_at"
        )
    no = int(connection.execute(_LAST_NO, {"campaign": campaign_id}).scalar_one()) + 1
    if no > rules.MAX_NO:
        raise Conflict(f"campaign {campaign_id} had {rules.MAX_NO} flights, the most in its life", "flight")
    made = Flight(no, now if starts_ms is None else starts_ms, ends_ms, budget_micros, carries, spread)
    connection.execute(_SET_LAST_NO, {"campaign": campaign_id, "no": no})
    trail = [FieldChange(campaign_id, "flight", None, told(made))]
    return _write(connection, before, made, trail, actor, now)


def change(connection: Connection, campaign_id: int, no: int, actor: str, changes: FlightChanges) -> CampaignRecord:
    """Changes what is given of a flight that is not over. The start of one that is running is past. Raises as `add`."""
    before = campaigns.locked(connection, campaign_id)
    campaigns.refuse_archived(before)
    campaigns.refuse_stale(before, changes.get("expected_version"))
    flight, now = one(connection, campaign_id, no), now_ms(connection)
    given: dict[str, Any] = {
        field: value for field, value in changes.items() if not isinstance(value, Keep) and field != "expected_version"
    }
    if given.get("ends_ms", now) is None:
        given["ends_ms"] = now
    changed = flight._replace(**given)
    check_budget_micros(changed.budget_micros, "budget")
    rules.check_spread(changed.spread)
    if changed == flight:
        return before
    if flight.ends_ms <= now:
        raise InvalidFlight(
            f"flight {no} was over at {instant_text(flight.ends_ms)} and changes no more: add another", "flight"
        )
    if flight.starts_ms <= now and changed.starts_ms != flight.starts_ms:
        raise InvalidFlight(
            f"starts_at {instant_text(changed.starts_ms)}: flight {no} is running since {instant_text(flight.starts_ms)}, so its start is past",
            "starts_at",
        )
    if changed.starts_ms != flight.starts_ms and changed.starts_ms < now:
        raise InvalidFlight(
            f"starts_at {instant_text(changed.starts_ms)} is in the past: give an instant from now on", "starts_at"
        )
    trail = [FieldChange(campaign_id, "flight", told(flight), told(changed))]
    return _write(connection, before, changed, trail, actor, now)


def remove(connection: Connection, campaign_id: int, no: int, actor: str) -> CampaignRecord:
    """Removes a flight that has not begun. Raises as `change`."""
    before = campaigns.locked(connection, campaign_id)
    campaigns.refuse_archived(before)
    flight, now = one(connection, campaign_id, no), now_ms(connection)
    if flight.starts_ms <= now:
        raise InvalidFlight(
            f"flight {no} began at {instant_text(flight.starts_ms)} and what it spent stays: end it instead, with `--to now`",
            "flight",
        )
    connection.execute(_DELETE, {"campaign": campaign_id, "no": no})
    trail = [FieldChange(campaign_id, "flight", told(flight), None)]
    return _replan(connection, before, trail, actor, now)


def move_on(connection: Connection, actor: str) -> list[int]:
    """Puts the next flights into the plans of campaigns of which one is over; returns these campaigns."""
    now = now_ms(connection)
    moved = []
    for campaign_id in connection.execute(_MOVING, {"before": now - _LEFT_IN_PLAN_MS}).scalars().all():
        before = campaigns.locked(connection, campaign_id)
        if not before.archived and _replan(connection, before, [], actor, now) != before:
            moved.append(campaign_id)
    return moved


def take_back(connection: Connection, campaign_id: int, plan: Sequence[PlannedFlight]) -> None:
    """Inserts the flights in the plan of a campaign that the catalog had lost, so that the same plan follows from them."""
    for flight in rules.unchained(plan):
        connection.execute(_INSERT, _values(campaign_id, flight))
        connection.execute(_SET_LAST_NO, {"campaign": campaign_id, "no": max(f.no for f in plan)})


def largest_limit(connection: Connection, campaign_id: int, counter: int, no: int) -> int | None:
    """The largest limit (micros) that a flight's counter ever had up to flight `no`; None where a flight of it had no budget
    for a while. Never less than what was in force: each flight's largest budget counts, at whatever time it had that.
    """
    budgets: dict[int, list[int | None]] = {}
    for planned in rules.chained(of_campaigns(connection, [campaign_id])[campaign_id]):
        if planned.counter == counter and planned.no <= no:
            budgets[planned.no] = [one(connection, campaign_id, planned.no).budget_micros]
    for row in connection.execute(_TRAIL, {"campaign": campaign_id}):
        for line in (row.old, row.new):
            found = _BUDGET_TOLD.match(line or "")
            if found and int(found[1]) in budgets:
                budgets[int(found[1])].append(parse_budget(found[2], "budget"))
    if not budgets or any(None in of_flight for of_flight in budgets.values()):
        return None
    return sum(max(micros for micros in of_flight if micros is not None) for of_flight in budgets.values())


def told(flight: Flight) -> str:
    """A flight in one line, as the audit trail has it."""
    budget = format_optional(flight.budget_micros) or "none"
    carried = ", what is left goes on" if flight.carries else ""
    spread = f", spread {flight.spread}" if flight.spread != rules.ASAP else ""
    return f"{flight.no}: {instant_text(flight.starts_ms)} to {instant_text(flight.ends_ms)}, budget {budget}{carried}{spread}"


def _write(
    connection: Connection, before: CampaignRecord, flight: Flight, trail: Sequence[FieldChange], actor: str, now: int
) -> CampaignRecord:
    others = [other for other in of_campaigns(connection, [before.id])[before.id] if other.no != flight.no]
    _check(flight, others, now)
    connection.execute(_INSERT, _values(before.id, flight))
    return _replan(connection, before, trail, actor, now)


def _values(campaign_id: int, flight: Flight) -> dict[str, Any]:
    return {
        "campaign": campaign_id, "no": flight.no, "starts": at_ms(flight.starts_ms), "ends": at_ms(flight.ends_ms),
        "budget": flight.budget_micros, "carries": flight.carries, "spread": flight.spread,
    }  # fmt: skip


def _check(flight: Flight, others: Sequence[Flight], now: int) -> None:
    """Raises InvalidFlight where a flight ends before it begins, is over already, or overlaps another."""
    if flight.ends_ms > rules.LAST_MS:
        raise InvalidFlight(f"ends_at {instant_text(rules.LAST_MS)} is the last instant", "ends_at")
    if flight.ends_ms <= flight.starts_ms:
        raise InvalidFlight(
            f"ends_at {instant_text(flight.ends_ms)} is not after the begin {instant_text(flight.starts_ms)}: give a later end",
            "ends_at",
        )
    if flight.ends_ms < now:
        raise InvalidFlight(
            f"ends_at {instant_text(flight.ends_ms)} is in the past: give an instant from now on", "ends_at"
        )
    for other in others:
        if flight.starts_ms < other.ends_ms and other.starts_ms < flight.ends_ms:
            field = "starts_at" if other.starts_ms <= flight.starts_ms else "ends_at"
            at = flight.starts_ms if field == "starts_at" else flight.ends_ms
            raise InvalidFlight(
                f"{field} {instant_text(at)} overlaps flight {told(other)}: flights do not overlap", field
            )


def _replan(
    connection: Connection, before: CampaignRecord, trail: Sequence[FieldChange], actor: str, now: int
) -> CampaignRecord:
    """Writes the plan that follows from the flights, where it differs."""
    flights = of_campaigns(connection, [before.id])[before.id]
    plan = [flight.compiled for flight in rules.planned(flights, now - _LEFT_IN_PLAN_MS)]
    if not trail and plan == [flight.compiled for flight in before.flights]:
        return before
    return campaigns.apply(connection, before, {"flights": plan}, list(trail), actor)
