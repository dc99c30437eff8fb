"""Gathers journal entries that are one text call each, all counted: in the packed form many of them are one row, in
the other their rows are made together.

One pattern and two numbers a spend are all that such an entry costs. Anything else is read as an entry of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from engine.domain.ids import brand_of, is_campaign_id, shard_of
from engine.domain.money import MAX_AMOUNT_MICROS
from engine.domain.periods import MINUTE_MS
from engine.flows.persist.reading import Read, read
from engine.live.journal import TEXT
from engine.live.outcome_runs import MOST_SPENDS

MOST_GATHERED: Final = 1000
"""Spends in one row, about."""

_ID: Final = rb"[A-Za-z0-9._:/+=@~-]"
_REST: Final = rb"," + _ID + rb"{0,64},\d{0,14};"
_SPENDS: Final = re.compile(rb"(\d+),(\d+),[^;]*;")
_WHOLE: Final = re.compile(rb"(\d+),(\d+),([^,;]*),(\d*);").findall
# Narrower than what an entry may be: a number that fits here fits its column.
_PLAIN: Final = re.compile(
    rb"(\d{1,14})-\d{1,20} ([1-9]\d{0,14}) (" + _ID + rb"{1,80} (\d{5,16}),(\d{1,13})" + _REST
    + rb"((?:\d{5,16},\d{1,13}" + _REST + rb")*))"
).fullmatch  # fmt: skip

Fields: TypeAlias = tuple[bytes, Mapping[bytes, bytes]]
"""An entry's id and fields, as the stream has them."""


class Gathered:
    """Entries of one shard with numbers in sequence, within one minute. texts: of each its request id and spends, as it wrote them;
    instants: epoch ms of each; sums: {campaign: [micros, spends]}.
    """

    __slots__ = ("ends", "instants", "n", "next_n", "raw", "spends", "sums", "texts")

    def __init__(self, n: int, ms: int) -> None:
        self.n = self.next_n = n
        self.ends = (ms // MINUTE_MS + 1) * MINUTE_MS
        self.raw: list[Fields] = []
        self.texts: list[bytes] = []
        self.instants: list[int] = []
        self.sums: dict[bytes, list[int]] = {}
        self.spends = 0

    generation = None

    @property
    def entry_id(self) -> str:
        """Of the first."""
        return self.raw[0][0].decode()

    @property
    def last_id(self) -> str:
        """Of the last."""
        return self.raw[-1][0].decode()

    @property
    def last_n(self) -> int:
        """Of the last."""
        return self.next_n - 1

    @property
    def size(self) -> int:
        """How many entries."""
        return len(self.raw)

    def reads(self) -> list[Read]:
        """Each entry by itself."""
        return [read(*fields) for fields in self.raw]

    def add(self, shard: int, campaign: bytes, micros: int) -> bool:
        """Adds a spend to the sums; False for one of no campaign of the shard, or of no amount."""
        if not 0 < micros <= MAX_AMOUNT_MICROS:
            return False
        found = self.sums.get(campaign)
        if found is None:
            if not _is_home(int(campaign), shard):
                return False
            self.sums[campaign] = [micros, 1]
        else:
            found[0] += micros
            found[1] += 1
        self.spends += 1
        return True

    def add_all(self, shard: int, spends: Sequence[tuple[bytes, int]]) -> bool:
        """The same of all spends of an entry, or of none."""
        alone = Gathered(self.n, self.ends)
        if len(spends) > MOST_SPENDS or not all(alone.add(shard, *spend) for spend in spends):
            return False
        return all(self.add(shard, *spend) for spend in spends)


def gather(shard: int, entries: Sequence[Fields]) -> list[Read | Gathered]:
    """The entries of a shard in their order, plain ones gathered."""
    out: list[Read | Gathered] = []
    run: Gathered | None = None
    for raw in entries:
        entry_id, fields = raw
        try:
            wanted = len(fields) == 4 and fields[b"f"] == TEXT
            found = _PLAIN(b"%b %b %b %b" % (entry_id, fields[b"n"], fields[b"r"], fields[b"b"])) if wanted else None
        except KeyError:
            found = None
        if found is not None:
            ms, n, text, campaign, digits, more = found.groups()
            now, number = int(ms), int(n)
            if run is None or number != run.next_n or now >= run.ends or run.spends >= MOST_GATHERED:
                run = Gathered(number, now)
            first = (campaign, int(digits))
            if run.add_all(shard, [first, *_spends(more)]) if more else run.add(shard, *first):
                if not run.raw:
                    out.append(run)
                run.raw.append(raw)
                run.texts.append(text)
                run.instants.append(now)
                run.next_n += 1
                continue
        out.append(read(entry_id, fields))
        run = None
    return out


def _spends(text: bytes) -> list[tuple[bytes, int]]:
    """Campaign and micros of each spend of a call's text."""
    return [(campaign, int(micros)) for campaign, micros in _SPENDS.findall(text)]


def spends_of(text: bytes) -> tuple[bytes, list[tuple[bytes, bytes, bytes, bytes]]]:
    """The request id of a gathered entry, and campaign, micros, event id and occurred ms of each of its spends, as it
    wrote them.
    """
    request, _, body = text.partition(b" ")
    return request, _WHOLE(body)


def _is_home(campaign_id: int, shard: int) -> bool:
    return is_campaign_id(campaign_id) and shard_of(brand_of(campaign_id)) == shard
