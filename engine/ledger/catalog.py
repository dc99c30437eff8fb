"""The catalog: brands, campaigns and their budgets. Every method is one transaction. Every change names its actor,
raises a version and writes the audit trail.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, NamedTuple, Unpack

from sqlalchemy import ColumnElement, Engine, Select, func, select, text, union

from engine.domain.brake import NO_BRAKE, Brake
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.ids import ORDINALS, SHARDS, check_brand_id, check_campaign_id, check_text_id
from engine.domain.names import clean_name
from engine.domain.operations import Kind
from engine.domain.pacing import NO_PACING, Pacing
from engine.domain.schedule import Schedule
from engine.errors import InvalidId, NotFound, shown
from engine.ledger import brands, campaigns, cursors, lifetimes, published
from engine.ledger.brands import BrandChanges
from engine.ledger.campaign_changes import CampaignChanges
from engine.ledger.changes import Entity
from engine.ledger.curve_catalog import CurveCatalog
from engine.ledger.database import writing
from engine.ledger.flight_catalog import FlightCatalog
from engine.ledger.limit_catalog import LimitCatalog
from engine.ledger.models import Brand, Campaign, Instance
from engine.ledger.published import Ahead
from engine.ledger.recording import recording
from engine.ledger.records import KEEP, BrandRecord, CampaignRecord, Keep, brand_record, campaign_record, schedule_of
from engine.ledger.zone_catalog import ZoneCatalog

__all__ = ["KEEP", "BrandRecord", "CampaignRecord", "Catalog", "Keep"]

_DIGITS: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_EXTERNAL: Final = "ext:"


class CampaignGroup(NamedTuple):
    """A group of campaigns of a brand with equal conditions. published: Redis has them; status, reasons: as last
    written.
    """

    brand_id: int
    enabled: bool
    schedule: Schedule
    published: bool
    status: str
    reasons: tuple[str, ...]
    campaigns: int


@dataclass(frozen=True, slots=True)
class PendingPublication:
    """What is not published yet of one brand. is_new, new: never published and without log rows, so that a missing
    hash is new and not lost.
    """

    brand: BrandRecord
    campaigns: list[CampaignRecord]
    is_new: bool
    new: frozenset[int]


class Catalog:
    """Brands and campaigns in PostgreSQL. Errors: InvalidInput's kinds, NotFound, Conflict, ServerAway."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.flights = FlightCatalog(engine)
        self.curves = CurveCatalog(engine)
        self.limits = LimitCatalog(engine)
        self.zones = ZoneCatalog(engine)

    def instance_uuid(self) -> str:
        """The uuid of this installation, which Redis' marks contain."""
        with self._engine.connect() as connection:
            return str(connection.execute(select(Instance.uuid)).scalar_one())

    # Brands

    def create_brand(
        self,
        name: str,
        daily_budget_micros: int | None,
        monthly_budget_micros: int | None,
        external_id: str | None,
        actor: str,
        pacing: Pacing = NO_PACING,
        time_zone: str | None = None,
        at_ms: int | None = None,
        rollover_cap_micros: int | None = None,
    ) -> BrandRecord:
        """A new brand; a budget of None is no limit, and a time zone of None UTC."""
        actor, budgets = clean_name(actor, "actor"), (daily_budget_micros, monthly_budget_micros)
        with writing(self._engine) as connection:
            return brands.create(
                connection, name, *budgets, external_id, actor, pacing, time_zone, at_ms, rollover_cap_micros
            )

    def update_brand(self, brand_id: int, actor: str, **changes: Unpack[BrandChanges]) -> BrandRecord:
        """Changes what is given. With `expected_version`, only if nobody changed the brand since that version."""
        actor = clean_name(actor, "actor")
        with recording(self._engine, "change", "brand", brand_id, actor, changes.get("note")) as connection:
            return brands.change(connection, brand_id, actor, **changes)

    def archive_brand(self, brand_id: int, actor: str) -> BrandRecord:
        """Takes a brand out of use, and with it all its campaigns, whose rows stay as they are."""
        actor = clean_name(actor, "actor")
        with recording(self._engine, "archive", "brand", brand_id, actor) as connection:
            return brands.archive(connection, brand_id, actor)

    def unarchive_brand(self, brand_id: int, actor: str, *, name: str | Keep = KEEP) -> BrandRecord:
        """Takes a brand into use again, under another name where one is given, with its campaigns as they were."""
        actor = clean_name(actor, "actor")
        with recording(self._engine, "unarchive", "brand", brand_id, actor) as connection:
            return brands.unarchive(connection, brand_id, actor, name=name)

    def pause_brand(self, brand_id: int, actor: str, *, paused: bool, note: str | None = None) -> BrandRecord:
        """Pauses a whole brand, or takes that back (`brands.pause`)."""
        actor = clean_name(actor, "actor")
        with recording(self._engine, "pause" if paused else "resume", "brand", brand_id, actor, note) as connection:
            return brands.pause(connection, brand_id, actor, paused=paused, note=note)

    def brand(self, brand_id: int) -> BrandRecord:
        """The brand, archived or not. Raises NotFound."""
        with self._engine.connect() as connection:
            return brands.one(connection, brand_id)

    def brand_by_name(self, name: str) -> BrandRecord | None:
        """The brand of that name: the one in use, else the youngest archived one; None when there is none."""
        found = select(*brands.COLUMNS).where(Brand.name == clean_name(name))
        first = found.order_by(Brand.archived_at.is_not(None), Brand.id.desc()).limit(1)
        with self._engine.connect() as connection:
            row = connection.execute(first).one_or_none()
        return None if row is None else brand_record(row)

    def brands(self, include_archived: bool = False, *, shards: Collection[int] | None = None) -> list[BrandRecord]:
        """All brands by id, or those of some shards."""
        query = select(*brands.COLUMNS).order_by(Brand.id)
        if not include_archived:
            query = query.where(Brand.archived_at.is_(None))
        if shards is not None and len(shards) < SHARDS:
            query = query.where(func.mod(Brand.id, SHARDS).in_(sorted(shards)))
        with self._engine.connect() as connection:
            return [brand_record(row) for row in connection.execute(query)]

    def count_brands(self) -> int:
        """How many brands are in use."""
        with self._engine.connect() as connection:
            return connection.execute(select(func.count()).where(Brand.archived_at.is_(None))).scalar_one()

    def count_running(self, *brand_ids: int) -> int:
        """How many campaigns of brands run, as last written."""
        with self._engine.connect() as connection:
            of_these = Campaign.brand_id == func.any(list(brand_ids))
            return connection.execute(select(func.count()).where(of_these, Campaign.status == "active")).scalar_one()

    def highest_ordinals(self, brand_ids: Sequence[int] | None = None) -> dict[int, int]:
        """Brand id -> the highest ordinal that it ever gave a campaign, archived ones included; 0 before its first. Of all brands, or of some."""
        some = [] if brand_ids is None else [Brand.id == func.any(list(brand_ids))]
        query = select(Brand.id, Brand.next_ordinal - 1).where(*some)
        with self._engine.connect() as connection:
            return {int(row[0]): int(row[1]) for row in connection.execute(query)}

    # Campaigns

    def create_campaign(
        self,
        brand_id: int,
        name: str,
        schedule: Schedule | None,
        external_id: str | None,
        actor: str,
        *,
        limits: OwnLimits = NO_LIMITS,
        pacing: Pacing = NO_PACING,
        brake: Brake = NO_BRAKE,
    ) -> CampaignRecord:
        """A new campaign, switched on; it stands as paused without a cause until its first status is written."""
        actor = clean_name(actor, "actor")
        given: dict[str, Any] = {"schedule": schedule, "external_id": external_id, "limits": limits}
        given |= {"pacing": pacing, "brake": brake}
        with writing(self._engine) as connection:
            return campaigns.create(connection, brand_id, [name], actor, **given)[0]

    def create_campaigns(
        self, brand_id: int, names: Sequence[str], actor: str, *, schedule: Schedule | None = None
    ) -> list[CampaignRecord]:
        """Many new campaigns at once, all or none, in the order of their names."""
        actor = clean_name(actor, "actor")
        with writing(self._engine) as connection:
            return campaigns.create(connection, brand_id, names, actor, schedule=schedule)

    def room(self, brand_id: int) -> int:
        """How many campaigns a brand may still be given. Raises NotFound."""
        with self._engine.connect() as connection:
            found = connection.execute(select(ORDINALS - Brand.next_ordinal).where(Brand.id == brand_id)).scalar()
        if found is None:
            raise brands.unknown(brand_id)
        return int(found)

    def update_campaign(self, campaign_id: int, actor: str, **changes: Unpack[CampaignChanges]) -> CampaignRecord:
        """Changes what is given; a schedule of None is always, a budget of None no limit."""
        actor = clean_name(actor, "actor")
        with recording(self._engine, "change", "campaign", campaign_id, actor, changes.get("note")) as connection:
            return campaigns.change(connection, campaign_id, actor, **changes)

    def pause_campaign(self, campaign_id: int, actor: str, note: str | None = None) -> CampaignRecord:
        """A person's pause, which no job undoes. Again is no change. note: the reason."""
        return self._switch(campaign_id, actor, enabled=False, note=note)

    def resume_campaign(
        self, campaign_id: int, actor: str, *, broken: bool = False, note: str | None = None
    ) -> CampaignRecord:
        """Takes a person's pause back and closes an open breaker (`campaigns.switch`); budgets and schedule still count."""
        return self._switch(campaign_id, actor, enabled=True, broken=broken, note=note)

    def archive_campaign(self, campaign_id: int, actor: str) -> CampaignRecord:
        """Takes a campaign out of use."""
        actor = clean_name(actor, "actor")
        with recording(self._engine, "archive", "campaign", campaign_id, actor) as connection:
            return campaigns.archive(connection, campaign_id, actor)

    def unarchive_campaign(self, campaign_id: int, actor: str, *, name: str | Keep = KEEP) -> CampaignRecord:
        """Takes a campaign into use again, under another name where one is given, switched as it was."""
        actor = clean_name(actor, "actor")
        with recording(self._engine, "unarchive", "campaign", campaign_id, actor) as connection:
            return campaigns.unarchive(connection, campaign_id, actor, name=name)

    def archived_campaigns(self, brand_id: int, limit: int = 50) -> list[CampaignRecord]:
        """A brand's campaigns that are archived by themselves, the last one first."""
        with self._engine.connect() as connection:
            return campaigns.archived(connection, brand_id, limit)

    def campaign(self, campaign_id: int) -> CampaignRecord:
        """The campaign, archived or not. Raises NotFound."""
        with self._engine.connect() as connection:
            return campaigns.one(connection, campaign_id)

    def campaigns(
        self,
        brand_id: int | None = None,
        include_archived: bool = False,
        *,
        shards: Collection[int] | None = None,
        within: Collection[int] | None = None,
    ) -> list[CampaignRecord]:
        """All campaigns by id, or those of one brand, of the brands `within`, or of some shards; those of an archived brand are archived too."""
        query = campaigns.reading().order_by(Campaign.id)
        if brand_id is not None:
            query = query.where(Campaign.brand_id == brand_id)
        if not include_archived:
            query = query.where(Campaign.archived_at.is_(None), Brand.archived_at.is_(None))
        if shards is not None and len(shards) < SHARDS:
            query = query.where(func.mod(Campaign.brand_id, SHARDS).in_(sorted(shards)))
        if within is not None:
            query = query.where(Campaign.brand_id == func.any(sorted(within)))
        return self._campaigns(query)

    def alike(self, brand_id: int | None = None) -> list[CampaignGroup]:
        """The campaigns in use, of one brand or all, by what decides whether they run, counted: a few groups a brand."""
        query = (
            "SELECT campaign.brand_id, enabled, schedule::text, campaign.published_version IS NOT NULL, status,"
            " array_to_string(reasons, ','), count(*) FROM campaign JOIN brand ON brand.id = campaign.brand_id"
            " WHERE campaign.archived_at IS NULL AND brand.archived_at IS NULL"
            f"{'' if brand_id is None else ' AND campaign.brand_id = :brand'} GROUP BY 1, 2, 3, 4, 5, 6"
        )
        with self._engine.connect() as connection:
            return [
                CampaignGroup(row[0], row[1], schedule_of(row[2]), row[3], row[4], tuple(filter(None, row[5].split(","))), row[6])
                for row in connection.execute(text(query), {} if brand_id is None else {"brand": brand_id})
            ]  # fmt: skip

    # References that people type, and pending publications

    def resolve_brand(self, written: str) -> int:
        """The id of a brand that a person typed as `ext:VALUE` or digits. Raises InvalidId, NotFound."""
        number, external_id = _written(written, "brand")
        match: ColumnElement[bool] = (
            Brand.id == check_brand_id(number) if external_id is None else Brand.external_id == external_id
        )
        return self._resolve(select(Brand.id).where(match), "brand", written)

    def resolve_campaign(self, written: str) -> int:
        """The id of a campaign that a person typed as `ext:VALUE` or digits. Raises InvalidId, NotFound."""
        number, external_id = _written(written, "campaign")
        match: ColumnElement[bool] = (
            Campaign.id == check_campaign_id(number) if external_id is None else Campaign.external_id == external_id
        )
        return self._resolve(select(Campaign.id).where(match), "campaign", written)

    def unpublished(self, limit: int = 1000, *, after: int = 0) -> list[int]:
        """Ids above `after` of brands that, or a campaign of which, Redis does not know in its latest version."""
        waiting = union(
            select(Brand.id).where(text("brand.published_version IS DISTINCT FROM brand.version"), Brand.id > after),
            select(Campaign.brand_id).where(
                text("campaign.published_version IS DISTINCT FROM campaign.version"), Campaign.brand_id > after
            ),
        ).subquery()
        with self._engine.connect() as connection:
            found = connection.execute(select(waiting.c.id).order_by(waiting.c.id).limit(limit))
            return [int(row[0]) for row in found]

    def owed(self, brand_ids: Sequence[int]) -> list[PendingPublication]:
        """Brands, each with those of its campaigns whose version is not published, by ordinal. A few statements for all of them."""
        with self._engine.connect() as connection:
            query = select(*brands.COLUMNS).where(Brand.id == func.any(list(brand_ids))).order_by(Brand.id)
            found = [brand_record(row) for row in connection.execute(query)]
            waiting: dict[int, list[CampaignRecord]] = {brand.id: [] for brand in found}
            unpublished = campaigns.reading().where(
                Campaign.brand_id == func.any(list(brand_ids)),
                text("campaign.published_version IS DISTINCT FROM campaign.version"),
            )
            for row in connection.execute(unpublished.order_by(Campaign.id)):
                campaign = campaign_record(row)
                waiting[campaign.brand_id].append(campaign)
            known_brands, known = campaigns.with_log_rows(
                connection,
                [brand.id for brand in found if brand.published_version is None],
                [c.id for of_brand in waiting.values() for c in of_brand if c.published_version is None],
            )
        return [
            PendingPublication(
                brand,
                waiting[brand.id],
                brand.published_version is None and brand.id not in known_brands,
                frozenset(c.id for c in waiting[brand.id] if c.published_version is None and c.id not in known),
            )
            for brand in found
        ]

    def mark_published(self, brand_versions: Mapping[int, int], campaign_versions: Mapping[int, int]) -> None:
        """Stores which versions Redis has, {id: version}; never lowers one that another publisher stored meanwhile."""
        if not brand_versions and not campaign_versions:
            return
        with writing(self._engine) as connection:
            published.mark(connection, "brand", brand_versions)
            published.mark(connection, "campaign", campaign_versions)

    def overtake(
        self, of_brands: Mapping[int, Ahead], of_campaigns: Mapping[int, Ahead]
    ) -> tuple[list[int], list[int]]:
        """Raises rows above Redis' versions, and returns which; see published.overtake."""
        with writing(self._engine) as connection:
            brand_ids = published.overtake(connection, "brand", of_brands)
            return brand_ids, published.overtake(connection, "campaign", of_campaigns)

    def spent_before(self, shard: int, campaign_ids: Sequence[int], before: date) -> tuple[int, dict[int, int]]:
        """{campaign id: micros} of the days before a day, and the journal number up to which the log has the shard's entries."""
        with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            n = cursors.read_cursors(connection)[shard].n
            return n, lifetimes.spent(connection, campaign_ids, before)

    def last_change(self) -> int:
        """The number of the last change; see published.last_change."""
        with self._engine.connect() as connection:
            return published.last_change(connection)

    def doubt(self, found: Mapping[tuple[Entity, int], Sequence[str]], lost: bool) -> None:
        """Marks rows to be published again; see published.doubt."""
        with writing(self._engine) as connection:
            published.doubt(connection, found, lost)

    def _switch(
        self, campaign_id: int, actor: str, *, enabled: bool, broken: bool = False, note: str | None = None
    ) -> CampaignRecord:
        actor = clean_name(actor, "actor")
        kind: Kind = "resume" if enabled else "pause"
        with recording(self._engine, kind, "campaign", campaign_id, actor) as connection:
            return campaigns.switch(connection, campaign_id, actor, enabled=enabled, broken=broken, note=note)

    def _campaigns(self, query: Select[Any]) -> list[CampaignRecord]:
        with self._engine.connect() as connection:
            return [campaign_record(row) for row in connection.execute(query)]

    def _resolve(self, query: Select[int], entity: str, written: str) -> int:
        with self._engine.connect() as connection:
            found: int | None = connection.execute(query).scalar_one_or_none()
        if found is None:
            raise NotFound(f"there is no {entity} {shown(written)}: `{entity} list` shows all")
        return found


def _written(written: str, entity: str) -> tuple[int, str | None]:
    """The number or the external id that a person typed."""
    value = written.strip() if isinstance(written, str) else ""
    if value.startswith(_EXTERNAL):
        return 0, check_text_id(value.removeprefix(_EXTERNAL), "external_id")
    if _DIGITS.fullmatch(value) is None:
        raise InvalidId(
            f"{shown(written)} is not the id of a {entity}: give its number, or ext: and its external id",
            f"{entity}_id",
        )
    return int(value), None
