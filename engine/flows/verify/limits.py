"""V3: `try_spend` never takes a brand or campaign past its budget, a flight's included.

A counter above every budget of its period must be explained by record calls (`record_spend`, late and over settles),
which are counted past any budget. The log does not have the verb, but Redis stores the verb of each call in its dedup
window. So no try call may have been counted beyond the largest budget, and try calls, settles within their holds and
open holds together must fit into it. The day before counts too until it is closed, with the limits of its time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import chain
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine

from engine.domain.budget import BUDGETS, CAMPAIGN_BUDGETS, Budget, BudgetKind, OwnBudgetKind
from engine.domain.causes import FLIGHT_BUDGET
from engine.domain.flights import PlannedFlight, in_force
from engine.domain.ids import brand_of, shard_of
from engine.domain.periods import (
    Period,
    at_ms,
    counter_field_on,
    date_of,
    day_number,
    days_of_month,
)
from engine.domain.refunds import FIRST_DAY
from engine.domain.zone_text import UTC, Zone
from engine.flows.verify.findings import Check, confirmed
from engine.ledger import audit_plan, campaigns, day_ends, flight_sums, flights, spend_read
from engine.ledger.audit_plan import RecentRow
from engine.ledger.catalog import Catalog
from engine.ledger.changes import Entity
from engine.ledger.periods import all_last_closed, last_totals
from engine.ledger.records import BrandRecord
from engine.live.admin import LiveRedis
from engine.live.inspect import Inspector
from engine.live.keys import shard_keys
from engine.live.plans import LiveBrand

_RECENT: Final = timedelta(minutes=30)
_ROWS: Final = 20_000
_SLACK: Final = timedelta(minutes=5, seconds=30)
"""A budget lowered just before the period may have been published just after it began, within one check."""
_SKEW: Final = timedelta(seconds=2)
"""By how much the clocks of Redis and PostgreSQL may differ at a day's end."""
_LONGEST_HOLD: Final = timedelta(days=1)
_BRANDS_AT_ONCE: Final = 50
_HASHES_AT_ONCE: Final = 100
_FIRST: Final = date_of(FIRST_DAY)
"""No row is of an earlier day."""


class _Owner(NamedTuple):
    """A brand, or a campaign with limits of its own, at an instant. budgets: each with its row of a list."""

    entity: Entity
    brand_id: int
    campaign_id: int | None
    now_ms: int
    zone: Zone
    budgets: tuple[tuple[BudgetKind | OwnBudgetKind, Budget], ...]
    flight: PlannedFlight | None = None
    """The flight in force."""
    carried: int = 0
    """What is in a brand's daily limit of the days before."""

    @property
    def id(self) -> int:
        return self.campaign_id or self.brand_id


class _Period(NamedTuple):
    """A period in which an owner's spend and holds are above a budget. field: of the budget in the catalog's changes.
    flight: whose budget it is. until_ms: when the period was over; what is on hold takes nothing from it then.
    """

    name: str
    field: str
    begin_ms: int
    first: date
    last: date
    spent: int
    limit: int
    flight: PlannedFlight | None = None
    until_ms: int | None = None
    carried: int = 0


class _Past(NamedTuple):
    """An owner whose day or month before is not closed and is above a budget."""

    entity: Entity
    brand_id: int
    campaign_id: int | None
    now_ms: int
    periods: tuple[_Period, ...]

    @property
    def id(self) -> int:
        return self.campaign_id or self.brand_id


class Limits:
    """Checks brands and campaigns whose spend and holds are above their budget."""

    def __init__(self, db: Engine, catalog: Catalog, live: LiveRedis, inspector: Inspector) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live
        self._inspector = inspector

    def check(self) -> Check:
        """V3."""
        check = Check(
            "V3", "no overspend by try_spend: spend and open holds fit the largest budget in force, facts apart"
        )
        brands = self._catalog.brands(include_archived=True)
        ids = [brand.id for brand in brands]
        with self._db.connect() as conn:
            limited = audit_plan.limited_campaigns(conn)
        above = 0
        present = (
            owner
            for owner in chain(self._brands(ids), map(self._campaign, limited))
            if owner is not None and list(_above(owner, self._held(owner)))
        )
        suspects: Iterator[_Owner | _Past] = chain(present, self._past_of(brands, limited))
        for owner in suspects:
            above += 1
            for text, micros in confirmed(lambda owner=owner: self._overspent(owner)):  # type: ignore[misc]  # mypy cannot infer a default
                check.find(f"{owner.entity} {owner.id} {text}", f"{owner.entity} {owner.id}", micros, owner.brand_id)
        of_campaigns = f" and {len(limited)} campaigns" if limited else ""
        check.checked = f"{len(ids)} brands{of_campaigns}, {above} of them above a budget, calls of the last {_RECENT.seconds // 60} minutes"
        return check

    def _brands(self, ids: list[int]) -> Iterator[_Owner | None]:
        for start in range(0, len(ids), _BRANDS_AT_ONCE):
            # Ordinal 0: the brand without its campaigns.
            brands = self._live.read_brands(ids[start : start + _BRANDS_AT_ONCE])
            yield from (None if brand is None else _of_brand(brand) for brand in brands.values())

    def _campaign(self, campaign_id: int) -> _Owner | None:
        brand = self._live.read_campaign(campaign_id)
        campaign = None if brand is None else brand.campaigns.get(campaign_id)
        if brand is None or campaign is None:
            return None
        budgets = list(campaign.budgets)
        flight = in_force([flight for flight, _ in campaign.flights], brand.now_ms)
        for planned, spent in campaign.flights if flight is not None else ():
            if planned == flight:
                # Its line has the lifetime's limit, which a campaign with flights has none of.
                budgets = [
                    b._replace(limit=planned.limit, spent=spent) if b.cause == FLIGHT_BUDGET else b for b in budgets
                ]
        pairs = tuple(zip(CAMPAIGN_BUDGETS, budgets, strict=False))
        return _Owner("campaign", brand.brand_id, campaign_id, brand.now_ms, brand.zone, pairs, flight)

    def _past_of(self, brands: Sequence[BrandRecord], limited: Sequence[int]) -> Iterator[_Past]:
        """The owners whose day before, or its month, is not closed and is above the limits at its end."""
        of_brands: dict[int, list[int]] = {}
        for id_ in limited:
            of_brands.setdefault(brand_of(id_), []).append(id_)
        of_shards: dict[int, list[BrandRecord]] = {}
        for brand in brands:
            of_shards.setdefault(shard_of(brand.id), []).append(brand)
        for state in self._live.read_shards():
            on_it = of_shards.get(state.shard, []) if state.ready else []
            for zone, members in self._open_before(state.shard, state.clock_ms, on_it).items():
                owners: dict[tuple[Entity, int], Sequence[int | None]] = {
                    ("brand", brand.id): [kind.limit_of(brand) for kind in BUDGETS] for brand in members
                }
                own = [id_ for brand in members for id_ in of_brands.get(brand.id, ())]
                with self._db.connect() as conn:
                    for campaign in campaigns.of_ids(conn, own) if own else ():
                        owners["campaign", campaign.id] = campaign.limits
                yield from self._past_above(state.shard, state.clock_ms, zone, owners)

    def _open_before(self, shard: int, now_ms: int, brands: Sequence[BrandRecord]) -> dict[Zone, list[BrandRecord]]:
        """The brands whose own day before is not closed for them, by their clocks."""
        if not brands:
            return {}
        days = {brand.id: Zone.parse(brand.zone).day_of(now_ms) - 1 for brand in brands}
        with self._db.connect() as conn:
            totals = last_totals(conn, list(days), date_of(min(days.values())))
            of_shard = all_last_closed(conn).get((shard, "day"), _FIRST)
        found: dict[Zone, list[BrandRecord]] = {}
        for brand in brands:
            zone = Zone.parse(brand.zone)
            # A shard's day is closed with the last of its brands: one without a total of it did not exist then.
            last = max(totals.get((brand.id, "day"), _FIRST), of_shard if zone == UTC else _FIRST)
            if day_number(last) < days[brand.id]:
                found.setdefault(zone, []).append(brand)
        return found

    def _past_above(
        self, shard: int, now_ms: int, zone: Zone, owners: Mapping[tuple[Entity, int], Sequence[int | None]]
    ) -> Iterator[_Past]:
        """The owners of brands with one clock that are above a limit at the end of the day before."""
        ended_ms = zone.midnight_ms(zone.day_of(now_ms))
        keys = shard_keys(shard)
        brand_ids = [id_ for kind, id_ in owners if kind == "brand"]
        with self._db.connect() as conn:
            then = day_ends.limits_before(conn, brand_ids, owners, at_ms(ended_ms))
        periods = _past_periods(ended_ms, zone)
        fields = [counter_field_on(period, first) for period, _, first, _ in periods]
        names = {(keys.brand if kind == "brand" else keys.campaign)(id_): (kind, id_) for kind, id_ in owners}
        every = list(names)
        parts = [every[start : start + _HASHES_AT_ONCE] for start in range(0, len(every), _HASHES_AT_ONCE)]
        for totals in self._live.read_each_totals(shard, parts, fields, rests=True):
            if totals is None:
                return
            for key, values in totals.values.items():
                kind, id_ = names[key]
                limits = then.get((kind, id_), owners[kind, id_])
                above = tuple(_past_above(kind, limits, periods, values, ended_ms, zone))
                if above:
                    campaign = id_ if kind == "campaign" else None
                    yield _Past(kind, brand_of(id_) if campaign else id_, campaign, now_ms, above)

    def _held(self, owner: _Owner) -> int:
        if all(budget.limit is None for _, budget in owner.budgets):
            return 0
        try:
            found = self._inspector.holds(owner.brand_id)
        except ValueError:
            # V10 reports malformed values.
            return 0
        if found is None:
            return 0
        return found.held if owner.campaign_id is None else (found.own or {}).get(owner.campaign_id, 0)

    def _again(self, owner: _Owner | _Past) -> _Owner | _Past | None:
        if isinstance(owner, _Past):
            # The counter of a day that is over only grows by late spends.
            return owner
        return self._campaign(owner.campaign_id) if owner.campaign_id else next(self._brands([owner.brand_id]))

    def _overspent(self, before: _Owner | _Past) -> Iterator[tuple[str, int]]:
        owner = self._again(before)
        if owner is None:
            return
        held = 0 if isinstance(owner, _Past) else self._held(owner)
        now = at_ms(owner.now_ms)
        for period in owner.periods if isinstance(owner, _Past) else _above(owner, held):
            with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
                largest = _largest(conn, owner, period, held)
                if largest is None or period.spent + held <= largest:
                    continue
                of_flight = (owner.campaign_id, None if period.flight is None else period.flight.counter)
                rows = audit_plan.recent_rows(conn, owner.brand_id, now - _RECENT, _ROWS, *of_flight)
                total = _logged(conn, owner, period)
            rows = [row for row in rows if period.first <= row.day <= period.last]
            verbs = self._inspector.remembered_verbs(shard_of(owner.brand_id), sorted({row.request_id for row in rows}))
            yield from _beyond(period, largest, held, rows, verbs, total)


def _largest(conn: Connection, owner: _Owner | _Past, period: _Period, held: int) -> int | None:
    """The largest budget in force in a period; None where it had no limit for a while."""
    if period.flight is not None:
        return flights.largest_limit(conn, owner.id, period.flight.counter, period.flight.no)
    begin = at_ms(max(period.begin_ms, 0)) - (_LONGEST_HOLD if held else _SLACK)
    until = None if period.until_ms is None else at_ms(period.until_ms) + _SKEW
    largest = audit_plan.largest_budget(
        conn, owner.entity, owner.id, period.field, period.limit - period.carried, begin, owner.now_ms, until
    )
    if largest and owner.entity == "brand" and period.first == period.last:
        # The limit in force may have a carry that is not persisted yet.
        largest = max(largest + audit_plan.largest_carry(conn, owner.id, period.first, begin), period.limit)
    return largest


def _logged(conn: Connection, owner: _Owner | _Past, period: _Period) -> int:
    """What the log has of a period."""
    if period.flight is not None:
        return flight_sums.totals(conn, [owner.id]).get((owner.id, period.flight.counter), 0)
    logged = spend_read.campaign_totals(conn, [owner.brand_id], period.first, period.last)
    return sum(micros for (_, campaign, _), micros in logged.items() if owner.campaign_id in (None, campaign))


def _past_periods(ended_ms: int, zone: Zone) -> list[tuple[Period, str, date, date]]:
    """The day of a clock that ended at an instant, and its month where that ended too: period, name, first and last day."""
    day = zone.date_of(ended_ms - 1)
    found: list[tuple[Period, str, date, date]] = [("day", f"day {day}", day, day)]
    month = zone.month_of(ended_ms - 1)
    if month != zone.month_of(ended_ms):
        days = list(days_of_month(month))
        found.append(("month", f"month {month}", date_of(days[0]), date_of(days[-1])))
    return found


def _past_above(
    entity: Entity,
    limits: Sequence[int | None],
    periods: Sequence[tuple[Period, str, date, date]],
    spent: Sequence[int],
    ended_ms: int,
    zone: Zone,
) -> Iterator[_Period]:
    """The periods in which an owner spent more than its limit at their end."""
    kinds: Sequence[BudgetKind | OwnBudgetKind] = BUDGETS if entity == "brand" else CAMPAIGN_BUDGETS
    for (period, name, first, last), micros in zip(periods, spent, strict=True):
        for kind, limit in zip(kinds, limits, strict=False):
            if kind.period == period and limit is not None and micros > limit:
                begin = zone.midnight_ms(day_number(first))
                field = kind.column.removesuffix("_micros")
                yield _Period(name, field, begin, first, last, micros, limit, until_ms=ended_ms)


def _of_brand(brand: LiveBrand) -> _Owner:
    budgets = tuple(zip(BUDGETS, brand.budgets, strict=False))
    carried = brand.carry.carried if brand.carry and brand.daily_limit else 0
    return _Owner("brand", brand.brand_id, None, brand.now_ms, brand.zone, budgets, carried=carried)


def _above(owner: _Owner, held: int) -> Iterator[_Period]:
    """The periods in which an owner's spend and holds are above its present budget."""
    now, zone = owner.now_ms, owner.zone
    for kind, budget in owner.budgets:
        if budget.limit is None or budget.spent + held <= budget.limit:
            continue
        flight = None
        if kind.period is None:
            flight = owner.flight
            name = "lifetime" if flight is None else f"flight {flight.no}"
            first, last, begin_ms = _FIRST, zone.date_of(now), 0
        else:
            first, begin_ms = zone.date_of(now), zone.period_start_ms(kind.period, now)
            last, name = first, f"day {first}"
            if kind.period == "month":
                days = list(days_of_month(zone.month_of(now)))
                first, last, name = date_of(days[0]), date_of(days[-1]), f"month {zone.month_of(now)}"
        yield _Period(
            name, kind.column.removesuffix("_micros"), begin_ms, first, last, budget.spent, budget.limit, flight,
            carried=owner.carried if kind.period == "day" else 0,
        )  # fmt: skip


def _beyond(
    period: _Period, largest: int, held: int, rows: list[RecentRow], verbs: dict[str, str], logged: int
) -> Iterator[tuple[str, int]]:
    """Try calls that were counted beyond the largest budget, and by how much."""
    total = logged - sum(row.amount_micros for row in rows)
    asked = given_back = beyond = 0
    for row in rows:
        total += row.amount_micros
        is_asked = row.kind == "spend" and row.hold_id is None and (row.told or verbs.get(row.request_id)) == "t"
        if is_asked and total > largest:
            beyond += min(total - largest, row.amount_micros)
        asked += row.amount_micros if is_asked or (row.kind == "spend" and row.hold_id is not None) else 0
        given_back += row.amount_micros if row.amount_micros < 0 else 0
    beyond = max(beyond, asked + given_back + held - largest)
    if beyond > 0:
        yield (
            (
                f"{period.name}: {period.spent} micros spent and {held} held, the largest budget in force was {largest}:"
                f" {beyond} micros of it were accepted by a call that asked"
            ),
            beyond,
        )
