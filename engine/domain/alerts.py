"""Alerts: their kinds, the rules, and which of them hold for a brand. Pure: figures in, what holds out.

An alert is known by its kind, its subject, its period and its level, so each level of a budget alerts once a period. Where a budget was
raised, a new round begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from engine.domain.money import format_micros
from engine.domain.periods import HOUR_MS, MINUTE_MS, at_ms
from engine.domain.zone_text import IN_UTC, Local
from engine.errors import InvalidInput, shown

Kind = Literal["daily", "monthly", "projected", "under", "silence", "spike", "breaker", "health"]
Severity = Literal["note", "warning", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""From the least on. Notes are listed and not counted."""
EndReason = Literal["raised", "recovered", "period", "off"]
"""raised: its budget was raised. period: its day or month ended. off: no rule asks for it any more, or its brand is archived."""
EVERY_BRAND: Final = 0
"""In place of a brand's id: the rule of every brand that has none of its own."""
MOST_LEVELS: Final = 10
SPIKE_MINUTES: Final = 10
"""The last minutes that a spike is looked for in."""
USUAL_DAYS: Final = 7
LEAST_DAYS: Final = 3
"""Silence and spikes are against the same time of the last 7 days, of which 3 must have spend."""
_CENT: Final = 10_000
KEEPS_UNDER: Final = 10
"""An under-delivery ends where so many hundredths of the plan more than its level are spent, so that it does not flap."""


class AlertKind(NamedTuple):
    """One row of the table of kinds.

    levels: of the rule that every brand has. unit: of a level. least, most: a level's bounds. again_ms: what comes back later than this
    after it ended is a new round; None where only a raised budget begins one. words: what it alerts of, with the level as {}.
    """

    name: Kind
    title: str
    levels: tuple[int, ...]
    unit: Literal["%", "min", ""]
    least: int
    most: int
    again_ms: int | None
    words: str

    @property
    def has_levels(self) -> bool:
        return bool(self.unit)


KINDS: Final = (
    AlertKind("daily", "Daily budget", (50, 80, 95, 100), "%", 1, 1000, None, "{} % of the daily budget is spent"),
    AlertKind("monthly", "Monthly budget", (50, 80, 95, 100), "%", 1, 1000, None, "{} % of the monthly budget is spent"),
    AlertKind("projected", "Out before the day's end", (60,), "min", 1, 1440, None, "the daily budget runs out {} minutes or more before the day's end"),
    AlertKind("under", "Under-delivery", (80,), "%", 1, 100, None, "less than {} % of what is due by now is spent, with pacing"),
    AlertKind("silence", "Silence", (30,), "min", 5, 720, None, "no spend for {} minutes while campaigns run, where there usually is some"),
    AlertKind("spike", "Spike", (300,), "%", 110, 100_000, HOUR_MS, "the last 10 minutes have {} % or more of what is usual, and 1 % of the daily budget"),
    AlertKind("breaker", "Breaker", (), "", 0, 0, None, "a campaign's breaker opened"),
    AlertKind("health", "The engine", (), "", 0, 0, 15 * MINUTE_MS, "a part of the engine is down, or a job failed or is overdue"),
)  # fmt: skip
BY_KIND: Final[Mapping[str, AlertKind]] = {row.name: row for row in KINDS}
OF_BRANDS: Final = tuple(row.name for row in KINDS if row.name != "health")


class Rule(NamedTuple):
    """What to alert of. brand_id: whose rule it is, or EVERY_BRAND. levels: in order; none for a kind without levels."""

    kind: Kind
    brand_id: int
    levels: tuple[int, ...]
    enabled: bool = True

    @property
    def asked(self) -> tuple[int, ...]:
        """The levels that it alerts of; 0 stands for that of a kind without levels."""
        if not self.enabled:
            return ()
        return self.levels if BY_KIND[self.kind].has_levels else (0,)


class Rules:
    """All rules. A brand's own rule stands in place of that of every brand."""

    def __init__(self, changed: Iterable[Rule] = ()) -> None:
        """changed: the rules that somebody made or changed."""
        self._rules = {(row.name, EVERY_BRAND): Rule(row.name, EVERY_BRAND, row.levels) for row in KINDS}
        self._rules |= {(rule.kind, rule.brand_id): rule for rule in changed}

    def of(self, kind: Kind, brand_id: int | None = None) -> Rule:
        """The rule that holds for a brand, or for the engine."""
        own = None if brand_id is None else self._rules.get((kind, brand_id))
        return own or self._rules[kind, EVERY_BRAND]

    def listed(self) -> list[Rule]:
        """Every rule, by kind, that of every brand first."""
        order = [row.name for row in KINDS]
        return sorted(self._rules.values(), key=lambda rule: (order.index(rule.kind), rule.brand_id))


def check_kind(value: str) -> AlertKind:
    """The row of a kind. Raises InvalidInput."""
    found = BY_KIND.get(value)
    if found is None:
        raise InvalidInput(f"kind {shown(value)} is none of {', '.join(BY_KIND)}", "kind")
    return found


def check_levels(kind: AlertKind, text: str) -> tuple[int, ...]:
    """Levels as a person gives them: whole numbers, joined by commas. Raises InvalidInput."""
    if not kind.has_levels:
        if text.strip():
            raise InvalidInput(f"levels {shown(text)}: {kind.title} has no levels, so leave them out", "levels")
        return ()
    found = set()
    for part in text.replace("%", " ").replace(",", " ").split():
        if not (part.isascii() and part.isdigit() and len(part) < 8 and kind.least <= int(part) <= kind.most):
            raise InvalidInput(
                f"levels: {shown(part)} is not a whole number from {kind.least} to {kind.most} ({kind.unit})", "levels"
            )
        found.add(int(part))
    if not 1 <= len(found) <= MOST_LEVELS:
        raise InvalidInput(f"levels {shown(text)}: give 1 to {MOST_LEVELS}, such as 80, 100", "levels")
    if len(found) > 1 and kind.name not in ("daily", "monthly"):
        raise InvalidInput(f"levels {shown(text)}: {kind.title} has one level", "levels")
    return tuple(sorted(found))


def severity_of(kind: Kind, level: int) -> Severity:
    """How urgent it is."""
    if kind in ("daily", "monthly"):
        return "note" if level < 80 else "warning" if level < 100 else "critical"
    return "critical" if kind in ("breaker", "health") else "warning"


class OpenBreaker(NamedTuple):
    """A campaign that its breaker stopped. round: of its brake."""

    campaign_id: int
    name: str
    round: int
    at_ms: int


class Silent(NamedTuple):
    """A brand that runs, and has had no spend since an instant, where it usually has some."""

    since_ms: int
    minutes: int


class Rush(NamedTuple):
    """What a brand spent in the last SPIKE_MINUTES, and what is usual, in micros."""

    spent: int
    usual: int


@dataclass(frozen=True, slots=True)
class Facts:
    """A brand's figures at an instant, as far as alerts need them. daily, monthly: (spent, budget), None is no limit.

    due: what a paced brand may have spent by now. out_ms: when its daily budget runs out at this rate.
    """

    brand_id: int
    name: str
    now_ms: int
    daily: tuple[int, int | None]
    monthly: tuple[int, int | None]
    running: bool = True
    out_ms: int | None = None
    due: int | None = None
    breakers: tuple[OpenBreaker, ...] = ()
    silent: Silent | None = None
    rush: Rush | None = None
    local: Local = IN_UTC

    @property
    def day(self) -> str:
        return self.local.zone.date_of(self.now_ms).isoformat()

    @property
    def subject(self) -> str:
        return f"brand:{self.brand_id}"

    def period_of(self, kind: Kind) -> str | None:
        """The present period of a kind; None for one whose alerts end by themselves."""
        if kind == "monthly":
            return self.day[:7]
        return self.day if kind in ("daily", "projected", "under", "spike") else None

    def limit_of(self, kind: Kind) -> int | None:
        """The budget that a kind is about."""
        return self.monthly[1] if kind == "monthly" else self.daily[1]


class Key(NamedTuple):
    """What an alert is known by."""

    kind: Kind
    subject: str
    period: str
    level: int


class Holding(NamedTuple):
    """An alert that holds now. figure, limit: spent and budget, in micros, where it is about a budget. opens: False for what keeps an open
    alert open, and opens none.
    """

    key: Key
    brand_id: int | None
    severity: Severity
    detail: str
    figure: int | None = None
    limit: int | None = None
    opens: bool = True


class Event(NamedTuple):
    """An alert that was opened, as far as what follows of it depends on that."""

    id: int
    key: Key
    round: int
    figure: int | None
    limit: int | None


def holding_of(facts: Facts, rules: Rules) -> list[Holding]:
    """What holds for a brand, by the rules that it has."""
    found: list[Holding] = []
    for kind in OF_BRANDS:
        for level in rules.of(kind, facts.brand_id).asked:
            found += _OF[kind](facts, kind, level)
    return found


def ends_because(event: Event, facts: Facts, rules: Rules, held: Mapping[Key, Holding]) -> EndReason | None:
    """Why an open alert of a brand ends; None where it stays open."""
    kind, level = event.key.kind, event.key.level
    if level not in rules.of(kind, facts.brand_id).asked:
        return "off"
    if event.key.period != facts.period_of(kind) and facts.period_of(kind) is not None:
        return "period"
    raised = was_raised(event, facts.limit_of(kind))
    if event.key in held:
        # A threshold of the new budget that was crossed since is a crossing of its own.
        return "raised" if raised and event.figure is not None else None
    return "raised" if raised else "recovered"


def was_raised(event: Event, limit: int | None) -> bool:
    """Whether the budget of an alert was raised since, to one whose threshold was not reached then."""
    if event.limit is None:
        return False
    if limit is None:
        return True
    return limit > event.limit and (event.figure is None or event.figure * 100 < limit * event.key.level)


def amount(micros: int) -> str:
    """Micros with two decimals, and more only where they are there."""
    whole, _, decimals = format_micros(micros).partition(".")
    return f"{int(whole):,}.{decimals.rstrip('0').ljust(2, '0')}"


def _held(
    facts: Facts, kind: Kind, level: int, detail: str, figure: int | None = None, *, opens: bool = True
) -> Holding:
    key = Key(kind, facts.subject, facts.period_of(kind) or "", level)
    return Holding(key, facts.brand_id, severity_of(kind, level), detail, figure, facts.limit_of(kind), opens)


def _threshold(facts: Facts, kind: Kind, level: int) -> Sequence[Holding]:
    spent, limit = facts.monthly if kind == "monthly" else facts.daily
    if limit is None or not limit or spent * 100 < limit * level:
        return ()
    when = "this month" if kind == "monthly" else "today"
    return (_held(facts, kind, level, f"{level} % reached: {amount(spent)} of {amount(limit)} spent {when}", spent),)


def _projected(facts: Facts, kind: Kind, level: int) -> Sequence[Holding]:
    spent, limit = facts.daily
    if limit is None:
        return ()
    if facts.out_ms is None:
        # It came true: the day's budget is used up.
        return (_held(facts, kind, level, "used up", opens=False),) if spent >= limit else ()
    opens = facts.local.zone.next_day_ms(facts.now_ms) - facts.out_ms >= level * MINUTE_MS
    when = facts.local.words(facts.out_ms)
    return (_held(facts, kind, level, f"{amount(limit)} a day runs out about {when} at this rate", opens=opens),)


def _under(facts: Facts, kind: Kind, level: int) -> Sequence[Holding]:
    spent, limit = facts.daily
    # Before a tenth of the day's budget is due, nothing is said of it.
    if not facts.running or not facts.due or not limit or facts.due * 10 < limit:
        return ()
    part = spent * 100 // facts.due
    if part >= level + KEEPS_UNDER:
        return ()
    due = facts.due // _CENT * _CENT
    detail = f"{amount(spent)} spent, {part} % of the {amount(due)} that is due by now"
    return (_held(facts, kind, level, detail, opens=part < level),)


def _silence(facts: Facts, kind: Kind, level: int) -> Sequence[Holding]:
    if facts.silent is None or not facts.running or facts.silent.minutes < level:
        return ()
    key = Key(kind, facts.subject, f"since {at_ms(facts.silent.since_ms):%Y-%m-%dT%H:%MZ}", level)
    detail = f"campaigns run, and the last spend was at {facts.local.words(facts.silent.since_ms, '%Y-%m-%d %H:%M')}"
    return (Holding(key, facts.brand_id, severity_of(kind, level), detail),)


def _spike(facts: Facts, kind: Kind, level: int) -> Sequence[Holding]:
    if facts.rush is None or facts.rush.spent * 100 < facts.rush.usual * level:
        return ()
    spent, usual = facts.rush
    detail = f"{amount(spent)} in {SPIKE_MINUTES} minutes, {spent * 100 // usual} % of the usual {amount(usual)}"
    key = Key(kind, facts.subject, facts.day, level)
    return (Holding(key, facts.brand_id, severity_of(kind, level), detail),)


def _breaker(facts: Facts, kind: Kind, level: int) -> Sequence[Holding]:
    return [
        Holding(
            Key(kind, f"campaign:{each.campaign_id}", f"round {each.round}", level),
            facts.brand_id,
            severity_of(kind, level),
            f"the breaker of {each.name} opened at {facts.local.words(each.at_ms)}: it is stopped until a person resumes it",
        )
        for each in facts.breakers
    ]


_OF: Final = {
    "daily": _threshold,
    "monthly": _threshold,
    "projected": _projected,
    "under": _under,
    "silence": _silence,
    "spike": _spike,
    "breaker": _breaker,
}
