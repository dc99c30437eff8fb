"""The list of budgets: what a tab, a search, chips and a sort leave of it, page by page. Pure functions; the URL has the state."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from engine.domain.causes import BRAND_PAUSED, DAILY_BUDGET, MONTHLY_BUDGET, cause_of
from engine.domain.ids import MAX_BRAND_ID, brand_of, is_campaign_id
from engine.errors import InvalidInput, shown
from engine.views.budget_line import ALERTS, STATES, BudgetLine
from web.query import whole_number

A_PAGE: Final = 50
NOBODY: Final[frozenset[int]] = frozenset()
CONTENT_S: Final = 3.0
"""A person's own click or keystroke takes figures of this age; the poll brings newer ones within two seconds."""
MOST_TEXT: Final = 100
_MOST_DIGITS: Final = 16
_LAST_PAGE: Final = 1_000_000
TABS: Final = {
    "attention": "Needs attention",
    "": "All",
    "running": "Running",
    "budget": "Stopped by budget",
    "schedule": "Off schedule",
    "paused": "Paused",
    "archived": "Archived",
}
_OF_ALL: Final = (BRAND_PAUSED, DAILY_BUDGET, MONTHLY_BUDGET)
_ORDER: Final = {
    state: place for place, state in enumerate(("budget", "paused", "schedule", "running", "empty", "archived"))
}
HEADS: Final[Mapping[str, str]] = {
    "name": "Brand",
    "state": "State",
    "today": "Today",
    "pace": "Pace",
    "end": "End of day",
    "month": "This month",
    "running": "Running",
}
_KEYS: Final[Mapping[str, Callable[[BudgetLine], Any]]] = {
    "name": lambda line: line.view.name.casefold(),
    "state": lambda line: _ORDER[line.state],
    "today": lambda line: line.view.daily_spend,
    "pace": lambda line: line.pace,
    "end": lambda line: line.end,
    "month": lambda line: line.view.monthly_spend,
    "running": lambda line: line.view.active_campaigns,
}


@dataclass(frozen=True, slots=True)
class State:
    """The state in the address. only: names of ALERTS. sort: a name of HEADS, with "-" before it from the largest down.
    edit: the brand whose budgets are being changed; typed: what somebody typed into that row, by the name of the field.
    """

    text: str = ""
    tab: str = ""
    only: frozenset[str] = frozenset()
    sort: str = "name"
    page: int = 1
    edit: int | None = None
    typed: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, query: Mapping[str, str]) -> State:
        """Parses the values of a query string. Raises InvalidInput."""
        text, tab, sort = query.get("q", "").strip(), query.get("tab", ""), query.get("sort", "") or "name"
        if len(text) > MOST_TEXT:
            raise InvalidInput(f"q {shown(text)} is longer than {MOST_TEXT} characters", "q")
        if tab not in TABS:
            raise InvalidInput(f"tab {shown(tab)} is none of {', '.join(filter(None, TABS))}", "tab")
        if sort.removeprefix("-") not in HEADS:
            raise InvalidInput(f"sort {shown(sort)} is none of {', '.join(HEADS)}, with or without - before it", "sort")
        only = frozenset(filter(None, query.get("only", "").split(".")))
        if not only <= ALERTS.keys():
            raise InvalidInput(f"only {shown(query['only'])} is not made of {', '.join(ALERTS)}", "only")
        edit = whole_number(query, "edit", MAX_BRAND_ID)
        typed = tuple((name, query[name]) for name in ("daily", "monthly") if edit and query.get(name))
        if any(len(value) > MOST_TEXT for _, value in typed):
            raise InvalidInput(f"a budget is longer than {MOST_TEXT} characters", "daily")
        return cls(text, tab, only, sort, whole_number(query, "page", _LAST_PAGE) or 1, edit, typed)

    @classmethod
    def of_query(cls, query: str) -> State:
        """Parses a query string. Raises InvalidInput."""
        return cls.of({name: values[-1] for name, values in parse_qs(query).items()})

    @property
    def typed_values(self) -> dict[str, str]:
        """What was typed into the row that is being changed."""
        return dict(self.typed)

    def typed_of(self, name: str) -> str:
        """What was typed into one field."""
        return self.typed_values.get(name, "")

    def query(self, path: str) -> str:
        """The address of this state."""
        sort = "" if self.sort == "name" else self.sort
        page = "" if self.page == 1 else str(self.page)
        pairs = (
            ("q", self.text),
            ("tab", self.tab),
            ("only", ".".join(sorted(self.only))),
            ("sort", sort),
            ("page", page),
            ("edit", "" if self.edit is None else str(self.edit)),
            *self.typed,
        )
        text = urlencode([(name, value) for name, value in pairs if value])
        return f"{path}?{text}" if text else path

    def at(self, **changes: Any) -> State:
        """The same with changes, from its first page and with no row open unless they name others."""
        return replace(self, **{"page": 1, "edit": None, "typed": (), **changes})

    def toggled(self, alert: str) -> State:
        """With a chip pressed or released."""
        return self.at(only=self.only ^ {alert})

    def sorted_by(self, head: str) -> State:
        """By a head: names and states from the first, figures from the largest; the other way when pressed again."""
        first = head if head in ("name", "state") else f"-{head}"
        other = first.removeprefix("-") if first.startswith("-") else f"-{first}"
        return self.at(sort=other if self.sort == first else first)

    def direction(self, head: str) -> str | None:
        """How a head is sorted, in the words of aria-sort; None where it is not."""
        if self.sort.removeprefix("-") != head:
            return None
        return "descending" if self.sort.startswith("-") else "ascending"


@dataclass(frozen=True, slots=True)
class Totals:
    """Of what is filtered. budget: of those brands that have a daily budget."""

    brands: int
    today: int
    budget: int
    month: int
    running: int
    campaigns: int


@dataclass(frozen=True, slots=True)
class Shown:
    """One page. none: whether there is no brand at all that the person sees. tabs: how many brands each has; chips: how many each of ALERTS has in the tab. pages: how many there are."""

    lines: Sequence[BudgetLine]
    totals: Totals
    tabs: Mapping[str, int]
    chips: Mapping[str, int]
    pages: int
    page: int
    first: int
    none: bool


def seen_lines(lines: Sequence[BudgetLine], within: Collection[int] | None) -> list[BudgetLine]:
    """The brands that a person sees."""
    return list(lines) if within is None else [line for line in lines if line.id in within]


def filtered(lines: Sequence[BudgetLine], state: State, named: Collection[int] = NOBODY) -> list[BudgetLine]:
    """What tab, search and chips leave, in its order. named: brands with campaigns that the search finds."""
    wanted = state.text.casefold()
    ids = _ids(wanted)
    found = [
        line
        for line in lines
        if _in_tab(line, state.tab)
        and state.only <= set(line.alerts)
        and (not wanted or line.id in named or _named(line, wanted, ids))
    ]
    key, down = _KEYS[state.sort.removeprefix("-")], state.sort.startswith("-")
    found.sort(key=lambda line: (line.view.name.casefold(), line.id))
    known = [line for line in found if key(line) is not None]
    known.sort(key=key, reverse=down)
    return known + [line for line in found if key(line) is None]


def page_of(lines: Sequence[BudgetLine], state: State, named: Collection[int] = NOBODY) -> Shown:
    """One page of what a person sees, the nearest where the list has become shorter. named: as for `filtered`."""
    found = filtered(lines, state, named)
    pages = max(1, -(-len(found) // A_PAGE))
    page = min(state.page, pages)
    first = (page - 1) * A_PAGE
    tabs = {tab: sum(_in_tab(line, tab) for line in lines) for tab in TABS}
    in_tab = [line for line in lines if _in_tab(line, state.tab)]
    chips = {name: sum(name in line.alerts for line in in_tab) for name in ALERTS}
    return Shown(found[first : first + A_PAGE], _totals(found), tabs, chips, pages, page, first, not lines)


def _totals(lines: Sequence[BudgetLine]) -> Totals:
    views = [line.view for line in lines]
    return Totals(
        len(views),
        sum(view.daily_spend for view in views),
        sum(view.daily_budget or 0 for view in views),
        sum(view.monthly_spend for view in views),
        sum(view.active_campaigns for view in views),
        sum(view.campaigns for view in views),
    )


def _in_tab(line: BudgetLine, tab: str) -> bool:
    if tab == "":
        return line.state != "archived"
    return bool(line.alerts) if tab == "attention" else line.state == tab


def _named(line: BudgetLine, wanted: str, ids: Collection[int]) -> bool:
    view = line.view
    return view.id in ids or wanted in view.name.casefold() or wanted in (view.external_id or "").casefold()


def _ids(wanted: str) -> tuple[int, ...]:
    """The brands that a number names: by their own id, or by that of one of their campaigns."""
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= _MOST_DIGITS):
        return ()
    number = int(wanted)
    return (number, brand_of(number)) if is_campaign_id(number) else (number,)


def why_words(line: BudgetLine) -> str:
    """Why campaigns of a brand do not run: what stops all of it, and how many each other cause stops."""
    parts = [
        cause_of(name).label if name in _OF_ALL else f"{number:,} {cause_of(name).label}" for name, number in line.why
    ]
    return ", ".join(parts)


def state_words(line: BudgetLine) -> str:
    """The state of a brand for people."""
    return STATES[line.state]
