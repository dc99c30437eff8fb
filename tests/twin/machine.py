"""The state machine: draws what bidders, people and clocks do, does it to the reference model and to real servers, and
compares every result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from engine.client.batches import PACKED_FROM
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.ids import brand_of, campaign_id_of
from engine.domain.money import MAX_AMOUNT_MICROS
from engine.domain.periods import day_number
from engine.domain.schedule import Schedule
from tests.model import (
    BrandPlan,
    CampaignPlan,
    Drawing,
    Leasing,
    NotReady,
    Operation,
    ReferenceModel,
    Spend,
)
from tests.twin.braked import Braking
from tests.twin.drawn import AMOUNTS, EVENTS, GIVEN, HOLDS, LEASES, LIMITS, OWN_LIMITS, REQUESTS, SCHEDULES, STEPS, TTLS
from tests.twin.flown import FLIGHT_MOVES, FlightMove, moved_flights
from tests.twin.instants import MOVES, STARTS, next_expiry, occurred_ms, spent_days
from tests.twin.late_rules import LateRules
from tests.twin.side import Side


class ModelMachine(Braking, LateRules):
    """Rules that need the live state only."""

    moves = MOVES

    def __init__(self, side: Side) -> None:
        super().__init__()
        self.side = side
        self.twin = ReferenceModel()
        self.clock = 0
        self.plans: dict[int, BrandPlan] = {}
        self.campaigns: dict[int, CampaignPlan] = {}
        self.calls: deque[tuple[str, str, list[Spend]]] = deque(maxlen=6)
        self.unnamed = 0
        self.lease_calls = self.flight_no = 0
        self.draws: deque[Drawing] = deque(maxlen=4)
        self.refunded: deque[tuple[int, int, str, str, str | None]] = deque(maxlen=4)

    # Draws choose ids by index, so that a smaller example is simpler.

    def campaign(self, place: int) -> int:
        """One of the campaigns that may be published, and now and then an unknown one."""
        every = [campaign_id_of(brand, ordinal) for ordinal in (1, 2, 3) for brand in self.side.brands]
        known = [campaign for campaign in every if campaign in self.campaigns]
        listed = known * 6 + every[:3] + list(self.side.strangers)
        return listed[place % len(listed)]

    def micros(self, campaign_id: int, amount: int | str) -> int:
        """The amount, or exactly what is left of the model's tighter budget, or one micro more."""
        if isinstance(amount, int):
            return amount
        shard = self.twin.shard(campaign_id)
        brand = shard.brands.get(brand_of(campaign_id))
        now, own = max(self.clock, shard.kept_now), shard.campaigns.get(campaign_id)
        lefts = [b.remaining - brand.held for b in brand.budgets(now) if b.remaining is not None] if brand else []
        if brand and own:
            held = brand.held_by(campaign_id)
            lefts += [b.remaining - held for b in own.budgets(now) if b.remaining is not None]
        return max(min(min(lefts, default=7), MAX_AMOUNT_MICROS - 1) + (amount == "one more"), 1)

    def hold(self, place: int, drawn: str) -> tuple[int, str]:
        """In two of three cases an open hold or lease; else the drawn one."""
        shards = self.twin.shards.values()
        names = (name for shard in shards for brand in shard.brands.values() for name in brand.holds)
        listed = sorted(name for name in names if name[1][0] == drawn[0])
        return listed[place % len(listed)] if listed and place % 3 != 2 else (self.campaign(place), drawn)

    # Rules.

    @initialize(start=st.sampled_from(STARTS), daily=LIMITS, monthly=LIMITS, schedule=st.sampled_from(SCHEDULES))
    def begins(self, start: int, daily: int | None, monthly: int | None, schedule: Schedule) -> None:
        self.clock = start
        self.side.begin(self.twin, start)
        self.publishes_a_grace(60 * (STARTS.index(start) % 2))
        for place, brand in enumerate(self.side.brands[:2]):
            self.publishes(place, daily if place == 0 else 100, monthly if place == 0 else None, False)
            self.adds_a_campaign(place, SCHEDULES[0])
            assert campaign_id_of(brand, 1) in self.campaigns
        self.adds_a_campaign(0, schedule)

    @rule(
        verb=st.sampled_from(("record", "try")),
        request=REQUESTS,
        given=GIVEN,
    )
    def spends(
        self, verb: str, request: str | None, given: list[tuple[int, int | str, str | None, int | str | None]]
    ) -> None:
        spends = []
        for place, amount, event, occurred in given:
            campaign = self.campaign(place)
            at = occurred_ms(self.twin, self.clock, campaign, occurred)
            spends.append(Spend(campaign, self.micros(campaign, amount), event, at))
        if request is None:
            self.unnamed += 1
            request = f"call-{self.unnamed}"
        self.calls.append((verb, request, spends))
        self.charge(verb, request, spends)

    @rule(verb=st.sampled_from(("record", "try", "try")), request=REQUESTS, place=st.integers(0, 59), amount=AMOUNTS)
    def spends_once_by_the_shortest_way(self, verb: str, request: str | None, place: int, amount: int | str) -> None:
        self.spends(verb, request, [(place, amount, None, None)])

    @rule(
        verb=st.sampled_from(("record", "try", "try")),
        request=REQUESTS,
        places=st.lists(st.integers(0, 59), min_size=1, max_size=2),
        amounts=st.lists(st.sampled_from((1, 1, 2, 3, 5)), min_size=PACKED_FROM, max_size=PACKED_FROM + 2),
        events=st.sampled_from((None, None, "p{n}-{i}", "p{n}-{i}", "p{i}", "e{i}", "p{half}")),
    )
    def spends_a_packed_batch(
        self, verb: str, request: str | None, places: list[int], amounts: list[int], events: str | None
    ) -> None:
        """A batch without event ids, with new ones, with those of other calls, or with some that occur twice."""
        given = [
            (
                places[i % len(places)],
                amount,
                events and events.format(n=self.unnamed, i=i, half=i // 2),
                None,
            )
            for i, amount in enumerate(amounts)
        ]
        self.spends(verb, request, given)

    def charge(self, verb: str, request: str, spends: list[Spend]) -> None:
        expected = (self.twin.record if verb == "record" else self.twin.try_)(request, spends, self.clock)
        assert self.side.spend(verb, request, spends) == expected

    @rule(place=st.integers(0, 5))
    def repeats_a_call(self, place: int) -> None:
        if self.calls:
            self.charge(*self.calls[-1 - place % len(self.calls)])

    @rule(place=st.integers(0, 5), change=st.sampled_from(("verb", "amount", "event", "order", "fewer")))
    def repeats_a_call_with_a_change(self, place: int, change: str) -> None:
        if not self.calls:
            return
        verb, request, spends = self.calls[-1 - place % len(self.calls)]
        first = spends[0]
        if change == "verb":
            verb = "try" if verb == "record" else "record"
        elif change == "amount":
            spends = [first._replace(micros=first.micros % 10**12 + 1), *spends[1:]]
        elif change == "event":
            # In a packed batch all event ids change. With one change it would be sent as text, which is a conflict also
            # on shards where nothing changed.
            changed = len(spends) if len(spends) >= PACKED_FROM else 1
            named = [s._replace(event_id=f"e{i}" if s.event_id is None else None) for i, s in enumerate(spends, 1)]
            spends = named[:changed] + spends[changed:]
        else:
            spends = spends[::-1] if change == "order" else spends[: len(spends) // 2 + 1]
        self.charge(verb, request, spends)

    @rule(place=st.integers(0, 5), verb=st.sampled_from(("record", "try")))
    def hears_of_wins_again(self, place: int, verb: str) -> None:
        """Repeats the same events under another request id, as an exchange repeats its notices."""
        if self.calls:
            self.unnamed += 1
            _, _, spends = self.calls[place % len(self.calls)]
            self.charge(verb, f"call-{self.unnamed}", [spend for spend in spends if spend.event_id] or spends)

    @rule(place=st.integers(0, 99), hold=HOLDS, amount=AMOUNTS, ttl=TTLS)
    def reserves(self, place: int, hold: str, amount: int | str, ttl: int) -> None:
        campaign = self.campaign(place)
        self.holds(Operation("reserve", campaign, hold, self.micros(campaign, amount), ttl))

    @rule(place=st.integers(0, 99), hold=HOLDS, amount=AMOUNTS)
    def settles(self, place: int, hold: str, amount: int | str) -> None:
        campaign, hold = self.hold(place, hold)
        self.holds(Operation("settle", campaign, hold, self.micros(campaign, amount)))

    @rule(place=st.integers(0, 99), hold=HOLDS)
    def releases(self, place: int, hold: str) -> None:
        self.holds(Operation("release", *self.hold(place, hold)))

    @rule(place=st.integers(0, 99), lease=LEASES, amount=AMOUNTS, ttl=TTLS, late=st.sampled_from((0,) * 6 + (1, 2)))
    def leases(self, place: int, lease: str, amount: int | str, ttl: int, late: int) -> None:
        """Opens, fills or shrinks a lease; now and then a call arrives after a later one."""
        campaign, lease = self.hold(place, lease)
        self.lease_calls += 1
        self.sets_a_lease(campaign, lease, self.micros(campaign, amount), ttl, max(self.lease_calls - late, 1))

    @rule(place=st.integers(0, 99), lease=LEASES)
    def ends_a_lease(self, place: int, lease: str) -> None:
        self.lease_calls += 1
        campaign, lease = self.hold(place, lease)
        self.sets_a_lease(campaign, lease, 0, 1, self.lease_calls)

    def sets_a_lease(self, campaign: int, lease: str, micros: int, ttl: int, number: int) -> None:
        call = Leasing(campaign, lease, micros, ttl, number, number % 3 * 4)
        assert self.side.lease(call) == self.twin.lease(call, self.clock)

    @rule(
        place=st.integers(0, 99),
        lease=LEASES,
        amounts=st.lists(st.sampled_from((1, 1, 2, 5, 20)), min_size=1, max_size=3),
        sent=st.sampled_from((0, 0, 0, 1000, 594_000, 595_000, 595_001, 3_600_000)),
    )
    def draws_from_a_lease(self, place: int, lease: str, amounts: list[int], sent: int) -> None:
        self.unnamed += 1
        campaign, lease = self.hold(place, lease)
        if not any((campaign, lease) in brand.holds for brand in self.twin.shard(campaign).brands.values()):
            self.leases(place, lease, 10, 60_000, 0)
        first_sent = max(self.clock, self.twin.shard(campaign).kept_now) - sent if sent else 0
        self.draws.append(Drawing(campaign, lease, f"{lease}/{self.unnamed}", amounts, first_sent))
        self.draw(self.draws[-1])

    @rule(place=st.integers(0, 3), change=st.sampled_from((None, None, "amounts", "sent long ago")))
    def repeats_a_draw(self, place: int, change: str | None) -> None:
        if self.draws:
            call = self.draws[-1 - place % len(self.draws)]
            if change == "amounts":
                call = call._replace(micros=[*call.micros, 1])
            elif change:
                call = call._replace(first_sent=1)
            self.draw(call)

    def draw(self, call: Drawing) -> None:
        assert self.side.draw(call) == self.twin.draw(call, self.clock)

    def holds(self, operation: Operation) -> None:
        assert self.side.hold(operation) == self.twin.operate([operation], self.clock)[0]

    @rule(
        place=st.integers(0, 99),
        given=st.lists(
            st.tuples(st.sampled_from(("reserve", "settle", "release", "sweep")), HOLDS, AMOUNTS, TTLS),
            min_size=1,
            max_size=6,
        ),
    )
    def operates_on_many_holds_at_once(self, place: int, given: list[tuple[str, str, int | str, int]]) -> None:
        campaign = self.campaign(place)
        operations = [
            Operation(verb, campaign, hold, self.micros(campaign, amount), ttl)
            if verb != "sweep"
            else Operation(verb, campaign)
            for verb, hold, amount, ttl in given
        ]
        assert self.side.operate(operations) == self.twin.operate(operations, self.clock)

    @rule(
        place=st.integers(0, 99),
        amount=st.sampled_from((1, 2, 5, 10)),
        event=EVENTS.filter(bool),
        day=st.sampled_from(("none", "none", "today", "yesterday", "the month's first", "last month")),
        part=st.sampled_from((None, None, "part-1", "part-2")),
    )
    def refunds(self, place: int, amount: int, event: str, day: str, part: str | None) -> None:
        self.refunded.append((self.campaign(place), amount, event, day, part))
        self.refund(*self.refunded[-1])

    @rule(place=st.integers(0, 3))
    def asks_for_a_refund_again(self, place: int) -> None:
        if self.refunded:
            self.refund(*self.refunded[-1 - place % len(self.refunded)])

    def refund(self, campaign: int, amount: int, event: str, day: str, part: str | None) -> None:
        on = spent_days(self.twin, self.clock, campaign)[day]
        spent_day = None if on is None else day_number(on)
        expected = self.twin.refund(campaign, amount, event, self.clock, spent_day, part)
        assert self.side.refund(campaign, amount, event, spent_day, part) == expected

    @rule(place=st.integers(0, 2), daily=LIMITS, monthly=LIMITS, archived=st.sampled_from((False,) * 9 + (True,)))
    def publishes(self, place: int, daily: int | None, monthly: int | None, archived: bool) -> None:
        brand = self.side.brands[place]
        plan = self.plans.get(brand, BrandPlan(brand, 0, None, None))
        self.bring(BrandPlan(brand, plan.version + 1, daily, monthly, archived, *plan[5:]), [])

    @rule(place=st.integers(0, 2), schedule=st.sampled_from(SCHEDULES), limits=OWN_LIMITS)
    def adds_a_campaign(self, place: int, schedule: Schedule, limits: OwnLimits = NO_LIMITS) -> None:
        brand = self.side.brands[place]
        ordinal = sum(brand_of(campaign) == brand for campaign in self.campaigns) + 1
        if brand in self.plans and ordinal <= 3:
            plan = CampaignPlan(campaign_id_of(brand, ordinal), 1, True, False, schedule, limits)
            self.bring(self.plans[brand], [plan])

    @rule(place=st.integers(0, 8), limits=OWN_LIMITS)
    def limits_a_campaign(self, place: int, limits: OwnLimits) -> None:
        known = sorted(self.campaigns)
        plan = self.campaigns[known[place % len(known)]]
        # A lifetime budget is a flight without ends, so it takes the place of flights.
        flights = () if limits.lifetime is not None else plan.flights
        changed = plan._replace(version=plan.version + 1, limits=limits, flights=flights)
        self.bring(self.plans[brand_of(plan.campaign_id)], [changed])

    @rule(place=st.integers(0, 8), move=FLIGHT_MOVES)
    def flies_a_campaign(self, place: int, move: FlightMove) -> None:
        plan = self.campaigns[sorted(self.campaigns)[place % len(self.campaigns)]]
        now = max(self.clock, self.twin.shard(plan.campaign_id).kept_now)
        self.flight_no += 1
        flights, limits = moved_flights(plan.flights, self.flight_no, now, move), plan.limits._replace(lifetime=None)
        changed = plan._replace(version=plan.version + 1, limits=limits, flights=flights)
        self.bring(self.plans[brand_of(plan.campaign_id)], [changed])

    @rule(
        place=st.integers(0, 8),
        change=st.sampled_from(
            ("switch on", "switch on", "switch on", "switch", "schedule", "always", "archive", "archive no more")
        ),
        schedule=st.sampled_from(SCHEDULES),
    )
    def edits_a_campaign(self, place: int, change: str, schedule: Schedule) -> None:
        known = sorted(self.campaigns)
        if known:
            plan = self.campaigns[known[place % len(known)]]
            plan = plan._replace(version=plan.version + 1)
            if change.startswith("switch"):
                plan = plan._replace(enabled=change == "switch on" or not plan.enabled)
            elif change.startswith("archive"):
                plan = plan._replace(archived=change == "archive")
            else:
                plan = plan._replace(schedule=schedule if change == "schedule" else SCHEDULES[0])
            self.bring(self.plans[brand_of(plan.campaign_id)], [plan])

    @rule(place=st.integers(0, 8), limit=LIMITS, schedule=st.sampled_from(SCHEDULES), by=st.sampled_from((0, 1)))
    def hears_of_an_old_plan(self, place: int, limit: int | None, schedule: Schedule, by: int) -> None:
        """Publishes an older plan, as two publishers may: it changes nothing, and the reply says so."""
        plan = self.campaigns[sorted(self.campaigns)[place % len(self.campaigns)]]
        brand = self.plans[brand_of(plan.campaign_id)]
        older = BrandPlan(brand.brand_id, brand.version - by, limit, limit, not brand.archived)
        stale = CampaignPlan(plan.campaign_id, plan.version - by, not plan.enabled, not plan.archived, schedule)
        assert self.side.publish(older, [stale], set()) == self.twin.publish(older, [stale], self.clock)

    def bring(self, brand: BrandPlan, campaigns: list[CampaignPlan]) -> None:
        create = {brand.brand_id} - set(self.plans) | {c.campaign_id for c in campaigns} - set(self.campaigns)
        assert self.side.publish(brand, campaigns, create) == self.twin.publish(brand, campaigns, self.clock)
        self.plans[brand.brand_id] = brand
        self.campaigns |= {plan.campaign_id: plan for plan in campaigns}

    @rule(place=st.integers(0, 99))
    def asks_for_a_status(self, place: int) -> None:
        campaign = self.campaign(place)
        try:
            expected: tuple[str, ...] | str | None = self.twin.status(campaign, self.clock)
        except NotReady as why:
            expected = str(why)
        assert self.side.status(campaign) == expected

    @rule(data=st.data(), off=st.sampled_from((-1, 0, 0, 1)))
    def time_passes(self, data: st.DataObject, off: int) -> None:
        self.moves_on(self.moves[data.draw(st.sampled_from(sorted(self.moves)))], off)
        for campaign in self.campaigns:
            assert self.side.status(campaign) == self.twin.status(campaign, self.clock)

    @rule(off=st.sampled_from((-1, 0, 0, 1)))
    def a_hold_comes_to_its_time(self, off: int) -> None:
        if any(brand.holds for shard in self.twin.shards.values() for brand in shard.brands.values()):
            self.moves_on(next_expiry, off)
            for brand in self.plans:
                self.sweeps(campaign_id_of(brand, 1))

    def moves_on(self, move: Callable[[ReferenceModel, int], int], off: int) -> None:
        latest = max(self.clock, *(shard.kept_now for shard in self.twin.shards.values()))
        self.clock = max(move(self.twin, latest) + off, latest)
        self.side.at(self.clock)

    def sweeps(self, campaign: int) -> None:
        operations = [Operation("sweep", campaign)]
        assert self.side.operate(operations) == self.twin.operate(operations, self.clock)

    @rule(by=st.sampled_from((1, 999, 1000)))
    def the_clock_slips_back(self, by: int) -> None:
        self.clock = max(self.clock, *(shard.kept_now for shard in self.twin.shards.values())) - by
        self.side.at(self.clock)

    @rule(by=st.sampled_from((1001, 3_600_000)), place=st.integers(0, 99))
    def the_clock_falls_back_for_a_while(self, by: int, place: int) -> None:
        campaign, before = self.campaign(place), self.clock
        self.clock = self.twin.shard(campaign).kept_now - by
        self.side.at(self.clock)
        self.charge("record", "while-the-clock-was-wrong", [Spend(campaign, 1)])
        self.holds(Operation("reserve", campaign, "h1", 1, 1))
        self.asks_for_a_status(place)
        self.clock = max(before, self.twin.shard(campaign).kept_now - 1000)
        self.side.at(self.clock)

    @invariant()
    def both_hold_the_same(self) -> None:
        STEPS.update(steps=1)
        if self.clock:
            self.side.check(self.twin)
