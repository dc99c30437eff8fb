"""Pages of campaigns, and which brands are paused, for lists of programs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Engine, func, select, text

from engine.ledger import brands as brand_rows
from engine.ledger import campaigns as campaign_rows
from engine.ledger.models import Brand, Campaign
from engine.ledger.records import BrandRecord, CampaignRecord, brand_record, campaign_record

Place = tuple[str, int]
"""Name and id of the last row of a page."""


def campaign_places(
    db: Engine,
    *,
    brands: Collection[int] | None = None,
    text_in: str = "",
    status: str = "",
    archived: bool = False,
    by_name: bool = False,
    down: bool = False,
    after: Place | None = None,
    limit: int = 50,
) -> list[Place]:
    """The campaigns of a page, by id or by name. brands: only of these. text_in: a part of the name, or an external id.
    archived: those only, else none of them. after: the place of the last one before it.
    """
    key = "(lower(c.name), c.id)" if by_name else "c.id"
    where = ["(c.archived_at IS NULL AND b.archived_at IS NULL) <> :archived"]
    values: dict[str, Any] = {"archived": archived, "limit": limit}
    if brands is not None:
        where.append("c.brand_id = ANY(CAST(:brands AS bigint[]))")
        values["brands"] = sorted(brands)
    if text_in:
        where.append("(strpos(lower(c.name), lower(:text)) > 0 OR c.external_id = :text)")
        values["text"] = text_in
    if status:
        where.append("c.status = :status")
        values["status"] = status
    if after is not None:
        place = "(lower(:name), CAST(:id AS bigint))" if by_name else "CAST(:id AS bigint)"
        where.append(f"{key} {'<' if down else '>'} {place}")
        values |= {"name": after[0], "id": after[1]} if by_name else {"id": after[1]}
    way = "DESC" if down else "ASC"
    order = f"lower(c.name) {way}, c.id {way}" if by_name else f"c.id {way}"
    query = (
        "SELECT c.name, c.id FROM campaign c JOIN brand b ON b.id = c.brand_id"
        f" WHERE {' AND '.join(where)} ORDER BY {order} LIMIT :limit"
    )
    with db.connect() as conn:
        return [(name, id_) for name, id_ in conn.execute(text(query), values)]


def with_brands(db: Engine, campaign_ids: Sequence[int]) -> tuple[list[BrandRecord], list[CampaignRecord]]:
    """The campaigns of these ids that exist, archived or not, and their brands."""
    query = campaign_rows.reading().where(Campaign.id == func.any(list(campaign_ids)))
    with db.connect() as conn:
        found = [campaign_record(row) for row in conn.execute(query)]
        of = select(*brand_rows.COLUMNS).where(Brand.id == func.any(sorted({each.brand_id for each in found})))
        return [brand_record(row) for row in conn.execute(of)], found


def paused_brands(db: Engine, brand_ids: Sequence[int]) -> set[int]:
    """Those of these brands that a person paused."""
    query = text("SELECT id FROM brand WHERE id = ANY(CAST(:ids AS bigint[])) AND paused_at IS NOT NULL")
    with db.connect() as conn:
        return set(conn.execute(query, {"ids": list(brand_ids)}).scalars())
