"""Rows of what is simple in the journal: packed rows, a packed call as its entry has it and single spends of a shard together, and a row a spend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from engine.domain.ids import brand_of, shard_of
from engine.domain.periods import HOUR_MS, at_ms, date_of, day_of
from engine.flows.persist.gather import MOST_GATHERED, Gathered, spends_of
from engine.ledger import log_rows
from engine.ledger.pack_rows import PackRow
from engine.live.journal import Entry
from engine.live.packed import Unpacked


class Singles(NamedTuple):
    """Gathered entries of a shard, and their generation."""

    shard: int
    generation: int
    gathered: Gathered


def fits(shard: int, entry: Entry, call: Unpacked) -> bool:
    """Whether a packed call can be a packed row. Others become rows, whose laws decide: `home` is checked there spend by spend."""
    return bool(entry.request_id) and all(shard_of(brand_of(line.campaign_id)) == shard for line in call.sums)


def call_row(shard: int, generation: int, entry: Entry, call: Unpacked) -> PackRow:
    """The row of a packed call of which every spend was counted."""
    lease, kind = entry.drawn_from or (None, "spend")
    recorded_at, campaigns = at_ms(entry.ms), [line.campaign_id for line in call.sums]
    # What follows the log's own bytes are the names of the events.
    end = 2 + call.size * (1 + entry.log[1])
    return PackRow(
        date_of(day_of(entry.ms)), shard, generation, entry.n, entry.n, recorded_at, recorded_at, call.size, kind, lease, entry.request_id,
        sorted(set(map(brand_of, campaigns))), campaigns, [line.spends for line in call.sums], entry.log[:end], entry.log[end:] or None, None,
    )  # fmt: skip


def single_rows(found: Iterable[Singles]) -> Iterator[bytes]:
    """The rows of gathered entries, a row a spend, as COPY takes them."""
    for shard, generation, part in found:
        calls = zip(part.instants, range(part.n, part.next_n), map(spends_of, part.texts), strict=True)
        yield log_rows.text_rows(shard, generation, calls)


def packs_of(found: Iterable[Singles]) -> Iterator[PackRow]:
    """The packed rows of gathered entries, in their order: those of one hour share a row, up to about a thousand spends."""
    together: list[Singles] = []
    spends = 0
    for item in found:
        if together and (not _alike(together[0], item) or spends + item.gathered.spends > MOST_GATHERED):
            yield _singles_row(together)
            together, spends = [], 0
        together.append(item)
        spends += item.gathered.spends
    if together:
        yield _singles_row(together)


def _alike(one: Singles, other: Singles) -> bool:
    hours = {item.gathered.instants[0] // HOUR_MS for item in (one, other)}
    return (one.shard, one.generation) == (other.shard, other.generation) and len(hours) == 1


def _singles_row(together: Sequence[Singles]) -> PackRow:
    first, last = together[0], together[-1].gathered
    ms, n = first.gathered.instants[0], first.gathered.n
    lines: list[bytes] = []
    for _, _, part in together:
        numbers = range(part.n - n, part.last_n - n + 1)
        lines += [
            b"%d %d %b" % (at - ms, number, text)
            for at, number, text in zip(part.instants, numbers, part.texts, strict=True)
        ]
    counts = Counter[int]()
    for _, _, part in together:
        for of, (_, spends) in part.sums.items():
            counts[int(of)] += spends
    campaigns = sorted(counts)
    return PackRow(
        date_of(day_of(ms)), first.shard, first.generation, n, last.last_n, at_ms(ms), at_ms(last.instants[-1]),
        sum(item.gathered.spends for item in together), "spend", None, None, sorted(set(map(brand_of, campaigns))), campaigns, [counts[of] for of in campaigns], None, None,
        b"\n".join(lines),
    )  # fmt: skip
