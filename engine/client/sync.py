"""What bidders import: `BudgetClient`. It needs redis-py and no other package."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from engine.client.batches import Piece, calls_of, in_order, note_replicas, pieces_of, pieces_of_columns
from engine.client.columns import IntColumn, checked_columns
from engine.client.holds import HoldCalls, ttl_ms
from engine.client.kept import checked_keep_s
from engine.client.leases.keeper import Keeper
from engine.client.leases.lease import Lease
from engine.client.leases.spool import Replayed, folder_of, replay
from engine.client.outcomes import Outcomes, outcomes_of
from engine.client.prepared import call_for
from engine.client.request_ids import next_id
from engine.client.resend import ResendingTransport
from engine.client.spends import Spend, SpendColumns, SpendLike, line_of
from engine.client.waiting import WaitingTransport, checked_replicas
from engine.client.watch.watch import Watch
from engine.domain.causes import reasons_of
from engine.domain.ids import ORDINALS, check_campaign_id, check_text_id
from engine.domain.money import MAX_AMOUNT_MICROS, micros_of, parse_amount
from engine.errors import BudgetError, InvalidInput, NotFound, NotReady, Unavailable, UnreadableReply, shown
from engine.live.keys import keys_of_campaign
from engine.live.replies import (
    ACCEPTED,
    NOT_READY,
    RECORDED,
    CampaignStatus,
    SpendResult,
    head,
    spend_result,
    unavailable,
    unreadable,
)
from engine.live.scripts import LAYOUT, RECORD, TRY, script
from engine.live.transport.busy_poll import MOST_US
from engine.live.transport.pool import Call, NoAnswer, Reply, Unreadable
from engine.live.transport.protocol import Transport
from engine.live.transport.routed import finder_of, open_transport
from engine.settings import hot_redis_url, replicas_to_wait_for

__all__ = ["BudgetClient", "Spend"]

_LEASES_END_S: Final = 5.0


class BudgetClient(HoldCalls):
    """Reports spends to the budget engine. Thread-safe, usable after fork.

    Every call is bounded by `timeout_ms`, retries included. When it passes, `Unavailable` carries the request id:
    repeating with it is safe.
    """

    def __init__(self, wire: Transport, timeout_ms: int = 250) -> None:
        if type(timeout_ms) is not int or timeout_ms <= 0:
            raise InvalidInput(
                f"timeout_ms {shown(timeout_ms)} is not a whole number of milliseconds above 0", "timeout_ms"
            )
        self._wire = wire
        self._timeout_s = timeout_ms / 1000
        self._waits = isinstance(wire, WaitingTransport)
        self._keeper: Keeper | None = None

    @classmethod
    def from_url(
        cls,
        url: str,
        timeout_ms: int = 250,
        busy_poll_us: int = MOST_US,
        resend_s: float | None = None,
        wait_replicas: int = 0,
    ) -> BudgetClient:
        """A client for the Redis at `url`: any form that redis-py takes, redis+cluster:// or redis+sentinel://.

        busy_poll_us: microseconds for which a call busy-polls for its reply, longer for a batch by its size. Next to
        a nearby Redis this up to halves latency at the cost of CPU; 0 turns it off.

        resend_s: seconds for which acknowledged calls are kept in memory and sent again, under their ids, after
        another server took over their shard or its data was rebuilt; 0 to 60. None is 5 for a cluster or Sentinel,
        and 0 for one Redis.

        wait_replicas: how many replicas must confirm a counted call, within `timeout_ms`, for its result to be
        `replicated`; 0 to 10, 0 waits for none. Raises InvalidSetting, InvalidInput.
        """
        keep_s = checked_keep_s(resend_s, finder_of(url) is not None)
        replicas = checked_replicas(wait_replicas)
        wire = open_transport(url, busy_poll_us, holds=replicas > 0)
        if keep_s:
            wire = ResendingTransport(wire, keep_s)
        # Outside: a call is kept before its replicas are waited for, else a primary that dies meanwhile takes it along.
        return cls(WaitingTransport(wire, replicas) if replicas else wire, timeout_ms)

    @classmethod
    def from_env(
        cls,
        timeout_ms: int = 250,
        busy_poll_us: int = MOST_US,
        resend_s: float | None = None,
        wait_replicas: int | None = None,
    ) -> BudgetClient:
        """A client for REDIS_URL, or for the embedded servers that run on BUDGET_DATA_DIR. wait_replicas: None for
        BUDGET_WAIT_REPLICAS. The rest as `from_url`.
        """
        replicas = replicas_to_wait_for() if wait_replicas is None else wait_replicas
        return cls.from_url(hot_redis_url(), timeout_ms, busy_poll_us, resend_s, replicas)

    def record_spend(
        self,
        campaign_id: int,
        amount: str | Decimal | None = None,
        *,
        amount_micros: int | None = None,
        event_id: str | None = None,
        request_id: str | None = None,
        occurred_at: datetime | None = None,
    ) -> SpendResult:
        """Records money that was spent: counted and logged, even past a budget or of a paused campaign; the result
        shows it.

        amount: a decimal string or Decimal with at most six places, or whole micros in amount_micros. event_id: the
        exchange's id of the win notice; a repeat is `duplicate`, with another campaign or amount `conflict`.
        request_id: names the call, so that a repeat counts once; made when none is given. Raises InvalidAmount,
        InvalidId, Unavailable, WrongVersion.
        """
        return self._one(RECORD, RECORDED, campaign_id, amount, amount_micros, event_id, request_id, occurred_at)

    def try_spend(
        self,
        campaign_id: int,
        amount: str | Decimal | None = None,
        *,
        amount_micros: int | None = None,
        event_id: str | None = None,
        request_id: str | None = None,
        occurred_at: datetime | None = None,
    ) -> SpendResult:
        """Tries to spend: `accepted` and counted, or `refused` with its causes and not counted. It never exceeds a
        budget.

        Parameters and errors as `record_spend`.
        """
        return self._one(TRY, ACCEPTED, campaign_id, amount, amount_micros, event_id, request_id, occurred_at)

    def record_spends(self, spends: Iterable[SpendLike], *, request_id: str | None = None) -> list[SpendResult]:
        """Records many spends of any brands: one result a spend, in order, with figures after the whole batch.

        All spends are checked before anything is sent; the error names the index. Then each spend has its own
        outcome. A batch that needs several calls names them `<request id>/<shard>/<chunk>`.
        """
        return self._many(RECORD, RECORDED, spends, request_id)

    def try_spends(self, spends: Iterable[SpendLike], *, request_id: str | None = None) -> list[SpendResult]:
        """Tries many spends; as `record_spends`. Each is evaluated after those before it."""
        return self._many(TRY, ACCEPTED, spends, request_id)

    def record_spend_columns(
        self,
        campaign_ids: IntColumn,
        amounts_micros: IntColumn,
        *,
        event_ids: Sequence[str | None] | None = None,
        occurred_at: Sequence[datetime | None] | None = None,
        request_id: str | None = None,
    ) -> Outcomes:
        """`record_spends` of columns instead of Spends, in half the time: the same checks, calls and rows, and one
        result object for all.

        campaign_ids, amounts_micros: whole numbers, the amounts in micros; each a list, a tuple, or a buffer of one
        dimension with whole numbers of 4 or 8 bytes (`array.array`, numpy's arrays). event_ids, occurred_at: lists or
        tuples, with None where a spend has none. All have one length, which may be 0; spend i is the i-th value of
        each. Everything is checked before anything is sent.

        Raises InvalidInput for a column of another kind or length, InvalidId, InvalidAmount and InvalidInput for a
        value, with column and index as in `amounts_micros[3]`; else as `record_spends`, where `Unavailable.answers`
        has a result or None a spend.
        """
        columns = checked_columns(campaign_ids, amounts_micros, event_ids, occurred_at)
        return self._many_columns(RECORD, RECORDED, columns, request_id)

    def try_spend_columns(
        self,
        campaign_ids: IntColumn,
        amounts_micros: IntColumn,
        *,
        event_ids: Sequence[str | None] | None = None,
        occurred_at: Sequence[datetime | None] | None = None,
        request_id: str | None = None,
    ) -> Outcomes:
        """`try_spends` of columns; parameters and errors as `record_spend_columns`. Each spend is evaluated after
        those before it.
        """
        columns = checked_columns(campaign_ids, amounts_micros, event_ids, occurred_at)
        return self._many_columns(TRY, ACCEPTED, columns, request_id)

    def status(self, campaign_id: int) -> CampaignStatus:
        """Whether the campaign may run now, and if not why. Raises NotFound, NotReady, InvalidId, Unavailable."""
        try:
            return read_status(self._wire.call(asks_status(campaign_id), self._timeout_s), campaign_id)
        except NoAnswer as failure:
            raise status_unknown(failure, campaign_id) from None

    def watch(
        self,
        *,
        brands: Iterable[int] | None = None,
        campaigns: Iterable[int] | None = None,
        fail_open: bool = False,
        random: Callable[[], float] = random.random,
    ) -> Watch:
        """A local view of the campaigns that may run: `watch.may_bid(campaign_id)` costs no network call. Close it,
        or use it in a `with`.

        brands, campaigns: watch only these (together: both), else all. fail_open: see `Watch`. The snapshot is read
        in the background: `watch.wait_ready(seconds)` waits for it. random: the coin of `watch.should_bid`, from 0 to
        below 1. Raises InvalidId.
        """
        return Watch(self._wire, brands=brands, campaigns=campaigns, fail_open=fail_open, random=random)

    def lease(
        self,
        campaign_id: int,
        amount: str | Decimal | None = None,
        ttl: float | timedelta = 60,
        *,
        amount_micros: int | None = None,
        largest: str | Decimal | None = None,
        spool: str | os.PathLike[str] | None = None,
    ) -> Lease:
        """A slice of a campaign's budget to spend from in this process's memory: `lease.try_spend(...)` costs no
        network call. Close it, or use it in a `with`.

        amount: the first size; it grows with the burn rate up to `largest` (default: ten times that). Where less is
        left of the budget, the lease gets that. A campaign that may not run now, or has nothing left, gets an empty
        lease, whose `why` names the reason and which is refilled when it may run. ttl: seconds (or a timedelta, from
        1 second to a day) after which the hold ends should this process die. spool: a folder on a local disk for
        spends that are not counted yet; spends that dead processes left there are counted first (`replay_spool`).
        Without a spool they are in memory only.

        Raises InvalidAmount, InvalidId, InvalidInput (ttl, largest, spool), NotFound, Unavailable, WrongVersion;
        NotReady where a spool is to be counted and Redis is being rebuilt.
        """
        check_campaign_id(campaign_id)
        micros = micros_of(amount, amount_micros)
        most = micros * 10 if largest is None else parse_amount(largest, "largest")
        most = min(most, MAX_AMOUNT_MICROS)
        if most < micros:
            raise InvalidInput(f"largest {shown(largest)} is less than the amount: give at least that", "largest")
        ttl_s = ttl_ms(ttl, least_s=1) / 1000
        folder = None if spool is None else folder_of(spool)
        if folder is not None:
            replay(self._wire, folder, self._timeout_s)
        if self._keeper is None or self._keeper.is_forked:
            self._keeper = Keeper(self._wire)
        return self._keeper.open(campaign_id, micros, most, ttl_s, folder, self._timeout_s)

    def replay_spool(self, spool: str | os.PathLike[str]) -> Replayed:
        """Counts the spends that dead processes left in a folder of spools, under their own request ids. Repeating it
        is safe.

        Raises InvalidInput, Unavailable, NotReady, WrongVersion.
        """
        return replay(self._wire, folder_of(spool), self._timeout_s)

    def close(self) -> None:
        """Ends the leases, at most 5 seconds, sends again what a failover may have lost, at most 5 seconds, and closes the
        connections. Raises Unavailable when spends of a lease were not counted in time.
        """
        if self._keeper is not None and not self._keeper.close_all(_LEASES_END_S):
            raise Unavailable(
                "spends of leases are not counted yet: call close() again, or leave their spool to the next process", ""
            )
        self._wire.close()

    def __enter__(self) -> BudgetClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _one(
        self,
        verb: str,
        counted_word: str,
        campaign_id: int,
        amount: str | Decimal | None,
        amount_micros: int | None,
        event_id: str | None,
        request_id: str | None,
        occurred_at: datetime | None,
    ) -> SpendResult:
        line = line_of(campaign_id, amount, event_id, amount_micros, occurred_at)
        request = checked_request_id(request_id)
        try:
            call = call_for(script(verb), campaign_id, (LAYOUT, request, line))
            result = spend_result(self._wire.call(call, self._timeout_s), campaign_id, counted_word)
            if self._waits:
                result.replicated = call.replicated
            return result
        except NoAnswer as failure:
            raise unavailable(failure, request, [None]) from None
        except BudgetError:
            raise
        except Exception as error:
            raise unreadable(f"a spend of campaign {campaign_id}", error, request, [None]) from error

    def _many(
        self, verb: str, counted_word: str, spends: Iterable[SpendLike], request_id: str | None
    ) -> list[SpendResult]:
        request = checked_request_id(request_id)
        pieces, size = pieces_of(spends, verb)
        calls = calls_of(script(verb), pieces, request)
        replies = self._replies(pieces, calls, counted_word, size, request)
        answers = in_order(pieces, replies, counted_word, size, request)
        if self._waits:
            note_replicas(answers, pieces, calls)
        return answers  # type: ignore[return-value]  # all there

    def _many_columns(self, verb: str, counted_word: str, columns: SpendColumns, request_id: str | None) -> Outcomes:
        request, size = checked_request_id(request_id), len(columns.campaign_ids)
        pieces = pieces_of_columns(columns, verb)
        calls = calls_of(script(verb), pieces, request, expected=False)
        replies = self._replies(pieces, calls, counted_word, size, request)
        return outcomes_of(pieces, replies, counted_word, size, request, calls if self._waits else None)

    def _replies(
        self, pieces: Sequence[Piece], calls: Sequence[Call], counted_word: str, size: int, request: str
    ) -> Sequence[Reply]:
        """The replies to the calls of a batch. Raises Unavailable with the answers that came."""
        if not calls:
            return []
        try:
            return self._wire.call_all(calls, self._timeout_s)
        except NoAnswer as failure:
            answers = in_order(pieces, failure.replies, counted_word, size, request)
            if self._waits:
                note_replicas(answers, pieces, calls)
            raise unavailable(failure, request, answers) from None


def asks_status(campaign_id: int) -> Call:
    """The call of `status`."""
    check_campaign_id(campaign_id)
    keys = keys_of_campaign(campaign_id)
    return Call(
        script("read_plan"), (keys.shard, keys.brand(campaign_id // ORDINALS), keys.campaign(campaign_id)), (LAYOUT,)
    )


def read_status(reply: Reply, campaign_id: int) -> CampaignStatus:
    """The status of a campaign in a reply of `read_plan`. Raises NotReady, NotFound, UnreadableReply."""
    try:
        return _status_of(reply, campaign_id)
    except BudgetError:
        raise
    except Exception as error:
        raise unreadable(f"status of campaign {campaign_id}", error, counts=False) from error


def _status_of(reply: Reply, campaign_id: int) -> CampaignStatus:
    if head(reply) == NOT_READY:
        raise NotReady(
            f"Redis is not ready ({reply[1].decode()}): it is being rebuilt from PostgreSQL, repeat in a moment"
        )
    if not reply[4]:
        raise NotFound(f"campaign {campaign_id} is not known: create it, or check the id with `campaign list`")
    return CampaignStatus(reasons_of(int(reply[4].split(b":")[2])))


def status_unknown(failure: NoAnswer, campaign_id: int) -> Unavailable:
    """The error for a status call without a reply, or without a readable one."""
    kind = UnreadableReply if isinstance(failure, Unreadable) else Unavailable
    return kind(f"status of campaign {campaign_id} is not known: {failure.why}", "")


def checked_request_id(given: str | None) -> str:
    return next_id() if given is None else check_text_id(given, "request_id")
