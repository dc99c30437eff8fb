"""POST /spend, /spends, /holds and /refunds: straight to Redis through the bidder's client, without PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal, NotRequired

from flask import Response, current_app
from pydantic import Field
from typing_extensions import TypedDict

from api import access
from api.problems import problem, said_of
from api.reading import Answer, Body, KeyHeader, Path, reads
from api.results import answer, of_hold, of_refund, of_spend, of_spends
from api.routes import routes
from engine.client.holds import HoldResult, RefundResult
from engine.client.request_ids import next_id
from engine.client.spends import SpendLike
from engine.client.sync import BudgetClient
from engine.domain.ids import MAX_CAMPAIGN_ID, MIN_CAMPAIGN_ID, TEXT_ID, brand_of, check_campaign_id, check_text_id
from engine.errors import BudgetError, InvalidId, InvalidInput, Unavailable
from engine.live.replies import NOT_READY, Answered, SpendResult
from web.services import services

IN_HOLD: Final = "/api/v1/holds/"
"""The address of a hold begins so."""
MOST: Final = 1000
"""Spends of one request."""
CLIENT: Final = "budget_client"
blueprint = routes("spending", __name__)

TextId = Annotated[str, Field(pattern=f"^{TEXT_ID}$")]
CampaignId = Annotated[int, Field(ge=MIN_CAMPAIGN_ID, le=MAX_CAMPAIGN_ID)]
Amount = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,16}(\.[0-9]{1,6}0{0,58})?$",
        description="A decimal above 0 with at most six places",
        examples=["0.001234"],
    ),
]
Mode = Annotated[
    Literal["record", "try"],
    Field("record", description="record: counted whatever the budget. try: counted if every budget allows it"),
]
Figure = Annotated[str | None, Field(None, examples=["12.500000"])]


EventId = Annotated[TextId | None, Field(description="The exchange's id of the win notice: the same one counts once")]
OccurredAt = Annotated[datetime | None, Field(description="When the impression was, with a time zone")]


class ModedSpend(Body):
    """One spend, and how it is to be counted."""

    campaign_id: CampaignId
    amount: Amount
    event_id: EventId = None
    occurred_at: OccurredAt = None
    mode: Mode


class SpendIn(TypedDict):
    """One spend of many."""

    # A dict, which is read twice as fast as a model: a batch has up to a thousand of them.
    __pydantic_config__ = Body.model_config  # type: ignore[misc]  # pydantic's own way
    campaign_id: CampaignId
    amount: Amount
    event_id: NotRequired[EventId]
    occurred_at: NotRequired[OccurredAt]


class SpendsIn(Body):
    """Many spends of any brands; each has its own outcome."""

    spends: Annotated[list[SpendIn], Field(min_length=1, max_length=MOST)]
    mode: Mode


class HoldIn(Body):
    """An amount to hold for a bid."""

    campaign_id: CampaignId
    amount: Amount
    ttl: Annotated[float, Field(ge=0.001, le=86_400, description="Seconds")]
    hold_id: TextId | None = Field(None, description="Names the hold; without it, the Idempotency-Key does")


class SettleIn(Body):
    """The price of a win."""

    campaign_id: CampaignId
    amount: Amount


class ReleaseIn(Body):
    """A lost bid."""

    campaign_id: CampaignId


class RefundIn(Body):
    """What is given back of a spend."""

    campaign_id: CampaignId
    amount: Amount
    event_id: TextId
    spent_on: date | None = Field(
        None, description="The day of the spend by its brand's clock, for one that is older than the memory"
    )
    refund_id: TextId | None = Field(None, description="Names a part, where a spend has several refunds")


class HoldPath(Path):
    """The address of a hold."""

    hold_id: Annotated[str, Field(min_length=1, max_length=96, description="As POST /holds took or returned it")]


class Result(Answer):
    """What every answer has. The figures are the brand's after the call; null is no limit, or not known."""

    campaign_id: int
    outcome: str
    reasons: list[str] = Field(description="Why the campaign is not running, or for `refused` why")
    daily_spend: Figure
    monthly_spend: Figure
    daily_remaining: Figure
    monthly_remaining: Figure
    replicated: bool | None = Field(None, description="Only with BUDGET_WAIT_REPLICAS: replicas have it")


class SpendOut(Result):
    """What became of a spend."""

    outcome: str = Field(description="recorded, accepted, refused, duplicate, conflict or unknown_campaign")
    retry_at: str | None = Field(None, description="When the same try would be accepted, where a clock decides it")
    pass_rate: float = Field(description="Which part of the offers to try under pacing; 1 without it")


class SpendsOut(Answer):
    """What became of each spend, in the order of the request."""

    request_id: str
    results: list[SpendOut]


class HoldOut(Result):
    """What became of a hold."""

    outcome: str = Field(description="accepted, refused, settled, released, expired, unknown_hold or conflict")
    hold_id: str
    mark: str | None = Field(None, description="late or over, where a price came late or was above what was held")


class RefundOut(Result):
    """What became of a refund."""

    outcome: str = Field(description="refunded, pending, refused, conflict, unknown_event or unknown_campaign")
    detail: str | None = None


@blueprint.post("/spend", responses={200: SpendOut})
@reads
def spend(body: ModedSpend, header: KeyHeader) -> Response:
    """Report or try one spend.

    The Idempotency-Key is the request id: a repeat with it counts once. A refusal is an answer, 200 with the outcome `refused`.
    """
    access.check_spends((check_campaign_id(body.campaign_id),))
    request_id = header.key or next_id()
    call = _client().try_spend if body.mode == "try" else _client().record_spend
    result = call(
        body.campaign_id, body.amount, event_id=body.event_id, request_id=request_id, occurred_at=body.occurred_at
    )
    if result.outcome == NOT_READY:
        return _not_ready(result, request_id)
    return Response(of_spend(result), content_type="application/json")


@blueprint.post("/spends", responses={200: SpendsOut})
@reads
def spends(body: SpendsIn, header: KeyHeader) -> Response:
    """Report or try up to 1,000 spends.

    All are checked before the first is counted; then each has its own outcome. 503 when none could be taken: repeat the same request with the
    `request_id` of the answer as its Idempotency-Key, and nothing counts twice.
    """
    access.check_spends((one["campaign_id"] for one in body.spends), indexed=True)
    request_id = header.key or next_id()
    call = _client().try_spends if body.mode == "try" else _client().record_spends
    try:
        results = call(rows_of(body.spends), request_id=request_id)
    except Unavailable as error:
        said = said_of(error)
        return problem(said.status, said.detail, **said.more, results=known_results(error))
    if none_is_ready(results):
        return _not_ready(results[0], request_id)
    return Response(text_of_batch(request_id, results), content_type="application/json")


def rows_of(spends: Sequence[SpendIn]) -> Sequence[SpendLike]:
    """The spends of a batch as the client takes them."""
    longest = max(map(len, spends))
    if longest == 2:
        return [(one["campaign_id"], one["amount"]) for one in spends]
    if longest == 3 and not any("occurred_at" in one for one in spends):
        return [(one["campaign_id"], one["amount"], one.get("event_id")) for one in spends]
    return [(one["campaign_id"], one["amount"], one.get("event_id"), one.get("occurred_at")) for one in spends]


def known_results(error: Unavailable) -> Any:
    """What is known of a batch without all its answers: null for a spend of which nothing is, None where that is all of them."""
    return json.loads(of_spends(error.answers)) if any(error.answers) else None  # type: ignore[arg-type]  # those without an answer are null


def none_is_ready(results: Sequence[SpendResult]) -> bool:
    """Whether Redis took nothing of a batch."""
    return results[0].outcome == NOT_READY and all(one.outcome == NOT_READY for one in results)


def text_of_batch(request_id: str, results: Sequence[SpendResult]) -> str:
    """The JSON of a batch's answer."""
    return f'{{"request_id": {json.dumps(request_id)}, "results": {of_spends(results)}}}'


@blueprint.post("/holds", responses={200: HoldOut})
@reads
def hold(body: HoldIn, header: KeyHeader) -> Response:
    """Hold an amount before a bid, so that no other bid takes it."""
    access.check_spends((check_campaign_id(body.campaign_id),))
    name = body.hold_id or header.key
    if name is None:
        raise InvalidId("hold_id is missing: name the hold, or send an Idempotency-Key, so that a repeat holds once", "hold_id")  # fmt: skip
    return _of_hold(_client().reserve(body.campaign_id, body.amount, body.ttl, name))


@blueprint.post("/holds/<path:hold_id>/settle", responses={200: HoldOut})
@reads
def settle(path: HoldPath, body: SettleIn, header: KeyHeader) -> Response:
    """Count the price of a win, and give the rest of its hold back. A repeat gets the same answer."""
    hold_id = _whole(path.hold_id, body.campaign_id)
    return _of_hold(_client().settle(hold_id, body.amount))


@blueprint.post("/holds/<path:hold_id>/release", responses={200: HoldOut})
@reads
def release(path: HoldPath, body: ReleaseIn, header: KeyHeader) -> Response:
    """Give a whole hold back. A repeat gets the same answer."""
    return _of_hold(_client().release(_whole(path.hold_id, body.campaign_id)))


@blueprint.post("/refunds", responses={200: RefundOut})
@reads
def refund(body: RefundIn, header: KeyHeader) -> Response:
    """Give back a spend, or a part of it: once, and never more than was spent. A repeat gets the same answer."""
    access.check_spends((check_campaign_id(body.campaign_id),))
    try:
        result: RefundResult = _client().refund(
            body.campaign_id, body.amount, body.event_id, spent_on=body.spent_on, refund_id=body.refund_id
        )
    except InvalidInput as error:
        if error.field == "spent_on":
            raise InvalidInput(f"{error}{_clock_of(brand_of(body.campaign_id))}", error.field) from None
        raise
    return _not_ready(result, body.event_id) if result.outcome == NOT_READY else answer(of_refund(result))


def _clock_of(brand_id: int) -> str:
    """The end of a sentence that names a brand's time zone; nothing where the catalog cannot be asked, as no spend needs it."""
    with suppress(BudgetError):
        brand = services().overview.brand(brand_id, alone=True)
        return f"; it is {brand.local.words(brand.now_ms, '%Y-%m-%d %H:%M')} there"
    return ""


def _of_hold(result: HoldResult) -> Response:
    return _not_ready(result, result.hold_id) if result.outcome == NOT_READY else answer(of_hold(result))


def _whole(hold_id: str, campaign_id: int) -> str:
    """A hold's id with its campaign, for a token that may spend for it. Raises InvalidId, OutOfScope."""
    access.check_spends((check_campaign_id(campaign_id),))
    return whole_id(hold_id, campaign_id)


def whole_id(hold_id: str, campaign_id: int) -> str:
    """A hold's id with its campaign, whether or not the address has it. Raises InvalidId."""
    return f"{campaign_id}:{check_text_id(hold_id.removeprefix(f'{campaign_id}:'), 'hold_id')}"


def _not_ready(result: Answered, request_id: str | None) -> Response:
    return problem(503, said_not_ready(result), request_id=request_id)


def said_not_ready(result: Answered) -> str:
    """Why nothing was counted."""
    return f"Redis cannot take it now ({result.detail or 'not ready'}), and nothing was counted: repeat it in a moment."


def _client() -> BudgetClient:
    found = current_app.extensions[CLIENT]
    assert isinstance(found, BudgetClient)
    return found
