"""Status: the one writer of campaign.status, campaign.reasons and status_change.

Redis computes the causes. They are written here, under a lock per brand, one row where the set differs, with the
instant at which the cause began.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from sqlalchemy import Engine

from engine.domain.budget import Budget
from engine.domain.causes import OTHER, Status, cause_of, in_order, reasons_of, standing_mask, status_of
from engine.domain.flights import last_edge_ms
from engine.domain.ids import ordinal_of, shard_of
from engine.domain.periods import at_ms, ms_of
from engine.ledger import campaigns, statuses
from engine.ledger.catalog import Catalog
from engine.ledger.database import writing
from engine.ledger.locks import Lock, LockHeld
from engine.ledger.records import CampaignRecord
from engine.ledger.user_names import ENGINE
from engine.live.admin import LiveRedis
from engine.live.plans import LiveBrand
from engine.live.repair import probe_brands, told_lost

log = logging.getLogger(__name__)

BRANDS_A_TRANSACTION: Final = 50
LOCKED_S: Final = 1.5
"""Seconds for which brands are waited for that another session has locked; ours hold such a lock for less."""
_LOCKED_REST_S: Final = 0.02


class StatusWriter:
    """Compares the causes in Redis with the written statuses, and writes the difference."""

    def __init__(self, db: Engine, catalog: Catalog, live: LiveRedis) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live

    def refresh_all(self, actor: str = ENGINE) -> int:
        """Updates every brand; returns how many campaigns changed."""
        return self.refresh([brand.id for brand in self._catalog.brands(include_archived=True)], actor)

    def refresh(self, brand_ids: Iterable[int], actor: str = ENGINE, *, rests: bool = True) -> int:
        """Updates some brands; returns how many campaigns changed. Brands whose shard is not ready keep their
        statuses. Raises ServerAway; LockHeld after all others, where another session keeps brands locked.

        rests: pauses between reads. Off where a person waits, or the shards that persist has still to read.
        """
        left, changed = sorted(set(brand_ids)), 0
        give_up = None
        while left:
            parts = [left[start : start + BRANDS_A_TRANSACTION] for start in range(0, len(left), BRANDS_A_TRANSACTION)]
            left = []
            for part in parts:
                free, writes = self._refresh(part, actor, rests)
                changed += writes
                left += sorted(set(part) - set(free))
            if left:
                # Another writer of ours is done in a moment.
                now = time.monotonic()
                give_up = now + LOCKED_S if give_up is None else give_up
                if now >= give_up:
                    raise LockHeld(Lock.BRAND, left)
                time.sleep(_LOCKED_REST_S)
        return changed

    def _refresh(self, wanted: Sequence[int], actor: str, rests: bool) -> tuple[list[int], int]:
        """Updates those of the brands that no other session has locked; returns which, and how many campaigns
        changed.
        """
        with writing(self._db) as conn:
            brand_ids = statuses.lock_brands(conn, wanted)
            written = statuses.written(conn, brand_ids)
            # Ordinals rise with ids, so the last campaign has the highest.
            highest = {brand_id: ordinal_of(rows[-1].campaign_id) for brand_id, rows in written.items() if rows}
            live = self._live.read_causes(highest, rests=rests)
            changed = {
                row.campaign_id: reasons_of(standing_mask(mask))
                for brand_id, causes in live.items()
                if causes is not None
                for row in written[brand_id]
                if (mask := causes.masks.get(row.campaign_id)) is not None and not _is_written(row, mask)
            }
            unseen = {
                brand_id: last
                for brand_id, last in highest.items()
                if (causes := live[brand_id]) is None or len(causes.masks) < last
            }
            writes = []
            for campaign in campaigns.of_ids(conn, list(changed)) if changed else ():
                reasons, of_brand = changed[campaign.id], live[campaign.brand_id]
                assert of_brand is not None
                apart = frozenset(campaign.reasons) ^ frozenset(reasons)
                at = max(
                    (
                        began(
                            cause,
                            campaign,
                            of_brand.brand,
                            of_brand.own.get(campaign.id, ()),
                            of_brand.broken.get(campaign.id),
                        )
                        for cause in apart
                    ),
                    default=ms_of(campaign.created_at),
                )
                writes.append(statuses.StatusWrite(campaign.id, at_ms(at), status_of(reasons), reasons, actor))
            statuses.apply(conn, writes)
        for write in writes:
            log.info(
                "status changed",
                extra={
                    "campaign": write.campaign_id,
                    "status": write.status,
                    "reasons": list(write.reasons),
                    "actor": actor,
                },
            )
        self._look_closer(unseen)
        return brand_ids, len(writes)

    def _look_closer(self, unseen: dict[int, int]) -> None:
        """Brands {id: highest ordinal} of which Redis did not return all, though their shard is in use: unpublished,
        or lost.
        """
        if unseen:
            ready = {state.shard for state in self._live.read_shards() if state.ready}
            lost = probe_brands(self._live, {b: last for b, last in unseen.items() if shard_of(b) in ready})
            if lost:
                log.error("%s", told_lost(lost))


@lru_cache(maxsize=256)
def _written_as(mask: int) -> tuple[Status, str]:
    """The status and the causes of a mask as PostgreSQL returns them, cached: most campaigns share them."""
    reasons = reasons_of(standing_mask(mask))
    return status_of(reasons), ",".join(reasons)


def _is_written(row: statuses.Written, mask: int) -> bool:
    """Whether a row matches a mask, also where a later release wrote a cause that reads as `other` here."""
    status, reasons = _written_as(mask)
    if row.status != status:
        return False
    return row.reasons == reasons or (OTHER in reasons and ",".join(in_order(row.reasons.split(","))) == reasons)


def began(
    name: str, campaign: CampaignRecord, brand: LiveBrand, own: Sequence[Budget] = (), broken_ms: int | None = None
) -> int:
    """The instant (ms) at which a differing cause began or ended: of the switch, the budget, the breaker or the window. own: the
    campaign's own budgets in Redis; broken_ms: since when its breaker is open there.
    """
    now, cause = brand.now_ms, cause_of(name)
    if cause.since in ("budget", "own_budget"):
        budget = next((budget for budget in (*brand.budgets, *own) if budget.cause == name), None)
        since = (budget and budget.since_ms) or 0
        # A lifetime budget that is used up from its beginning has no instant at which it turned.
        return (
            max(since, brand.zone.period_start_ms(cause.period, now))
            if cause.period
            else since or ms_of(campaign.updated_at)
        )
    if cause.since == "flight":
        edge = last_edge_ms(campaign.flights, now)
        return ms_of(campaign.updated_at) if edge is None else max(edge, min(ms_of(campaign.updated_at), now))
    if cause.since == "breaker":
        closed = campaign.breaker_closed_at
        return broken_ms or (now if closed is None else ms_of(closed))
    if cause.since == "window":
        return campaign.schedule.last_change_ms(now, brand.zone) or now
    if cause.since == "archive" and campaign.archived_since is not None:
        return ms_of(campaign.archived_since)
    if cause.since == "brand" and campaign.brand_paused_at is not None:
        return ms_of(campaign.brand_paused_at)
    if cause.since == "switch":
        return ms_of(campaign.switched_at)
    return now
