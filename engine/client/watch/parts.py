"""What a watch's view is made of: shards, brands, campaigns, and instants that are waited for."""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.client.watch.budgets import NEVER, BudgetState, OwnBudgets
from engine.client.watch.groups import Group
from engine.domain.budget import BUDGETS
from engine.domain.causes import OTHER
from engine.domain.periods import Period
from engine.domain.zone_text import UTC, Zone

_BUDGETS: Final[dict[str, Period]] = {kind.cause: kind.period for kind in BUDGETS} | {OTHER: "day"}
"""{cause: its period} of what stops a whole brand for a while. The period of a budget of a later release is not
known: it stops for the day.
"""


class CampaignState:
    """stops: by a person. own_stops: by its own budgets, of which most campaigns have none (`own`)."""

    __slots__ = ("group", "own", "own_stops", "stops", "version")

    def __init__(self, version: int, stops: int, group: Group) -> None:
        self.version = version
        self.stops = stops
        self.group = group
        self.own: OwnBudgets | None = None
        self.own_stops = 0


class BrandState:
    """A brand: its budgets, and the causes that stop all of it (`mask`)."""

    __slots__ = ("archived", "budgets", "campaigns", "mask", "n", "paused", "shard_state", "version", "zone")

    def __init__(self, shard_state: ShardState) -> None:
        self.shard_state = shard_state
        self.n = self.version = NEVER
        self.budgets = {cause: BudgetState(cause, period) for cause, period in _BUDGETS.items()}
        self.archived = False
        self.paused = False
        self.mask = 0
        self.campaigns: dict[int, CampaignState] = {}
        self.zone = UTC


class Edge(NamedTuple):
    """A begin or end of a campaign's flight."""

    brand: BrandState
    campaign_id: int


class Midnight(NamedTuple):
    """The end of a day of a brand with a time zone."""

    brand: BrandState
    zone: Zone


class ShardState:
    """A shard: its brands, and whether what is known of it is whole."""

    __slots__ = ("brands", "fresh")

    def __init__(self) -> None:
        self.brands: dict[int, BrandState] = {}
        self.fresh = False
