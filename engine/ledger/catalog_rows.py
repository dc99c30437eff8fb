"""Queries of the table of brands and campaigns: all rows in their order for an export, and what an import compares its lines with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from sqlalchemy import Connection, Engine, func, select, text

from engine.ledger import brands, campaigns
from engine.ledger.models import Brand, Campaign
from engine.ledger.records import BrandRecord, CampaignRecord, brand_record, campaign_record

_A_READ = 200
_LAST_ACTORS = text(
    "SELECT wanted.entity, wanted.id, (SELECT actor FROM catalog_change AS t WHERE t.entity = wanted.entity AND t.entity_id = wanted.id"
    " AND t.field <> 'note' ORDER BY t.id DESC LIMIT 1) AS actor"
    " FROM unnest(CAST(:entities AS text[]), CAST(:ids AS bigint[])) AS wanted(entity, id)"
)


def in_order(engine: Engine, within: Collection[int] | None = None) -> Iterator[BrandRecord | CampaignRecord]:
    """Each brand in use by id, after it its campaigns in use; of all brands, or of those `within`. Read while they are used."""
    after = 0
    while True:
        query = select(*brands.COLUMNS).where(Brand.archived_at.is_(None), Brand.id > after)
        if within is not None:
            if not within:
                return
            query = query.where(Brand.id == func.any(sorted(within)))
        with engine.connect() as connection:
            found = [brand_record(row) for row in connection.execute(query.order_by(Brand.id).limit(_A_READ))]
            if not found:
                return
            of = campaigns.reading().where(
                Campaign.brand_id == func.any([brand.id for brand in found]), Campaign.archived_at.is_(None)
            )
            rows = iter(connection.execute(of.order_by(Campaign.id).execution_options(yield_per=1000)))
            row = next(rows, None)
            for brand in found:
                yield brand
                while row is not None and row.brand_id == brand.id:
                    yield campaign_record(row)
                    row = next(rows, None)
        after = found[-1].id


def brands_of_ids(connection: Connection, ids: Collection[int]) -> dict[int, BrandRecord]:
    """{id: brand}, archived ones too."""
    if not ids:
        return {}
    query = select(*brands.COLUMNS).where(Brand.id == func.any(sorted(ids)))
    return {row.id: brand_record(row) for row in connection.execute(query)}


def campaigns_of_ids(connection: Connection, ids: Collection[int]) -> dict[int, CampaignRecord]:
    """{id: campaign}, archived ones too."""
    if not ids:
        return {}
    return {campaign.id: campaign for campaign in campaigns.of_ids(connection, sorted(ids))}


def brands_named(connection: Connection, names: Collection[str]) -> dict[str, int]:
    """{name: id} of brands in use."""
    if not names:
        return {}
    query = select(Brand.name, Brand.id).where(Brand.archived_at.is_(None), Brand.name == func.any(sorted(names)))
    return {row.name: row.id for row in connection.execute(query)}


def campaigns_named(
    connection: Connection, brand_ids: Collection[int], names: Collection[str]
) -> dict[tuple[int, str], int]:
    """{(brand id, name): id} of campaigns in use."""
    if not names or not brand_ids:
        return {}
    query = select(Campaign.brand_id, Campaign.name, Campaign.id).where(
        Campaign.archived_at.is_(None), Campaign.brand_id == func.any(sorted(brand_ids)), Campaign.name == func.any(sorted(names))
    )  # fmt: skip
    return {(row.brand_id, row.name): row.id for row in connection.execute(query)}


def with_external_ids(connection: Connection, entity: str, external_ids: Collection[str]) -> dict[str, int]:
    """{external id: id}, archived ones too, which keep theirs."""
    if not external_ids:
        return {}
    table = Brand if entity == "brand" else Campaign
    query = select(table.external_id, table.id).where(table.external_id == func.any(sorted(external_ids)))
    return {str(row.external_id): row.id for row in connection.execute(query)}


def last_actors(connection: Connection, rows: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """Who changed each of these rows (entity, id) last."""
    wanted = list(rows)
    if not wanted:
        return {}
    given = {"entities": [entity for entity, _ in wanted], "ids": [id_ for _, id_ in wanted]}
    return {(row.entity, row.id): row.actor for row in connection.execute(_LAST_ACTORS, given) if row.actor}
