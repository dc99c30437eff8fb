"""What bidders import: `BudgetClient`. It needs redis-py and nothing else of this house's outer rooms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Final, NamedTuple

from engine.domain.causes import reasons_of
from engine.domain.ids import ORDINALS, check_campaign_id, check_text_id, shard_of
from engine.domain.money import check_amount_micros, parse_amount
from engine.domain.periods import ms_of
from engine.errors import BudgetError, InvalidAmount, InvalidInput, NotFound, NotReady, Unavailable, shown
from engine.live.holds import HoldCalls
from engine.live.keys import ShardKeys, keys_of_campaign, shard_keys
from engine.live.replies import ACCEPTED, NOT_READY, RECORDED, CampaignStatus, Figures, SpendResult, head, spend_results
from engine.live.requests import next_id
from engine.live.scripts import LAYOUT, Script, script
from engine.live.watch import Watch
from engine.live.wire import Call, NoAnswer, Reply, Wire
from engine.settings import hot_redis_url

RECORD: Final = "record_spends"
TRY: Final = "try_spends"
MAX_SPENDS_A_CALL: Final = 1000
MAX_SPENDS_WITH_IDS: Final = 200
MAX_CAMPAIGNS_A_CALL: Final = 200


class Spend(NamedTuple):
    """One spend of a batch: `amount` is a decimal string or Decimal, or `amount_micros` an int; one of the two."""

    campaign_id: int
    amount: str | Decimal | None = None
    event_id: str | None = None
    amount_micros: int | None = None
    occurred_at: datetime | None = None


class BudgetClient(HoldCalls):
    """Reports spends to the budget engine. Thread-safe, usable after fork.

    Every call is bounded by `timeout_ms`, repeats included. When it passes, `Unavailable` carries the request id: repeating with it is safe.
    """

    def __init__(self, wire: Wire, timeout_ms: int = 250) -> None:
        if type(timeout_ms) is not int or timeout_ms <= 0:
            raise InvalidInput(
                f"timeout_ms {shown(timeout_ms)} is not a whole number of milliseconds above 0", "timeout_ms"
            )
        self._wire = wire
        self._timeout_s = timeout_ms / 1000

    @classmethod
    def from_url(cls, url: str, timeout_ms: int = 250) -> BudgetClient:
        """A client for the Redis at `url` (any form that redis-py takes)."""
        return cls(Wire(url), timeout_ms)

    @classmethod
    def from_env(cls, timeout_ms: int = 250) -> BudgetClient:
        """A client for REDIS_URL, or for the embedded servers that run on BUDGET_DATA_DIR."""
        return cls.from_url(hot_redis_url(), timeout_ms)

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
        """States that money was spent: counted and logged, even past a budget or on a paused campaign; the answer says so.

        amount: a decimal string or Decimal with at most six places, or whole micros in amount_micros. event_id: the exchange's id of the
        win notice; the same one again is `duplicate`, with another campaign or amount `conflict`. request_id: names the call, so that
        repeating it counts once; made when none is given. Raises InvalidAmount, InvalidId, Unavailable, WrongVersion.
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
        """Asks to spend: `accepted` and counted, or `refused` with its causes and nothing consumed. No budget is ever exceeded by it.

        Parameters and errors as `record_spend`.
        """
        return self._one(TRY, ACCEPTED, campaign_id, amount, amount_micros, event_id, request_id, occurred_at)

    def record_spends(self, spends: Iterable[Spend], *, request_id: str | None = None) -> list[SpendResult]:
        """Many facts at once, of any brands: one result a spend, in order, with figures after the whole batch.

        The batch is validated whole before anything is sent; the error names the index. Then each spend has its own outcome. A batch that
        needs several calls names them `<request id>/<shard>/<chunk>`.
        """
        return self._many(RECORD, RECORDED, spends, request_id)

    def try_spends(self, spends: Iterable[Spend], *, request_id: str | None = None) -> list[SpendResult]:
        """Many questions at once; as `record_spends`. Each is judged after those before it."""
        return self._many(TRY, ACCEPTED, spends, request_id)

    def status(self, campaign_id: int) -> CampaignStatus:
        """Whether the campaign may run this millisecond, and if not why. Raises NotFound, NotReady, InvalidId, Unavailable."""
        check_campaign_id(campaign_id)
        keys = keys_of_campaign(campaign_id)
        call = Call(
            script("read_plan"),
            (keys.shard, keys.brand(campaign_id // ORDINALS), keys.campaign(campaign_id)),
            (LAYOUT,),
        )
        try:
            reply = self._wire.call(call, self._timeout_s)
        except NoAnswer as failure:
            raise Unavailable(f"status of campaign {campaign_id} is not known: {failure.why}", "") from None
        if head(reply) == NOT_READY:
            raise NotReady(
                f"Redis is not ready ({reply[1].decode()}): it is being rebuilt from PostgreSQL, repeat in a moment"
            )
        if not reply[4]:
            raise NotFound(f"campaign {campaign_id} is not known: create it, or check the id with `campaign list`")
        return CampaignStatus(reasons_of(int(reply[4].split(b":")[2])))

    def watch(
        self,
        *,
        brands: Iterable[int] | None = None,
        campaigns: Iterable[int] | None = None,
        fail_open: bool = False,
    ) -> Watch:
        """A local picture of which campaigns may run: `watch.may_bid(campaign_id)` asks no network. Close it, or use it in a `with`.

        brands, campaigns: keep only these (together: both), else all. fail_open: see `Watch`. It reads its snapshot in the background:
        `watch.wait_ready(seconds)` waits for it. Raises InvalidId.
        """
        return Watch(self._wire, brands=brands, campaigns=campaigns, fail_open=fail_open)

    def close(self) -> None:
        """Closes the connections."""
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
        line = _line(campaign_id, amount, event_id, amount_micros, occurred_at)
        request = _request_id(request_id)
        keys = keys_of_campaign(campaign_id)
        call = Call(
            script(verb),
            (*keys.fixed, *_plan_keys(keys, verb, (campaign_id // ORDINALS,), (campaign_id,))),
            (LAYOUT, request, line),
        )
        try:
            return spend_results(self._wire.call(call, self._timeout_s), (campaign_id,), counted_word)[0]
        except NoAnswer as failure:
            raise _unavailable(failure, request, [None]) from None

    def _many(self, verb: str, counted_word: str, spends: Iterable[Spend], request_id: str | None) -> list[SpendResult]:
        request = _request_id(request_id)
        lines: list[tuple[int, str, bool]] = []
        for index, spend in enumerate(spends):
            try:
                campaign_id, amount, event_id, amount_micros, occurred_at = spend
                lines.append(
                    (
                        campaign_id,
                        _line(campaign_id, amount, event_id, amount_micros, occurred_at),
                        event_id is not None,
                    )
                )
            except InvalidInput as error:
                raise type(error)(f"spends[{index}]: {error}", f"spends[{index}].{error.field}") from None
            except (TypeError, ValueError):
                raise InvalidInput(f"spends[{index}] {shown(spend)} is not a Spend", f"spends[{index}]") from None
        pieces = _pieces(lines)
        if not pieces:
            return []
        code = script(verb)
        calls = [
            _batch_call(code, piece, request if len(pieces) == 1 else f"{request}/{piece.name}") for piece in pieces
        ]
        try:
            return _in_order(pieces, list(self._wire.call_all(calls, self._timeout_s)), counted_word, len(lines))  # type: ignore[return-value]  # all there
        except NoAnswer as failure:
            answers = _in_order(pieces, failure.replies, counted_word, len(lines))
            raise _unavailable(failure, request, answers) from None


class _Piece:
    """The spends of one script call: their places in the batch, their campaigns and their lines."""

    __slots__ = ("campaign_ids", "lines", "name", "places", "shard", "with_ids")

    def __init__(self, shard: int, chunk: int) -> None:
        self.shard = shard
        self.name = f"{shard}/{chunk}"
        self.places: list[int] = []
        self.campaign_ids: list[int] = []
        self.lines: list[str] = []
        self.with_ids = False

    def takes(self, campaigns: set[int], campaign_id: int, with_id: bool) -> bool:
        limit = MAX_SPENDS_WITH_IDS if with_id or self.with_ids else MAX_SPENDS_A_CALL
        return len(self.lines) < limit and (len(campaigns) < MAX_CAMPAIGNS_A_CALL or campaign_id in campaigns)


def _pieces(lines: Sequence[tuple[int, str, bool]]) -> list[_Piece]:
    """Groups spends by shard, order kept, and cuts each group to what one call may carry."""
    pieces: list[_Piece] = []
    open_pieces: dict[int, tuple[_Piece, set[int]]] = {}
    chunks: dict[int, count[int]] = {}
    for place, (campaign_id, line, with_id) in enumerate(lines):
        shard = shard_of(campaign_id // ORDINALS)
        piece, campaigns = open_pieces.get(shard, (None, set()))
        if piece is None or not piece.takes(campaigns, campaign_id, with_id):
            piece, campaigns = _Piece(shard, next(chunks.setdefault(shard, count()))), set()
            open_pieces[shard] = (piece, campaigns)
            pieces.append(piece)
        campaigns.add(campaign_id)
        piece.places.append(place)
        piece.campaign_ids.append(campaign_id)
        piece.lines.append(line)
        piece.with_ids = piece.with_ids or with_id
    return pieces


def _batch_call(code: Script, piece: _Piece, request: str) -> Call:
    keys = shard_keys(piece.shard)
    campaigns = dict.fromkeys(piece.campaign_ids)
    brands = dict.fromkeys(campaign_id // ORDINALS for campaign_id in campaigns)
    plan = _plan_keys(keys, code.name, brands, campaigns)
    return Call(code, (*keys.fixed, *plan), (LAYOUT, request, "".join(piece.lines)))


def _plan_keys(keys: ShardKeys, verb: str, brands: Iterable[int], campaigns: Iterable[int]) -> list[str]:
    """The keys of the brands and campaigns that a call names; one that asks (try) also sees what is on hold."""
    plan: list[str] = []
    for brand_id in brands:
        plan.append(keys.brand(brand_id))
        if verb == TRY:
            plan += keys.holds(brand_id)
    plan += map(keys.campaign, campaigns)
    return plan


def _in_order(
    pieces: Sequence[_Piece], replies: Sequence[Reply | None], counted_word: str, size: int
) -> list[SpendResult | None]:
    """The answers in the order of the batch, all with the figures after the last piece of their brand."""
    answers: list[SpendResult | None] = [None] * size
    last: dict[int, Figures] = {}
    for piece, reply in zip(pieces, replies, strict=True):
        if reply is not None:
            for place, result in zip(piece.places, spend_results(reply, piece.campaign_ids, counted_word), strict=True):
                answers[place] = result
                if result.figures is not None:
                    last[result.campaign_id // ORDINALS] = result.figures
    if len(pieces) > len({piece.shard for piece in pieces}):
        answers = [answer and answer.with_figures(last.get(answer.campaign_id // ORDINALS)) for answer in answers]
    return answers


def _line(
    campaign_id: int,
    amount: str | Decimal | None,
    event_id: str | None,
    amount_micros: int | None,
    occurred_at: datetime | None,
) -> str:
    """One spend as the scripts take it (`lua/lib/charge.lua`), after every check that Python can make."""
    check_campaign_id(campaign_id)
    if amount_micros is None:
        if amount is None:
            raise InvalidAmount(
                "amount is missing: give a decimal string or Decimal, or whole micros in amount_micros", "amount"
            )
        amount_micros = parse_amount(amount)
    elif amount is not None:
        raise InvalidAmount("amount and amount_micros are both given: give one of the two", "amount_micros")
    else:
        check_amount_micros(amount_micros)
    if event_id is not None:
        check_text_id(event_id, "event_id")
    if occurred_at is None:
        return f"{campaign_id},{amount_micros},{event_id or ''},;"
    return f"{campaign_id},{amount_micros},{event_id or ''},{_occurred_ms(occurred_at)};"


def _occurred_ms(at: datetime) -> int:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise InvalidInput(
            f"occurred_at {shown(at)} is not an instant: give a datetime with a time zone", "occurred_at"
        )
    ms = ms_of(at)
    if ms < 0:
        raise InvalidInput(
            f"occurred_at {shown(str(at))} is before 1970: give the instant of the impression", "occurred_at"
        )
    return ms


def _unavailable(failure: NoAnswer, request: str, answers: Sequence[SpendResult | None]) -> BudgetError:
    return Unavailable(f"{failure.why}; repeat with request_id {request}: nothing is counted twice", request, answers)


def _request_id(given: str | None) -> str:
    return next_id() if given is None else check_text_id(given, "request_id")
