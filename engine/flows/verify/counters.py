"""V1 and V2: Redis' counters against what was logged, exactly, on a live system and whatever the backlog.

A shard's counters are read together with its journal number n, in one script. Then one snapshot of PostgreSQL gives the cursor, the sum of the
rows up to n and what lies in quarantine, and the journal gives what lies between cursor and n. Entries above the cursor are never trimmed, so
nothing can slip between. Reconcile repairs by the same differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine

from engine.domain.ids import SHARDS
from engine.domain.periods import DAY_MS, date_of, day_of, days_of_month, month_of, month_of_date
from engine.flows.booking import Read, counted_by, read
from engine.flows.verify.findings import TRIES, Check, NotVerifiable, confirmed
from engine.ledger import audit, quarantine, spend_log
from engine.ledger.catalog import Catalog
from engine.live.admin import SLICE, LiveRedis
from engine.live.journal import START, Entry, Journal, NoJournal
from engine.live.keys import keys_of_brand

_PAGE: Final = 2000


class Owner(NamedTuple):
    """Whose hash it is: a brand's, or that of one of its campaigns."""

    brand_id: int
    campaign_id: int | None

    def __str__(self) -> str:
        return f"brand {self.brand_id}" if self.campaign_id is None else f"campaign {self.campaign_id}"


Owners = Mapping[str, Owner]
"""{key of the hash: owner}"""


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter that is not what was logged for it, at journal number n of its shard. field: as the hash names it (`d:20748`)."""

    shard: int
    key: str
    owner: Owner
    field: str
    period: str
    counted: int
    logged: int
    n: int

    @property
    def apart(self) -> int:
        """Micros that Redis counts too many (or too few, negative)."""
        return self.counted - self.logged

    @property
    def wrong_micros(self) -> int:
        """What is wrong with the counter: how far it is from the log or, where it agrees, how far below 0."""
        return self.apart or self.counted

    def __str__(self) -> str:
        if not self.apart:
            below = "no counter is below 0: more was given back than spent"
            return f"{self.owner} {self.period}: Redis and the log count {self.counted} micros, and {below}"
        return f"{self.owner} {self.period}: Redis counts {self.counted} micros, logged are {self.logged} ({self.apart:+d})"


@dataclass(frozen=True, slots=True)
class _Slice:
    """Counters of some hashes of a shard, all at journal number n."""

    n: int
    today: int
    counters: Mapping[str, tuple[int, ...]]


@dataclass(slots=True)
class _Logged:
    """What is logged for an owner: by day (corrections of the day left out: its counter was closed by then), and in the month."""

    days: dict[date, int]
    month: int = 0


class Counters:
    """Compares counters with the log."""

    def __init__(self, db: Engine, catalog: Catalog, live: LiveRedis, journal: Journal) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live
        self._journal = journal

    def check(self) -> tuple[Check, Check]:
        """V1 and V2."""
        conservation = Check(
            "V1", "conservation: each brand's counter = spend log + journal not yet in it + quarantine"
        )
        hierarchy = Check(
            "V2", "hierarchy: brand = its campaigns, month = its days, campaign_day = its hours = spend log"
        )
        brands, campaigns = self.owners()
        for shard, owners in brands.items():
            try:
                for check, wanted in ((conservation, owners), (hierarchy, campaigns.get(shard, {}))):
                    for off in self._suspects(shard, wanted):
                        check.find(str(off), str(off.owner), off.wrong_micros, off.owner.brand_id)
            except NotVerifiable as why:
                conservation.find(str(why))
        conservation.checked = f"{sum(map(len, brands.values()))} brands"
        hierarchy.checked = f"{sum(map(len, campaigns.values()))} campaigns"
        for of, found in (("its rows are", self.daily_sums_off()), ("campaign_day is", self._hourly_sums_off())):
            for wrong in found:
                apart = wrong.found - wrong.expected
                text = f"{wrong.owner} {wrong.what}: {wrong.found} micros, {of} {wrong.expected} ({apart:+d})"
                hierarchy.find(text, wrong.owner, apart, wrong.brand_id)
        return conservation, hierarchy

    def daily_sums_off(self) -> list[audit.Disagreement]:
        """Where campaign_day is not the sum of its rows, in this month."""
        with self._db.connect() as conn:
            return audit.daily_sums_off(conn, *self._this_month())

    def _hourly_sums_off(self) -> list[audit.Disagreement]:
        """Where campaign_hour does not add up to campaign_day, in this month."""
        with self._db.connect() as conn:
            return audit.hourly_sums_off(conn, *self._this_month())

    def _this_month(self) -> tuple[date, date]:
        """Its first day, and today."""
        now_ms = self._live.now_ms()
        return date_of(next(days_of_month(month_of(now_ms)))), date_of(day_of(now_ms))

    def owners(self) -> tuple[dict[int, dict[str, Owner]], dict[int, dict[str, Owner]]]:
        """By shard, the hashes of brands and of campaigns that were ever published."""
        brands: dict[int, dict[str, Owner]] = {}
        campaigns: dict[int, dict[str, Owner]] = {}
        for brand in self._catalog.brands(include_archived=True):
            brands.setdefault(brand.id % SHARDS, {})[keys_of_brand(brand.id).brand(brand.id)] = Owner(brand.id, None)
        for campaign in self._catalog.campaigns(include_archived=True):
            key = keys_of_brand(campaign.brand_id).campaign(campaign.id)
            campaigns.setdefault(campaign.brand_id % SHARDS, {})[key] = Owner(campaign.brand_id, campaign.id)
        return brands, campaigns

    def differences(self, shard: int, owners: Owners) -> list[Difference]:
        """The differences of a shard that do not go away when looked at again. Raises NotVerifiable."""
        return [off for off in self._suspects(shard, owners) if off.apart]

    def _suspects(self, shard: int, owners: Owners) -> list[Difference]:
        """The same, and counters below 0 that the log agrees with."""
        keys = list(owners)
        out: list[Difference] = []
        for start in range(0, len(keys), SLICE - 1):
            part = {key: owners[key] for key in keys[start : start + SLICE - 1]}
            out += confirmed(lambda part=part: self._differences(shard, part))  # type: ignore[misc]  # mypy cannot infer a default
        return out

    def _differences(self, shard: int, owners: Owners) -> Iterator[Difference]:
        part = self._read(shard, list(owners))
        month = month_of(part.today * DAY_MS)
        logged, yesterday_closed = self._logged(shard, owners, part, month)
        today, yesterday = date_of(part.today), date_of(part.today - 1)
        for key, owner in owners.items():
            counted_today, counted_yesterday, counted_month = part.counters[key]
            written = logged.get(owner, _Logged({}))
            expected = [
                (f"d:{part.today}", f"day {today}", counted_today, written.days.get(today, 0)),
                (f"m:{month}", f"month {month}", counted_month, written.month),
            ]
            if not yesterday_closed:
                of_day = written.days.get(yesterday, 0)
                expected.append((f"d:{part.today - 1}", f"day {yesterday}", counted_yesterday, of_day))
            for field, period, counted, micros in expected:
                if counted != micros or counted < 0:
                    yield Difference(shard, key, owner, field, period, counted, micros, part.n)

    def _logged(self, shard: int, owners: Owners, part: _Slice, month: int) -> tuple[dict[Owner, _Logged], bool]:
        """What was logged up to n for each owner, and whether the shard has closed yesterday."""
        first = date_of(min(next(days_of_month(month)), part.today - 1))
        brand_ids = sorted({owner.brand_id for owner in owners.values()})
        with self._snapshot() as conn:
            cursor = spend_log.read_cursors(conn)[shard]
            rows = spend_log.log_totals(conn, brand_ids, first, date_of(part.today), part.n)
            aside = quarantine.sums(conn, brand_ids, part.n)
            yesterday_closed = shard in audit.closed_shards(conn, date_of(part.today - 1))
        sums = [(key, found.micros, found.corrections) for key, found in rows.items()]
        sums += [(key, micros, 0) for key, micros in aside.items()]
        if cursor.n < part.n:
            # Else the cursor moved on after the read, or an older Redis came back: V9 says which.
            sums += self._waiting(shard, cursor.entry_id, cursor.n, part.n)
        logged: dict[Owner, _Logged] = {}
        for (brand_id, campaign_id, day), micros, corrections in sums:
            for owner in (Owner(brand_id, None), Owner(brand_id, campaign_id)):
                of_owner = logged.setdefault(owner, _Logged({}))
                of_owner.days[day] = of_owner.days.get(day, 0) + micros - corrections
                of_owner.month += micros if month_of_date(day) == month else 0
        return logged, yesterday_closed

    def _read(self, shard: int, keys: list[str]) -> _Slice:
        """Counters of today, yesterday and this month, by the shard's own now."""
        now_ms = self._live.read_shard(shard).clock_ms
        for _ in range(TRIES):
            today = day_of(now_ms)
            fields = (f"d:{today}", f"d:{today - 1}", f"m:{month_of(now_ms)}")
            totals = self._live.read_totals(shard, keys, fields)
            if totals is None:
                break
            if day_of(totals.now_ms) == today:
                return _Slice(totals.n, today, totals.values)
            now_ms = totals.now_ms
        raise NotVerifiable(
            f"shard {shard} is not ready ({self._live.read_shard(shard).why or 'clock'}): run `budget-engine doctor`"
        )

    def _waiting(
        self, shard: int, entry_id: str, cursor_n: int, up_to_n: int
    ) -> Iterator[tuple[tuple[int, int, date], int, int]]:
        """((brand, campaign, day), micros, of which corrections) of the entries between the cursor and n."""
        for item in entries(self._journal, shard, entry_id):
            if item.n is None or item.n <= cursor_n:
                continue
            if item.n > up_to_n:
                return
            for key, micros in counted_by(item).items():
                yield key, micros, _corrections(item, key)

    def _snapshot(self) -> Connection:
        return self._db.connect().execution_options(isolation_level="REPEATABLE READ")


def _corrections(item: Read, key: tuple[int, int, date]) -> int:
    if not isinstance(item.entry, Entry):
        return 0
    _, campaign_id, day = key
    return sum(
        spend.amount_micros
        for spend in item.entry.spends()
        if spend.kind == "correction"
        and spend.campaign_id == campaign_id
        and spend.day is not None
        and date_of(spend.day) == day
    )


def entries(journal: Journal, shard: int, from_id: str) -> Iterator[Read]:
    """A journal from an entry on, that one included; entries that do not read are told as such. What is no journal has no entries."""
    while True:
        try:
            raw = journal.read(shard, from_id if from_id != START else "-", _PAGE)
        except NoJournal:
            return
        for item in raw:
            yield read(*item)
        if len(raw) < _PAGE:
            return
        from_id = f"({raw[-1][0].decode()}"
