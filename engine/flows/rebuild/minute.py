"""The minute of brakes and of pacing, as a rebuild restores it from the log: what a limit and a breaker count goes on from there."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from engine.domain.periods import MINUTE_MS, at_ms, ms_of
from engine.flows.rebuild.contents import Counted
from engine.ledger import spend_read
from engine.ledger.records import BrandRecord, CampaignRecord

Owner = tuple[int, int | None]


def with_minute(
    db: Engine,
    shard: int,
    counted: Counted,
    brands: Sequence[BrandRecord],
    campaigns: Sequence[CampaignRecord],
    now_ms: int,
) -> Counted:
    """The counters, with what the minute of `now_ms` has spent of those that have a brake or are paced.

    A breaker that a person closed in this minute counts from now on: nobody knows what the minute had by then.
    """
    wanted: set[Owner] = {(b.id, None) for b in brands if b.pace}
    wanted |= {(c.brand_id, c.id) for c in campaigns if c.pace or c.brake.compiled}
    if not wanted:
        return counted
    begins = now_ms - now_ms % MINUTE_MS
    spent: dict[Owner, int] = {}
    with db.connect() as conn:
        for (brand_id, campaign_id), micros in spend_read.spent_since(conn, shard, at_ms(begins)).items():
            for owner in ((brand_id, None), (brand_id, campaign_id)):
                spent[owner] = spent.get(owner, 0) + micros
    fields: dict[Owner, list[str]] = {
        owner: ["s", f"{begins // MINUTE_MS},{micros}"] for owner, micros in spent.items() if owner in wanted
    }
    for c in campaigns:
        owner = (c.brand_id, c.id)
        closed = c.breaker_closed_at is not None and begins <= ms_of(c.breaker_closed_at) < begins + MINUTE_MS
        if owner in fields and closed and "bk" not in counted.get(owner, ()):
            fields[owner] += ["bk", "," + fields[owner][1]]
    return {**counted} | {owner: [*counted.get(owner, ()), *own] for owner, own in fields.items()}
