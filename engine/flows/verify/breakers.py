"""The breakers' part of V8: a breaker is open in Redis exactly where the log has it open."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Engine

from engine.domain.ids import brand_of, ordinal_of
from engine.flows.catalog.plans import Apart
from engine.ledger import breakers
from engine.ledger.cursors import read_cursors
from engine.live.admin import LiveRedis


def breakers_off(db: Engine, live: LiveRedis) -> Iterator[Apart]:
    """Campaigns whose breaker is open in one of the two only. An entry that is not persisted yet is no difference."""
    with db.connect() as conn:
        shards = breakers.shards(conn)
    for shard in shards:
        with db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
            braked, logged = breakers.braked(conn, shard), breakers.open_of_shard(conn, shard)
            cursor_n = read_cursors(conn)[shard].n
        highest: dict[int, int] = {}
        for campaign_id in braked:
            highest[brand_of(campaign_id)] = max(ordinal_of(campaign_id), highest.get(brand_of(campaign_id), 0))
        found = live.read_causes(highest)
        for campaign_id in braked:
            causes = found[brand_of(campaign_id)]
            if causes is None or campaign_id not in causes.masks or causes.brand.n > cursor_n:
                continue  # V11 and V12 report the first two; of the last the log does not know everything yet.
            here, there = campaign_id in causes.broken, campaign_id in logged
            if here != there:
                text = f"campaign {campaign_id} has its breaker {_words(here)} in Redis, {_words(there)} in the log"
                yield Apart(f"campaign {campaign_id}", brand_of(campaign_id), text)


def _words(is_open: bool) -> str:
    return "open" if is_open else "closed"
