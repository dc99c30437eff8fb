"""The twin: the rules of one installation as pure Python, without a server, a thread or a clock of its own.

It says what `lua/` must do, call by call: every test instant is an argument. `tests/twin/` drives it and real servers side by side.
What it leaves out is said here: a total beyond 9 * 10^15 micros, more than 50 holds of a brand that expire at once, and bad input.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from engine.domain.ids import brand_of, shard_of
from engine.domain.periods import HOUR_MS, MINUTE_MS
from tests.model import closing, holds, leases, publishing, rebuilding, refunds, spends
from tests.model.answers import NOT_READY, Answer
from tests.model.decisions import Ledger
from tests.model.holds import Operation
from tests.model.journal import Spend
from tests.model.late import take_grace
from tests.model.leases import Drawing, Granted, Leasing
from tests.model.plan import reasons
from tests.model.publishing import BrandPlan, CampaignPlan
from tests.model.shard import NotReady, Shard

REQUEST_WINDOW_MS: Final = 10 * MINUTE_MS
EVENT_WINDOW_MS: Final = HOUR_MS


class ReferenceModel:
    """Shards by number, and what is carried over into the log. `clock` is Redis' own time, in epoch milliseconds, of the call."""

    def __init__(self, request_window_ms: int = REQUEST_WINDOW_MS, event_window_ms: int = EVENT_WINDOW_MS) -> None:
        self.shards: defaultdict[int, Shard] = defaultdict(lambda: Shard(request_window_ms, event_window_ms))
        self.persisted: defaultdict[int, int] = defaultdict(int)
        """How many entries of each shard's journal PostgreSQL has."""
        self.ledger = Ledger()
        self.catalog: defaultdict[int, list[tuple[int, BrandPlan]]] = defaultdict(list)
        """Of each brand the catalog's plans, and the instant from which on each was there."""

    def shard(self, campaign_id: int) -> Shard:
        """The shard of a campaign."""
        return self.shards[shard_of(brand_of(campaign_id))]

    def record(self, request_id: str, given: Sequence[Spend], clock: int) -> list[Answer]:
        """States facts; answers in the order given."""
        return self._charge(spends.RECORD, request_id, given, clock)

    def try_(self, request_id: str, given: Sequence[Spend], clock: int) -> list[Answer]:
        """Asks to spend."""
        return self._charge(spends.TRY, request_id, given, clock)

    def _charge(self, verb: str, request_id: str, given: Sequence[Spend], clock: int) -> list[Answer]:
        """A call for each shard. Where that makes several, each has a name of its own, so that each can be repeated."""
        by_shard: dict[int, list[int]] = {}
        for place, spend in enumerate(given):
            by_shard.setdefault(shard_of(brand_of(spend.campaign_id)), []).append(place)
        answers: dict[int, Answer] = {}
        for number, places in by_shard.items():
            name = request_id if len(by_shard) == 1 else f"{request_id}/{number}/0"
            part = [given[place] for place in places]
            try:
                made = spends.charge(self.shards[number], verb, name, part, clock)
            except NotReady as why:
                made = [Answer(NOT_READY, detail=str(why))] * len(part)
            answers.update(zip(places, made, strict=True))
        return [answers[place] for place in range(len(given))]

    def operate(self, operations: Sequence[Operation], clock: int) -> list[Answer]:
        """Operations on holds of one shard, as one call."""
        shard = self.shard(operations[0].campaign_id)
        return _ready(len(operations), lambda: holds.operate(shard, operations, clock))

    def reserve(self, campaign_id: int, hold_id: str, micros: int, ttl_ms: int, clock: int) -> Answer:
        """Sets money aside."""
        return self.operate([Operation(holds.RESERVE, campaign_id, hold_id, micros, ttl_ms)], clock)[0]

    def settle(self, campaign_id: int, hold_id: str, micros: int, clock: int) -> Answer:
        """Counts the real price and gives the rest back."""
        return self.operate([Operation(holds.SETTLE, campaign_id, hold_id, micros)], clock)[0]

    def release(self, campaign_id: int, hold_id: str, clock: int) -> Answer:
        """Gives the whole hold back."""
        return self.operate([Operation(holds.RELEASE, campaign_id, hold_id)], clock)[0]

    def lease(self, call: Leasing, clock: int) -> Granted:
        """Sets what a lease has on hold."""
        try:
            return leases.lease(self.shard(call.campaign_id), call, clock)
        except NotReady:
            return Granted(NOT_READY, 0)

    def draw(self, call: Drawing, clock: int) -> str:
        """Counts what was given out from a lease."""
        try:
            return leases.draw(self.shard(call.campaign_id), call, clock)
        except NotReady:
            return NOT_READY

    def refund(
        self,
        campaign_id: int,
        micros: int,
        event_id: str,
        clock: int,
        spent_day: int | None = None,
        refund_id: str | None = None,
    ) -> Answer:
        """Gives back a spend, or a part of it. spent_day: its day number, for where its event is forgotten."""
        shard = self.shard(campaign_id)
        return _ready(1, lambda: [refunds.refund(shard, campaign_id, micros, event_id, spent_day, clock, refund_id)])[0]

    def publish(self, brand: BrandPlan, campaigns: Sequence[CampaignPlan], clock: int) -> dict[int, int] | None:
        """Brings the catalog's word; answers what is kept against it, {id: version}. None when the shard is not ready."""
        try:
            return publishing.publish(self.shards[shard_of(brand.brand_id)], brand, campaigns, clock)
        except NotReady:
            return None

    def change(self, plan: BrandPlan, at: int) -> None:
        """The catalog has a plan of a brand from an instant on, whether or not it is published."""
        had = self.catalog[plan.brand_id]
        if not had or had[-1][1] != plan:
            had.append((at, plan))

    def take_grace(self, numbers: Sequence[int], minutes: int, clock: int) -> None:
        """Publishes the grace for late spends to shards. Those that are not ready keep theirs."""
        for number in numbers:
            with suppress(NotReady):
                take_grace(self.shards[number], minutes, clock)

    def tick(self, numbers: Sequence[int], clock: int) -> None:
        """A job has looked at shards: no later call has an earlier instant."""
        for number in numbers:
            shard = self.shards[number]
            if shard.marked:
                shard.kept_now = max(clock, shard.kept_now)

    def close(self, number: int, brand_ids: Sequence[int], days: Sequence[int], clock: int) -> None:
        """Days of brands of a shard are closed; without brands, for all of them."""
        self.tick([number], clock)
        closing.close(self.shards[number], brand_ids, days)

    def status(self, campaign_id: int, clock: int) -> tuple[str, ...] | None:
        """Why a campaign is not running at this instant; None when it is unknown. Raises NotReady. Changes nothing."""
        shard = self.shard(campaign_id)
        now, campaign = shard.now(clock), shard.campaigns.get(campaign_id)
        return reasons(shard.brands[brand_of(campaign_id)], campaign, now) if campaign else None

    def persist(self) -> None:
        """Carries every journal into the log."""
        for number in list(self.shards):
            self._persist(number)

    def _persist(self, number: int) -> None:
        for entry in self.shards[number].journal[self.persisted[number] :]:
            self.ledger.persist(entry)
        self.persisted[number] = len(self.shards[number].journal)

    def decide(self, clock: int) -> None:
        """The log decides the refunds that wait. Raises shard.NotReady."""
        self.ledger.decide(self.shard, clock)

    def crash(self) -> None:
        """All that is live is gone, and with it what was not persisted."""
        for number, shard in self.shards.items():
            del shard.journal[self.persisted[number] :]
            shard.n = shard.journal[-1].n if shard.journal else 0
            shard.marked, shard.wiped, shard.kept_now = False, True, 0
            shard.grace_minutes = shard.closed = 0

    def rebuild(
        self, numbers: Sequence[int], brands: Sequence[BrandPlan], campaigns: Sequence[CampaignPlan], clock: int
    ) -> None:
        """Makes shards whole again from the catalog and the log, after the rest of their journal was carried over."""
        for number in numbers:
            shard = self.shards[number]
            self._persist(number)
            of_shard = [brand for brand in brands if shard_of(brand.brand_id) == number]
            theirs = [c for c in campaigns if shard_of(brand_of(c.campaign_id)) == number]
            rebuilding.rebuild(shard, of_shard, theirs, self.catalog, self.ledger, clock)


def _ready(size: int, call: Callable[[], list[Answer]]) -> list[Answer]:
    try:
        return call()
    except NotReady as why:
        return [Answer(NOT_READY, detail=str(why))] * size
