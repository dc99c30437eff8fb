"""One shard of the twin: its clock, what it holds, what it remembers, and its journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, NamedTuple

from engine.domain.brake import Trip
from engine.domain.causes import BREAKER, FLIGHT, PACING
from engine.domain.ids import brand_of
from engine.domain.zone_text import UTC
from tests.model.answers import Answer
from tests.model.journal import Change, Entry, Spend, Step, Verdict
from tests.model.memory import Memory
from tests.model.pacing import PPM
from tests.model.plan import BUDGETS, OWN_BUDGETS, Brand, Campaign, begin_minute, pass_rate, reasons, retry_ms
from tests.model.rollover import Carry

CLOCK_SLACK_MS: Final = 1000
UNMARKED: Final = "unmarked"
CLOCK: Final = "clock"


class Call(NamedTuple):
    """What is remembered of a call: its verb ("" = either, after a rebuild), its content and what became of each spend."""

    verb: str
    content: tuple[Spend, ...]
    verdicts: tuple[Verdict, ...]


class Seen(NamedTuple):
    """What is remembered of a counted event."""

    campaign_id: int
    micros: int
    day: int
    flight: int | None = None


class Refunded(NamedTuple):
    """What is remembered of a refund: an event's one without an id, or a part of it that has an id of its own.

    state: "" given back, "w" waits for the log, else the code of why the log refused it.
    """

    campaign_id: int
    micros: int
    state: str = ""


class End(NamedTuple):
    """How a hold ended: settled, over, late, released, expired."""

    state: str
    held: int
    settled: int


class NotReady(Exception):
    """The shard takes no call now; its word says why."""


class Shard:
    """Brands that live together: one clock, one journal, two memories (request ids; event ids with refunds and ends of holds)."""

    def __init__(self, request_window_ms: int, event_window_ms: int) -> None:
        self.marked = False
        self.wiped = False
        self.generation = 0
        self.kept_now = 0
        self.n = 0
        self.grace_minutes = 0
        self.closed = 0
        """The last day that takes no late spends."""
        self.total = 0
        """The last day that the log has closed for all of its brands together."""
        self.late_from = 0
        """No day of a zone that had ended by this instant takes late spends."""
        self.brands: dict[int, Brand] = {}
        self.campaigns: dict[int, Campaign] = {}
        self.requests: Memory[Call] = Memory(request_window_ms)
        self.events: Memory[Seen] = Memory(event_window_ms)
        self.refunds: Memory[Refunded] = Memory(event_window_ms)
        self.refunded: Memory[int] = Memory(event_window_ms)
        """What was given back of each event."""
        self.ends: Memory[End] = Memory(event_window_ms)
        self.journal: list[Entry] = []
        self.restored: list[tuple[int, int, Carry]] = []
        """The carries that rebuilds calculated: number of the mark, brand, carry."""
        self.trips: tuple[Trip, ...] = ()
        """The breakers that the last `watching` saw open."""

    def now(self, clock: int) -> int:
        """The instant of a call: never before an earlier one's. Raises NotReady when the clock is more than a second behind."""
        if not self.marked:
            raise NotReady(UNMARKED)
        if clock < self.kept_now - CLOCK_SLACK_MS:
            raise NotReady(CLOCK)
        return max(clock, self.kept_now)

    def named(self, campaign_ids: Iterable[int], now: int) -> list[Brand]:
        """The brands of campaigns, each once; those that were never published are left out. The minute of a call begins for them."""
        ids = dict.fromkeys(brand_of(campaign_id) for campaign_id in campaign_ids)
        brands = [self.brands[brand_id] for brand_id in ids if brand_id in self.brands]
        for brand in brands:
            brand.carry(now)
            begin_minute(brand, (c for c in self.campaigns.values() if brand_of(c.campaign_id) == brand.brand_id), now)
        return brands

    def append(self, entry: Entry) -> None:
        """The next entry of the journal: it carries n + 1, and the offsets of zones."""
        self.n = entry.n
        charged = {brand_of(row.campaign_id) for row in entry.rows}
        fresh = [self.brands[brand_id] for brand_id in charged if self.brands[brand_id].cap is not None]
        carries = frozenset((b.brand_id, *keep_carry(b, entry.ms)) for b in fresh if b.kept != b.carry(entry.ms))
        entry = replace(entry, carries=entry.carries | carries)
        moved = {brand_of(item.campaign_id) for item in (*entry.rows, *entry.asked)}
        zoned = {brand_id: self.brands[brand_id].zone for brand_id in moved if self.brands[brand_id].zone != UTC}
        offsets = frozenset((brand_id, zone.offset_ms(entry.ms)) for brand_id, zone in zoned.items())
        self.journal.append(replace(entry, zones=offsets))

    def expire(self, brands: Iterable[Brand], now: int) -> list[Step]:
        """Ends the holds of brands that are past their time, which is reached at `expires_ms` itself."""
        steps = []
        for brand in brands:
            due = sorted((hold.expires_ms, *name) for name, hold in brand.holds.items() if hold.expires_ms <= now)
            for _, campaign_id, hold_id in due:
                held = brand.holds.pop((campaign_id, hold_id)).held
                self.ends.remember(hold_name(campaign_id, hold_id), End("expired", held, 0), now)
                steps.append(Step(campaign_id, hold_id, "expired", held))
        return steps

    @contextmanager
    def watching(self, brands: Iterable[Brand], now: int) -> Iterator[set[Change]]:
        """The budgets of brands and of their campaigns that turn inside the block, at `now`: gathered when it ends."""
        owners: list[Brand | Campaign] = list(brands)
        ids = {owner.owner_id for owner in owners}
        owners += [campaign for campaign in self.campaigns.values() if brand_of(campaign.campaign_id) in ids]
        watched = [(owner, owner.used_up(now), owner.turned(now), _counted(owner)) for owner in owners]
        closed = [owner for owner in owners if isinstance(owner, Campaign) and owner.broken_ms is None]
        opened = [owner for owner in owners if isinstance(owner, Campaign) and owner.broken_ms is not None]
        self.trips = ()
        changes: set[Change] = set()
        yield changes
        for owner, before, turned, counted in watched:
            after = owner.used_up(now)
            for cause in (*BUDGETS, *OWN_BUDGETS):
                # What a step turned is told by whoever counts or publishes.
                step = turned.get(cause) if counted != _counted(owner) else None
                if (step.was_used_up if step else cause in before) != (cause in after):
                    owner.since[cause] = step.at_ms if step else now
                    changes.add(Change(owner.owner_id, cause, "exhausted" if cause in after else "restored"))
            # What passed the limit before a step that turned nothing was not freed by it.
            for cause, step in owner.turned(now).items():
                is_spent = counted[0] == owner.version and counted != _counted(owner)
                if is_spent and cause not in turned and step.was_used_up:
                    owner.since[cause] = step.at_ms
        tripped = [campaign for campaign in closed if campaign.broken_ms is not None]
        changes |= {Change(campaign.campaign_id, BREAKER, "exhausted") for campaign in tripped}
        changes |= {Change(owner.campaign_id, BREAKER, "restored") for owner in opened if owner.broken_ms is None}
        self.trips = tuple(
            Trip(c.campaign_id, c.brake.round, c.minute[1]) for c in sorted(tripped, key=lambda c: c.campaign_id)
        )

    def answer(
        self,
        campaign_id: int,
        outcome: str,
        now: int,
        refused: tuple[str, ...] | None = None,
        mark: str = "",
        detail: str = "",
        awaited: bool = False,
    ) -> Answer:
        """An answer with the figures that stand now. awaited: the call was also refused of this campaign for its minute alone,
        so no one instant is right for all its spends.
        """
        brand, campaign = self.brands.get(brand_of(campaign_id)), self.campaigns.get(campaign_id)
        by_clock = refused in ((FLIGHT,), (PACING,)) and not (awaited and refused == (PACING,))
        retry = retry_ms(brand, campaign, now) if brand and campaign and by_clock else None
        if refused is None:
            refused = reasons(brand, campaign, now) if brand and campaign else ()
        rate = pass_rate(brand, campaign) if brand and campaign else PPM
        return Answer(outcome, refused, brand.figures(now) if brand else None, mark, detail, retry, rate)


def keep_carry(brand: Brand, now: int) -> Carry:
    """Writes the carry of a brand's day."""
    brand.kept = brand.carry(now)
    return brand.kept


def _counted(owner: Brand | Campaign) -> tuple[int, dict[str, int]]:
    return owner.version, dict(owner.spent)


def hold_name(campaign_id: int, hold_id: str) -> str:
    return f"{campaign_id}:{hold_id}"


def refund_name(event: str, refund_id: str | None) -> str:
    """event: as `event_name` says it. A comma stands in no id."""
    return event if refund_id is None else f"{event},{refund_id}"


def event_name(campaign_id: int, event_id: str) -> str:
    """An event id counts once a brand."""
    return f"{brand_of(campaign_id)}:{event_id}"
