"""V13: the lifetime counter of each campaign that has such a budget = all rows of the campaign. `flights` has the same of flights.

It is compared as in `counters`: the months before this one are in the daily sums, this month is summed up to the journal number at which the
counter was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Engine, text

from engine.domain.budget import LIFETIME_FIELD
from engine.domain.ids import SHARDS, brand_of
from engine.domain.periods import date_of, days_of_month
from engine.domain.zone_text import Zone
from engine.errors import ServerAway
from engine.flows.verify.clocks import Clocks
from engine.flows.verify.difference import Difference
from engine.flows.verify.findings import TRIES, Check, NotVerifiable
from engine.flows.verify.flights import Flights
from engine.flows.verify.logged import Owner, read_log
from engine.flows.verify.passes import Pass
from engine.ledger import lifetimes
from engine.live.admin import LiveRedis
from engine.live.journal import Journal
from engine.live.keys import keys_of_campaign

_AT_ONCE: Final = 100
# What is not published yet has no counter.
_LIMITED: Final = text(
    "SELECT id FROM campaign WHERE lifetime_budget_micros IS NOT NULL AND published_version = version ORDER BY id"
)


class Lifetimes:
    """Compares lifetime counters with the log."""

    def __init__(self, db: Engine, live: LiveRedis, journal: Journal) -> None:
        self._db = db
        self._live = live
        self._journal = journal
        self._flights = Flights(db, live, journal)

    def check(self, one: Pass) -> Check:
        """V13."""
        check = Check("V13", "lifetime: each campaign's lifetime or flight counter = all its rows")
        limited, flying = self._limited(), self._flights.shards()
        of_flights = f", {len(flying)} shards with flights" if flying else ""
        check.checked = f"{len(limited)} campaigns with a lifetime budget{of_flights}"
        for text_off, owner, apart in self._flights.parts_off() if flying else ():
            check.find(text_off, str(owner), apart, owner.brand_id)
        for shard in sorted({brand_of(campaign_id) % SHARDS for campaign_id in limited} | set(flying)):
            try:
                for off in self.differences(shard, one):
                    check.find(str(off), str(off.owner), off.wrong_micros, off.owner.brand_id)
            except NotVerifiable as why:
                check.find(str(why))
            except ServerAway as gone:
                if not gone.partial:
                    raise
                check.find(f"shard {shard} was not compared: {gone}")
        return check

    def differences(self, shard: int, one: Pass) -> list[Difference]:
        """The differences of a shard that remain in a second look, flights included. Raises NotVerifiable."""
        return self._of_lifetimes(shard, one) + self._flights.differences(shard)

    def _of_lifetimes(self, shard: int, one: Pass) -> list[Difference]:
        suspects = [campaign for campaign in self._limited() if brand_of(campaign) % SHARDS == shard]
        found: list[Difference] = []
        with self._db.connect() as conn:
            clocks = Clocks.read(conn)
        for _ in range(TRIES):
            by_clock: dict[Zone, list[int]] = {}
            for campaign in suspects:
                by_clock.setdefault(clocks.of(brand_of(campaign)), []).append(campaign)
            found = [off for zone, own in by_clock.items() for off in self._differences(shard, own, one.id, zone)]
            wrong = {off.owner.campaign_id for off in found}
            # A limit that was lifted meanwhile has no counter any more.
            suspects = [campaign for campaign in self._limited() if campaign in wrong]
            if not suspects:
                return []
        return found

    def _limited(self) -> list[int]:
        with self._db.connect() as conn:
            return list(conn.execute(_LIMITED).scalars())

    def _differences(self, shard: int, campaign_ids: Sequence[int], pass_id: int, zone: Zone) -> list[Difference]:
        keys = {keys_of_campaign(campaign_id).campaign(campaign_id): campaign_id for campaign_id in campaign_ids}
        counted: dict[str, int] = {}
        up_to: dict[Owner, int] = {}
        months: set[int] = set()
        names = list(keys)
        parts = [names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE)]
        day = 0
        for part, totals in zip(
            parts, self._live.read_each_totals(shard, parts, [LIFETIME_FIELD], rests=True), strict=False
        ):
            if totals is None:
                why = self._live.read_shard(shard).why or "clock"
                raise NotVerifiable(f"shard {shard} is not ready ({why}): run `budget-engine doctor`")
            day = zone.day_of(totals.now_ms)
            months.add(zone.month_of(totals.now_ms))
            counted |= {key: values[0] for key, values in totals.values.items()}
            up_to |= {Owner(brand_of(keys[key]), keys[key]): totals.n for key in part}
        if len(months) > 1:
            raise NotVerifiable(f"a month ended while the lifetime counters of shard {shard} were read: run it again")
        first = date_of(next(days_of_month(months.pop())))
        with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn:
            log = read_log(conn, self._journal, shard, up_to, date_of(day), pass_id)
            before = lifetimes.spent(conn, campaign_ids, first)
        found = []
        for key, campaign_id in keys.items():
            owner = Owner(brand_of(campaign_id), campaign_id)
            logged = before[campaign_id] + log.of[owner].month
            if counted[key] != logged or counted[key] < 0:
                found.append(
                    Difference(shard, key, owner, LIFETIME_FIELD, "lifetime", counted[key], logged, up_to[owner])
                )
        return found
