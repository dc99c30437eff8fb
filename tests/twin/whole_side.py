"""The whole system under test: with catalog and spend log in PostgreSQL, so that Redis can be lost and rebuilt."""

from __future__ import annotations

from typing import Final
from unittest import mock

from sqlalchemy import text

from engine.domain.budget import CAMPAIGN_BUDGETS
from engine.domain.flights import flight_field, unchained
from engine.domain.ids import ORDINALS, brand_of
from engine.domain.periods import MINUTE_MS, at_ms, date_of, day_number, ms_of
from engine.domain.schedule import Schedule
from engine.domain.zone_text import UTC_NAME
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.model import BrandPlan, CampaignPlan, ReferenceModel
from tests.model.journal import Row
from tests.model.plan import LIFETIME
from tests.model.rebuilding import counted_in, daily_at_end
from tests.twin.compare import RedisView
from tests.twin.live_side import LiveSide
from tests.twin.paced import CURVES, PACINGS

_EMPTIED: Final = (
    "brand, campaign, spend_log, campaign_day, campaign_hour, brand_minute, mixed_request, hold, counter_correction, quarantine, status_change,"
    " catalog_change, period_total, shard_close, dropped_day, refund, flight, flight_entry, flight_total, late_spend,"
    " breaker_trip, brand_carry"
)


class WholeSide(LiveSide):
    """The whole system. Every change of a plan goes through the catalog."""

    all_periods = False

    def __init__(self, system: System) -> None:
        super().__init__(system.hot_redis, system.wire, system.instance)
        self.system = system
        self.postgresql_ms = 0
        self.checked: dict[int, set[int]] = {}
        """The closed days of brands that were compared."""

    def begin(self, twin: ReferenceModel, clock: int) -> None:
        with self.system.db.begin() as conn:
            conn.execute(text(f"TRUNCATE {_EMPTIED} CASCADE"))
            conn.execute(
                text(
                    "UPDATE journal_cursor SET entry_id = '0-0', n = 0, generation = 0, safe_entry_id = '0-0',"
                    " next_entry_id = '0-0', stopped = NULL"
                )
            )
        self.checked.clear()
        self.view = RedisView(self.wire, self.shards, self.brands, self.own)
        for name, points in CURVES.items():
            self.system.catalog.curves.put(name, points, "twin")
        self.plain.flushdb()
        self.at(clock)
        self.system.rebuilder.rebuild(self.shards)
        twin.rebuild(self.shards, [], [], clock)

    def bring(self, brand: BrandPlan, campaigns: list[CampaignPlan], create: set[int]) -> None:
        """Makes the same change in the catalog. Archiving a brand is final, so it is not drawn here."""
        catalog, actor = self.system.catalog, "twin"
        if brand.brand_id in create:
            with self.system.db.begin() as conn:
                conn.execute(text(f"ALTER TABLE brand ALTER COLUMN id RESTART WITH {brand.brand_id:d}"))
            catalog.create_brand(f"brand {brand.brand_id}", brand.daily_limit, brand.monthly_limit, None, actor)
        elif not campaigns:
            limits = {
                "daily_budget_micros": brand.daily_limit,
                "monthly_budget_micros": brand.monthly_limit,
                "rollover_cap_micros": brand.rollover_cap,
                **self._pacing(brand.pace, catalog.brand(brand.brand_id).pace),
            }
            catalog.update_brand(brand.brand_id, actor, **limits)
        for plan in campaigns:
            self._bring_campaign(plan, plan.campaign_id in create, actor)

    @staticmethod
    def _pacing(wanted: tuple[str, ...], had: tuple[str, ...]) -> dict[str, str]:
        """What a person changes of a pacing. Where it stays, its mode does: hours of a campaign make another curve of that."""
        if wanted == had:
            return {}
        pacing = PACINGS[wanted]
        return {"pacing": pacing.mode, "catch_up": pacing.catch_up}

    def bring_zone(self, brand_id: int, name: str | None, now: int) -> None:
        """Gives a brand a zone in the catalog."""
        self.system.catalog.update_brand(brand_id, "twin", time_zone=name or UTC_NAME, at_ms=now)

    def at_postgresql(self, clock: int) -> None:
        """PostgreSQL's clock, by which people may schedule limits."""
        self.postgresql_ms = clock

    def closes(self) -> list[tuple[int, list[int], list[int]]]:
        """Closes what has ended; returns shard, brands and days of each call that removed counters, in their order."""
        calls: list[tuple[int, list[int], list[int]]] = []
        live = self.system.live
        with mock.patch.object(live, "prune", wraps=live.prune) as pruned:
            self.system.closer.close_ended()
        for call in pruned.call_args_list:
            _, shard, hashes, fields = call.args
            brands = [int(key.rpartition(":")[2]) for key in hashes if ":brand:" in key]
            calls.append((shard, brands, [int(field[2:]) for field in fields if field.startswith("d:")]))
        return calls

    def check_closed(self, twin: ReferenceModel) -> None:
        """Checks that no brand has a counter of a day that is over for every spend, and that each such day has its total."""
        with self.system.db.connect() as conn:
            found = conn.execute(
                text("SELECT brand_id, starts_on, spend_micros, budget_micros FROM period_total WHERE period = 'day'")
            )
            totals = {(brand, day_number(on)): (spent, budget) for brand, on, spent, budget in found}
        for number in self.shards:
            shard = twin.shards[number]
            for brand_id, brand in shard.brands.items():
                key = keys_of_brand(brand_id).brand(brand_id)
                there = {int(name[2:]) for name in self.plain.hkeys(key) if name.startswith(b"d:")}
                over = brand.zone.day_of(shard.kept_now - shard.grace_minutes * MINUTE_MS)
                assert not [day for day in there if day < over], f"brand {brand_id} has counters of days that are over"
                spent = {int(period[2:]) for period, micros in brand.spent.items() if period[:2] == "d:" and micros}
                closed = {day for id_, day in totals if id_ == brand_id}
                assert {day for day in spent if day < over} <= closed
                for day in closed - self.checked.get(brand_id, set()):
                    budget = daily_at_end(twin.catalog[brand_id], day)
                    assert totals[brand_id, day] == (brand.spent[f"d:{day}"], budget), f"brand {brand_id}, day {day}"
                # A refund of a closed day is a correction, which changes no total.
                self.checked[brand_id] = closed

    def stamp(self, clock: int) -> None:
        """Dates what was made and changed in the catalog by the machine's clock, which PostgreSQL does not have. Scheduled changes
        have their own instants.
        """
        with self.system.db.begin() as conn:
            made = text(
                "UPDATE brand SET created_at = :at WHERE id IN (SELECT entity_id FROM catalog_change"
                " WHERE entity = 'brand' AND field = 'created' AND note IS DISTINCT FROM 'dated')"
            )
            conn.execute(made, {"at": at_ms(clock)})
            last = text(
                "UPDATE catalog_change SET at = :at, note = 'dated' WHERE note IS DISTINCT FROM 'dated'"
                " AND coalesce(note, '') NOT LIKE 'scheduled change%'"
            )
            conn.execute(last, {"at": at_ms(clock)})

    def _bring_campaign(self, plan: CampaignPlan, create: bool, actor: str) -> None:
        catalog, campaign = self.system.catalog, plan.campaign_id
        if create:
            name = f"campaign {campaign % ORDINALS}"
            catalog.create_campaign(
                brand_of(campaign), name, plan.schedule, None, actor, limits=plan.limits, brake=plan.brake
            )
            return
        before = catalog.campaign(campaign)
        if before.archived_at is not None:
            return
        if plan.archived:
            catalog.archive_campaign(campaign, actor)
            return
        if plan.flights == ():
            self._bring_flights(plan, actor)
        budgets = zip((kind.column for kind in CAMPAIGN_BUDGETS), plan.limits, strict=True)
        brake = {"rate_limit_micros": plan.brake.limit, "breaker_micros": plan.brake.breaker}
        paced = self._pacing(plan.pace, before.pace)
        catalog.update_campaign(campaign, actor, schedule=plan.schedule, **dict(budgets), **brake, **paced)  # type: ignore[arg-type]  # by name
        if plan.brake.round > max(before.breaker_round, 1):
            catalog.resume_campaign(campaign, actor, broken=True)
        self._bring_flights(plan, actor)
        if before.enabled != plan.enabled:
            (catalog.resume_campaign if plan.enabled else catalog.pause_campaign)(campaign, actor)

    def _bring_flights(self, plan: CampaignPlan, actor: str) -> None:
        """Makes a plan's flights in the catalog, where all of them are still ahead. What it numbers is told by `plans`."""
        flights, campaign = self.system.catalog.flights, plan.campaign_id
        had = {flight.no: flight for flight in flights.of([campaign])[campaign]}
        wanted = {flight.no: flight for flight in unchained(plan.flights)}
        if had == wanted:
            return
        for no in had.keys() - wanted.keys():
            flights.remove(campaign, no, actor)
        for no, flight in wanted.items():
            what = {
                "ends_ms": flight.ends_ms,
                "budget_micros": flight.budget_micros,
                "carries": flight.carries,
                "spread": flight.spread,
            }
            if no in had:
                flights.change(campaign, no, actor, **what)  # type: ignore[arg-type]  # by name
            else:
                flights.add(campaign, actor, flight.starts_ms, **what)  # type: ignore[arg-type]  # by name

    def plans(self) -> tuple[list[BrandPlan], list[CampaignPlan]]:
        """The catalog in the format of the reference model."""
        brands = [
            BrandPlan(
                b.id,
                b.version,
                b.daily_budget_micros,
                b.monthly_budget_micros,
                b.archived_at is not None,
                pace=b.pace,
                zone=b.zone,
                steps=b.steps,
                paused=b.paused,
                rollover_cap=b.rollover_cap_micros,
            )
            for b in self.system.catalog.brands(include_archived=True)
        ]
        campaigns = [
            CampaignPlan(
                c.id,
                c.version,
                c.enabled,
                c.archived_at is not None,
                Schedule.parse(c.schedule),
                c.limits,
                c.flights,
                c.brake,
                c.pace,
                c.steps,
            )
            for c in self.system.catalog.campaigns(include_archived=True)
        ]
        return sorted(brands), sorted(campaigns, key=lambda c: c.campaign_id)

    def check_log(self, twin: ReferenceModel) -> None:
        """Checks that PostgreSQL has the model's rows of persisted entries, their daily sums and the open holds."""
        expected = [
            (number, entry.n, entry.ms, row)
            for number in self.shards
            for entry in twin.shards[number].journal[: twin.persisted[number]]
            for row in entry.rows
        ]
        with self.system.db.connect() as conn:
            found = conn.execute(
                text(
                    "SELECT shard, n, recorded_at, position, campaign_id, amount_micros, event_id, kind, hold_id, day, request_id"
                    ", (SELECT flight FROM flight_entry AS f WHERE (f.shard, f.generation, f.n, f.campaign_id)"
                    " = (l.shard, l.generation, l.n, l.campaign_id)) FROM spend_log AS l ORDER BY shard, n, position"
                )
            ).all()
            days = conn.execute(text("SELECT campaign_id, day, spend_micros FROM campaign_day")).all()
            held = conn.execute(
                text("SELECT campaign_id, hold_id, held_micros, expires_at FROM hold WHERE state = 'open'")
            )
            opened = {(campaign, hold): (micros, ms_of(at)) for campaign, hold, micros, at in held}
        got = []
        for shard, n, at, position, campaign, micros, event, kind, hold, day, request, flight in found:
            number = (day - date_of(0)).days
            part = request.partition(f"refund:{event},")[2] or None if micros < 0 else None
            got.append((shard, n, ms_of(at), Row(position, campaign, micros, event, kind, hold, number, part, flight)))
        assert got == expected
        with self.system.db.connect() as conn:
            refunds = conn.execute(text("SELECT brand_id, event_id, refund_id, micros, state, cause FROM refund")).all()
        assert {
            f"{brand}:{event}" + (f",{part}" if part else ""): (micros, state, cause or "")
            for brand, event, part, micros, state, cause in refunds
        } == {name: (row.asked.micros, row.state, row.cause) for name, row in twin.ledger.refunds.items()}
        sums: dict[tuple[int, int], int] = {}
        for _, _, _, row in expected:
            sums[row.campaign_id, row.day] = sums.get((row.campaign_id, row.day), 0) + row.micros
        assert {(campaign, (day - date_of(0)).days): micros for campaign, day, micros in days} == sums
        if all(twin.persisted[number] == len(twin.shards[number].journal) for number in self.shards):
            brands = [brand for number in self.shards for brand in twin.shards[number].brands.values()]
            assert opened == {name: tuple(hold[:2]) for brand in brands for name, hold in brand.holds.items()}


def check_fold(twin: ReferenceModel) -> None:
    """Checks the model itself: each counter is the sum of the journal's rows that changed it."""
    for shard in twin.shards.values():
        sums: dict[tuple[int, str], int] = {}
        for entry in shard.journal:
            for row in entry.rows:
                if row.flight is not None:
                    of_flight = (row.campaign_id, flight_field(row.flight))
                    sums[of_flight] = sums.get(of_flight, 0) + row.micros
                sums[row.campaign_id, LIFETIME] = sums.get((row.campaign_id, LIFETIME), 0) + row.micros
                for period in counted_in(entry, row):
                    for owner in (row.campaign_id, brand_of(row.campaign_id)):
                        sums[owner, period] = sums.get((owner, period), 0) + row.micros
        for owner_id, spent in [(k, v.spent) for k, v in [*shard.brands.items(), *shard.campaigns.items()]]:
            assert {p: m for p, m in spent.items() if m} == {p: m for (o, p), m in sums.items() if o == owner_id and m}
