"""Holds and refunds for bidders: reserve before the bid, settle the real price after the win, release after a loss.

A hold counts against every budget in which it may be settled, so `try_spend` and `reserve` consider spend + open
holds. Its id has its campaign (`5308417:<id>`), so any process can settle it. Each hold ends exactly once, and a
repeated call gets the same result.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, Generic, TypeVar

from engine.client.request_ids import next_id
from engine.domain.causes import reasons_of
from engine.domain.ids import check_campaign_id, check_text_id
from engine.domain.money import micros_of
from engine.domain.periods import day_number
from engine.domain.refunds import WHY
from engine.errors import BudgetError, InvalidId, InvalidInput, Unavailable, UnreadableReply, shown
from engine.live.keys import keys_of_campaign
from engine.live.replies import (
    ACCEPTED,
    CONFLICT,
    NOT_READY,
    REFUSED,
    UNKNOWN_CAMPAIGN,
    Answered,
    head,
    read_figures,
    unreadable,
)
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call, NoAnswer, Reply, Unreadable
from engine.live.transport.protocol import Transport

SETTLED: Final = "settled"
RELEASED: Final = "released"
EXPIRED: Final = "expired"
UNKNOWN_HOLD: Final = "unknown_hold"
REFUNDED: Final = "refunded"
PENDING: Final = "pending"
UNKNOWN_EVENT: Final = "unknown_event"
LATE: Final = "late"
OVER: Final = "over"
MAX_TTL_S: Final = 86_400

_WORDS: Final = {
    "a": (ACCEPTED, ""),
    "s": (SETTLED, ""),
    "o": (SETTLED, OVER),
    "t": (SETTLED, LATE),
    "l": (RELEASED, ""),
    "e": (EXPIRED, ""),
    "n": (UNKNOWN_HOLD, ""),
    "c": (CONFLICT, ""),
    "u": (UNKNOWN_CAMPAIGN, ""),
}

_REFUNDS: Final = {
    "k": REFUNDED,
    "w": PENDING,
    "c": CONFLICT,
    "x": REFUSED,
    "n": UNKNOWN_EVENT,
    "u": UNKNOWN_CAMPAIGN,
}
"""Outcomes of `refund` by the first letter of their code."""


class HoldResult(Answered):
    """The result of reserve, settle or release.

    outcome: `accepted` or `refused` (reserve), `settled`, `released`, how the hold had ended before (`settled`,
    `released`, `expired`), `unknown_hold`, `conflict`, `unknown_campaign`, `not_ready`. mark: `late` (settled after
    its end, or never held) or `over` (settled above what was held), else empty. hold_id: the whole id, which settle
    and release take.

    True when the call did what it should: reserve `accepted`, settle `settled` (late or over too, the money is
    counted), release `released`. Else false: a release that finds its hold settled has given nothing back, and a
    settle that finds it released has counted nothing.
    """

    __slots__ = ("hold_id", "mark", "wanted")

    hold_id: str
    mark: str
    wanted: str
    """The outcome that the call requested."""

    def __bool__(self) -> bool:
        return self.outcome == self.wanted


class RefundResult(Answered):
    """The result of refund: `refunded`, `pending`, `conflict`, `refused`, `unknown_event`, `unknown_campaign` or
    `not_ready`.

    Money went back only with `refunded`; only then the result is true. `pending`: the event is outside the dedup
    window, so the spend log decides, within seconds. The same call again gets `pending` until then, and after it
    `refunded` or `refused`. detail: why it is not refunded, in a sentence.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return self.outcome == REFUNDED


AnswerT = TypeVar("AnswerT", bound=Answered)


class Asked(Generic[AnswerT]):
    """A checked call of a bidder: the script call, the id under which it is repeated, its name in messages, and how
    its reply is read.
    """

    __slots__ = ("call", "campaign_id", "own_id", "read", "what")

    def __init__(self, campaign_id: int, call: Call, own_id: str, what: str, read: Callable[[Reply], AnswerT]) -> None:
        """own_id: of the hold or the event. A call without a reply names it, as one of a spend names its request."""
        self.campaign_id = campaign_id
        self.call = call
        self.own_id = own_id
        self.what = what
        self.read = read

    def unavailable(self, failure: NoAnswer) -> Unavailable:
        """The error without a reply, or without a readable one."""
        kind = UnreadableReply if isinstance(failure, Unreadable) else Unavailable
        return kind(f"{self.what} is not known: {failure.why}; repeat it, nothing is counted twice", self.own_id)

    def answer(self, reply: Reply) -> AnswerT:
        """The result in a reply. Raises UnreadableReply, and what `head` raises."""
        try:
            return self.read(reply)
        except BudgetError:
            raise
        except Exception as error:
            failure = unreadable(self.what, error)
            failure.request_id = self.own_id
            raise failure from error


def asks_reserve(
    campaign_id: int,
    amount: str | Decimal | None,
    ttl: float | timedelta,
    hold_id: str | None,
    amount_micros: int | None,
) -> Asked[HoldResult]:
    """The call of `reserve`."""
    check_campaign_id(campaign_id)
    micros = micros_of(amount, amount_micros)
    name = _own_part(hold_id, campaign_id) if hold_id is not None else next_id()
    return _asks_hold(campaign_id, name, f"R,{campaign_id},{name},{micros},{ttl_ms(ttl)};", ACCEPTED)


def asks_settle(hold_id: str, amount: str | Decimal | None, amount_micros: int | None) -> Asked[HoldResult]:
    """The call of `settle`."""
    campaign_id, name = _parts(hold_id)
    return _asks_hold(campaign_id, name, f"S,{campaign_id},{name},{micros_of(amount, amount_micros)},;", SETTLED)


def asks_release(hold_id: str) -> Asked[HoldResult]:
    """The call of `release`."""
    campaign_id, name = _parts(hold_id)
    return _asks_hold(campaign_id, name, f"L,{campaign_id},{name},,;", RELEASED)


def asks_refund(
    campaign_id: int,
    amount: str | Decimal | None,
    event_id: str | None,
    amount_micros: int | None,
    spent_on: date | None,
    refund_id: str | None = None,
) -> Asked[RefundResult]:
    """The call of `refund`."""
    check_campaign_id(campaign_id)
    if event_id is None:
        raise InvalidId("event_id is missing: give the id that the spend had", "event_id")
    check_text_id(event_id, "event_id")
    part = "" if refund_id is None else check_text_id(refund_id, "refund_id")
    day = "" if spent_on is None else str(day_number(_a_day(spent_on)))
    keys = keys_of_campaign(campaign_id)
    args = (LAYOUT, str(campaign_id), event_id, str(micros_of(amount, amount_micros)), day, part)
    call = Call(script("refund"), (*keys.fixed, keys.brand(campaign_id >> 16), keys.campaign(campaign_id)), args)

    def read(reply: Reply) -> RefundResult:
        if reply[0] == b"invalid" and reply[2] == b"day":
            raise InvalidInput(
                f"spent_on {spent_on} is not a day of a spend, which is from 2020 on and until today by the clock of brand"
                f" {campaign_id >> 16}: give the day of the spend; nothing was written",
                "spent_on",
            )
        if head(reply) == NOT_READY:
            return RefundResult(campaign_id, NOT_READY, detail=reply[1].decode())
        code = reply[1].decode()
        if len(code) > 1 and code not in WHY:
            raise ValueError(f"{code[:20]!r} is not what becomes of a refund")
        figures, masks = read_figures(reply)
        reasons, brand = reasons_of(masks.get(campaign_id, 0)), figures.get(campaign_id >> 16)
        return RefundResult(campaign_id, _REFUNDS[code[0]], reasons, brand, WHY.get(code, ""))

    return Asked(campaign_id, call, event_id, f"refund of {event_id}", read)


def _asks_hold(campaign_id: int, name: str, operation: str, wanted: str) -> Asked[HoldResult]:
    keys = keys_of_campaign(campaign_id)
    brand_id = campaign_id >> 16
    plan = (keys.brand(brand_id), keys.campaign(campaign_id), *keys.holds(brand_id))
    hold_id = f"{campaign_id}:{name}"

    def read(reply: Reply) -> HoldResult:
        if head(reply) == NOT_READY:
            result = HoldResult(campaign_id, NOT_READY, detail=reply[1].decode())
            mark = ""
        else:
            code = reply[1].decode()
            figures, masks = read_figures(reply)
            refused = code.startswith("x")
            outcome, mark = (REFUSED, "") if refused else _WORDS[code]
            reasons = reasons_of(int(code[1:]) if refused else masks.get(campaign_id, 0))
            result = HoldResult(campaign_id, outcome, reasons, figures.get(brand_id))
        result.hold_id = hold_id
        result.mark = mark
        result.wanted = wanted
        return result

    call = Call(script("holds"), (*keys.fixed, *plan), (LAYOUT, operation))
    return Asked(campaign_id, call, hold_id, f"hold {hold_id}", read)


class HoldCalls:
    """The part of BudgetClient with holds and refunds."""

    _wire: Transport
    _timeout_s: float
    _waits: bool

    def reserve(
        self,
        campaign_id: int,
        amount: str | Decimal | None = None,
        ttl: float | timedelta = 60,
        hold_id: str | None = None,
        *,
        amount_micros: int | None = None,
    ) -> HoldResult:
        """Holds an amount for `ttl` seconds (or a timedelta; at most a day): accepted, or refused with its causes.

        hold_id: names the hold (made when none is given). The same id with the same amount gets the same result, with
        another amount `conflict`.
        Raises InvalidAmount, InvalidId, InvalidInput (ttl), Unavailable, WrongVersion.
        """
        return self._ask(asks_reserve(campaign_id, amount, ttl, hold_id, amount_micros))

    def settle(
        self, hold_id: str, amount: str | Decimal | None = None, *, amount_micros: int | None = None
    ) -> HoldResult:
        """Counts the real price and gives the rest of the hold back. The price is already spent: after the hold's end
        it is counted too, marked `late`.

        hold_id: as reserve returned it (`<campaign_id>:<id>`). Errors as reserve.
        """
        return self._ask(asks_settle(hold_id, amount, amount_micros))

    def release(self, hold_id: str) -> HoldResult:
        """Gives the whole hold back. Raises InvalidId, Unavailable, WrongVersion."""
        return self._ask(asks_release(hold_id))

    def refund(
        self,
        campaign_id: int,
        amount: str | Decimal | None = None,
        event_id: str | None = None,
        *,
        amount_micros: int | None = None,
        spent_on: date | None = None,
        refund_id: str | None = None,
    ) -> RefundResult:
        """Gives back a spend, or a part of it, with an entry of its own in the log: once, and never more than was
        spent.

        event_id: the one that the spend had. The counters of its day go down while they are open, never below 0;
        later it is a correction of a closed period. spent_on: the day of the spend by its brand's clock, needed when its event id is
        outside the dedup window (the outcome is then `unknown_event`). Then the result is `pending`, the spend log
        decides, and the same call a few seconds later gets `refunded` or `refused`. refund_id: names a partial
        refund, so that a spend can have several; without it the event has one refund. The same call again gets the
        same result.
        Raises InvalidAmount, InvalidId, InvalidInput (spent_on), Unavailable, WrongVersion.
        """
        return self._ask(asks_refund(campaign_id, amount, event_id, amount_micros, spent_on, refund_id))

    def _ask(self, asked: Asked[AnswerT]) -> AnswerT:
        try:
            answer = asked.answer(self._wire.call(asked.call, self._timeout_s))
        except NoAnswer as failure:
            raise asked.unavailable(failure) from None
        if self._waits:
            answer.replicated = asked.call.replicated
        return answer


def ttl_ms(ttl: float | timedelta, least_s: float = 0.001) -> int:
    """A time to live in milliseconds. Raises InvalidInput."""
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not least_s <= seconds <= MAX_TTL_S:
        raise InvalidInput(f"ttl {shown(ttl)} is not a time to live: give seconds from {least_s} to {MAX_TTL_S}", "ttl")
    return round(seconds * 1000)


def _a_day(spent_on: object) -> date:
    """The day of a spend. Raises InvalidInput."""
    if isinstance(spent_on, datetime) or not isinstance(spent_on, date):
        raise InvalidInput(
            f"spent_on {shown(str(spent_on))} is a {type(spent_on).__name__}: give a datetime.date, the day of the"
            " spend by its brand's clock",
            "spent_on",
        )
    if day_number(spent_on) < 0:
        raise InvalidInput(f"spent_on {spent_on} is before 1970: give the day of the spend", "spent_on")
    return spent_on


def _own_part(hold_id: str, campaign_id: int) -> str:
    """A hold's id without its campaign, which it may have already."""
    return check_text_id(hold_id.removeprefix(f"{campaign_id}:") if isinstance(hold_id, str) else hold_id, "hold_id")


def _parts(hold_id: str) -> tuple[int, str]:
    campaign, colon, name = hold_id.partition(":") if isinstance(hold_id, str) else ("", "", "")
    if not colon or not (campaign.isascii() and campaign.isdigit() and len(campaign) <= 16):
        raise InvalidId(
            f"hold_id {shown(hold_id)} does not carry its campaign: use the hold_id that reserve answered (`5308417:...`)",
            "hold_id",
        )
    return check_campaign_id(int(campaign), "hold_id"), check_text_id(name, "hold_id")
