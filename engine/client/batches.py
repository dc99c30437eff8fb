"""What a batch of spends becomes: script calls, one a shard where they fit, and the answers in the batch's order.

Spends without occurred_at go packed (`lua/lib/packed.lua`), with event ids all of them or none: the script counts one sum a campaign.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import count
from typing import Any, Final

from engine.client.prepared import call_for_all
from engine.client.spends import SpendColumns, SpendLike, packed_columns, text_columns
from engine.domain.budget import MOVED_CAUSES
from engine.domain.ids import ORDINALS, shard_of
from engine.domain.periods import day_of
from engine.errors import BudgetError, InvalidInput, shown
from engine.live.packed import NAMED, each_of, pack
from engine.live.replies import REFUSED, Counted, SpendResult, spend_results, unreadable
from engine.live.scripts import LAYOUT, RECORD, TRY, Script
from engine.live.transport.pool import Arg, Call, Reply

MAX_SPENDS_A_CALL: Final = 1000
MAX_SPENDS_WITH_IDS: Final = 500
MAX_CAMPAIGNS_A_CALL: Final = 100
IDS_A_CAMPAIGN: Final = 4
"""A campaign costs Redis as much as so many event ids."""
MAX_WORK_A_CALL: Final = 734
"""Event ids, and campaigns as so many of them each: 500 ids go with 58 campaigns, 334 with 100."""
MAX_BRANDS_A_CALL: Final = 50
"""A question looks at a brand's holds as well, so a brand costs more than a campaign."""
PACKED_FROM: Final = 8
"""Smaller batches go as text: nothing is gained by packing them, and one spend has the same bytes alone and in a batch."""


class Piece:
    """The spends of one script call: their places in the batch, their campaigns in order, each campaign once. args: makes the call's ARGV.
    counted: its answers where all of them are counted, made when the call has been sent."""

    __slots__ = ("args", "campaign_ids", "campaigns", "chunk", "counted", "places", "shard")

    def __init__(
        self,
        shard: int,
        chunk: int,
        places: Sequence[int],
        campaign_ids: Sequence[int],
        campaigns: Collection[int],
        args: Callable[[], tuple[Arg, ...]],
    ) -> None:
        self.shard = shard
        self.chunk = chunk
        self.places = places
        self.campaign_ids = campaign_ids
        self.campaigns = campaigns
        self.args = args
        self.counted: Counted | None = None

    def call(self, code: Script, request: str, expected: bool = True) -> Call:
        """The call of a script under a request id. expected: make its answers while Redis works."""
        sent = self.expect if expected else None
        return call_for_all(code, self.shard, self.campaigns, lambda: (LAYOUT, request, *self.args()), sent)

    def expect(self) -> None:
        """Gets the answers ready that are to be expected."""
        self.counted = Counted(self.campaign_ids, self.campaigns)

    def results(self, reply: Reply, counted_word: str) -> list[SpendResult]:
        """The answers, in the order of its spends."""
        if self.counted is not None and (results := self.counted.told(reply, counted_word)) is not None:
            return results
        return spend_results(reply, self.campaign_ids, counted_word)


def pieces_of(spends: Iterable[SpendLike], verb: str = RECORD) -> tuple[list[Piece], int]:
    """The pieces of a batch, order kept in each shard, and the number of its spends. Raises InvalidInput with the index of the first bad spend."""
    try:
        batch = list(spends)
    except TypeError:
        raise InvalidInput(f"spends {shown(spends)} is not a list of Spend", "spends") from None
    columns = packed_columns(batch) if len(batch) >= PACKED_FROM else None
    return pieces_of_columns(columns or text_columns(batch), verb), len(batch)


def pieces_of_columns(columns: SpendColumns, verb: str) -> list[Piece]:
    """The pieces of a batch that is checked, order kept in each shard."""
    campaigns = columns.campaigns
    homes = {campaign_id: shard_of(campaign_id // ORDINALS) for campaign_id in campaigns}
    shards = set(homes.values())
    size = len(columns.campaign_ids)
    simple = columns.lines is None or isinstance(columns.with_ids, bool)
    judged = verb == TRY or (columns.events is not None and len(set(columns.events)) < size)
    limit = most_spends(len(campaigns), columns.with_ids is True, judged)
    if simple and len(shards) == 1 and fits(campaigns):
        (shard,) = shards
        return [
            _piece(shard, chunk, range(start, min(start + limit, size)), columns, slice(start, start + limit))
            for chunk, start in enumerate(range(0, size, limit))
        ]
    return [_piece(shard, chunk, places, columns, None) for shard, chunk, places in _cuts(columns, homes, judged)]


def most_spends(campaigns: int, with_ids: bool, judged: bool) -> int:
    """How many spends one call may carry over so many campaigns, for Redis to be held for less than 5 ms. judged: each may have to be judged by itself, as
    questions are where not all fit, and facts where an event stands twice."""
    if not with_ids:
        return MAX_SPENDS_A_CALL
    most = min(MAX_WORK_A_CALL - campaigns * IDS_A_CAMPAIGN, MAX_SPENDS_WITH_IDS)
    return most * 2 // 5 if judged else most


def fits(campaigns: Collection[int]) -> bool:
    """Whether one call may carry these campaigns of a shard, each once."""
    if len(campaigns) <= MAX_BRANDS_A_CALL:
        return True
    return len(campaigns) <= MAX_CAMPAIGNS_A_CALL and len({c // ORDINALS for c in campaigns}) <= MAX_BRANDS_A_CALL


def _cuts(columns: SpendColumns, homes: dict[int, int], judged: bool) -> list[tuple[int, int, list[int]]]:
    """(shard, chunk, places) of each call: spends by shard, order kept, each group cut to what one call may carry."""
    cuts: list[tuple[int, int, list[int]]] = []
    opened: dict[int, tuple[list[int], set[int], list[bool]]] = {}
    chunks: dict[int, count[int]] = {}
    flags = columns.with_ids
    for place, campaign_id in enumerate(columns.campaign_ids):
        shard = homes[campaign_id]
        with_id = flags if isinstance(flags, bool) else flags[place]
        places, campaigns, ids = opened.get(shard, (None, set(), [False]))
        asked = campaigns if campaign_id in campaigns else {*campaigns, campaign_id}
        most = most_spends(len(asked), with_id or ids[0], judged)
        if places is None or len(places) >= most or (asked is not campaigns and not fits(asked)):
            places, campaigns, ids = [], set(), [False]
            opened[shard] = places, campaigns, ids
            cuts.append((shard, next(chunks.setdefault(shard, count())), places))
        places.append(place)
        campaigns.add(campaign_id)
        ids[0] = ids[0] or with_id
    return cuts


def _piece(shard: int, chunk: int, places: Sequence[int], columns: SpendColumns, part: slice | None) -> Piece:
    def of(column: Sequence[Any]) -> Sequence[Any]:
        return column[part] if part is not None else [column[place] for place in places]

    campaign_ids = of(columns.campaign_ids)
    whole = len(campaign_ids) == len(columns.campaign_ids)
    campaigns = columns.campaigns if whole else sorted(set(campaign_ids))
    if columns.lines is not None:
        lines = of(columns.lines)
        return Piece(shard, chunk, places, campaign_ids, campaigns, lambda: ("".join(lines),))
    micros = of(columns.micros)
    if columns.events is None:
        return Piece(shard, chunk, places, campaign_ids, campaigns, lambda: pack(campaign_ids, campaigns, micros))
    events, day = of(columns.events), today()
    return Piece(
        shard, chunk, places, campaign_ids, campaigns,
        lambda: (*pack(campaign_ids, campaigns, micros, NAMED), day, *named(campaign_ids, campaigns, micros, events, day)),
    )  # fmt: skip


def today() -> str:
    """The UTC day's number by this machine's clock. Where Redis' clock says another, the script puts together itself what it remembers."""
    return str(day_of(int(time.time() * 1000)))


def named(
    campaign_ids: Sequence[int], campaigns: Iterable[int], micros: Sequence[int], events: Sequence[str], day: str
) -> tuple[str, str]:
    """The names of the spends' events, and what is to be remembered of each, as the scripts take them. campaigns: each campaign once."""
    homes = {campaign_id: f"{campaign_id >> 16}:" for campaign_id in campaigns}
    kept = each_of({campaign_id: f"{campaign_id},%d,{day}" for campaign_id in campaigns}, campaign_ids)
    one, *others = set(homes.values())
    names = map(str.__add__, each_of(homes, campaign_ids), events) if others else events
    return ",".join(names) if others else one + f",{one}".join(events), ";".join(kept) % tuple(micros)


def calls_of(code: Script, pieces: Sequence[Piece], request: str, expected: bool = True) -> list[Call]:
    """The calls of a batch. One that needs several names them `<request id>/<shard>/<chunk>`. expected: as in `Piece.call`."""
    if len(pieces) == 1:
        return [pieces[0].call(code, request, expected)]
    return [piece.call(code, f"{request}/{piece.shard}/{piece.chunk}", expected) for piece in pieces]


def in_order(
    pieces: Sequence[Piece], replies: Sequence[Reply | None], counted_word: str, size: int, request: str
) -> list[SpendResult | None]:
    """The answers in the order of the batch, all with the figures after the last piece of their brand; None where no reply came. Raises UnreadableReply
    with the answers that can be read, and what `head` raises."""
    failure: Exception | None = None
    found: list[list[SpendResult] | None] = []
    for piece, reply in zip(pieces, replies, strict=True):
        try:
            found.append(None if reply is None else piece.results(reply, counted_word))
        except BudgetError:
            raise
        except Exception as error:  # noqa: BLE001  # raised below, with the answers of the other pieces
            failure = failure or error
            found.append(None)
    if len(found) == 1 and found[0] is not None:
        return found[0]  # type: ignore[return-value]  # none is None
    answers = in_places(pieces, found, size)
    if failure is not None:
        raise unreadable(f"a batch of {size} spends", failure, request, answers) from failure
    return answers


def note_replicas(answers: Sequence[SpendResult | None], pieces: Sequence[Piece], calls: Sequence[Call]) -> None:
    """Puts into each answer whether replicas have its call."""
    for piece, call in zip(pieces, calls, strict=True):
        for place in piece.places:
            if (answer := answers[place]) is not None:
                answer.replicated = call.replicated


def in_places(
    pieces: Sequence[Piece], found: Sequence[list[SpendResult] | None], size: int
) -> list[SpendResult | None]:
    """The answers of the pieces in the order of the batch, with the figures after the last piece of their brand."""
    if len(pieces) > len({piece.shard for piece in pieces}):
        # Many spends share one result.
        each = [result for results in found for result in set(results or ())]
        last = {result.campaign_id // ORDINALS: result.figures for result in each if result.figures is not None}
        own = {one.campaign_id: MOVED_CAUSES.intersection(one.reasons) for one in each if one.outcome != REFUSED}
        for result in each:
            result.see(last.get(result.campaign_id // ORDINALS), own.get(result.campaign_id, ()))
    answers: list[SpendResult | None] = [None] * size
    for piece, results in zip(pieces, found, strict=True):
        if results is None:
            continue
        if isinstance(piece.places, range):
            answers[piece.places.start : piece.places.stop] = results
        else:
            for place, result in zip(piece.places, results, strict=True):
                answers[place] = result
    return answers
