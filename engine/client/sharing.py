"""Spends of many threads in shared round trips, for a process that takes spends for others.

A thread that finds nothing under way sends at once; spends that arrive meanwhile go together in the next round trip.
Nothing waits for company.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from engine.client.batches import PACKED_FROM, Piece, calls_of, pieces_of_columns
from engine.client.prepared import call_for
from engine.client.request_ids import next_id
from engine.client.spends import columns_of, line_of
from engine.client.sync import BudgetClient, checked_request_id
from engine.domain.ids import ORDINALS, shard_of
from engine.domain.money import parse_amount
from engine.errors import BudgetError
from engine.live.keys import shard_keys
from engine.live.replies import ACCEPTED, RECORDED, SpendResult, spend_result, unavailable, unreadable
from engine.live.scripts import LAYOUT, RECORD, TRY, script
from engine.live.transport.pool import Call, NoAnswer, Reply

TOGETHER: Final = 256
"""The most spends of one round trip."""


class _Waiting:
    """A spend of one thread. shares: it may go in a call with others. turn: released when it has its answer, or leads."""

    __slots__ = ("again", "campaign_id", "error", "event_id", "leads", "line", "micros", "request", "result", "shares", "turn", "verb")  # fmt: skip

    def __init__(self, verb: str, campaign_id: int, micros: int, event_id: str | None, line: str, request: str, shares: bool) -> None:  # fmt: skip
        self.verb = verb
        self.campaign_id = campaign_id
        self.micros = micros
        self.event_id = event_id
        self.line = line
        self.request = request
        self.shares = shares
        self.result: SpendResult | None = None
        self.error: BudgetError | None = None
        self.again = False
        self.leads = False
        self.turn = threading.Lock()
        self.turn.acquire()

    @property
    def counted_word(self) -> str:
        return RECORDED if self.verb == RECORD else ACCEPTED


class _Lane:
    """The spends for one server. flying: a round trip is under way, and whoever leads it takes care of those that wait."""

    __slots__ = ("flying", "lock", "waiting")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: list[_Waiting] = []
        self.flying = False


class SharedSpends:
    """Single spends through a client, from any thread, with shared round trips to each server.

    A spend with an event id and no request id of its own may go in a packed call with others: the event id makes its
    repeat count once, whoever sends it. Every other spend keeps a call and a request id of its own in the same round
    trip, so that its caller can repeat it, through another process too.
    """

    def __init__(self, client: BudgetClient) -> None:
        self._client = client
        self._wire = client._wire
        self._timeout_s = client._timeout_s
        self._lanes: dict[str, _Lane] = {}

    def record_spend(self, campaign_id: int, amount: str, event_id: str | None = None, request_id: str | None = None, occurred_at: datetime | None = None) -> SpendResult:  # fmt: skip
        """`BudgetClient.record_spend`. It may take twice the client's timeout: for the round trip before, and its own."""
        return self._spend(RECORD, campaign_id, amount, event_id, request_id, occurred_at)

    def try_spend(self, campaign_id: int, amount: str, event_id: str | None = None, request_id: str | None = None, occurred_at: datetime | None = None) -> SpendResult:  # fmt: skip
        """`BudgetClient.try_spend`, as `record_spend`."""
        return self._spend(TRY, campaign_id, amount, event_id, request_id, occurred_at)

    def _spend(
        self,
        verb: str,
        campaign_id: int,
        amount: str,
        event_id: str | None,
        request_id: str | None,
        occurred_at: datetime | None,
    ) -> SpendResult:
        line = line_of(campaign_id, amount, event_id, None, occurred_at)
        shares = event_id is not None and request_id is None and occurred_at is None
        one = _Waiting(verb, campaign_id, parse_amount(amount), event_id, line, checked_request_id(request_id), shares)
        where = self._wire.where_of(shard_keys(shard_of(campaign_id // ORDINALS)).shard)
        lane = self._lanes.get(where) or self._lanes.setdefault(where, _Lane())
        with lane.lock:
            lane.waiting.append(one)
            leads = not lane.flying
            lane.flying = True
        if not leads:
            one.turn.acquire()
        if leads or one.leads:
            self._fly(lane)
        if one.again:
            # Redis refused a call of the round trip: each spend is told about its own.
            one.again, one.error = False, None
            self._send([one])
        if one.error is not None:
            raise one.error
        assert one.result is not None
        return one.result

    def _fly(self, lane: _Lane) -> None:
        """Sends what waits, this thread's spend with it, and gives the lead to one that came meanwhile."""
        with lane.lock:
            together, lane.waiting = lane.waiting[:TOGETHER], lane.waiting[TOGETHER:]
        try:
            self._send(together)
        finally:
            with lane.lock:
                leader = lane.waiting[0] if lane.waiting else None
                lane.flying = leader is not None
            if leader is not None:
                leader.leads = True
                leader.turn.release()
            for one in together:
                if one.turn.locked():
                    one.turn.release()

    def _send(self, together: Sequence[_Waiting]) -> None:
        """Sends spends in one round trip, and puts into each its result or its error."""
        parts = [*_packed(together), *((_own_call(one), [one], None) for one in together if not one.shares)]
        calls = [call for call, _, _ in parts]
        replies: Sequence[Reply | None]
        failure = NoAnswer("nothing was sent", [])
        try:
            replies = self._wire.call_all(calls, self._timeout_s)
        except NoAnswer as error:
            replies, failure = error.replies, error
        except BudgetError as error:
            replies = [None] * len(parts)
            for one in together:
                one.again, one.error = len(together) > 1, error
        for (call, spends, piece), reply in zip(parts, replies, strict=True):
            if reply is not None:
                self._read(call, spends, piece, reply)
            for one in spends:
                if one.result is None and one.error is None:
                    one.error = unavailable(failure, one.request, [None])

    def _read(self, call: Call, spends: Sequence[_Waiting], piece: Piece | None, reply: Reply) -> None:
        word = spends[0].counted_word
        try:
            results = piece.results(reply, word) if piece else [spend_result(reply, spends[0].campaign_id, word)]
        except BudgetError as error:
            for one in spends:
                one.again, one.error = piece is not None, error
            return
        except Exception as error:  # noqa: BLE001  # whatever does not read is told to each caller as such
            for one in spends:
                one.error = unreadable(f"a spend of campaign {one.campaign_id}", error, one.request, [None])
            return
        for one, result in zip(spends, results, strict=True):
            one.result = result
            if self._client._waits:
                result.replicated = call.replicated


def _own_call(one: _Waiting) -> Call:
    return call_for(script(one.verb), one.campaign_id, (LAYOUT, one.request, one.line))


def _packed(together: Sequence[_Waiting]) -> list[tuple[Call, list[_Waiting], Piece | None]]:
    """The calls of the spends that may share one. Too few for a packed call of their shard get calls of their own."""
    groups: dict[tuple[str, int], list[_Waiting]] = {}
    for one in together:
        if one.shares:
            groups.setdefault((one.verb, shard_of(one.campaign_id // ORDINALS)), []).append(one)
    parts: list[tuple[Call, list[_Waiting], Piece | None]] = []
    for (verb, _), spends in groups.items():
        columns = None
        if len(spends) >= PACKED_FROM:
            ids, micros = [one.campaign_id for one in spends], [one.micros for one in spends]
            columns = columns_of(ids, micros, [one.event_id for one in spends])
        if columns is None:
            parts += [(_own_call(one), [one], None) for one in spends]
            continue
        pieces = pieces_of_columns(columns, verb)
        for piece, call in zip(pieces, calls_of(script(verb), pieces, next_id()), strict=True):
            parts.append((call, [spends[place] for place in piece.places], piece))
    return parts
