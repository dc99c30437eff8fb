"""Status as it is written down: campaign.status, campaign.reasons and status_change, for their one writer, flows/status."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.causes import mask_of, reasons_of, status_of
from engine.ledger import campaigns
from engine.ledger.locks import Lock, try_take_all

_WRITTEN: Final = text(
    "SELECT brand_id, id, status, array_to_string(reasons, ',') FROM campaign"
    " WHERE brand_id = ANY(CAST(:brands AS bigint[])) ORDER BY id"
)
_APPLY: Final = text(
    "WITH given AS (SELECT id, at, status, string_to_array(reasons, ',') AS reasons, actor, place FROM"
    " unnest(CAST(:ids AS bigint[]), CAST(:ats AS timestamptz[]), CAST(:statuses AS text[]),"
    " CAST(:reasons AS text[]), CAST(:actors AS text[])) WITH ORDINALITY AS g(id, at, status, reasons, actor, place)),"
    " changed AS (UPDATE campaign SET status = given.status, reasons = given.reasons FROM given"
    " WHERE campaign.id = given.id AND (campaign.status, campaign.reasons) IS DISTINCT FROM (given.status, given.reasons)"
    " RETURNING campaign.id)"
    " INSERT INTO status_change (campaign_id, at, status, reasons, actor)"
    " SELECT given.id, at, status, reasons, actor FROM given JOIN changed ON changed.id = given.id ORDER BY at, place"
)


class StatusWrite(NamedTuple):
    """The set of causes of a campaign from an instant on, and who or what brought it about."""

    campaign_id: int
    at: datetime
    status: str
    reasons: tuple[str, ...]
    actor: str


def lock_brands(connection: Connection, brand_ids: Sequence[int]) -> list[int]:
    """Keeps other writers of these brands' statuses out to the end of the transaction; returns those that no other
    session has, in rising order.
    """
    return sorted(try_take_all(connection, Lock.BRAND, brand_ids))


class Written(NamedTuple):
    """What is written of one campaign: its status, and its causes joined by commas."""

    campaign_id: int
    status: str
    reasons: str


def written(connection: Connection, brand_ids: Sequence[int]) -> dict[int, list[Written]]:
    """What is written of the campaigns of some brands, archived ones included, by id: {brand id: its campaigns}."""
    found: dict[int, list[Written]] = {brand_id: [] for brand_id in brand_ids}
    rows = connection.execute(
        _WRITTEN,
        {"brands": list(brand_ids)},
    )
    for brand_id, *of_campaign in rows:
        found[brand_id].append(Written(*of_campaign))
    return found


def apply(connection: Connection, changes: Sequence[StatusWrite]) -> int:
    """Writes statuses and a status_change row for each that differs from what is written; answers how many did.

    The causes are listed in their own order whatever order they come in. Raises ValueError for a status that does not follow from them.
    """
    if not changes:
        return 0
    ordered = [_checked(change) for change in changes]
    campaigns.lock(connection, [change.campaign_id for change in ordered])
    return connection.execute(
        _APPLY,
        {
            "ids": [change.campaign_id for change in ordered],
            "ats": [change.at for change in ordered],
            "statuses": [change.status for change in ordered],
            "reasons": [",".join(change.reasons) for change in ordered],
            "actors": [change.actor for change in ordered],
        },
    ).rowcount


def _checked(change: StatusWrite) -> StatusWrite:
    reasons = reasons_of(mask_of(change.reasons))
    if change.status != status_of(reasons):
        raise ValueError(f"campaign {change.campaign_id} cannot be {change.status} with the causes {reasons}")
    return change._replace(reasons=reasons)
