"""The demo: sample brands, and simulated bidders that buy impressions for them through the real client.

Each price is drawn at random as a CPM and counted as one impression. Some win notices are sent twice, as exchanges do.
Now and then a bidder goes wrong and bids far too often, which opens a breaker.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Engine

from engine.client.sync import BudgetClient, Spend
from engine.domain.brake import NO_BRAKE
from engine.domain.causes import BREAKER
from engine.domain.money import from_cpm, parse_budget
from engine.domain.pacing import NO_PACING, Pacing
from engine.domain.schedule import Schedule
from engine.errors import Unavailable, WrongVersion
from engine.feeds.demo_controls import ACTOR, BURST_EVERY_S, BURST_FROM_S, BURST_S, CONTROLS, Person, keep_flights
from engine.flows.catalog.manage import Manage
from engine.ledger.catalog import Catalog
from engine.ledger.reports import brands_made_by_others
from engine.live.replies import ACCEPTED, DUPLICATE, NOT_READY, RECORDED, REFUSED

ROUND_S: Final = 0.25
_OFFICE: Final = {"days": ["mon", "tue", "wed", "thu", "fri"], "start_time": "08:00", "end_time": "18:00"}
_EVENINGS: Final = {"start_time": "18:00", "end_time": "01:00"}
_WEEKEND: Final = {"days": ["sat", "sun"]}


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample brand: budgets (decimal strings; None is no limit), campaigns with their schedules, bids a second, and
    the range of its CPMs in whole units of currency. zone: its time zone, None is UTC.
    """

    name: str
    daily: str | None
    monthly: str | None
    campaigns: tuple[tuple[str, Any], ...]
    bids_a_second: float
    cpm: tuple[int, int]
    zone: str | None = None
    pacing: Pacing = NO_PACING


SAMPLES: Final = (
    Sample(
        "Aurora Coffee",
        "40",
        "900",
        (("Morning espresso", None), ("Cold brew", None), ("Beans by post", _OFFICE)),
        24,
        (8, 22),
        "Europe/Berlin",
        Pacing("even"),
    ),
    Sample(
        "Bergamo Bikes", "12", "250", (("City e-bike", None), ("Trail", _WEEKEND), ("Spare parts", None)), 18, (6, 14)
    ),
    Sample("Cobalt Bank", "5000", "90000", (("Instant savings", None), ("Business account", _OFFICE)), 30, (18, 60)),
    Sample("Dahlia Cosmetics", "3", "80", (("Spring launch", None), ("Evening glow", _EVENINGS)), 12, (5, 12)),
    Sample(
        "Elbe Travel",
        None,
        "4000",
        (("City breaks", None), ("Last minute", None), ("Night trains", _EVENINGS)),
        20,
        (9, 30),
    ),
    Sample("Fjord Outdoor", "8", None, (("Rain jackets", None), ("Tents", None)), 14, (4, 16)),
    Sample(
        "Garnet Games",
        "60",
        "1500",
        (("Season pass", None), ("Free weekend", _WEEKEND), ("Soundtrack", None)),
        26,
        (3, 10),
        "Asia/Kolkata",
        Pacing("even"),
    ),
    Sample(
        "Harbour Insurance",
        "25",
        "600",
        (("Home", None), ("Liability", _OFFICE)),
        10,
        (20, 45),
        "America/New_York",
        Pacing("ahead"),
    ),
    Sample(
        "Indigo Streaming",
        "400",
        "9000",
        (("Series premiere", None), ("Trial month", None), ("Live concert", None)),
        18,
        (6, 14),
    ),
)


def demo_allowed(db: Engine) -> bool:
    """Whether samples may be added: the catalog is empty, or an earlier demo made every brand in it."""
    return brands_made_by_others(db, ACTOR) == 0


def make_samples(catalog: Catalog, manage: Manage) -> dict[str, list[int]]:
    """Creates the sample brands, campaigns and flights that are missing. Returns the campaign ids by brand name."""
    made: dict[str, list[int]] = {}
    for sample in SAMPLES:
        brand = catalog.brand_by_name(sample.name)
        if brand is None:
            daily, monthly = parse_budget(sample.daily, "daily_budget"), parse_budget(sample.monthly, "monthly_budget")
            brand = manage.create_brand(sample.name, daily, monthly, None, ACTOR, sample.pacing, sample.zone).row
        known = {c.name: c.id for c in catalog.campaigns(brand.id, include_archived=True)}
        for name, schedule in sample.campaigns:
            if name not in known:
                brake = CONTROLS[name].brake if name in CONTROLS else NO_BRAKE
                schedule_of = Schedule.parse(schedule)
                known[name] = manage.create_campaign(brand.id, name, schedule_of, None, ACTOR, brake=brake).row.id
            if name in CONTROLS:
                keep_flights(catalog, manage, known[name], CONTROLS[name].flights)
        made[sample.name] = [known[name] for name, _ in sample.campaigns]
    return made


def names_of(made: dict[str, list[int]]) -> dict[int, str]:
    """The campaigns' names by id. made: as of `make_samples`."""
    return {
        campaign_id: name
        for sample in SAMPLES
        for campaign_id, (name, _) in zip(made[sample.name], sample.campaigns, strict=True)
    }


@dataclass(slots=True)
class Sent:
    """The outcomes of the bidders' spends so far."""

    counted: int = 0
    refused: int = 0
    duplicate: int = 0
    other: int = 0

    def __str__(self) -> str:
        return f"{self.counted} counted, {self.refused} refused, {self.duplicate} sent twice, {self.other} not answered"


class Traffic:
    """The simulated bidders of all sample brands, in one process."""

    def __init__(
        self,
        client: BudgetClient,
        campaigns: dict[str, list[int]],
        rng: random.Random | None = None,
        person: Person | None = None,
    ) -> None:
        """person: resumes the campaigns whose breaker the traffic opened; nobody does without one."""
        self._client = client
        self._campaigns = campaigns
        self._rng = rng or random.Random()
        self._person = person
        self._rounds = 0
        self._repeated: list[Spend] = []
        self._stopped: set[int] = set()
        self.sent = Sent()

    def run(self, wait: Callable[[float], bool], say: Callable[[str], None]) -> None:
        """Sends rounds of bids until `wait(seconds)` returns True. Reports the outcomes about every 15 s."""
        while not wait(ROUND_S):
            try:
                self.round()
            except (Unavailable, WrongVersion) as error:
                say(f"bidders wait: {error}")
                if wait(1):
                    return
            if self._person is not None:
                self._person.look(say)
            if self._rounds % 60 == 0:
                say(str(self.sent))

    def round(self) -> None:
        """Sends the bids of a quarter of a second. Most are try calls, one in eight is a record call, and one in fifty
        is sent twice.

        After a refusal a campaign gets few bids until one is accepted; now and then a late record call arrives for it.
        """
        tries = self._burst() if (self._rounds * ROUND_S - BURST_FROM_S) % BURST_EVERY_S < BURST_S else []
        self._rounds += 1
        records, self._repeated = self._repeated, []
        for sample in SAMPLES:
            for _ in range(self._count(sample.bids_a_second * ROUND_S)):
                spend = self._spend(sample)
                refused_before = spend.campaign_id in self._stopped
                if refused_before and self._rng.random() < 0.9:
                    continue
                (records if self._rng.random() < (0.01 if refused_before else 0.125) else tries).append(spend)
                if self._rng.random() < 0.02:
                    self._repeated.append(spend)
        for results in (self._client.try_spends(tries), self._client.record_spends(records)):
            for result in results:
                if result.outcome in (RECORDED, ACCEPTED):
                    self.sent.counted += 1
                    self._stopped.discard(result.campaign_id)
                elif result.outcome == REFUSED:
                    self.sent.refused += 1
                    self._stopped.add(result.campaign_id)
                elif result.outcome == DUPLICATE:
                    self.sent.duplicate += 1
                elif result.outcome == NOT_READY:
                    self.sent.other += 1
                if BREAKER in result.reasons and self._person is not None:
                    self._person.saw(result.campaign_id)

    def _burst(self) -> list[Spend]:
        """The bids of a quarter of a second of bidders that go wrong."""
        spends: list[Spend] = []
        for sample in SAMPLES:
            for campaign, (name, _) in zip(self._campaigns[sample.name], sample.campaigns, strict=True):
                if name in CONTROLS and campaign not in self._stopped:
                    extra = self._count(CONTROLS[name].burst_bids_a_second * ROUND_S)
                    spends += [self._spend(sample, campaign) for _ in range(extra)]
        return spends

    def _count(self, expected: float) -> int:
        whole = int(expected)
        return whole + (self._rng.random() < expected - whole)

    def _spend(self, sample: Sample, campaign: int | None = None) -> Spend:
        low, high = sample.cpm
        cpm = f"{self._rng.uniform(low, high):.6f}"
        return Spend(
            campaign or self._rng.choice(self._campaigns[sample.name]),
            event_id=uuid.UUID(int=self._rng.getrandbits(128), version=4).hex,
            amount_micros=from_cpm(cpm),
            occurred_at=datetime.now(UTC),
        )
