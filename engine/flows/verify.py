"""Verify: checks the invariants from outside, exactly, on a live system and whatever the backlog.

A shard's counters are read together with its journal number n, in one script. Then one snapshot of PostgreSQL gives the cursor and the sum of
the rows up to n, and the journal gives what lies between cursor and n. Entries above the cursor are never trimmed, so nothing can slip between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from sqlalchemy import Connection, Engine

from engine.domain.ids import SHARDS, brand_of
from engine.domain.periods import date_of, day_of, days_of_month, month_of
from engine.errors import BudgetError
from engine.ledger import audit, spend_log
from engine.ledger.catalog import Catalog
from engine.live.admin import SLICE, LiveRedis
from engine.live.journal import START, Journal, decode
from engine.live.keys import keys_of_brand

PASS: Final = "PASS"
FAIL: Final = "FAIL"
SHOWN: Final = 20
"""Findings told one by one; the difference counts them all."""
_PAGE: Final = 2000
_TRIES: Final = 3
"""A difference counts when it is found again: a close may prune a counter between two reads."""


@dataclass(slots=True)
class Check:
    """One invariant: what was looked at, and what is wrong with it."""

    id: str
    title: str
    checked: str = ""
    findings: list[str] = field(default_factory=list)
    _worst: dict[str, int] = field(default_factory=dict)

    @property
    def result(self) -> str:
        return FAIL if self.findings else PASS

    @property
    def difference_micros(self) -> int:
        """How much money is unaccounted for: of each owner the worst, so that one lost spend is not told for its day and again for its month."""
        return sum(self._worst.values())

    def find(self, text: str, owner: str = "", micros: int = 0) -> None:
        """Notes something wrong with what a brand or campaign owns."""
        self.findings.append(text)
        self._worst[owner] = max(self._worst.get(owner, 0), abs(micros))


@dataclass(frozen=True, slots=True)
class _Difference:
    """A counter that is not what was logged for it."""

    owner: str
    period: str
    counted: int
    logged: int

    def __str__(self) -> str:
        return f"{self.owner} {self.period}: Redis counts {self.counted} micros, logged are {self.logged} ({self.counted - self.logged:+d})"


@dataclass(frozen=True, slots=True)
class _Slice:
    """Counters of some hashes of a shard, all at journal number n."""

    n: int
    today: int
    counters: dict[str, tuple[int, ...]]


class NotVerifiable(BudgetError):
    """A shard cannot be looked at, because it is not in use."""


class Verifier:
    """Checks V1, V2, V4 and V9 of the invariants."""

    def __init__(
        self,
        db: Engine,
        catalog: Catalog,
        live: LiveRedis,
        journal: Journal,
        event_window: timedelta,
        request_window: timedelta,
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._live = live
        self._journal = journal
        self._event_window = event_window
        self._request_window = request_window

    def verify(self, days: int = 2, progress: Callable[[Check], None] = lambda check: None) -> list[Check]:
        """All checks, in order; `days` is how far back duplicates are looked for. Raises ServerAway."""
        checks: list[Check] = []
        for check in self._checks(days):
            checks.append(check)
            progress(check)
        return checks

    def _checks(self, days: int) -> Iterator[Check]:
        yield from self.counters()
        yield self._once(days)
        yield self._journals()

    # V1 and V2

    def counters(self) -> tuple[Check, Check]:
        """V1 and V2 alone: Redis' counters against the log."""
        conservation = Check("V1", "conservation: each brand's counter = spend log + journal not yet in it")
        hierarchy = Check(
            "V2", "hierarchy: brand = its campaigns, month = its days, campaign_day and closed days = spend log"
        )
        brands, campaigns = self._owners()
        for shard, owners in brands.items():
            try:
                for check, wanted in ((conservation, owners), (hierarchy, campaigns.get(shard, {}))):
                    for off in self._confirmed(shard, wanted):
                        check.find(str(off), off.owner, off.counted - off.logged)
            except NotVerifiable as why:
                conservation.find(str(why))
        conservation.checked = f"{sum(map(len, brands.values()))} brands"
        hierarchy.checked = f"{sum(map(len, campaigns.values()))} campaigns"
        first, today = self._month()
        with self._db.connect() as conn:
            for wrong in (*audit.daily_sums_off(conn, first, today), *audit.closed_days_off(conn, first, today)):
                apart = wrong.found - wrong.expected
                text = f"{wrong.owner} {wrong.what}: {wrong.found} micros, its rows are {wrong.expected} ({apart:+d})"
                hierarchy.find(text, wrong.owner, apart)
        return conservation, hierarchy

    def _owners(
        self,
    ) -> tuple[dict[int, dict[str, tuple[int, int | None]]], dict[int, dict[str, tuple[int, int | None]]]]:
        """By shard, the hashes of brands and of campaigns: {key: (brand id, campaign id or None)}."""
        brands: dict[int, dict[str, tuple[int, int | None]]] = {}
        campaigns: dict[int, dict[str, tuple[int, int | None]]] = {}
        for brand in self._catalog.brands(include_archived=True):
            brands.setdefault(brand.id % SHARDS, {})[keys_of_brand(brand.id).brand(brand.id)] = (brand.id, None)
        for campaign in self._catalog.campaigns(include_archived=True):
            key = keys_of_brand(campaign.brand_id).campaign(campaign.id)
            campaigns.setdefault(campaign.brand_id % SHARDS, {})[key] = (campaign.brand_id, campaign.id)
        return brands, campaigns

    def _confirmed(self, shard: int, owners: dict[str, tuple[int, int | None]]) -> list[_Difference]:
        """The differences of a shard that do not go away when looked at again."""
        keys = list(owners)
        out: list[_Difference] = []
        for start in range(0, len(keys), SLICE - 1):
            part = {key: owners[key] for key in keys[start : start + SLICE - 1]}
            found: list[_Difference] = []
            for _ in range(_TRIES):
                found = list(self._differences(shard, part))
                if not found:
                    break
            out += found
        return out

    def _differences(self, shard: int, owners: dict[str, tuple[int, int | None]]) -> Iterator[_Difference]:
        part = self._read(shard, list(owners))
        today = part.today
        month = month_of(today * 86_400_000)
        first = date_of(min(next(days_of_month(month)), today - 1))
        brand_ids = sorted({brand_id for brand_id, _ in owners.values()})
        with self._snapshot() as conn:
            cursor = spend_log.read_cursors(conn)[shard]
            logged = spend_log.log_totals(conn, brand_ids, first, date_of(today), part.n)
            yesterday_closed = shard in audit.closed_shards(conn, date_of(today - 1))
        if cursor.n > part.n:
            # The cursor moved on after the read, or an older Redis came back: V9 says which.
            waiting: dict[tuple[int, int, date], int] = {}
        else:
            waiting = self._waiting(shard, cursor.entry_id, cursor.n, part.n)
        by_owner: dict[tuple[int, int | None], dict[date, int]] = {}
        rows = [(key, micros) for key, (micros, _) in logged.items()] + list(waiting.items())
        for (brand_id, campaign_id, day), micros in rows:
            for counted_by in ((brand_id, None), (brand_id, campaign_id)):
                days = by_owner.setdefault(counted_by, {})
                days[day] = days.get(day, 0) + micros
        for key, owner in owners.items():
            name = f"brand {owner[0]}" if owner[1] is None else f"campaign {owner[1]}"
            counted_today, counted_yesterday, counted_month = part.counters[key]
            logged_days = by_owner.get(owner, {})
            in_month = sum(micros for day, micros in logged_days.items() if day.year * 100 + day.month == month)
            expected = [
                (f"day {date_of(today)}", counted_today, logged_days.get(date_of(today), 0)),
                (f"month {month}", counted_month, in_month),
            ]
            if not yesterday_closed:
                expected.append(
                    (f"day {date_of(today - 1)}", counted_yesterday, logged_days.get(date_of(today - 1), 0))
                )
            for period, counted, written in expected:
                if counted != written:
                    yield _Difference(name, period, counted, written)

    def _read(self, shard: int, keys: list[str]) -> _Slice:
        """Counters of today, yesterday and this month, by the shard's own now."""
        now_ms = self._live.read_shard(shard).clock_ms
        for _ in range(_TRIES):
            today = day_of(now_ms)
            fields = (f"d:{today}", f"d:{today - 1}", f"m:{month_of(now_ms)}")
            totals = self._live.read_totals(shard, keys, fields)
            if totals is None:
                break
            if day_of(totals.now_ms) == today:
                return _Slice(totals.n, today, dict(totals.values))
            now_ms = totals.now_ms
        raise NotVerifiable(
            f"shard {shard} is not ready ({self._live.read_shard(shard).why or 'clock'}): run `budget-engine doctor`"
        )

    def _waiting(self, shard: int, entry_id: str, cursor_n: int, up_to_n: int) -> dict[tuple[int, int, date], int]:
        """Sums of the entries between the cursor and n: {(brand, campaign, day): micros}."""
        sums: dict[tuple[int, int, date], int] = {}
        if cursor_n == up_to_n:
            return sums
        for entry_n, ms, spends in self._entries(shard, entry_id):
            if entry_n > up_to_n:
                break
            if entry_n > cursor_n:
                day = date_of(day_of(ms))
                for campaign_id, micros in spends:
                    key = (brand_of(campaign_id), campaign_id, day)
                    sums[key] = sums.get(key, 0) + micros
        return sums

    def _entries(self, shard: int, from_id: str) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
        """(n, ms, [(campaign, micros)]) of a journal from an entry on, that one included."""
        while True:
            raw = self._journal.read(shard, from_id if from_id != START else "-", _PAGE)
            for item in raw:
                entry = decode(*item)
                yield entry.n, entry.ms, [(spend.campaign_id, spend.amount_micros) for spend in entry.spends()]
            if len(raw) < _PAGE:
                return
            from_id = f"({raw[-1][0].decode()}"

    def _snapshot(self) -> Connection:
        return self._db.connect().execution_options(isolation_level="REPEATABLE READ")

    def _month(self) -> tuple[date, date]:
        now_ms = self._live.now_ms()
        return date_of(next(days_of_month(month_of(now_ms)))), date_of(day_of(now_ms))

    # V4

    def _once(self, days: int) -> Check:
        check = Check("V4", "once: no entry, event id or request counted twice", f"the last {days} days")
        since = self._month()[1] - timedelta(days=days - 1)
        with self._db.connect() as conn:
            found: Iterable[audit.Twice] = (
                *audit.repeated_positions(conn, since),
                *audit.repeated_events(conn, since, self._event_window),
                *audit.repeated_requests(conn, since, self._request_window),
            )
        for twice in found:
            check.find(
                f"brand {twice.brand_id} {twice.what}: {twice.micros} micros counted again", twice.what, twice.micros
            )
        return check

    # V9

    def _journals(self) -> Check:
        check = Check(
            "V9",
            "journal: n runs without a gap from the cursor to the end, nothing kept was trimmed",
            f"{SHARDS} journals",
        )
        for shard in range(SHARDS):
            problems: list[str] = []
            for _ in range(_TRIES):
                problems = list(self._journal_problems(shard))
                if not problems:
                    break
            for problem in problems:
                check.find(f"shard {shard}{problem}")
        return check

    def _journal_problems(self, shard: int) -> Iterator[str]:
        with self._db.connect() as conn:
            cursor = spend_log.read_cursors(conn)[shard]
        state = self._live.read_shard(shard)
        if not state.ready:
            yield f" is not ready ({state.why}): run `budget-engine rebuild`"
        elif cursor.stopped:
            yield f" is stopped: {cursor.stopped}"
        elif cursor.n > state.n:
            yield f": Redis is at n {state.n}, PostgreSQL has {cursor.n}: an older Redis came back"
        else:
            yield from self._gaps(shard, cursor, state.n)

    def _gaps(self, shard: int, cursor: spend_log.CursorRow, end_n: int) -> Iterator[str]:
        if cursor.safe_entry_id != START and not self._stands(shard, cursor.safe_entry_id):
            yield f": entry {cursor.safe_entry_id}, where the cursor stood JOURNAL_KEEP_MINUTES ago, was trimmed"
        expected = cursor.n + 1
        if cursor.entry_id != START:
            if not self._stands(shard, cursor.entry_id):
                yield f": the cursor's own entry {cursor.entry_id} (n {cursor.n}) is gone"
                return
            expected = cursor.n
        for n, _, _ in self._entries(shard, cursor.entry_id):
            if n != expected:
                yield f": after n {expected - 1} the journal goes on with n {n}"
                return
            expected = n + 1
        if expected <= end_n:
            yield f": the journal ends at n {expected - 1}, the shard is at {end_n}"

    def _stands(self, shard: int, entry_id: str) -> bool:
        raw = self._journal.read(shard, entry_id, 1)
        return bool(raw) and raw[0][0].decode() == entry_id
