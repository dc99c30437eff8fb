"""V3: `try_spend` never takes a brand past its budget.

A counter above every budget of its period must be explained by record calls (`record_spend`, late and over settles),
which are counted past any budget. The log does not have the verb, but Redis stores the verb of each call in its dedup
window. So no try call may have been counted beyond the largest budget, and try calls, settles within their holds and
open holds together must fit into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import chain
from typing import Final, NamedTuple

from sqlalchemy import Engine

from engine.domain.budget import BUDGETS, CAMPAIGN_BUDGETS, Budget, BudgetKind, OwnBudgetKind
from engine.domain.ids import shard_of
from engine.domain.periods import at_ms, date_of, dates_of, day_of, period_of, period_start_ms
from engine.domain.refunds import FIRST_DAY
from engine.flows.verify.findings import Check, confirmed
from engine.ledger import audit_plan, spend_read
from engine.ledger.audit_plan import RecentRow
from engine.ledger.catalog import Catalog
from engine.ledger.changes import Entity
from engine.live.admin import LiveRedis
from engine.live.inspect import Inspector
from engine.live.plans import LiveBrand

_RECENT: Final = timedelta(minutes=30)
_ROWS: Final = 20_000
_SLACK: Final = timedelta(minutes=5, seconds=30)
"""A budget lowered just before the period may have been published just after it began, within one check."""
_LONGEST_HOLD: Final = timedelta(days=1)
_BRANDS_AT_ONCE: Final = 50
_FIRST: Final = date_of(FIRST_DAY)
"""No row is of an earlier day."""


class _Owner(NamedTuple):
    """A brand, or a campaign with limits of its own, at an instant. budgets: each with its row of a list."""

    entity: Entity
    brand_id: int
    campaign_id: int | None
    now_ms: int
    budgets: tuple[tuple[BudgetKind | OwnBudgetKind, Budget], ...]

    @property
    def id(self) -> int:
        return self.campaign_id or self.brand_id


class _Period(NamedTuple):
    """A period in which an owner's spend and holds are above a budget. field: of the budget in the catalog's changes."""

    name: str
    field: str
    begin_ms: int
    first: date
    last: date
    spent: int
    limit: int


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
        ids = [brand.id for brand in self._catalog.brands(include_archived=True)]
        with self._db.connect() as conn:
            limited = audit_plan.limited_campaigns(conn)
        above = 0
        for owner in chain(self._brands(ids), map(self._campaign, limited)):
            if owner is None or not list(_above(owner, self._held(owner))):
                continue
            above += 1
            for text, micros in confirmed(lambda owner=owner: self._overspent(owner)):  # type: ignore[misc]  # mypy cannot infer a default
                check.find(f"{owner.entity} {owner.id} {text}", f"{owner.entity} {owner.id}", micros, owner.brand_id)
        of_campaigns = f" and {len(limited)} campaigns" if limited else ""
        check.checked = f"{len(ids)} brands{of_campaigns}, {above} of them above a budget, calls of the last {_RECENT.seconds // 60} minutes"
        return check

    def _brands(self, ids: list[int]) -> Iterator[_Owner | None]:
        for start in range(0, len(ids), _BRANDS_AT_ONCE):
            # Ordinal 0: the brand without its campaigns.
            brands = self._live.read_plans(dict.fromkeys(ids[start : start + _BRANDS_AT_ONCE], 0))
            yield from (None if brand is None else _of_brand(brand) for brand in brands.values())

    def _campaign(self, campaign_id: int) -> _Owner | None:
        brand = self._live.read_campaign(campaign_id)
        campaign = None if brand is None else brand.campaigns.get(campaign_id)
        if brand is None or campaign is None:
            return None
        budgets = tuple(zip(CAMPAIGN_BUDGETS, campaign.budgets, strict=False))
        return _Owner("campaign", brand.brand_id, campaign_id, brand.now_ms, budgets)

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

    def _again(self, owner: _Owner) -> _Owner | None:
        return self._campaign(owner.campaign_id) if owner.campaign_id else next(self._brands([owner.brand_id]))

    def _overspent(self, before: _Owner) -> Iterator[tuple[str, int]]:
        owner = self._again(before)
        if owner is None:
            return
        held = self._held(owner)
        now = at_ms(owner.now_ms)
        for period in _above(owner, held):
            with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
                begin = at_ms(max(period.begin_ms, 0)) - (_LONGEST_HOLD if held else _SLACK)
                largest = audit_plan.largest_budget(conn, owner.entity, owner.id, period.field, period.limit, begin)
                if largest is None or period.spent + held <= largest:
                    continue
                rows = audit_plan.recent_rows(conn, owner.brand_id, now - _RECENT, _ROWS, owner.campaign_id)
                logged = spend_read.campaign_totals(conn, [owner.brand_id], period.first, period.last)
            rows = [row for row in rows if period.first <= row.day <= period.last]
            verbs = self._inspector.remembered_verbs(shard_of(owner.brand_id), sorted({row.request_id for row in rows}))
            total = sum(micros for (_, campaign, _), micros in logged.items() if owner.campaign_id in (None, campaign))
            yield from _beyond(period, largest, held, rows, verbs, total)


def _of_brand(brand: LiveBrand) -> _Owner:
    return _Owner("brand", brand.brand_id, None, brand.now_ms, tuple(zip(BUDGETS, brand.budgets, strict=False)))


def _above(owner: _Owner, held: int) -> Iterator[_Period]:
    """The periods in which an owner's spend and holds are above its present budget."""
    now = owner.now_ms
    for kind, budget in owner.budgets:
        if budget.limit is None or budget.spent + held <= budget.limit:
            continue
        if kind.period is None:
            first, last, begin_ms, name = _FIRST, date_of(day_of(now)), 0, "lifetime"
        else:
            (first, last), begin_ms = dates_of(kind.period, now), period_start_ms(kind.period, now)
            name = f"day {first}" if kind.period == "day" else f"{kind.period} {period_of(kind.period, now)}"
        yield _Period(name, kind.column.removesuffix("_micros"), begin_ms, first, last, budget.spent, budget.limit)


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
