"""The flights' part of V13: each flight's counter = all rows of the flight, and each entry's part = its rows.

A counter is read together with the journal number n. One snapshot of PostgreSQL then gives what the log has of the flight, less what later entries
counted; the journal gives the entries between cursor and n, as in `logged`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from sqlalchemy import Engine, text

from engine.domain.flights import PlannedFlight, flight_field
from engine.domain.ids import SHARDS, brand_of
from engine.domain.periods import date_of, day_of
from engine.flows.persist.ingest import counted_by
from engine.flows.verify.difference import Difference
from engine.flows.verify.findings import TRIES, NotVerifiable
from engine.flows.verify.logged import Owner, entries
from engine.ledger import flight_sums
from engine.ledger.cursors import read_cursors
from engine.ledger.flight_sums import Flown
from engine.live.admin import LiveRedis
from engine.live.journal import Journal
from engine.live.keys import keys_of_campaign

_AT_ONCE: Final = 100
_PLANNED: Final = text(
    "SELECT id, flights FROM campaign WHERE cardinality(flights) > 0 AND published_version = version"
    f" AND mod(brand_id, {SHARDS}) = :shard"
)
_SHARDS: Final = text(
    f"SELECT DISTINCT mod(brand_id, {SHARDS}) FROM campaign WHERE last_flight > 0 OR cardinality(flights) > 0 ORDER BY 1"
)

Read = Mapping[tuple[int, int], tuple[int, int]]
"""{(campaign id, counter): (micros, journal number at which it was read)}"""


class Flights:
    """Compares flights' counters with the log."""

    def __init__(self, db: Engine, live: LiveRedis, journal: Journal) -> None:
        self._db = db
        self._live = live
        self._journal = journal

    def shards(self) -> list[int]:
        """Those of which a campaign has, or had, flights."""
        with self._db.connect() as conn:
            return list(conn.execute(_SHARDS).scalars())

    def parts_off(self) -> Iterator[tuple[str, Owner, int]]:
        """What entries of the last days counted to a flight and is not the sum of their rows: text, owner, micros."""
        today = date_of(day_of(self._live.now_ms()))
        with self._db.connect() as conn:
            for off in flight_sums.parts_off(conn, today - timedelta(days=2), today + timedelta(days=1)):
                owner = Owner(brand_of(off.campaign_id), off.campaign_id)
                apart = off.found - off.expected
                yield (
                    f"{owner} flight {off.flight}: entry {off.n} counted {off.found} micros, its rows are {off.expected} ({apart:+d})",
                    owner,
                    apart,
                )

    def differences(self, shard: int) -> list[Difference]:
        """The differences of a shard that remain in a second look. Raises NotVerifiable."""
        wanted: set[tuple[int, int]] | None = None
        found: list[Difference] = []
        for _ in range(TRIES):
            found = self._differences(shard, wanted)
            wanted = {(off.owner.campaign_id or 0, int(off.field[2:])) for off in found}
            if not wanted:
                return []
        return found

    def _differences(self, shard: int, wanted: set[tuple[int, int]] | None) -> list[Difference]:
        read = self._read(shard, self._known(shard) if wanted is None else wanted)
        if not read:
            return []
        with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
            cursor = read_cursors(conn)[shard]
            logged = self._waiting(shard, cursor.entry_id, cursor.n, read)
            for n, key, micros in flight_sums.waiting(conn, shard):
                if key in read and (n is None or n <= read[key][1]):
                    logged[key] = logged.get(key, 0) + micros
            for key, micros in flight_sums.totals(conn, {campaign for campaign, _ in read}).items():
                if key in read:
                    logged[key] = logged.get(key, 0) + micros - flight_sums.above(conn, *key, read[key][1])
        found = []
        for (campaign_id, counter), (counted, n) in read.items():
            of_log = logged.get((campaign_id, counter), 0)
            if counted != of_log or counted < 0:
                name = keys_of_campaign(campaign_id).campaign(campaign_id)
                owner = Owner(brand_of(campaign_id), campaign_id)
                found.append(
                    Difference(shard, name, owner, flight_field(counter), f"flight {counter}", counted, of_log, n)
                )
        return found

    def _known(self, shard: int) -> set[tuple[int, int]]:
        """The counters that a shard must have: of flights that spent, and of those in a published plan."""
        with self._db.connect() as conn:
            found = set(flight_sums.totals_of_shard(conn, shard))
            for row in conn.execute(_PLANNED, {"shard": shard}):
                found.update((row.id, PlannedFlight.parse(flight).counter) for flight in row.flights)
        return found

    def _read(self, shard: int, wanted: set[tuple[int, int]]) -> Read:
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for counter in sorted({counter for _, counter in wanted}):
            keys = {keys_of_campaign(c).campaign(c): c for c, of in sorted(wanted) if of == counter}
            names = list(keys)
            parts = [names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)]
            for totals in self._live.read_each_totals(shard, parts, [flight_field(counter)], rests=True):
                if totals is None:
                    why = self._live.read_shard(shard).why or "clock"
                    raise NotVerifiable(f"shard {shard} is not ready ({why}): run `budget-engine doctor`")
                found |= {(keys[key], counter): (values[0], totals.n) for key, values in totals.values.items()}
        return found

    def _waiting(self, shard: int, entry_id: str, cursor_n: int, read: Read) -> Flown:
        """What entries that are not persisted yet counted to each flight, up to the number at which it was read."""
        found: Flown = {}
        highest = max(n for _, n in read.values())
        for item in entries(self._journal, shard, entry_id) if cursor_n < highest else ():
            if item.n is None or item.n <= cursor_n:
                continue
            if item.n > highest:
                break
            flights = flight_sums.read_flights(item.fields.get(b"v", b"").decode(errors="replace"))
            for (_, campaign_id, _), micros in counted_by(item).items() if flights else ():
                key = (campaign_id, flights.get(campaign_id, 0))
                if key in read and item.n <= read[key][1]:
                    found[key] = found.get(key, 0) + micros
        return found
