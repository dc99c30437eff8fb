"""Converts the scripts' replies into results and errors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from engine.domain.budget import MOVED_CAUSES
from engine.domain.causes import FLIGHT, PACING, RATE, Status, in_order, reasons_of, status_of
from engine.domain.ids import brand_of
from engine.domain.money import to_decimal
from engine.domain.pass_rate import WHOLE
from engine.domain.periods import at_ms
from engine.errors import InvalidInput, ServerRefuses, Unavailable, UnreadableReply, WrongVersion, shown
from engine.live.figures import WITH_STARTS, Figures, figures_in
from engine.live.packed import each_of
from engine.live.scripts import LAYOUT
from engine.live.transport.pool import NoAnswer, Reply, Unreadable, named

RECORDED: Final = "recorded"
ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
DUPLICATE: Final = "duplicate"
CONFLICT: Final = "conflict"
UNKNOWN_CAMPAIGN: Final = "unknown_campaign"
NOT_READY: Final = "not_ready"

COUNTED_WORDS: Final = frozenset({RECORDED, ACCEPTED, DUPLICATE})
"""The outcomes of a spend that is counted."""

_OUTCOMES: Final = {"d": DUPLICATE, "c": CONFLICT, "u": UNKNOWN_CAMPAIGN}
_BY_CLOCK: Final = ((FLIGHT,), (PACING,), (RATE,))  # causes that end at an instant which a reply names
_RUN: Final = re.compile(r"([kdcu]|x\d+)\*(\d+)")


class Answered:
    """The common fields of every result.

    outcome: one word. reasons: why the campaign is not running after the call, or for `refused` why. The figures are
    the brand's, Decimals of six places or None (no limit, or not known). detail: why a `not_ready` shard is not ready
    (`rebuilding`, `unmarked`, `clock`, `lost`).
    A result is true when the money was counted as the call requested, and false otherwise: `if client.try_spend(...)`
    never bids on a refused spend.
    """

    __slots__ = ("_replicated", "campaign_id", "detail", "figures", "outcome", "reasons")

    def __init__(
        self,
        campaign_id: int,
        outcome: str,
        reasons: tuple[str, ...] = (),
        figures: Figures | None = None,
        detail: str = "",
    ) -> None:
        self.campaign_id = campaign_id
        self.outcome = outcome
        self.reasons = reasons
        self.detail = detail
        self.figures = figures

    def __bool__(self) -> bool:
        raise NotImplementedError

    @property
    def replicated(self) -> bool | None:
        """Whether enough replicas confirmed the call in time, where the client waits for them (`wait_replicas`).

        False: it is counted by the primary, and may be lost if that dies now. None: the client did not ask, or
        nothing was counted.
        """
        # A slot that is mostly empty: writing None into every result would cost each spend.
        return getattr(self, "_replicated", None) if self else None

    @replicated.setter
    def replicated(self, enough: bool) -> None:
        self._replicated = enough

    @property
    def daily_spend(self) -> Decimal | None:
        return None if self.figures is None else to_decimal(self.figures.daily_spend)

    @property
    def monthly_spend(self) -> Decimal | None:
        return None if self.figures is None else to_decimal(self.figures.monthly_spend)

    @property
    def retry_at(self) -> datetime | None:
        """When a call that was refused would be accepted if nothing else were spent until then, exact to the
        millisecond: when its next flight begins, pacing lets it pass or, after its minute's limit, the next minute begins.
        Holds are taken to stay open. None where it is not known, or something else stops it.
        """
        if self.figures is None or self.reasons not in _BY_CLOCK:
            return None
        start = self.figures.starts.get(self.campaign_id)
        return None if start is None else at_ms(start)

    @property
    def pass_rate(self) -> float:
        """Which part of the campaign's offers to try in the minute of the call, above 0 to 1: pacing refuses most of
        what is tried beyond it. 1.0 without pacing, and where nothing is known.
        """
        return 1.0 if self.figures is None else self.figures.rates.get(self.campaign_id, WHOLE) / WHOLE

    @property
    def daily_remaining(self) -> Decimal | None:
        """What is left of the daily budget, negative when record calls exceeded it."""
        figures = self.figures
        return (
            None
            if figures is None or figures.daily_limit is None
            else to_decimal(figures.daily_limit - figures.daily_spend)
        )

    @property
    def monthly_remaining(self) -> Decimal | None:
        """What is left of the monthly budget, negative when record calls exceeded it."""
        figures = self.figures
        return (
            None
            if figures is None or figures.monthly_limit is None
            else to_decimal(figures.monthly_limit - figures.monthly_spend)
        )

    def __repr__(self) -> str:
        try:
            figures = f", daily_spend={self.daily_spend}, monthly_spend={self.monthly_spend}" if self.figures else ""
        except UnreadableReply:  # a log line about it must not fail
            figures = ", figures unreadable"
        detail = f", detail={self.detail!r}" if self.detail else ""
        replicated = "" if self.replicated is None else f", replicated={self.replicated}"
        return f"{type(self).__name__}({self.outcome!r}, campaign_id={self.campaign_id}, reasons={self.reasons}{figures}{detail}{replicated})"


class SpendResult(Answered):
    """The result of one spend: `recorded`, `accepted`, `refused`, `duplicate`, `conflict`, `unknown_campaign` or
    `not_ready`.

    True when the spend is counted, now or by an earlier call: `recorded`, `accepted`, `duplicate`.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return self.outcome in COUNTED_WORDS

    def see(self, figures: Figures | None, own: Collection[str] = ()) -> None:
        """Sets later figures and the causes that follow from them, before the caller has the result; a refusal keeps
        its causes. own: the campaign's own budgets that are used up now.
        """
        if figures is None or figures is self.figures or self.figures is None:
            return
        if self.figures.starts:
            figures.starts = {**self.figures.starts, **figures.starts}
        if self.figures.rates:
            figures.rates = {**self.figures.rates, **figures.rates}
        self.figures = figures
        if self.outcome != REFUSED:
            used_up = figures.causes()
            if used_up or self.reasons or own:
                kept = set(self.reasons) - MOVED_CAUSES - {budget.cause for budget in figures.budgets}
                self.reasons = in_order(kept.union(used_up, own))


class CampaignStatus:
    """Whether a campaign runs now: status `active` or `paused`, and the causes. True when it is active."""

    __slots__ = ("reasons", "status")

    def __init__(self, reasons: tuple[str, ...]) -> None:
        self.status: Status = status_of(reasons)
        self.reasons = reasons

    def __bool__(self) -> bool:
        return self.status == "active"

    def __repr__(self) -> str:
        return f"CampaignStatus({self.status!r}, reasons={self.reasons})"


def head(reply: Reply) -> str:
    """The first word of a reply. Raises WrongVersion and InvalidInput for the replies that are errors."""
    word: str = reply[0].decode()
    if word == "wrong_version":
        theirs = reply[1].decode()
        older = "this program" if int(theirs) > int(LAYOUT) else "Redis' data"
        raise WrongVersion(
            f"Redis holds layout {theirs}, this program speaks {LAYOUT}: upgrade {older}; nothing was written"
        )
    if word == "invalid":
        raise InvalidInput(
            f"Redis refused {reply[2].decode()} of spend {reply[1]}: nothing was written", reply[2].decode()
        )
    if word == "foreign":
        raise ServerRefuses(
            f"Redis is marked by another instance ({reply[1].decode()}): check REDIS_URL and DATABASE_URL belong together"
        )
    return word


def optional_int(text: str) -> int | None:
    """A limit as scripts write it; empty is none."""
    return int(text) if text else None


def read_figures(reply: Reply) -> tuple[dict[int, Figures], dict[int, int]]:
    """The brands' figures and the campaigns' causes at the end of a reply."""
    masks: dict[int, int] = {}
    for line in reply[3].decode().split(";") if reply[3] else ():
        campaign, mask, *_ = line.split(":")
        masks[int(campaign)] = int(mask)
    return figures_in(reply), masks


def spend_result(reply: Reply, campaign_id: int, counted_word: str) -> SpendResult:
    """The result of a charge of one spend."""
    if reply[0] != b"ok" or reply[1] != b"k*1":
        return spend_results(reply, (campaign_id,), counted_word)[0]
    mask = reply[3].split(b":", 2)[1]
    if len(reply) >= WITH_STARTS:
        return SpendResult(campaign_id, counted_word, reasons_of(int(mask)), figures_in(reply)[brand_of(campaign_id)])
    return SpendResult(campaign_id, counted_word, reasons_of(int(mask)), Figures(reply[2]))


class Counted:
    """The results of a charge in which each spend is counted, the usual case. They are made while Redis works, and
    used only if its reply confirms them.
    """

    __slots__ = ("_by_campaign", "_results", "_running")

    def __init__(self, campaign_ids: Sequence[int], campaigns: Iterable[int]) -> None:
        self._by_campaign = {campaign_id: SpendResult(campaign_id, "") for campaign_id in campaigns}
        self._results = list(each_of(self._by_campaign, campaign_ids))
        self._running = ";".join([f"{campaign_id}:0" for campaign_id in self._by_campaign]).encode()
        """The end of the reply if all campaigns go on running."""

    def told(self, reply: Reply, counted_word: str) -> list[SpendResult] | None:
        """The results in the order of the spends; None where not all were counted."""
        if reply[0] != b"ok" or reply[1] != b"k*%d" % len(self._results):
            return None
        figures, masks = (figures_in(reply), None) if reply[3] == self._running else read_figures(reply)
        for campaign_id, result in self._by_campaign.items():
            result.outcome = counted_word
            result.figures = figures.get(brand_of(campaign_id))
            if masks is not None:
                result.reasons = reasons_of(masks.get(campaign_id, 0))
        return self._results


class Run(NamedTuple):
    """Consecutive spends with the same outcome. refused: the causes, where they were refused."""

    outcome: str
    spends: int
    refused: tuple[str, ...] | None


class ChargeReply:
    """The reply to one charge. The results of its spends are made on first access.

    counted_word: `recorded` or `accepted`, by the verb of the call. campaigns: each campaign once, where that is
    known. Raises what `head` raises, and ValueError for a reply that does not fit these spends.
    """

    __slots__ = ("_campaign_ids", "_counted_word", "_detail", "_figures", "_masks", "runs")

    def __init__(
        self, reply: Reply, campaign_ids: Sequence[int], counted_word: str, campaigns: Collection[int] | None = None
    ) -> None:
        self._campaign_ids = campaign_ids
        self._counted_word = counted_word
        self._detail = ""
        self._figures: dict[int, Figures] = {}
        self._masks: dict[int, int] = {}
        size = len(campaign_ids)
        if head(reply) == NOT_READY:
            self._detail = reply[1].decode()
            self.runs = [Run(NOT_READY, size, None)]
            return
        self._figures, self._masks = read_figures(reply)
        self.runs = [self._run(code, int(spends)) for code, spends in _RUN.findall(reply[1].decode())]
        told = 0
        for run in self.runs:
            if run.outcome == counted_word:
                whole = campaigns is not None and run.spends == size
                counted = campaigns if whole else campaign_ids[told : told + run.spends]
                if not self._masks.keys() >= set(counted or ()):
                    raise ValueError(f"{shown(reply[3])} leaves out a campaign that was counted")
            told += run.spends
        if told != size:
            raise ValueError(f"{shown(reply[1])} are the outcomes of {told} spends, not of {size}")

    def _run(self, code: str, spends: int) -> Run:
        refused = reasons_of(int(code[1:])) if code[0] == "x" else None
        return Run(self._counted_word if code == "k" else REFUSED if refused else _OUTCOMES[code], spends, refused)

    def results(self) -> list[SpendResult]:
        """The results in the order of the spends; equal results are one object."""
        results: list[SpendResult] = []
        for run in self.runs:
            ids = self._campaign_ids[len(results) : len(results) + run.spends]
            made = {campaign_id: self._result(run, campaign_id) for campaign_id in set(ids)}
            results += each_of(made, ids)
        return results

    def _result(self, run: Run, campaign_id: int) -> SpendResult:
        if run.outcome == NOT_READY:
            return SpendResult(campaign_id, NOT_READY, detail=self._detail)
        reasons = run.refused if run.refused is not None else reasons_of(self._masks.get(campaign_id, 0))
        return SpendResult(campaign_id, run.outcome, reasons, self._figures.get(brand_of(campaign_id)))


def spend_results(reply: Reply, campaign_ids: Sequence[int], counted_word: str) -> list[SpendResult]:
    """The results of one charge in the order of its spends. counted_word, errors: as `ChargeReply`."""
    return ChargeReply(reply, campaign_ids, counted_word).results()


def unavailable(failure: NoAnswer, request: str, answers: Sequence[SpendResult | None], where: str = "") -> Unavailable:
    """The error for a spend without a readable reply. where: the only client on which it can be repeated."""
    kind = UnreadableReply if isinstance(failure, Unreadable) else Unavailable
    return kind(f"{failure.why}; repeat with request_id {request}{where}: nothing is counted twice", request, answers)


def unreadable(
    what: str, error: Exception, request: str = "", answers: Sequence[SpendResult | None] = (), *, counts: bool = True
) -> UnreadableReply:
    """The error for a reply that cannot be read. what: the call. request: the id under which to repeat it, where it
    has one. counts: whether the call may have changed anything.
    """
    under = f" with request_id {request}" if request else ""
    repeat = f"; it may have been counted: repeat it{under}, nothing is counted twice" if counts else ""
    return UnreadableReply(f"the answer to {what} cannot be read ({named(error)}){repeat}", request, answers)
