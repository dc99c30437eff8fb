"""Restores brands and campaigns that the catalog lost when PostgreSQL was restored to an earlier state, from what
Redis has of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.brake import NO_BRAKE, Brake
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.flights import PlannedFlight
from engine.domain.ids import campaign_id_of
from engine.ledger import changes, flights
from engine.ledger.changes import FieldChange
from engine.ledger.published import ACTOR, MAX_VERSION

NOTE: Final = "Redis has it and the catalog had lost it: PostgreSQL was restored. Its name and schedule are not known"
_SINCE: Final = "coalesce((SELECT max(at) FROM catalog_change), now())"
"""Their creation time: that of the last change in the catalog, because the spends of a lost brand came after it."""


_IDS: Final = "pg_get_serial_sequence('brand', 'id')"


_HIGHEST_BRAND: Final = text("SELECT max(id) FROM brand")
_NEXT_ORDINAL: Final = text("SELECT next_ordinal FROM brand WHERE id = :id FOR UPDATE")
_SET_NEXT_ORDINAL: Final = text("UPDATE brand SET next_ordinal = :next WHERE id = :id")


_NUMBERED: Final = ("alert_event", "limit_change", "operation", "webhook", "webhook_delivery", "api_token", "app_user")
"""Tables whose numbers people and programs keep, and Redis does not know."""
_SKIPPED: Final = 1_000_000
"""More than any of them got between a backup and its restore."""


def skip_numbers(connection: Connection) -> None:
    """After a restore: the next rows get no number that a lost one had, such as that of an operation which somebody may undo."""
    for table in _NUMBERED:
        ids = f"pg_get_serial_sequence('{table}', 'id')"
        connection.execute(text(f"SELECT setval({ids}, nextval({ids}) + {_SKIPPED})"))


class LostCampaign(NamedTuple):
    """A campaign as Redis has it."""

    ordinal: int
    version: int
    enabled: bool
    limits: OwnLimits = NO_LIMITS
    flights: tuple[PlannedFlight, ...] = ()
    brake: Brake = NO_BRAKE


class LostBrand(NamedTuple):
    """A brand as Redis has it, with the campaigns that the catalog does not have."""

    brand_id: int
    version: int
    daily_limit: int | None
    monthly_limit: int | None
    campaigns: Sequence[LostCampaign]


def take_back(connection: Connection, lost: Sequence[LostBrand]) -> tuple[int, int]:
    """Inserts what the catalog does not have, archived and to be published; returns how many brands and campaigns.
    None of their ids is given out again.
    """
    brands = campaigns = 0
    # No insert may draw an id while the sequences move.
    connection.execute(text("LOCK TABLE brand IN SHARE ROW EXCLUSIVE MODE"))
    for brand in sorted(lost):
        brands += _brand(connection, brand)
        campaigns += _campaigns(connection, brand)
    if brands:
        highest = connection.execute(_HIGHEST_BRAND).scalar_one()
        connection.execute(text(f"SELECT setval({_IDS}, :last)"), {"last": max(highest, last_brand_id(connection))})
    return brands, campaigns


def last_brand_id(connection: Connection) -> int:
    """The last id that was given to a brand, 0 before the first."""
    last: int = connection.execute(
        text(f"SELECT coalesce(pg_sequence_last_value(CAST({_IDS} AS regclass)), 0)")
    ).scalar_one()
    return last


def _brand(connection: Connection, brand: LostBrand) -> int:
    name = f"Lost brand {brand.brand_id}"
    made = connection.execute(
        text(
            "INSERT INTO brand (id, name, daily_budget_micros, monthly_budget_micros, version, published_version, created_at, archived_at)"
            f" OVERRIDING SYSTEM VALUE VALUES (:id, :name, :daily, :monthly, :version, 0, {_SINCE}, now())"
            " ON CONFLICT (id) DO NOTHING"
        ),
        {
            "id": brand.brand_id,
            "name": name,
            "daily": brand.daily_limit,
            "monthly": brand.monthly_limit,
            "version": _above(brand.version),
        },
    ).rowcount
    if made:
        changes.write(connection, "brand", ACTOR, [FieldChange(brand.brand_id, "created", None, name, NOTE)])
    return int(made)


def _campaigns(connection: Connection, brand: LostBrand) -> int:
    """Those from the brand's next ordinal on: what it has given out already, it has."""
    given: int = connection.execute(_NEXT_ORDINAL, {"id": brand.brand_id}).scalar_one()
    lost = [campaign for campaign in brand.campaigns if campaign.ordinal >= given]
    if not lost:
        return 0
    rows = [
        {
            "id": campaign_id_of(brand.brand_id, c.ordinal),
            "brand": brand.brand_id,
            "ordinal": c.ordinal,
            "name": f"Lost campaign {campaign_id_of(brand.brand_id, c.ordinal)}",
            "enabled": c.enabled,
            "version": _above(c.version),
            "flights": [flight.compiled for flight in c.flights],
            **c.limits._asdict(),
            "rate_limit": c.brake.limit,
            "breaker": c.brake.breaker,
            "round": c.brake.round,
        }
        for c in lost
    ]
    connection.execute(
        text(
            "INSERT INTO campaign (id, brand_id, ordinal, name, enabled, version, published_version, switched_at, created_at, archived_at,"
            " daily_budget_micros, monthly_budget_micros, lifetime_budget_micros, flights, rate_limit_micros, breaker_micros, breaker_round)"
            f" VALUES (:id, :brand, :ordinal, :name, :enabled, :version, 0, {_SINCE}, {_SINCE}, now(), :daily, :monthly, :lifetime, :flights,"
            " :rate_limit, :breaker, :round)"
        ),
        rows,
    )
    for campaign in lost:
        flights.take_back(connection, campaign_id_of(brand.brand_id, campaign.ordinal), campaign.flights)
    connection.execute(
        _SET_NEXT_ORDINAL,
        {"id": brand.brand_id, "next": max(c.ordinal for c in lost) + 1},
    )
    trail = [FieldChange(int(str(row["id"])), "created", None, str(row["name"]), NOTE) for row in rows]
    changes.write(connection, "campaign", ACTOR, trail)
    return len(rows)


def _above(version: int) -> int:
    """Archiving is a change of what Redis has."""
    return min(version, MAX_VERSION) + 1
