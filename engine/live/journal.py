"""The journal as the scripts write it: one stream a shard, each entry with the shard's gapless number n and a format
byte.

An entry has one or more of these:
- a charge: `r` request id, `b` spends, or packed `s` sums, `l` log and perhaps `e` events; `o` outcomes where not
every spend was counted
- `h`: steps of holds and refunds
- `a`: an adjustment of a counter
- `t`: a change of a brand
- `v`: the flights in which its spends were made, `<campaign id>:<counter>` joined by `,`
- `y`: the spends that occurred on an earlier day, `<position>:<day to which it is booked>` joined by `,`
- `k`: the breakers that it opened, `<campaign id>:<round>:<micros in the minute>` joined by `,`
- `z`: of brands with a time zone the offset at its instant, `<brand id>:<ms>` joined by `,`: their day is that of the local time
- `g`: the generation, in the mark of a rebuild
docs/protocol.md describes the fields.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import redis

from engine.domain.brake import Trip
from engine.domain.ids import brand_of
from engine.domain.periods import day_of
from engine.domain.refunds import FIRST_DAY
from engine.domain.rollover import Told
from engine.errors import BudgetError
from engine.live import packed
from engine.live.entry_fields import carries_in, change_of, flights_in, late_in, trips_in, zones_in
from engine.live.grammar import strictly
from engine.live.hush import away
from engine.live.keys import shard_keys
from engine.live.logged import UNITEMISED, Adjustment, Change, HoldStep, LoggedSpend, Refund
from engine.live.outcome_runs import expand
from engine.live.packed import Unpacked
from engine.live.transport.plain import PlainRedis

TEXT: Final = b"1"
PACKED: Final = b"2"
CONTROLLED: Final = b"3"
"""Formats of entries: packed charges have the second, those with anything of the docs' list of format 3 the third, all others the first."""
FORMATS: Final = (TEXT, PACKED, CONTROLLED)
START: Final = "0-0"
"""The cursor before the first entry."""

COUNTED: Final = "k"
EARLIER: Final = "p"
"""Counted by an earlier call of the same request id, which has an entry of its own."""

SHORT: Final = 48
"""Characters up to which a call's text is stored as it is, and not as a digest."""

_PAGE: Final = 100
_LONG_PAGE, _FEW = 400, 3
"""A page of entries that have at most so many spends each, counted as `read_part` does."""
_BYTES_A_SPEND: Final = 5

_SPEND: Final = re.compile(r"(\d+),(\d+),([^,;]*),(-?\d*);")
_STEP: Final = re.compile(r"([RSOTLEFCDPQW]),(\d+),([^,;]*),(\d+),(\d*)(?:,([^,;]+))?;")
_SETTLES: Final = {"S": ("spend", "settled"), "O": ("over", "over"), "T": ("late", "late")}
_REFUNDS: Final = {"F": "refund", "C": "correction"}
_ASKED: Final = "W"
_DRAWS: Final = {"D": "spend", "P": "over", "Q": "late"}
_SPENDLESS: Final = re.compile(r"(?:[RLEDPQ],[^;]*;)*")
_ENDS: Final = {"L": "released", "E": "expired"}


class BadEntry(BudgetError):
    """An entry is not as the scripts write it."""


class NoJournal(BudgetError):
    """The key of a shard's journal is missing or no stream."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal entry. body: the text of a call, of a packed one its sums. ms is recorded_at. verb and outcomes are
    empty when every spend was counted. generation: of a mark only.
    """

    entry_id: str
    ms: int
    n: int
    request_id: str
    body: str
    verb: str
    outcomes: str
    changes: tuple[Change, ...]
    generation: int | None
    steps: str = ""
    adjusted: str = ""
    log: bytes = b""
    packed: Unpacked | None = None
    flights: Mapping[int, int] | None = None
    """{campaign id: number of the counter} of the flights in which its spends were made."""
    late: Mapping[int, int] | None = None
    """{position: day} of the spends that occurred on an earlier day, with the day to which each is booked."""
    trips: tuple[Trip, ...] = ()
    """The breakers that it opened."""
    zones: Mapping[int, int] | None = None
    """{brand id: offset in ms at its instant} of the brands with a time zone."""
    carries: tuple[Told, ...] = ()
    """What is carried into the days of brands with a rollover that begin with it."""
    skip: frozenset[int] = frozenset()
    """Positions that are in the log already, when a lost journal's entry is salvaged."""

    def offset_of(self, brand_id: int) -> int:
        """The milliseconds by which a brand's local time was ahead of UTC at this entry's instant."""
        return (self.zones or {}).get(brand_id, 0)

    def day_of(self, brand_id: int) -> int:
        """The day number of this entry's instant in a brand's time zone."""
        return day_of(self.ms + self.offset_of(brand_id))

    def _own_day(self, campaign_id: int) -> int | None:
        """The same, None where the campaign's brand has no time zone."""
        brand_id = brand_of(campaign_id)
        return self.day_of(brand_id) if self.zones is not None and brand_id in self.zones else None

    def spends(self) -> Iterator[LoggedSpend]:
        """The spends that this entry counted, in order."""
        return (spend for spend in self._spends() if spend.position not in self.skip)

    def _spends(self) -> Iterator[LoggedSpend]:
        codes = expand(self.outcomes) if self.outcomes else None
        if self.packed is not None:
            yield from self._packed_spends(self.packed, codes)
            size = self.packed.size
        else:
            size = yield from self._text_spends(codes)
        for verb, campaign, name, third, fourth, part in self._lines():
            if verb in _SETTLES:
                yield LoggedSpend(
                    position=size,
                    campaign_id=int(campaign),
                    amount_micros=int(third),
                    kind=_SETTLES[verb][0],
                    hold_id=name,
                    day=self._own_day(int(campaign)),
                )
            elif verb in _REFUNDS:
                yield LoggedSpend(
                    position=size,
                    campaign_id=int(campaign),
                    amount_micros=-int(third),
                    event_id=name,
                    kind=_REFUNDS[verb],
                    day=int(fourth),
                    refund_id=part,
                )
            size += 1

    def _packed_spends(self, call: Unpacked, codes: list[str] | None) -> Iterator[LoggedSpend]:
        lease, kind = self.drawn_from or (None, "spend")
        events = call.events
        if call.bad:
            if codes is not None:
                raise self._bad(self.outcomes)
            for position, line in enumerate(call.sums):
                yield LoggedSpend(
                    position=position,
                    campaign_id=line.campaign_id,
                    amount_micros=line.micros,
                    kind=UNITEMISED,
                    hold_id=lease,
                    day=self._own_day(line.campaign_id),
                )
            return
        if codes is not None and len(codes) != len(call.places):
            raise self._bad(self.outcomes)
        for position, (place, amount) in enumerate(zip(call.places, call.micros, strict=True)):
            if codes is None or codes[position] == COUNTED:
                yield LoggedSpend(
                    position=position,
                    campaign_id=call.sums[place].campaign_id,
                    amount_micros=amount,
                    event_id=None if events is None else events[position],
                    kind=kind,
                    hold_id=lease,
                    day=self._own_day(call.sums[place].campaign_id),
                )

    def _text_spends(self, codes: list[str] | None) -> Generator[LoggedSpend, None, int]:
        size = end = 0
        for position, match in enumerate(_SPEND.finditer(self.body)):
            if match.start() != end:
                break
            size, end = position + 1, match.end()
            if codes is None or (position < len(codes) and codes[position] == COUNTED):
                campaign, amount, event, occurred = match.groups()
                booked = None if self.late is None else self.late.get(position)
                yield LoggedSpend(
                    position=position,
                    campaign_id=int(campaign),
                    amount_micros=int(amount),
                    event_id=event or None,
                    occurred_ms=int(occurred) if occurred else None,
                    day=self._own_day(int(campaign)) if booked is None else booked,
                    late=booked is not None,
                )
        if end != len(self.body) or (codes is not None and len(codes) != size):
            raise self._bad(self.body)
        return size

    @property
    def simple(self) -> Unpacked | None:
        """The packed call, where the entry is nothing else, all its spends were counted, and none is of a brand with a time zone."""
        call = self.packed
        if call is None or call.bad or self.outcomes or self.adjusted or self.skip or self.zones is not None:
            return None
        return call if _SPENDLESS.fullmatch(self.steps) else None

    @property
    def drawn_from(self) -> tuple[str, str] | None:
        """The lease of the packed spends, and their kind: `spend`, `over` (past its hold) or `late` (after its end)."""
        if self.packed is not None and self.steps:
            for verb, _, name, *_ in self._lines():
                if verb in _DRAWS:
                    return name, _DRAWS[verb]
        return None

    def hold_steps(self) -> Iterator[HoldStep]:
        """What this entry did to holds, in order."""
        for verb, campaign, name, third, fourth, _ in self._lines():
            if verb == "R":
                yield HoldStep(int(campaign), name, "open", int(third), 0, int(fourth))
            elif verb in _SETTLES:
                yield HoldStep(int(campaign), name, _SETTLES[verb][1], int(fourth), int(third))
            elif verb in _DRAWS:
                # A lease whose hold was drawn completely may be refilled.
                if int(third):
                    yield HoldStep(int(campaign), name, "open", int(third), 0, int(fourth))
                else:
                    yield HoldStep(int(campaign), name, "released", 0)
            elif verb in _ENDS:
                yield HoldStep(int(campaign), name, _ENDS[verb], int(third))

    def refunds(self) -> Iterator[Refund]:
        """The refunds that this entry gave or requested, in order."""
        for verb, campaign, event, micros, day, part in self._lines():
            if verb == _ASKED or verb in _REFUNDS:
                yield Refund(int(campaign), event, int(micros), int(day), part, verb == _ASKED)

    def adjustments(self) -> Iterator[Adjustment]:
        """The corrections of counters in this entry."""
        for line in self.adjusted.split(";"):
            if line:
                try:
                    _, owner, owner_id, field, difference, name = line.split(",")
                    yield Adjustment(owner, int(owner_id), field, int(difference), name)
                except ValueError:
                    raise self._bad(line) from None

    def _lines(self) -> Iterator[tuple[str, str, str, str, str, str | None]]:
        end = 0
        for match in _STEP.finditer(self.steps):
            if match.start() != end:
                break
            end = match.end()
            verb, campaign, name, third, fourth, part = match.groups()
            if verb == _ASKED or verb in _REFUNDS:
                # Each day gets a partition, so a day that no spend can have is refused.
                if not FIRST_DAY <= int(fourth or 0) <= self.day_of(brand_of(int(campaign))):
                    raise self._bad(match[0])
            elif part is not None:
                raise self._bad(match[0])
            yield verb, campaign, name, third, fourth, part
        if end != len(self.steps):
            raise self._bad(self.steps)

    def _bad(self, what: str) -> BadEntry:
        return BadEntry(f"journal entry {self.entry_id} (n {self.n}) does not read: {what[:60]!r}")

    @property
    def digest(self) -> str:
        """What the scripts store of the content of a call."""
        return digest_of(self.body, self.log)


def digest_of(body: str, log: bytes = b"") -> str:
    """A call's spends as `lua/lib/charge.lua` stores them: a short text as it is; of a longer one, or of sums and
    their log, the digest.
    """
    if not log and len(body) <= SHORT:
        return body
    return hashlib.sha1(body.encode() + log, usedforsecurity=False).hexdigest()[:16]


def spend_text(campaign_id: int, amount_micros: int, event_id: str | None, occurred_ms: int | None) -> str:
    """One spend as text in a call."""
    return f"{campaign_id},{amount_micros},{event_id or ''},{'' if occurred_ms is None else occurred_ms};"


def decode(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """Decodes an entry from its stream fields. Raises BadEntry."""
    name = entry_id.decode()
    if fields.get(b"f") not in FORMATS:
        raise BadEntry(
            f"journal entry {name} has format {fields.get(b'f')!r}, this program reads {', '.join(map(repr, FORMATS))}: upgrade it"
        )
    try:
        text = {key.decode(): value.decode("ascii") for key, value in fields.items() if key != b"l"}
        outcomes = text.get("o", "")
        if outcomes:
            if outcomes[0] not in "rtd":
                raise ValueError(f"{outcomes[0]!r} is no verb")
            if not expand(outcomes[1:]):
                raise ValueError("a verb without the outcomes of a call")
        changes = (
            tuple(
                change_of(strictly(owner, "a brand"), cause, direction)
                for owner, cause, direction, *_ in (part.split(":") for part in text["t"].split(",") if part)
            )
            if "t" in text
            else ()
        )
        return Entry(
            name,
            int(name.partition("-")[0]),
            strictly(text["n"], "the number of an entry"),
            text.get("r", ""),
            text["s"] if "s" in text else text.get("b", ""),
            outcomes[:1],
            outcomes[1:],
            changes,
            strictly(text["g"], "a generation") if "g" in text else None,
            text.get("h", ""),
            text.get("a", ""),
            fields.get(b"l", b"") + fields.get(b"e", b""),
            packed.read(text["s"], fields[b"l"], text.get("e")) if "s" in text else None,
            flights_in(text["v"]) if "v" in text else None,
            late_in(text["y"]) if "y" in text else None,
            trips_in(text["k"]) if "k" in text else (),
            zones_in(text["z"]) if "z" in text else None,
            carries_in(text["c"]) if "c" in text else (),
        )
    except (KeyError, ValueError) as error:
        begins = {key[:20]: value[:60] for key, value in list(fields.items())[:4]}
        raise BadEntry(f"journal entry {name} does not read ({str(error)[:200]}): {begins!r:.200}") from None


class JournalPart(NamedTuple):
    """Some raw entries of a journal. spends: about how many they have. more: there may be others after them."""

    entries: list[tuple[bytes, dict[bytes, bytes]]]
    spends: int
    more: bool


def _size(fields: Mapping[bytes, bytes]) -> int:
    """About how many spends an entry has; at least one."""
    text = fields.get(b"b")
    return text.count(b";") + 1 if text is not None else len(fields.get(b"l", b"")) // _BYTES_A_SPEND + 1


class Journal:
    """Reads the journals of all shards."""

    def __init__(self, plain: PlainRedis) -> None:
        self._plain = plain

    def read_part(self, shard: int, from_id: str, count: int, most_spends: int) -> JournalPart:
        """Up to `count` raw entries from an id on, inclusive; fewer where they have more spends than the bound."""
        found: list[tuple[bytes, dict[bytes, bytes]]] = []
        spends, at = 0, from_id
        while len(found) < count and spends < most_spends:
            # Redis sends a page in one go. One of single spends is short.
            page_size = _PAGE if not found or spends > _FEW * len(found) else _LONG_PAGE
            page = self.read(shard, at, asked := min(page_size, count - len(found)))
            found += page
            spends += sum([_size(fields) for _, fields in page])
            if len(page) < asked:
                return JournalPart(found, spends, False)
            at = "(" + page[-1][0].decode()
        return JournalPart(found, spends, True)

    def read(self, shard: int, from_id: str, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Up to `count` raw entries from an id on, that one included. Raises ServerAway, NoJournal where no stream is, BudgetError."""
        return self._entries(shard, lambda server, key: server.xrange(key, min=from_id, count=count))

    def read_back(self, shard: int, to_id: str, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Up to `count` raw entries from an id backwards, that one included, the last first. Raises as `read`."""
        return self._entries(shard, lambda server, key: server.xrevrange(key, max=to_id, count=count))

    def _entries(self, shard: int, ask: Callable[[redis.Redis, str], Any]) -> list[tuple[bytes, dict[bytes, bytes]]]:
        try:
            raw: Any = self._plain.run(shard, lambda server: ask(server, shard_keys(shard).journal))
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            raise away(self._plain.where_of(shard), error, self._plain.timeout_s, self._plain.several) from None
        except redis.ResponseError as error:
            kind = NoJournal if str(error).startswith("WRONGTYPE") else BudgetError
            raise kind(f"the journal of shard {shard} does not read as one: {error}") from None
        return list(raw)
