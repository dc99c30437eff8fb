"""Reads what alerts are decided by: each brand's figures, from Redis, the catalog and the log. One odd brand hides no other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import Connection, Engine

from engine.domain.alerts import (
    LEAST_DAYS,
    SPIKE_MINUTES,
    Facts,
    Holding,
    Key,
    OpenBreaker,
    Rules,
    Rush,
    Severity,
    Silent,
)
from engine.domain.periods import MINUTE_MS, at_ms, ms_of
from engine.errors import ServerAway
from engine.ledger import alert_figures
from engine.live.plans import LiveBrand
from engine.views.budget_line import line_of
from engine.views.health import Health
from engine.views.overview import Cataloged, Overview

_SMALLEST_PART: Final = 100
"""A spike has at least a hundredth of the daily budget; an even day has two thirds of that in ten minutes."""


@dataclass(slots=True)
class Looked:
    """What was found. facts: of brands with live figures. failed: why a brand could not be read. unknown: brands whose figures are not
    live, of which nothing is decided.
    """

    facts: list[Facts] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)


class AlertFacts:
    """Reads them for all brands in use."""

    def __init__(self, db: Engine, overview: Overview) -> None:
        self._db = db
        self._overview = overview

    def read(self, rules: Rules) -> Looked:
        """The figures of this instant. Raises ServerAway."""
        found, looked = self._overview.cataloged(), Looked()
        live = self._figures([brand.id for brand in found.brands if not brand.archived], looked)
        with self._db.connect() as conn:
            breakers = _breakers(conn)
        for brand in found.brands:
            if brand.archived or brand.id in looked.failed:
                continue
            seen = live.get(brand.id)
            if seen is None:
                looked.unknown.add(brand.id)
                continue
            try:
                looked.facts.append(self._facts(found._replace(brands=(brand,)), seen, breakers.get(brand.id, ())))
            except ServerAway:
                raise
            except Exception as error:  # noqa: BLE001  # one odd brand must not hide the others
                looked.failed[brand.id] = _said(error)
        with self._db.connect() as conn:
            looked.facts = _with_courses(conn, looked.facts, rules)
        return looked

    def _figures(self, brand_ids: Sequence[int], looked: Looked) -> Mapping[int, LiveBrand | None]:
        try:
            return self._overview.figures(brand_ids)
        except ServerAway:
            raise
        except Exception:  # noqa: BLE001  # one of them cannot be read: which one is found brand by brand
            live: dict[int, LiveBrand | None] = {}
            for id_ in brand_ids:
                try:
                    live |= self._overview.figures([id_])
                except ServerAway:
                    raise
                except Exception as error:  # noqa: BLE001
                    looked.failed[id_] = _said(error)
            return live

    def _facts(self, found: Cataloged, live: LiveBrand, breakers: Iterable[OpenBreaker]) -> Facts:
        """Of the one brand that `found` has."""
        (view,) = self._overview.joined(found, {found.brands[0].id: live})
        line = line_of(view)
        return Facts(
            brand_id=view.id,
            name=view.name,
            now_ms=view.now_ms,
            daily=(view.daily_spend, view.daily_budget),
            monthly=(view.monthly_spend, view.monthly_budget),
            running=line.state == "running",
            out_ms=line.out_ms,
            # Before its campaigns ran for half an hour, nothing is said of how it delivers, as on the page.
            due=None if view.pacing is None or view.projected_day_micros is None else view.pacing.due,
            breakers=tuple(breakers),
            local=view.local,
        )


def troubles(health: Health) -> list[Holding]:
    """What is wrong with the engine. A part that works, or will by itself, opens no alert and keeps one open, so that none flaps; a
    journal that grows opens one.
    """
    found = []
    for part in health.parts:
        behind = part.key == "journal" and health.backlog is not None
        if part.state != "ok":
            detail = f"{part.name}: {part.detail}"
            found.append(_trouble(f"part:{part.key}", detail, opens=part.state == "down" or behind))
    for job in health.jobs:
        if job.overdue or job.outcome == "failed":
            what = "overdue" if job.overdue else "failed"
            found.append(_trouble(f"job:{job.job}", f"the job {job.job} {what}: {job.detail or job.due}", "warning"))
    return found


def _trouble(subject: str, detail: str, severity: Severity = "critical", *, opens: bool = True) -> Holding:
    return Holding(Key("health", subject, "", 0), None, severity, detail[:1000], opens=opens)


def _breakers(conn: Connection) -> dict[int, list[OpenBreaker]]:
    found: dict[int, list[OpenBreaker]] = defaultdict(list)
    for row in alert_figures.breakers(conn):
        found[row.brand_id].append(OpenBreaker(row.campaign_id, row.name, row.round, ms_of(row.at)))
    return found


def _with_courses(conn: Connection, facts: list[Facts], rules: Rules) -> list[Facts]:
    """The facts with what the last minutes say: silence and spikes. Only brands that look odd are compared with other days."""
    running = {each.brand_id: each for each in facts if each.running}
    if not running:
        return facts
    now_ms = max(each.now_ms for each in running.values())
    last = alert_figures.activity(conn, list(running), at_ms(now_ms), SPIKE_MINUTES)
    silent = {
        id_: level
        for id_ in running
        for level in rules.of("silence", id_).asked
        if (at := last[id_].last_at) is not None and now_ms - ms_of(at) >= (level + 1) * MINUTE_MS
    }
    rushing = {
        id_: SPIKE_MINUTES
        for id_, each in running.items()
        if rules.of("spike", id_).asked and last[id_].recent * _SMALLEST_PART >= (each.daily[1] or 1)
        if last[id_].recent > 0
    }
    quiet = _silences(conn, silent, running, last, now_ms)
    usual = alert_figures.usual(conn, list(rushing.items()), at_ms(now_ms)) if rushing else {}
    rush = {
        id_: Rush(last[id_].recent, found.micros)
        for id_, found in usual.items()
        if found.days >= LEAST_DAYS and found.micros
    }
    return [replace(each, silent=quiet.get(each.brand_id), rush=rush.get(each.brand_id)) for each in facts]


def _silences(
    conn: Connection,
    minutes: Mapping[int, int],
    running: Mapping[int, Facts],
    last: Mapping[int, alert_figures.Activity],
    now_ms: int,
) -> dict[int, Silent]:
    """Those that ran all the time, usually spend at this time, and have nothing in the journal that the log lacks."""
    if not minutes:
        return {}
    spans, now = list(minutes.items()), at_ms(now_ms)
    usual = alert_figures.usual(conn, spans, now)
    ran = alert_figures.ran(conn, spans, now)
    logged = alert_figures.logged(conn, {id_: running[id_].local.zone.date_of(running[id_].now_ms) for id_ in minutes})
    found = {}
    for id_ in minutes:
        at = last[id_].last_at
        whole = logged.get(id_, 0) == running[id_].daily[0]
        if at is not None and id_ in ran and whole and usual[id_].days >= LEAST_DAYS:
            found[id_] = Silent(ms_of(at), (now_ms - ms_of(at)) // MINUTE_MS)
    return found


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
