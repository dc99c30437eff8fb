"""Plants brands and campaigns straight into a live Redis, for tests of the hot path alone."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import redis

from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.ids import SHARDS, brand_of, shard_of
from engine.domain.money import parse_budget
from engine.domain.periods import at_ms
from engine.domain.schedule import DAYS, Schedule
from engine.live.admin import LiveRedis
from engine.live.journal import Entry, Journal, decode
from engine.live.keys import keys_of_brand, shard_keys
from engine.live.published_plans import BrandPlan, CampaignPlan
from engine.live.scripts import script
from engine.live.transport.plain import PlainRedis
from engine.live.transport.pool import Call

BRAND = 81
CAMPAIGN = BRAND * 65536 + 1
MOVABLE_CLOCK = """
local function read_clock()
  local moved = redis.call('GET', 'test:clock')
  if moved then return tonumber(moved) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""


def mark(
    live: LiveRedis, instance: str, shard: int, registry: Mapping[str, str] = MappingProxyType({"#": "1"})
) -> None:
    """What the rebuild of an empty log does. registry: of the brands that are there already, all of it stands before the mark does."""
    assert {reply[0] for reply in live.call_all(marking(instance, shard, registry))} == {b"ok"}


def marking(instance: str, shard: int, registry: Mapping[str, str] = MappingProxyType({"#": "1"})) -> list[Call]:
    """The calls of it."""
    keys = shard_keys(shard)
    brands = [word for field in registry.items() for word in field]
    guards = (*keys.requests, *keys.events)
    return [
        Call(script("rebuild_begin"), (keys.shard, keys.journal), (instance, "t")),
        Call(script("rebuild_set"), (keys.shard, keys.registry), ("t", "replace", str(len(brands)), *brands)),
        Call(script("rebuild_set"), (keys.shard, *guards), ("t", "replace", *("2", "#", "1") * len(guards))),
        Call(
            script("rebuild_finish"),
            (keys.shard, keys.journal),
            ("t", instance, "1", "0", "", "0", "600000", "3600000"),
        ),
    ]


class Plant:
    """A Redis with every shard marked and empty."""

    def __init__(self, live: LiveRedis, plain: redis.Redis) -> None:
        self.live = live
        self.plain = plain
        self.instance = str(uuid.uuid4())
        self._made: set[int] = set()
        # All of them in one go: one at a time they would be half of what a short test takes.
        calls = [call for shard in range(SHARDS) for call in marking(self.instance, shard)]
        assert {reply[0] for reply in live.call_all(calls)} == {b"ok"}

    def brand(
        self,
        *,
        brand_id: int = BRAND,
        daily: str | None = None,
        monthly: str | None = None,
        version: int = 1,
        enabled: bool = True,
        archived: bool = False,
        schedule: Schedule | None = None,
    ) -> None:
        """A brand, and its first campaign when it is new."""
        campaign_id = brand_id * 65536 + 1
        plan = BrandPlan(
            brand_id, version, parse_budget(daily), parse_budget(monthly), False, brand_id not in self._made
        )
        campaigns = []
        if campaign_id not in self._made:
            campaigns = [CampaignPlan(campaign_id, 1, enabled, archived, schedule or Schedule(), True)]
        assert self.live.publish(self.instance, plan, campaigns)
        self._made |= {brand_id, campaign_id}

    def campaign(
        self,
        campaign_id: int,
        *,
        version: int = 1,
        enabled: bool = True,
        schedule: Schedule | None = None,
        limits: OwnLimits = NO_LIMITS,
    ) -> None:
        """A further campaign of a planted brand, or a later version of one."""
        plan = BrandPlan(brand_of(campaign_id), 0, None, None, False, False)
        create = campaign_id not in self._made
        campaign = CampaignPlan(campaign_id, version, enabled, False, schedule or Schedule(), create, limits)
        assert self.live.publish(self.instance, plan, [campaign])
        self._made.add(campaign_id)

    def spent(self, brand_id: int = BRAND) -> int:
        """The brand's spend of today in micros."""
        brand = self.live.read_brand(brand_id, 0)
        assert brand is not None
        return brand.daily_spend

    def entries(self, brand_id: int = BRAND) -> list[Entry]:
        """The journal of the brand's shard."""
        return [
            decode(*item) for item in Journal(PlainRedis.over(self.plain, "test")).read(shard_of(brand_id), "-", 10_000)
        ]

    def key(self, brand_id: int = BRAND) -> str:
        return keys_of_brand(brand_id).brand(brand_id)

    def at(self, ms: int) -> None:
        """Moves the test clock (only with the `clock` fixture)."""
        self.plain.set("test:clock", ms)

    def closed_now(self) -> dict[str, Any]:
        """A schedule that is closed now and for days to come."""
        return {"days": [DAYS[(at_ms(self.live.now_ms()).weekday() + 3) % 7]]}
