"""Reads changed journal entries. Valid ones, and some of the others, go all the way through Redis and PostgreSQL."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from engine.domain.ids import SHARDS
from engine.flows.persist.posting import Item, Posting
from engine.flows.persist.reading import Broken, read
from engine.live.keys import shard_keys
from engine.wiring import System
from tests.fuzz.entries import Fields, changed, real_entries

BATCH = 2000
SENT_BROKEN = 25
"""Every twenty-fifth entry is sent even if it cannot be read."""
CHECKS = 20
"""How often a run rebuilds the shards that it wrote to and verifies everything: at equal intervals, and at the end."""


@dataclass(slots=True)
class Seen:
    """Counts of entries by what happened to them."""

    entries: int = 0
    read: int = 0
    sent: int = 0
    rows: int = 0
    set_aside: int = 0
    rebuilds: int = 0

    checks: int = 0

    def __str__(self) -> str:
        return (
            f"{self.entries:,} entries: {self.read:,} read, {self.sent:,} sent through Redis and PostgreSQL: {self.rows:,} rows,"
            f" {self.set_aside:,} set aside; {self.rebuilds} shards rebuilt, {self.checks} times verified; nothing stopped"
        )


def fuzz(
    system: System, entries: int, seed: int, checks: int = CHECKS, progress: Callable[[Seen], None] = lambda seen: None
) -> Seen:
    """Runs the campaign. Raises any error that stops reading, persist, a rebuild or verify.

    progress: called after each of the `checks` rebuilds.
    """
    chance, seen = random.Random(seed), Seen()
    real = real_entries(system)
    own_shard = next(iter(system.catalog.brands())).id % SHARDS
    source = changed(real, chance)
    system.persister.drain_all()
    shards: set[int] = set()
    while seen.entries < entries:
        sent: list[Fields] = []
        for fields in islice(source, min(BATCH, entries - seen.entries)):
            seen.entries += 1
            found = read(
                b"%d-0" % chance.choice((1_795_420_800_000, 0, 1, 2**63, 253_402_300_799_999, 253_402_300_800_000)),
                fields,
            )
            if not isinstance(found.entry, Broken):
                seen.read += 1
                assert Posting([Item(1, 1, found.entry)]).days is not None
                sent.append(fields)
            elif seen.entries % SENT_BROKEN == 0:
                sent.append(fields)
        # Half of the batches go to the brand's own shard, where verify compares its counters with the rows.
        shard = chance.choice((own_shard, chance.randrange(SHARDS)))
        shards.add(shard)
        _send(system, sent, seen, shard)
        if seen.entries * checks // entries > seen.checks:
            _check(system, sorted(shards), seen)
            shards.clear()
            progress(seen)
    return seen


def _send(system: System, sent: list[Fields], seen: Seen, shard: int) -> None:
    """Appends entries to a shard's journal, as a script would, and persists them."""
    keys = shard_keys(shard)
    n = system.live.read_shard(shard).n
    with system.hot_redis.pipeline(transaction=False) as together:
        for fields in sent:
            if fields.get(b"n", b"").isdigit() and len(fields[b"n"]) < 16:
                # A gap in n would be lost history, which other tests cover.
                n += 1
                fields[b"n"] = b"%d" % n
            if fields:
                together.xadd(keys.journal, fields)
        together.hset(keys.shard, "n", n)
        together.execute()
    drained = system.persister.drain_all()
    seen.sent += len(sent)
    seen.rows += drained.rows
    seen.set_aside += drained.quarantined
    system.status.refresh(drained.changed_brands)


def _check(system: System, shards: list[int], seen: Seen) -> None:
    assert len(system.rebuilder.rebuild(shards)) == len(shards)
    seen.rebuilds += len(shards)
    system.verifier.verify()
    seen.checks += 1
