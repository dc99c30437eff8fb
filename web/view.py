"""Turns a snapshot into what the page shows: filter, order and opened brands. Pure functions; the URL has the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from engine.domain.causes import ARCHIVED, CAUSES, OTHER, cause_of
from engine.errors import InvalidInput, shown
from engine.views.models import BrandView, CampaignView, Snapshot
from web.query import numbers

PATH: Final = "/status"
FEW_BRANDS: Final = 3
"""Up to this many brands are open by default."""
MOST_OPENED_BY_FILTER: Final = 60
"""A filter opens the brands in its result when they have at most this many campaigns."""
MOST_TEXT: Final = 100
MOST_IDS: Final = 500
MOST_ROWS: Final = 200
"""Campaigns of one brand shown at first."""

_KINDS: Final = ("money", "clock", "switch")
_STOPPING: Final = sorted((row for row in CAUSES if row.lasting == "standing"), key=lambda row: _KINDS.index(row.kind))
"""The causes that stop a campaign, the most wanted ones first."""
FILTERS: Final[Mapping[str, str]] = {
    "": "All",
    "active": "Running",
    "stopped": "Stopped, any cause",
    **{row.name: row.sentence.capitalize() for row in _STOPPING},
}
CAUSE_WORDS: Final[Mapping[str, str]] = {row.name: row.label for row in (*_STOPPING, cause_of(OTHER))}


@dataclass(frozen=True, slots=True)
class State:
    """The state in the page's URL: text and cause filter; brands opened, folded or shown with every row by hand."""

    text: str = ""
    cause: str = ""
    opened: frozenset[int] = frozenset()
    folded: frozenset[int] = frozenset()
    whole: frozenset[int] = frozenset()

    @classmethod
    def of(cls, query: Mapping[str, str]) -> State:
        """Parses the values of a query string. Raises InvalidInput."""
        text, cause = query.get("q", "").strip(), query.get("cause", "")
        if len(text) > MOST_TEXT:
            raise InvalidInput(f"q {shown(text)} is longer than {MOST_TEXT} characters", "q")
        if cause not in FILTERS:
            raise InvalidInput(f"cause {shown(cause)} is none of {', '.join(filter(None, FILTERS))}", "cause")
        return cls(text, cause, *(numbers(query, name, MOST_IDS) for name in ("open", "fold", "whole")))

    @property
    def filtered(self) -> bool:
        return bool(self.text or self.cause)

    @property
    def archived(self) -> bool:
        """Whether the filter shows archived rows only."""
        return self.cause == ARCHIVED

    def query(self) -> str:
        """The URL of this state."""
        lists = (("open", self.opened), ("fold", self.folded), ("whole", self.whole))
        pairs = [("q", self.text), ("cause", self.cause), *((n, ".".join(map(str, sorted(ids)))) for n, ids in lists)]
        text = urlencode([(name, value) for name, value in pairs if value])
        return f"{PATH}?{text}" if text else PATH

    def toggled(self, brand_id: int, is_open: bool) -> str:
        """The URL after opening or folding a brand."""
        one = frozenset({brand_id})
        opened = self.opened - one if is_open else self.opened | one
        folded = self.folded | one if is_open else self.folded - one
        return State(self.text, self.cause, opened, folded, self.whole - one).query()

    def with_whole(self, brand_id: int) -> str:
        """The URL that shows every row of a brand."""
        return State(self.text, self.cause, self.opened, self.folded, self.whole | {brand_id}).query()

    def among_archived(self) -> str:
        """The URL that searches the archived rows for the same text."""
        return State(self.text, ARCHIVED).query()

    def without_filter(self) -> str:
        return State("", "", self.opened, self.folded, self.whole).query()


@dataclass(frozen=True, slots=True)
class BrandRow:
    """A brand on the page.

    shown: how many campaigns the filter leaves. rows: those campaigns, stopped ones first; empty for a folded brand.
    toggle: the URL that opens or folds the brand. whole: the URL that shows all rows, None where they are shown.
    """

    view: BrandView
    shown: int
    is_open: bool
    rows: tuple[CampaignView, ...]
    toggle: str
    whole: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """The brands that the filter leaves, and the totals of all brands."""

    snapshot: Snapshot
    brands: tuple[BrandRow, ...]
    all_brands: int
    running: int
    stopped: int
    causes: Mapping[str, int] = field(default_factory=dict)
    daily_spend: int = 0
    monthly_spend: int = 0


def page_of(snapshot: Snapshot, state: State, *, every: bool = False) -> Page:
    """Filters and sorts a snapshot for the page. every: with all rows of all brands, folded or not."""
    kept = [(view, found) for view in snapshot.brands if (found := _matching(view, state)) is not None]
    kept.sort(key=lambda pair: (_urgency(pair[0]), pair[0].name.casefold(), pair[0].id))
    open_by_default = len(snapshot.brands) <= FEW_BRANDS
    if state.filtered:
        open_by_default = sum(len(found) for _, found in kept) <= MOST_OPENED_BY_FILTER
    causes: dict[str, int] = {}
    in_use = [view for view in snapshot.brands if not view.archived]
    for view in in_use:
        for cause, number in view.causes.items():
            causes[cause] = causes.get(cause, 0) + number
    running = sum(view.active_campaigns for view in in_use)
    return Page(
        snapshot,
        tuple(_row(view, found, state, open_by_default, every) for view, found in kept),
        len(snapshot.brands),
        running,
        sum(view.campaigns for view in in_use) - running,
        causes,
        sum(view.daily_spend for view in in_use),
        sum(view.monthly_spend for view in in_use),
    )


def _row(view: BrandView, found: list[CampaignView], state: State, open_by_default: bool, every: bool) -> BrandRow:
    is_open = every or view.id in state.opened or (open_by_default and view.id not in state.folded)
    rows: list[CampaignView] = []
    if is_open:
        rows = sorted(found, key=lambda c: (c.status == "active", c.name.casefold(), c.id))
    cut = not every and len(rows) > MOST_ROWS and view.id not in state.whole
    return BrandRow(
        view,
        len(found) if view.tally is None else view.tally.campaigns,
        is_open,
        tuple(rows[:MOST_ROWS] if cut else rows),
        state.toggled(view.id, is_open),
        state.with_whole(view.id) if cut else None,
    )


def _matching(view: BrandView, state: State) -> list[CampaignView] | None:
    """The campaigns of a brand that the filter leaves; None when it removes the brand too."""
    campaigns = [c for c in view.campaign_views if c.archived == state.archived and _has_cause(c, state.cause)]
    if not state.filtered:
        return campaigns
    wanted = state.text.casefold()
    if not (wanted and _named(wanted, view.name, view.id, view.external_id)):
        campaigns = [c for c in campaigns if not wanted or _named(wanted, c.name, c.id, c.external_id)]
        return campaigns or ([] if view.archived and not wanted else None)
    return campaigns if campaigns or not state.cause or (view.archived and state.archived) else None


def _has_cause(campaign: CampaignView, cause: str) -> bool:
    if cause in ("", "active", "stopped"):
        return not cause or (campaign.status == "active") == (cause == "active")
    return cause in campaign.reasons


def _named(wanted: str, name: str, number: int, external_id: str | None) -> bool:
    return wanted in name.casefold() or wanted == str(number) or wanted in (external_id or "").casefold()


def _urgency(view: BrandView) -> int:
    """Stopped brands first: by a budget, then wholly stopped, then with stopped campaigns, then without campaigns."""
    if view.used_up and view.campaigns:
        return 0
    if view.campaigns and not view.active_campaigns:
        return 1
    return 2 if view.campaigns > view.active_campaigns else 3
