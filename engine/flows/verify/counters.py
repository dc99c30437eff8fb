"""V1 and V2: compares Redis' counters with the log exactly, on a live system and with any backlog.

A script reads a slice of a shard's counters together with the journal number n. After all slices, one snapshot of
PostgreSQL gives the cursor, the sum of the rows up to each slice's n, and the quarantine (`logged`).
The journal gives the entries between cursor and n. Entries above the cursor are never trimmed, so none is missed.
Reconcile repairs by the same differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final, NamedTuple

from sqlalchemy import Engine

from engine.domain.ids import ORDINALS, SHARDS, brand_of
from engine.domain.periods import DAY_MS, counter_field, date_of, month_of
from engine.domain.zone_text import Zone
from engine.errors import ServerAway
from engine.flows.verify.clocks import Clocks
from engine.flows.verify.difference import Difference
from engine.flows.verify.findings import TRIES, Check, NotVerifiable
from engine.flows.verify.lifetimes import Lifetimes
from engine.flows.verify.logged import Logged, Owner, blocks, read_log
from engine.flows.verify.passes import Pass
from engine.ledger import audit
from engine.ledger import campaigns as campaigns_ledger
from engine.ledger.catalog import Catalog
from engine.live.admin import LiveRedis
from engine.live.journal import Journal
from engine.live.keys import keys_of_brand

_BLOCK: Final = ORDINALS - 1
"""Hashes whose rows are summed in one pass; more only where they are of one brand."""
_AT_ONCE: Final = 100
"""Hashes in one call, small so that spends do not wait."""


Owners = Mapping[str, Owner]
"""{key of the hash: owner}"""


@dataclass(slots=True)
class _Seen:
    """Counters of hashes of a shard, read slice by slice on one day: {owner: the journal number n of its slice}."""

    zone: Zone
    today: int
    n: dict[Owner, int] = field(default_factory=dict)
    counters: dict[str, tuple[int, ...]] = field(default_factory=dict)


class _OpenPeriod(NamedTuple):
    """A period with a counter. words: for people. logged: the part of the log to compare with."""

    field: str
    words: str
    logged: Callable[[Logged], int]
    may_be_closed: bool = False


def _open_periods(today: int) -> tuple[_OpenPeriod, ...]:
    """The periods that are open on a day (its number), and yesterday, which may be open."""
    ms, yesterday = today * DAY_MS, (today - 1) * DAY_MS
    return (
        _OpenPeriod(counter_field("day", ms), f"day {date_of(today)}", lambda logged: logged.today),
        _OpenPeriod(counter_field("month", ms), f"month {month_of(ms)}", lambda logged: logged.month),
        _OpenPeriod(
            counter_field("day", yesterday), f"day {date_of(today - 1)}", lambda logged: logged.yesterday, True
        ),
    )


class Counters:
    """Compares counters with the log."""

    def __init__(self, db: Engine, catalog: Catalog, live: LiveRedis, journal: Journal) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live
        self._journal = journal
        self.lifetimes = Lifetimes(db, live, journal)

    def check(self, one: Pass) -> tuple[Check, Check]:
        """V1 and V2."""
        conservation = Check(
            "V1", "conservation: each brand's counter = spend log + journal not yet in it + quarantine"
        )
        hierarchy = Check(
            "V2", "hierarchy: brand = its campaigns, month = its days, campaign_day = its hours = spend log"
        )
        brands, campaigns = self.owners()
        away: dict[str, list[int]] = {}
        for shard, owners in brands.items():
            try:
                for check, wanted in ((conservation, owners), (hierarchy, campaigns.get(shard, {}))):
                    for off in self._suspects(shard, wanted, one):
                        check.find(str(off), str(off.owner), off.wrong_micros, off.owner.brand_id)
            except NotVerifiable as why:
                conservation.find(str(why))
            except ServerAway as gone:
                if not gone.partial:
                    raise
                away.setdefault(str(gone), []).append(shard)
        for gone_text, shards in away.items():
            conservation.find(f"{len(shards)} shards were not compared ({', '.join(map(str, shards))}): {gone_text}")
        conservation.checked = f"{sum(map(len, brands.values()))} brands"
        hierarchy.checked = f"{sum(map(len, campaigns.values()))} campaigns"
        for of, found in (("its rows are", self.daily_sums_off(one)), ("campaign_day is", self._hourly_sums_off())):
            for wrong in found:
                apart = wrong.found - wrong.expected
                text = f"{wrong.owner} {wrong.what}: {wrong.found} micros, {of} {wrong.expected} ({apart:+d})"
                hierarchy.find(text, wrong.owner, apart, wrong.brand_id)
        return conservation, hierarchy

    def daily_sums_off(self, one: Pass) -> list[audit.Disagreement]:
        """Where campaign_day is not the sum of its rows, in this month."""
        with self._db.connect() as conn:
            return audit.daily_sums_off(conn, *self._this_month(), scope=one.above)

    def _hourly_sums_off(self) -> list[audit.Disagreement]:
        """Where campaign_hour does not add up to campaign_day, in this month."""
        with self._db.connect() as conn:
            return audit.hourly_sums_off(conn, *self._this_month())

    def _this_month(self) -> tuple[date, date]:
        """Its first day, and today: the first and the last that these are for any brand."""
        now_ms, clocks = self._live.now_ms(), self._clocks()
        return clocks.month_begin(now_ms), clocks.today(now_ms)

    def _clocks(self) -> Clocks:
        with self._db.connect() as conn:
            return Clocks.read(conn)

    def owners(self) -> tuple[dict[int, dict[str, Owner]], dict[int, dict[str, Owner]]]:
        """By shard, the hashes of brands and of campaigns that were ever published."""
        brands: dict[int, dict[str, Owner]] = {}
        campaigns: dict[int, dict[str, Owner]] = {}
        for brand in self._catalog.brands(include_archived=True):
            brands.setdefault(brand.id % SHARDS, {})[keys_of_brand(brand.id).brand(brand.id)] = Owner(brand.id, None)
        with self._db.connect() as conn:
            ids = campaigns_ledger.every_id(conn)
        for campaign_id in ids:
            brand_id = brand_of(campaign_id)
            key = keys_of_brand(brand_id).campaign(campaign_id)
            campaigns.setdefault(brand_id % SHARDS, {})[key] = Owner(brand_id, campaign_id)
        return brands, campaigns

    def differences(self, shard: int, owners: Owners, one: Pass) -> list[Difference]:
        """The differences of a shard that remain in a second look, of lifetimes too. Raises NotVerifiable."""
        found = [*self._suspects(shard, owners, one), *self.lifetimes.differences(shard, one)]
        return [off for off in found if off.apart]

    def _suspects(self, shard: int, owners: Owners, one: Pass) -> list[Difference]:
        """The same, and negative counters with which the log agrees."""
        out: list[Difference] = []
        clocks, by_clock = self._clocks(), dict[Zone, dict[str, Owner]]()
        for key, owner in owners.items():
            by_clock.setdefault(clocks.of(owner.brand_id), {})[key] = owner
        for zone, block in ((zone, block) for zone, own in by_clock.items() for block in blocks(own, _BLOCK)):
            suspects = block
            for _ in range(TRIES):
                found = list(self._differences(shard, suspects, one.id, zone))
                suspects = {off.key: off.owner for off in found}
                if not found:
                    break
            out += found
        return out

    def _differences(self, shard: int, owners: Owners, pass_id: int, zone: Zone) -> Iterator[Difference]:
        seen = self._read(shard, owners, zone)
        today = date_of(seen.today)
        with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
            log = read_log(conn, self._journal, shard, seen.n, today, pass_id)
        every = _open_periods(seen.today)
        for key, owner in owners.items():
            logged = log.of[owner]
            closed = log.yesterday_closed or owner.brand_id in log.closed_for
            periods = [of for of in every if not (of.may_be_closed and closed)]
            counted = seen.counters[key][: len(periods)]
            expected = tuple(of.logged(logged) for of in periods)
            if counted == expected and min(counted) >= 0:
                continue
            for of, is_so, micros in zip(periods, counted, expected, strict=True):
                if is_so != micros or is_so < 0:
                    yield Difference(shard, key, owner, of.field, of.words, is_so, micros, seen.n[owner])

    def _read(self, shard: int, owners: Owners, zone: Zone) -> _Seen:
        """Counters of today, yesterday and this month, by the shard's own now; begins again where a day ended
        meanwhile.
        """
        now_ms = self._live.read_shard(shard).clock_ms
        for _ in range(TRIES):
            seen = _Seen(zone, zone.day_of(now_ms))
            now_ms = self._read_day(shard, owners, seen, now_ms)
            if zone.day_of(now_ms) == seen.today:
                return seen
        raise self._not_ready(shard)

    def _read_day(self, shard: int, owners: Owners, seen: _Seen, now_ms: int) -> int:
        """Reads the counters of one day into `seen`; returns the shard's last now, at which it stops when that is of
        another day.
        """
        fields = [of.field for of in _open_periods(seen.today)]
        keys = list(owners)
        parts = [keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE)]
        for part, totals in zip(parts, self._live.read_each_totals(shard, parts, fields, rests=True), strict=False):
            if totals is None:
                raise self._not_ready(shard)
            now_ms = totals.now_ms
            if seen.zone.day_of(now_ms) != seen.today:
                break
            seen.counters |= totals.values
            seen.n |= dict.fromkeys((owners[key] for key in part), totals.n)
        return now_ms

    def _not_ready(self, shard: int) -> NotVerifiable:
        why = self._live.read_shard(shard).why or "clock"
        return NotVerifiable(f"shard {shard} is not ready ({why}): run `budget-engine doctor`")
