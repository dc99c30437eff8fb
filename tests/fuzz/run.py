"""The campaign: entries are read, those that still read and some of the others go the whole way through Redis and PostgreSQL."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import islice

from engine.domain.ids import SHARDS
from engine.flows.persist.ingest import Broken, read
from engine.flows.persist.posting import Item, Posting
from engine.live.keys import shard_keys
from engine.wiring import System
from tests.fuzz.entries import Fields, changed, real_entries

BATCH = 2000
SENT_BROKEN = 25
"""Of entries that do not read each twenty-fifth is sent."""


@dataclass(slots=True)
class Seen:
    """What became of the entries."""

    entries: int = 0
    read: int = 0
    sent: int = 0
    rows: int = 0
    set_aside: int = 0
    rebuilds: int = 0

    def __str__(self) -> str:
        return (
            f"{self.entries:,} entries: {self.read:,} read, {self.sent:,} sent through Redis and PostgreSQL: {self.rows:,} rows,"
            f" {self.set_aside:,} set aside; {self.rebuilds} rebuilds, verify each time; nothing stopped"
        )


def fuzz(system: System, entries: int, seed: int) -> Seen:
    """Raises what stops reading, persist, a rebuild or verify."""
    chance, seen = random.Random(seed), Seen()
    source = changed(real_entries(system), chance)
    system.persister.drain_all()
    while seen.entries < entries:
        sent: list[Fields] = []
        for fields in islice(source, min(BATCH, entries - seen.entries)):
            seen.entries += 1
            found = read(b"%d-0" % chance.choice((1_795_420_800_000, 0, 1, 2**63, 253_402_300_800_000)), fields)
            if not isinstance(found.entry, Broken):
                seen.read += 1
                assert Posting([Item(1, 1, found.entry)]).days is not None
                sent.append(fields)
            elif seen.entries % SENT_BROKEN == 0:
                sent.append(fields)
        _send(system, sent, seen, chance.randrange(SHARDS))
    return seen


def _send(system: System, sent: list[Fields], seen: Seen, shard: int) -> None:
    keys, plain = shard_keys(shard), system.hot_redis
    n = system.live.read_shard(shard).n
    for fields in sent:
        if fields.get(b"n", b"").isdigit() and len(fields[b"n"]) < 16:
            # Else it would be lost history, which other tests plant.
            n += 1
            fields[b"n"] = b"%d" % n
        if fields:
            plain.xadd(keys.journal, fields)
    plain.hset(keys.shard, "n", n)
    drained = system.persister.drain_all()
    seen.sent += len(sent)
    seen.rows += drained.rows
    seen.set_aside += drained.quarantined
    system.status.refresh(drained.changed_brands)
    assert len(system.rebuilder.rebuild([shard])) == 1
    system.verifier.verify()
    seen.rebuilds += 1
