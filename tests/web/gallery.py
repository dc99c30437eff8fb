"""Every page of the console, on a system that has something of every kind: for pictures, for axe and for walks.

`PAGES` has the pages of each endpoint; `NOT_PAGES` says of every other endpoint why a person never sees it as a page.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from playwright.sync_api import BrowserContext
from rq import Queue
from sqlalchemy import text

from engine.domain.alerts import BY_KIND
from engine.domain.flights import EVEN
from engine.domain.money import MICROS
from engine.domain.operations import wanted_of
from engine.domain.passwords import digest_of
from engine.domain.periods import HOUR_MS
from engine.feeds.demo import Traffic, make_samples
from engine.ledger import alert_rules, logins, notes, sessions, tokens, users, webhooks
from engine.wiring import System
from tests.flows.test_alerts import decide

SECRET: Final = "a passphrase of hers"
EVIL: Final = "<script>alert(1)</script>"
FORMULA: Final = '=cmd()|"/c calc"!A1'
NOTE: Final = "The client moved the launch to Thursday. Keep the evening hours."


@dataclass(frozen=True)
class World:
    """The system and the ids of what is on it. brand: paced, with three campaigns that run, one of them with flights."""

    system: System
    brand: int
    campaign: int
    evil: int
    evil_campaign: int
    gone: int
    gone_campaign: int
    off: int
    draft: int
    imported: int
    done: int
    waiting: int
    user: int
    job: str

    def enter(self, context: BrowserContext, address: str, name: str = "Ada") -> None:
        """Logs a browser in as a user, on its first page. A page that is closed while it goes on to the next may hang Chromium."""
        page = context.pages[0] if context.pages else context.new_page()
        page.goto(f"{address}/login")
        page.fill("[name=actor]", name)
        page.fill("[name=password]", SECRET)
        with page.expect_navigation():
            page.click("button[type=submit]")


Paths = Callable[[World], Mapping[str, str]]
"""Names of pictures and their addresses."""


def _one(name: str, path: str) -> Paths:
    return lambda w: {name: path.format(w=w)}


def _all(**paths: str) -> Paths:
    return lambda w: {name: path.format(w=w) for name, path in paths.items()}


PAGES: Final[Mapping[str, Paths]] = {
    "budgets.budgets": _all(budgets="/", budgets_attention="/?tab=attention", budgets_edit="/?edit={w.brand}", budgets_none="/?q=nobody"),
    "status.status": _all(status="/status", status_open="/status?open={w.brand}", status_paused="/status?cause=manual"),
    "status.changes": _one("changes", "/changes"),
    "brand.brand": _all(
        brand="/brands/{w.brand}", brand_campaigns="/brands/{w.brand}?tab=campaigns", brand_days="/brands/{w.brand}?tab=days",
        brand_activity="/brands/{w.brand}?tab=activity", brand_settings="/brands/{w.brand}?tab=settings", brand_evil="/brands/{w.evil}",
        brand_archived="/brands/{w.gone}",
    ),
    "campaign.campaign": _all(campaign="/campaigns/{w.campaign}", campaign_off="/campaigns/{w.off}", campaign_evil="/campaigns/{w.evil_campaign}"),
    "system.system": _one("system", "/system"),
    "activity.activity": _all(activity="/activity", activity_notes="/activity?kind=note", activity_people="/activity?kind=people", activity_logins="/activity?kind=login"),
    "imports.page": _one("import", "/import"),
    "notes.brand": _one("notes_brand", "/brands/{w.brand}/notes"),
    "notes.campaign": _one("notes_campaign", "/campaigns/{w.evil_campaign}/notes"),
    "spending.spending": _one("spending", "/brands/{w.brand}/spend"),
    "catalog.new_brand": _one("brand_new", "/brands/new"),
    "catalog.edit_brand": _one("brand_edit", "/brands/{w.brand}/edit"),
    "catalog.archive_brand": _one("brand_archive", "/brands/{w.brand}/archive"),
    "catalog.unarchive_brand": _one("brand_unarchive", "/brands/{w.gone}/unarchive"),
    "catalog.new_campaign": _one("campaign_new", "/brands/{w.brand}/campaigns/new"),
    "catalog.edit_campaign": _one("campaign_edit", "/campaigns/{w.campaign}/edit"),
    "catalog.archive_campaign": _one("campaign_archive", "/campaigns/{w.campaign}/archive"),
    "catalog.unarchive_campaign": _one("campaign_unarchive", "/campaigns/{w.gone_campaign}/unarchive"),
    "flights.flights": _one("flights", "/campaigns/{w.campaign}/flights"),
    "flights.edit": _one("flight_edit", "/campaigns/{w.campaign}/flights/1"),
    "limits.brand": _one("limits_brand", "/brands/{w.brand}/limits"),
    "limits.campaign": _one("limits_campaign", "/campaigns/{w.campaign}/limits"),
    "operations.show": _all(
        operation_draft="/operations/{w.draft}", operation_import="/operations/{w.imported}", operation_done="/operations/{w.done}",
        operation_waiting="/operations/{w.waiting}",
    ),
    "alerts.alerts": _one("alerts", "/alerts"),
    "alerts.history": _one("alert_history", "/alerts/history"),
    "alert_settings.rules": _one("alert_rules", "/alerts/rules"),
    "alert_settings.rule": _one("alert_rule", "/alerts/rules/daily?brand={w.brand}"),
    "alert_settings.hooks": _one("webhooks", "/alerts/webhooks"),
    "alert_settings.new_hook": _one("webhook_new", "/alerts/webhooks/new"),
    "me.me": _one("me", "/me"),
    "people.people": _one("people", "/people"),
    "people.login_log": _one("logins", "/people/logins"),
    "people.new": _one("user_new", "/people/new"),
    "people.edit": _one("user_edit", "/people/{w.user}"),
    "people.new_token": _one("token_new", "/people/tokens/new"),
    "rq_dashboard.queues_overview": _one("jobs", "/rq/"),
    "rq_dashboard.workers_overview": _one("jobs_workers", "/rq/0/view/workers"),
    "rq_dashboard.jobs_overview": _one("jobs_queue", "/rq/0/view/jobs/jobs/queued/8/asc/1"),
    "rq_dashboard.job_view": _one("job", "/rq/0/view/job/{w.job}"),
    "": _all(error_missing="/brands/99999", error_value="/brands/{w.brand}/spend?day=foo"),
}  # fmt: skip
"""By endpoint; "" are the pages of refusals. The login is apart, because it is for nobody."""

LOGIN: Final = "login.login"
NOT_PAGES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("static", "rq_dashboard.static", "rq_dashboard.favicon"), "files"),
    **dict.fromkeys(("health.healthz", "health.readyz", "metrics.metrics", "system.diagnosis"), "text"),
    **dict.fromkeys(("oidc.begin", "oidc.back", "budgets.moved"), "leads elsewhere"),
    **dict.fromkeys(("budgets.live", "budgets.poll", "status.live", "brand.live", "campaign.live", "system.live", "operations.progress", "budget_edit.preview"), "a part of a page"),
    **dict.fromkeys(("budgets.export", "activity.export", "imports.export", "spend_log.brand", "spend_log.campaign"), "a table to keep"),
    **dict.fromkeys(("rq_dashboard.list_queues", "rq_dashboard.list_jobs", "rq_dashboard.job_info", "rq_dashboard.list_workers", "rq_dashboard.requeue_all"), "asked by scripts"),
}  # fmt: skip


def every_page(world: World) -> dict[str, str]:
    """Names and addresses of all pages."""
    return {name: path for paths in PAGES.values() for name, path in paths(world).items()}


def make_world(system: System) -> World:
    """Puts something of every kind on an empty, ready system: the demo's brands with their traffic, and what people do beside it."""
    manage = system.manage
    made = make_samples(system.catalog, manage)
    brand, campaigns = _of(system, made, "Garnet Games")
    _, journeys = _of(system, made, "Elbe Travel")
    evil = manage.create_brand(EVIL, 20 * MICROS, 400 * MICROS, "=cmd", FORMULA).row.id
    evil_campaign = manage.create_campaigns(evil, [FORMULA, EVIL], EVIL)[0].id
    gone = manage.create_brand("Old Harbour", 5 * MICROS, None, "OH-1", "Mia").row.id
    gone_campaign = manage.create_campaigns(brand, ["Winter"], "Mia")[0].id
    manage.archive_campaign(gone_campaign, "Mia")
    _flights(system, campaigns[0])
    traffic = Traffic(system.client, made, random.Random(7))
    for _ in range(200):
        traffic.round()
    system.client.record_spend(evil_campaign, "21", event_id="=cmd")
    system.status.refresh(system.persister.drain_all().changed_brands)
    _minutes(system, brand)
    manage.pause_campaign(journeys[1], "Mia", "The landing page is away")
    manage.archive_brand(gone, "Mia")
    manage.update_brand(brand, "Mia", daily_budget_micros=66 * MICROS, note=NOTE)
    notes.add(system.db, "brand", brand, "Mia", NOTE)
    notes.add(system.db, "campaign", evil_campaign, EVIL, f"{EVIL}\n{FORMULA}")
    _alerts(system, evil)
    user = _people(system, [brand, evil])
    off = journeys[1]
    return World(
        system, brand, campaigns[0], evil, evil_campaign, gone, gone_campaign, off, *_operations(system, brand, evil, gone_campaign),
        user, Queue("jobs", connection=system.jobs_redis).enqueue("engine.jobs.check").id,
    )  # fmt: skip


def _of(system: System, made: Mapping[str, list[int]], name: str) -> tuple[int, list[int]]:
    brand = system.catalog.brand_by_name(name)
    assert brand is not None
    return brand.id, made[name]


def _flights(system: System, campaign: int) -> None:
    hour = system.live.now_ms() // HOUR_MS * HOUR_MS
    system.manage.add_flight(campaign, "Mia", None, hour + 50 * HOUR_MS, 90 * MICROS, True, EVEN)
    system.manage.add_flight(campaign, "Mia", hour + 60 * HOUR_MS, hour + 90 * HOUR_MS, 40 * MICROS, False)
    system.manage.schedule_limit(
        "brand", campaign >> 16, "Mia", "daily", ("set", 80 * MICROS), hour + 30 * HOUR_MS, hour + 54 * HOUR_MS
    )
    system.manage.update_campaign(campaign, "Mia", daily_budget_micros=30 * MICROS)
    system.manage.schedule_limit(
        "campaign", campaign, "Mia", "daily", ("percent", 150 * MICROS), hour + 30 * HOUR_MS, None
    )


def _minutes(system: System, brand: int) -> None:
    """As if the brand had spent since its midnight, with more at noon."""
    with system.db.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO brand_minute (day, brand_id, at, spend_micros)"
                " SELECT day, :brand, at, 9000 + 6000 * sin(extract(epoch FROM at) / 13000) FROM (SELECT max(day) AS day FROM brand_minute WHERE brand_id = :brand) AS d,"
                " generate_series(date_trunc('minute', now()) - interval '6 hours', date_trunc('minute', now()) - interval '9 minutes', interval '7 minutes') AS at"
                " ON CONFLICT DO NOTHING"
            ),
            {"brand": brand},
        )


def _alerts(system: System, brand: int) -> None:
    db = system.db
    hook = webhooks.create(db, "Mia", "Duty phone", "https://hooks.example.com/budgets/9f3a", "warning").webhook
    webhooks.create(db, EVIL, FORMULA, f"https://hooks.example.com/{EVIL}", "critical")
    alert_rules.write(db, "Mia", BY_KIND["daily"], (75, 90, 100), True)
    alert_rules.write(db, EVIL, BY_KIND["daily"], (10,), True, brand)
    decide(system)
    webhooks.add_test(db, "Mia", hook.id)
    for due in webhooks.claim(db, 2):
        webhooks.note(db, due, 500, EVIL)
    system.manage.update_brand(brand, "Mia", daily_budget_micros=50 * MICROS)
    decide(system)


def _people(system: System, brands: list[int]) -> int:
    db, digest = system.db, digest_of(SECRET)
    users.create(db, "test", "Ada", "admin", None, digest)
    users.create(db, "test", "Vera", "viewer", None, digest)
    shut = users.create(db, "test", FORMULA, "operator", brands, digest)
    users.set_disabled(db, "Ada", shut.id, True)
    lea = users.create(db, "test", "Lea", "operator", brands, digest)
    sessions.begin(db, "Lea", "192.0.2.7", lea.id)
    tokens.create(db, "Ada", "Bidder in Frankfurt", ["spend"], None)
    tokens.create(db, EVIL, FORMULA, ["read"], brands)
    logins.log(db, EVIL, "192.0.2.8", "wrong", None)
    return lea.id


def _operations(system: System, brand: int, evil: int, gone_campaign: int) -> tuple[int, int, int, int]:
    """A draft, an import with wrong lines, one that is done, and one that a worker has not begun."""
    desk = system.operations
    draft = desk.preview(wanted_of("budget", change="percent:110"), [brand, evil], [], "Ada")
    table = (
        f'kind,id,name,daily_budget,schedule,brand\nbrand,{brand},Garnet Games,70,,\ncampaign,,"{EVIL}",5,nonsense,Garnet Games\n'
        "campaign,,Second season,5,always,Garnet Games\nbrand,,Ice,a lot,,\n"
    )
    imported = desk.draft_import(table.encode(), "Ada", NOTE, None)
    done = desk.preview(wanted_of("pause"), [], [evil << 16 | 1, evil << 16 | 2, gone_campaign], EVIL)
    desk.begin(done.id, EVIL, "Wrong creative")
    many = system.manage.create_campaigns(evil, [f"Banner {i:03}" for i in range(201)], "Mia")
    waiting = desk.preview(wanted_of("pause"), [], [one.id for one in many], "Ada")
    desk.begin(waiting.id, "Ada")
    return draft.id, imported.id, done.id, waiting.id
