"""V3: `try_spend` never takes a brand past its budget.

A counter above every budget of its period must be explained by record calls (`record_spend`, late and over settles),
which are counted past any budget. The log does not have the verb, but Redis stores the verb of each call in its dedup
window. So no try call may have been counted beyond the largest budget, and try calls, settles within their holds and
open holds together must fit into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Engine

from engine.domain.budget import BUDGETS
from engine.domain.ids import shard_of
from engine.domain.periods import at_ms, dates_of, period_of, period_start_ms
from engine.flows.verify.findings import Check, confirmed
from engine.ledger import audit_plan, spend_read
from engine.ledger.audit_plan import RecentRow
from engine.ledger.catalog import Catalog
from engine.live.admin import LiveRedis
from engine.live.inspect import Inspector
from engine.live.plans import LiveBrand

_RECENT: Final = timedelta(minutes=30)
_ROWS: Final = 20_000
_SLACK: Final = timedelta(minutes=5, seconds=30)
"""A budget lowered just before the period may have been published just after it began, within one check."""
_LONGEST_HOLD: Final = timedelta(days=1)
_BRANDS_AT_ONCE: Final = 50


class _Period(NamedTuple):
    name: str
    field: str
    begin_ms: int
    first: date
    last: date
    spent: int
    limit: int


class Limits:
    """Checks brands whose spend and holds are above their budget."""

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
        above = 0
        for start in range(0, len(ids), _BRANDS_AT_ONCE):
            # Ordinal 0: the brand without its campaigns.
            brands = self._live.read_plans(dict.fromkeys(ids[start : start + _BRANDS_AT_ONCE], 0))
            for brand_id, brand in brands.items():
                if brand is None or all(budget.limit is None for budget in brand.budgets):
                    continue
                if not list(_above(brand, self._held(brand_id))):
                    continue
                above += 1
                for text, micros in confirmed(lambda brand_id=brand_id: self._overspent(brand_id)):  # type: ignore[misc]  # mypy cannot infer a default
                    check.find(f"brand {brand_id} {text}", f"brand {brand_id}", micros, brand_id)
        check.checked = (
            f"{len(ids)} brands, {above} of them above a budget, calls of the last {_RECENT.seconds // 60} minutes"
        )
        return check

    def _held(self, brand_id: int) -> int:
        try:
            found = self._inspector.holds(brand_id)
        except ValueError:
            # V10 reports malformed values.
            return 0
        return 0 if found is None else found.held

    def _overspent(self, brand_id: int) -> Iterator[tuple[str, int]]:
        brand = self._live.read_plans({brand_id: 0})[brand_id]
        if brand is None:
            return
        held = self._held(brand_id)
        now = at_ms(brand.now_ms)
        for period in _above(brand, held):
            with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
                begin = at_ms(period.begin_ms) - (_LONGEST_HOLD if held else _SLACK)
                largest = audit_plan.largest_budget(conn, brand_id, period.field, period.limit, begin)
                if largest is None or period.spent + held <= largest:
                    continue
                rows = audit_plan.recent_rows(conn, brand_id, now - _RECENT, _ROWS)
                logged = spend_read.campaign_totals(conn, [brand_id], period.first, period.last)
            rows = [row for row in rows if period.first <= row.day <= period.last]
            verbs = self._inspector.remembered_verbs(shard_of(brand_id), sorted({row.request_id for row in rows}))
            yield from _beyond(period, largest, held, rows, verbs, sum(logged.values()))


def _above(brand: LiveBrand, held: int) -> Iterator[_Period]:
    """The periods in which a brand's spend and holds are above its present budget."""
    now = brand.now_ms
    for kind, budget in zip(BUDGETS, brand.budgets, strict=False):
        if budget.limit is not None and budget.spent + held > budget.limit:
            first, last = dates_of(kind.period, now)
            name = f"day {first}" if kind.period == "day" else f"{kind.period} {period_of(kind.period, now)}"
            begin_ms = period_start_ms(kind.period, now)
            yield _Period(name, kind.cause, begin_ms, first, last, budget.spent, budget.limit)


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
