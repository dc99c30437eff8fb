"""What the hot Redis' memory is for at the present rate: the ids kept, the journal, and how long PostgreSQL may be away until it is full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from redis import exceptions
from sqlalchemy import Engine, text

from engine.domain.ids import SHARDS
from engine.live.keys import shard_keys
from engine.live.transport.plain import PlainRedis
from engine.settings import Settings
from engine.views.doctor.finding import Finding

_ID_BYTES: Final = 110
"""What one remembered id costs in Redis, at most."""
_ENTRY_BYTES: Final = 150
"""What one journal entry of a single spend costs, where Redis does not say."""
_SAMPLED: Final = 4
_SHORT_H: Final = 1.0


def capacity(
    settings: Settings, db: Engine, infos: Sequence[Mapping[str, Any]], plain: PlainRedis
) -> Iterator[Finding]:
    """The memory of ids, then the journal, from a sample of the last ten seconds."""
    with db.begin() as conn:
        # At a million spends a second even a sample takes long; then the answer is "cannot tell".
        conn.execute(text("SET LOCAL statement_timeout = '5s'"))
        spends, calls, events = conn.execute(
            text(
                "SELECT count(*), count(DISTINCT (shard, n)), count(event_id)"
                " FROM spends_since(now() - interval '10 seconds') WHERE day >= (now() AT TIME ZONE 'UTC')::date - 1"
            )
        ).one()
    # An id is kept for at least one window and at most two.
    kept = (calls * settings.request_id_minutes * 6 + events * settings.event_id_hours * 360) * 2
    rates = f"{spends / 10:.1f} spends/s in {calls / 10:.1f} calls/s, {events / 10:.1f}/s with event ids"
    yield Finding("id memory", "ok", f"{rates}: up to {kept * _ID_BYTES / 2**20:.1f} MiB for the ids kept")
    yield _journal(infos, calls / 10, plain)


def _journal(infos: Sequence[Mapping[str, Any]], calls_a_second: float, plain: PlainRedis) -> Finding:
    entries, each, guessed = _entry_bytes(plain)
    per_entry = f"{each:.0f} bytes an entry" + (" (a guess: MEMORY USAGE is not permitted)" if guessed else "")
    held = f"{entries} entries, {entries * each / 2**20:.1f} MiB, {per_entry}"
    limits = [int(info.get("maxmemory", 0)) or int(info.get("total_system_memory", 0)) for info in infos]
    if not all(limits):
        return Finding("journal memory", "unknown", f"{held}; Redis does not say its limit: cannot tell what fits")
    # Of several servers the one with the least room is full first; each has its part of the calls.
    free = len(infos) * max(
        0, min(of - int(info.get("used_memory", 0)) for of, info in zip(limits, infos, strict=True))
    )
    of = "its maxmemory" if all(int(info.get("maxmemory", 0)) for info in infos) else "the machine's memory"
    if not calls_a_second:
        return Finding("journal memory", "ok", f"{held}; nothing is spent now, {free >> 20} MiB of {of} are free")
    hours = free / (calls_a_second * each) / 3600
    fits = f"{held}; at {calls_a_second * each / 2**10:.1f} KiB/s an outage of PostgreSQL of {hours:.1f} hours fits into {of}"
    if hours < _SHORT_H:
        return Finding("journal memory", "warn", fits, "raise the hot Redis' maxmemory, or send spends in batches")
    return Finding("journal memory", "ok", fits)


def _entry_bytes(plain: PlainRedis) -> tuple[int, float, bool]:
    """How many entries the journals have, and what one costs, from the longest ones."""
    lengths = [_length(plain, shard) for shard in range(SHARDS)]
    longest = sorted(range(SHARDS), key=lambda shard: -lengths[shard])[:_SAMPLED]
    try:
        used = [_used(plain, shard) for shard in longest]
    except exceptions.ResponseError:
        return sum(lengths), _ENTRY_BYTES, True
    of = sum(lengths[shard] for shard in longest)
    # A short journal is mostly the stream's overhead, which does not show what an entry will cost.
    return (sum(lengths), sum(used) / of, False) if of >= _SAMPLED * 100 else (sum(lengths), _ENTRY_BYTES, False)


def _length(plain: PlainRedis, shard: int) -> int:
    """The entries of a shard's journal; 0 where its key is no stream, or its server, one of several, is away."""
    try:
        return int(plain.run(shard, lambda server: server.xlen(shard_keys(shard).journal)))
    except exceptions.ResponseError:
        return 0
    except (exceptions.RedisError, OSError):
        if not plain.several:
            raise
        return 0


def _used(plain: PlainRedis, shard: int) -> int:
    """Bytes of a shard's journal."""
    found: Any = plain.run(shard, lambda server: server.memory_usage(shard_keys(shard).journal, samples=5))
    return int(found or 0)
