"""Compares every fact that Redis and PostgreSQL both have: where they differ, both values and what to do.

`verify` compares sums of money (counters, rows, causes, plans), which takes time. This finds what a person must know
at once: whether one of the two was restored to an earlier state. A difference counts when it remains after a moment,
because the two are not read at one instant.
docs/operations.md lists every such fact, and what compares it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine, text

from engine.domain.ids import SHARDS, brand_of
from engine.domain.periods import PREFIX, counter_field_on, date_of, day_number, day_of, split_counter_field
from engine.flows.catalog.zones import wrong_zones
from engine.ledger import facts, periods, zones
from engine.ledger.cursors import read_cursors
from engine.ledger.published import last_change
from engine.live.admin import LiveRedis, LiveShard
from engine.live.inspect import Inspector
from engine.live.keys import keys_of_brand
from engine.live.registry import stamp
from engine.live.scripts import LAYOUT, serves
from engine.live.transport.plain import PlainRedis
from engine.views.doctor.finding import Finding, guarded

_LOOKS: Final = 3
_AGAIN_S: Final = 0.3
_SHOWN: Final = 3
_NEWEST: Final = 2000
"""Brands, and campaigns, that are looked at one by one: those that changed last. `verify` looks at all."""
_CLOSED_DAYS: Final = 3


class Apart(NamedTuple):
    """A fact that differs in the two stores, with both values, and what to do."""

    detail: str
    todo: str


@dataclass(frozen=True, slots=True)
class Sides:
    """Both stores. PostgreSQL is read first: what it has was in Redis before."""

    db: Engine
    live: LiveRedis
    inspector: Inspector
    instance: str
    timeout_s: float

    def asked(self, conn: Connection) -> Connection:
        """The connection, for questions that must not take long."""
        conn.execute(text(f"SET LOCAL statement_timeout = {int(self.timeout_s * 1000)}"))
        return conn

    def marked(self) -> dict[int, LiveShard]:
        """The shards that carry our own mark; the findings `shards` and `instance` tell of the others."""
        return {s.shard: s for s in self.live.read_shards() if s.mark and s.instance == self.instance}

    def ready(self) -> dict[int, LiveShard]:
        return {shard: state for shard, state in self.marked().items() if state.ready}


def agreement(live: LiveRedis, plain: PlainRedis, db: Engine, instance: str) -> Iterator[Finding]:
    """One finding for each kind of fact."""
    sides = Sides(db, live, Inspector(plain), instance, plain.timeout_s)
    for name, agreed, look in LOOKS:
        yield from guarded(name, lambda name=name, agreed=agreed, look=look: [_found(name, agreed, look, sides)])  # type: ignore[misc]  # mypy cannot infer a default


def _found(name: str, agreed: str, look: Callable[[Sides], Iterable[Apart]], sides: Sides) -> Finding:
    apart: list[Apart] = []
    for again in range(_LOOKS):
        if again:
            time.sleep(_AGAIN_S)
        apart = list(look(sides))
        if not apart:
            return Finding(name, "ok", agreed)
    more = f"; and {len(apart) - _SHOWN} more" if len(apart) > _SHOWN else ""
    return Finding(name, "fail", "; ".join(one.detail for one in apart[:_SHOWN]) + more, apart[0].todo)


def layouts(sides: Sides) -> Iterator[Apart]:
    """The layout of keys that each shard was written in, against this program's."""
    for shard, state in sides.marked().items():
        if not serves(state.layout):
            todo = "run the release that speaks the newer of the two everywhere: see Upgrading in docs/operations.md"
            yield Apart(f"shard {shard} has layout {state.layout} in Redis, this program speaks {LAYOUT}", todo)


def generations(sides: Sides) -> Iterator[Apart]:
    """The rebuild that wrote a shard's mark, against the one that PostgreSQL knows of."""
    with sides.db.begin() as conn:
        cursors = read_cursors(sides.asked(conn))
    for shard, state in sides.marked().items():
        here, there = state.generation, cursors[shard].generation
        detail = f"shard {shard} is of generation {here} in Redis, of {there} in PostgreSQL"
        if here < there:
            yield Apart(f"{detail}: an older Redis came back", _rebuild(shard))
        elif here > there:
            todo = (
                f"let `budget-engine persist` read the journal again, then look again; if it stays, {_rebuild(shard)}"
            )
            yield Apart(f"{detail}: an older PostgreSQL came back", todo)


def numbers(sides: Sides) -> Iterator[Apart]:
    """The number and id of the last journal entry, against how far PostgreSQL has persisted it."""
    with sides.db.begin() as conn:
        cursors = read_cursors(sides.asked(conn))
    for shard, state in sides.marked().items():
        cursor = cursors[shard]
        if state.n < cursor.n:
            detail = f"shard {shard} is at journal number {state.n} in Redis, PostgreSQL has {cursor.n}"
            yield Apart(f"{detail}: an older Redis came back", _rebuild(shard))
        elif state.n == cursor.n and _place(state.last_entry_id) < _place(cursor.entry_id):
            last = state.last_entry_id or "no entry"
            detail = f"the journal of shard {shard} ends with {last} in Redis, PostgreSQL has read {cursor.entry_id}"
            yield Apart(f"{detail}: other entries stand there now", _rebuild(shard))


def closed_periods(sides: Sides) -> Iterator[Apart]:
    """Days and months that PostgreSQL has closed, against the day that Redis is in and the counters that it still has."""
    with sides.db.begin() as conn:
        last = periods.all_last_closed(sides.asked(conn))
        brands = facts.newest_brands(conn, _NEWEST)
    for shard, state in sides.ready().items():
        day, month = last.get((shard, "day")), last.get((shard, "month"))
        today = date_of(day_of(max(state.now_ms, state.clock_ms)))
        for closed in {d for d in (day, month) if d is not None and d >= (today if d is day else today.replace(day=1))}:
            detail = (
                f"shard {shard}: PostgreSQL has closed {closed}, in Redis it is {today} and spends still count there"
            )
            yield Apart(detail, "set the clock of the hot Redis right: its day decides where a spend is counted")
        names = [f"{PREFIX['day']}{day_number(day) - back}" for back in range(_CLOSED_DAYS)] if day else []
        names += [counter_field_on("month", month)] if month else []
        own = [brand.id for brand in brands if brand.id % SHARDS == shard] if names else []
        for brand_id, got in zip(own, _fields(sides, own, names), strict=True):
            for name, micros in zip(names, got, strict=True):
                if micros is not None:
                    detail = f"brand {brand_id} still counts {micros} micros for {_period(name)} in Redis, PostgreSQL has closed it"
                    yield Apart(detail, _rebuild(shard))


def changed(sides: Sides) -> Iterator[Apart]:
    """The last change of the catalog that Redis has seen, against the catalog's last."""
    # Redis first: each change was in PostgreSQL before.
    seen = stamp(sides.live, sides.instance, range(SHARDS))
    with sides.db.begin() as conn:
        last = last_change(sides.asked(conn))
    if seen > last:
        detail = (
            f"Redis has seen change {seen} of the catalog, PostgreSQL's last is {last}: an older PostgreSQL came back"
        )
        yield Apart(
            detail, "run `budget-engine persist`, which publishes everything again, then `budget-engine verify`"
        )


def published(sides: Sides) -> Iterator[Apart]:
    """Versions of brands and campaigns in Redis, against those in the catalog and those that it noted as published."""
    with sides.db.begin() as conn:
        brands = facts.newest_brands(sides.asked(conn), _NEWEST)
        campaigns = facts.newest_campaigns(conn, _NEWEST)
    ready = sides.ready()
    told = [(f"brand {b.id}", b.id, keys_of_brand(b.id).brand(b.id), b) for b in brands]
    told += [(f"campaign {c.id}", brand_of(c.id), keys_of_brand(brand_of(c.id)).campaign(c.id), c) for c in campaigns]
    told = [one for one in told if one[1] % SHARDS in ready]
    found = sides.inspector.fields([key for _, _, key, _ in told], ["v"])
    for (name, brand_id, _, row), got in zip(told, found, strict=True):
        version = got[0] if got is not None else None
        here = f"version {version}" if version else "no version"
        if version and version.isdigit() and int(version) > row.version:
            detail = (
                f"{name} has {here} in Redis, the catalog is at version {row.version}: an older PostgreSQL came back"
            )
            yield Apart(
                detail, "run `budget-engine check`: it publishes the catalog's word above that, as each change does"
            )
        elif row.published is not None and (not version or not version.isdigit() or int(version) < row.published):
            detail = f"{name} has {here} in Redis, PostgreSQL has published version {row.published}"
            yield Apart(f"{detail}: an older Redis came back", _rebuild(brand_id % SHARDS))


def horizons(sides: Sides) -> Iterator[Apart]:
    """For how long the published time zones are right by the laws on clocks."""
    with sides.db.begin() as conn:
        zoned = zones.zoned(sides.asked(conn))[-_NEWEST:]
    for wrong in wrong_zones(sides.inspector, zoned, sides.live.now_ms()) if zoned else ():
        yield Apart(
            wrong.text, "run `budget-engine check`, which publishes it anew; see that the worker and the scheduler run"
        )


def registered(sides: Sides) -> Iterator[Apart]:
    """The highest campaign of each brand in its shard's registry, against the highest that was published."""
    with sides.db.begin() as conn:
        highest = facts.highest_published(sides.asked(conn), _NEWEST)
    ready = sides.ready()
    for shard in ready:
        own = [brand_id for brand_id in highest if brand_id % SHARDS == shard]
        if not own:
            continue
        (got,) = sides.inspector.fields([keys_of_brand(own[0]).registry], [str(brand_id) for brand_id in own])
        for brand_id, known in zip(own, got or [None] * len(own), strict=True):
            if known is None or not known.isdigit() or int(known) < highest[brand_id]:
                here = f"campaigns up to number {known}" if known else "no campaigns"
                detail = f"shard {shard} knows {here} of brand {brand_id} in Redis, PostgreSQL has published number {highest[brand_id]}"
                yield Apart(detail, _rebuild(shard))


def held(sides: Sides) -> Iterator[Apart]:
    """What is on hold of each brand, on shards of which PostgreSQL has every entry."""
    before = sides.ready()
    with sides.db.begin() as conn:
        cursors = read_cursors(sides.asked(conn))
        logged = facts.held(conn)
        brands = facts.newest_brands(conn, _NEWEST)
    wanted = sorted({brand.id for brand in brands} | logged.keys())
    counted = dict(zip(wanted, _fields(sides, wanted, ["held"]), strict=True))
    after = sides.ready()
    still = {
        shard for shard, state in after.items()
        if shard in before and before[shard].n == state.n == cursors[shard].n
    }  # fmt: skip
    for brand_id in wanted:
        here, there = counted[brand_id][0] or "0", logged.get(brand_id, 0)
        if brand_id % SHARDS in still and here != str(there):
            detail = f"brand {brand_id} has {here} micros on hold in Redis, {there} in PostgreSQL"
            yield Apart(detail, _rebuild(brand_id % SHARDS))


LOOKS: Final = (
    ("layout", f"Redis and this program speak layout {LAYOUT}", layouts),
    ("generation", "Redis and PostgreSQL know of the same rebuilds", generations),
    ("journal number", "PostgreSQL is not ahead of Redis", numbers),
    ("closed periods", "what PostgreSQL has closed is closed in Redis", closed_periods),
    ("catalog changes", "Redis has seen no change that the catalog does not have", changed),
    ("published versions", f"Redis has what was published, of the {_NEWEST} newest brands and campaigns", published),
    ("time zones", "the published time zones are right for a week and more", horizons),
    ("registry", "Redis knows every campaign that was published", registered),
    ("holds", "Redis and PostgreSQL have the same on hold", held),
)


def _fields(sides: Sides, brand_ids: list[int], names: list[str]) -> list[list[str | None]]:
    """Fields of brands; none of what is no hash, which V10 of verify names."""
    found = sides.inspector.fields([keys_of_brand(b).brand(b) for b in brand_ids], names) if brand_ids else []
    return [got if got is not None else [None] * len(names) for got in found]


def _place(entry_id: str) -> tuple[int, int]:
    ms, _, order = (entry_id or "0-0").partition("-")
    return int(ms), int(order or 0)


def _period(field: str) -> str:
    period, number = split_counter_field(field) or ("day", "0")
    return f"day {date_of(int(number))}" if period == "day" else f"{period} {number[:4]}-{number[4:]}"


def _rebuild(shard: int) -> str:
    return f"run `budget-engine rebuild --shard {shard}`, then `budget-engine verify`"
