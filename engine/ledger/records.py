"""The rows of the catalog as the other rooms see them: frozen, with the schedule parsed; and the grammar of notes."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError

from engine.domain.brake import Brake
from engine.domain.budget import OwnLimits
from engine.domain.flights import PlannedFlight
from engine.domain.limit_changes import Step
from engine.domain.schedule import Schedule
from engine.domain.zones import UTC_ZONE, BrandZone
from engine.errors import Conflict, InvalidInput, shown

NOTE_LENGTH: Final = 1000


class Keep(Enum):
    """The value of a field that an update leaves alone, since None is a value of its own (no budget, no external id)."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class BrandRecord:
    """A brand as it stands in PostgreSQL; budgets in micros, None is no limit. pace, zone, steps: what stands in its plan of its pacing,
    of its time zone and of scheduled changes of its limits. zones: all zones that it had, has and will have.
    """

    id: int
    external_id: str | None
    name: str
    daily_budget_micros: int | None
    monthly_budget_micros: int | None
    pacing: str
    catch_up: str
    pace: tuple[str, ...]
    steps: tuple[Step, ...]
    version: int
    published_version: int | None
    archived_at: datetime | None
    created_at: datetime
    time_zone: str | None = None
    zones: BrandZone = UTC_ZONE
    zone: str = ""
    paused_at: datetime | None = None
    rollover_cap_micros: int | None = None

    @property
    def paused(self) -> bool:
        """Whether a person paused all of it."""
        return self.paused_at is not None

    @property
    def stops(self) -> str:
        """As `BrandPlan.stops`."""
        return str(self.archived + 2 * self.paused)

    @property
    def archived(self) -> bool:
        return self.archived_at is not None


@dataclass(frozen=True, slots=True)
class CampaignRecord:
    """A campaign as it stands in PostgreSQL; budgets of its own in micros, None is no limit; flights: those in
    its plan; rate_limit, breaker: micros a minute. `status` and `reasons` are those last written by flows/status.
    """

    id: int
    external_id: str | None
    brand_id: int
    ordinal: int
    name: str
    enabled: bool
    status: str
    reasons: tuple[str, ...]
    schedule: Schedule
    daily_budget_micros: int | None
    monthly_budget_micros: int | None
    lifetime_budget_micros: int | None
    flights: tuple[PlannedFlight, ...]
    pacing: str
    catch_up: str
    pace: tuple[str, ...]
    steps: tuple[Step, ...]
    rate_limit_micros: int | None
    breaker_micros: int | None
    breaker_round: int
    breaker_closed_at: datetime | None
    version: int
    published_version: int | None
    switched_at: datetime
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime
    brand_archived_at: datetime | None
    brand_paused_at: datetime | None = None

    @property
    def limits(self) -> OwnLimits:
        """Its own budgets."""
        return OwnLimits(self.daily_budget_micros, self.monthly_budget_micros, self.lifetime_budget_micros)

    @property
    def has_own(self) -> bool:
        """Whether its plan has anything of its own."""
        return bool(self.limits.compiled or self.flights or self.pace or self.brake.compiled or self.steps)

    @property
    def brake(self) -> Brake:
        """Its limit for a minute, and its breaker."""
        return Brake(self.rate_limit_micros, self.breaker_micros, self.breaker_round)

    @property
    def archived(self) -> bool:
        """Archived itself, or by its brand, which counts for all its campaigns."""
        return self.archived_at is not None or self.brand_archived_at is not None

    @property
    def archived_since(self) -> datetime | None:
        """When the cause `archived` began: the earlier of its own and its brand's."""
        return min((at for at in (self.archived_at, self.brand_archived_at) if at is not None), default=None)


_PLACES: Final = [field.name for field in fields(CampaignRecord)]
_REASONS: Final = _PLACES.index("reasons")
_SCHEDULE: Final = _PLACES.index("schedule")
_FLIGHTS: Final = _PLACES.index("flights")
_PACE: Final = _PLACES.index("pace")
_STEPS: Final = _PLACES.index("steps")


def brand_record(row: Row[*tuple[Any, ...]]) -> BrandRecord:
    """A brand from a row of `brands.COLUMNS`."""
    values = row._asdict()
    values["pace"] = tuple(values["pace"])
    values["steps"] = tuple(map(Step.parse, values["steps"]))
    values["zones"] = BrandZone.parse(values.pop("zone_steps"))
    return BrandRecord(**values)


def campaign_record(row: Row[*tuple[Any, ...]]) -> CampaignRecord:
    """A campaign from a row of `campaigns.COLUMNS`, whose order is that of the record's fields."""
    values: list[Any] = list(row)
    values[_REASONS], values[_SCHEDULE] = tuple(values[_REASONS]), schedule_of(values[_SCHEDULE])
    values[_FLIGHTS] = tuple(map(PlannedFlight.parse, values[_FLIGHTS]))
    values[_PACE] = tuple(values[_PACE])
    values[_STEPS] = tuple(map(Step.parse, values[_STEPS]))
    return CampaignRecord(*values)


@lru_cache(4096)
def schedule_of(as_json: str | None) -> Schedule:
    """The schedule of a JSON text. Thousands of campaigns share a few, and each is parsed once."""
    return Schedule.parse(as_json)


def clean_note(value: str | None) -> str | None:
    """A note to a change, None for a blank one. Raises InvalidInput."""
    if value is None or not value.strip():
        return None
    note = value.strip().replace("\r\n", "\n")
    if len(note) > NOTE_LENGTH or any(c == "\0" or unicodedata.category(c) == "Cs" for c in note):
        raise InvalidInput(
            f"note {shown(note)} is too long or unprintable: give at most {NOTE_LENGTH} characters", "note"
        )
    return note


def schedule_text(schedule: Schedule) -> str | None:
    """A schedule as the change log writes it: JSON, None for always."""
    value = schedule.to_json()
    return None if value is None else json.dumps(value)


@contextmanager
def refusing_taken(entity: str, name: object, external_id: object, *, returning: int | None = None) -> Iterator[None]:
    """Turns a broken unique law into Conflict, naming the field and its value. Two writers may race: the law decides.

    returning: the id of an archived row that is coming back.
    """
    try:
        yield
    except IntegrityError as error:
        constraint = str(getattr(getattr(error.orig, "diag", None), "constraint_name", ""))
        if constraint in ("uq_brand_name", "uq_campaign_brand_id_name"):
            raise taken_name(entity, name, returning) from None
        if constraint.endswith("_external_id"):
            raise Conflict(
                f"external_id {shown(external_id)} is taken by another {entity}: give another, or none", "external_id"
            ) from None
        raise


def taken_name(entity: str, name: object, returning: int | None = None) -> Conflict:
    """The refusal of a name that is in use; those of archived rows are free."""
    whose = "another brand" if entity == "brand" else "another campaign of this brand"
    if returning is not None:
        first = f"rename this one first, with `{entity} update {returning} --name NEW`"
        return Conflict(f"name {shown(name)} is taken by {whose} meanwhile: {first}", "name")
    return Conflict(f"name {shown(name)} is taken by {whose}: choose another", "name")
