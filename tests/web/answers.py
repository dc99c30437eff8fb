"""What forms answer: refusals, what changed meanwhile, previews, and secrets that are shown once. For pictures and for axe, beside the gallery's pages.

`ANSWERS` has them by the endpoint that answers; `NO_ANSWER` says of every other endpoint of a form what a person sees instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from playwright.sync_api import Page

from engine.domain.money import MICROS
from tests.web.gallery import World

Asks = Callable[[Page, World], None]
"""Goes to a page and sends its form; the page then shows the answer."""
SUBMIT: Final = "main form button[type=submit]"


def fill(page: Page, within: str = "main", **fields: str) -> None:
    """Fills fields by their names, whatever kind they are."""
    for name, value in fields.items():
        found = page.locator(f"{within} [name='{name}']:visible")
        kind = found.first.evaluate("field => field.type")
        if kind in ("radio", "checkbox"):
            page.check(f"{within} [name='{name}'][value='{value}']")
        elif kind.startswith("select"):
            found.first.select_option(value)
        else:
            found.first.fill(value)


def send(page: Page, path: str, button: str = SUBMIT, **fields: str) -> None:
    """Opens a page, fills its form and sends it."""
    page.goto(path)
    fill(page, **fields)
    press(page, button)


def press(page: Page, button: str) -> None:
    """Presses a button, and waits for the page that it leads to."""
    with page.expect_navigation():
        page.locator(button).first.click()


def _sent(path: str, button: str = SUBMIT, **fields: str) -> Asks:
    return lambda page, w: send(page, path.format(w=w), button, **fields)


def _brand_changed_meanwhile(page: Page, w: World) -> None:
    page.goto(f"/brands/{w.brand}/edit")
    fill(page, daily_budget="75.50")
    w.system.manage.update_brand(w.brand, "Mia", daily_budget_micros=68 * MICROS)
    press(page, SUBMIT)


def _campaign_changed_meanwhile(page: Page, w: World) -> None:
    page.goto(f"/campaigns/{w.campaign}/edit")
    fill(page, daily_budget="33")
    w.system.manage.update_campaign(w.campaign, "Mia", daily_budget_micros=35 * MICROS)
    press(page, SUBMIT)


def _budget_changed_meanwhile(page: Page, w: World) -> None:
    page.goto(f"/?edit={w.brand}")
    page.fill(f"#edit-daily-{w.brand}", "71")
    w.system.manage.update_brand(w.brand, "Mia", monthly_budget_micros=1700 * MICROS)
    press(page, f"#edit-{w.brand} button:has-text('Save budgets')")


def _limit_said_before(page: Page, w: World) -> None:
    page.goto(f"/brands/{w.brand}/limits")
    fill(page, how="up_percent", amount="50", at="2027-03-01T18:30", until="2027-03-03T06:00")
    page.wait_for_selector("#follows .told.then")


def _for_many(kind: str) -> Asks:
    def asks(page: Page, w: World) -> None:
        page.goto("/")
        page.check("#tick-all")
        fill(page, "#bulk", kind=kind)
        press(page, "#bulk button[type=submit]")

    return asks


def _refused_for_many(page: Page, w: World) -> None:
    _for_many("budget")(page, w)
    fill(page, how="down_percent", amount="100")
    press(page, SUBMIT)


def _paused_in_the_list(page: Page, w: World) -> None:
    page.goto("/")
    page.click(f"#b-switch-{w.brand}")
    page.wait_for_selector("#toasts .toast")


def _without_its_token(page: Page, w: World) -> None:
    page.goto(f"/brands/{w.brand}/notes")
    page.evaluate("for (const field of document.querySelectorAll('[name=csrf_token]')) field.value = 'old'")
    press(page, SUBMIT)


def _wrong_password(page: Page, w: World) -> None:
    page.context.clear_cookies()
    send(page, "/login", actor="Ada", password="not hers")


ANSWERS: Final[Mapping[str, Mapping[str, Asks]]] = {
    "catalog.new_brand": {"brand_new_refused": _sent("/brands/new", daily_budget="12,50", monthly_budget="none", time_zone="Mars/Olympus")},
    "catalog.edit_brand": {
        "brand_edit_meanwhile": _brand_changed_meanwhile,
        "brand_edit_follows": _sent("/brands/{w.brand}/edit", time_zone="America/New_York"),
    },
    "catalog.new_campaign": {"campaign_new_refused": _sent("/brands/{w.brand}/campaigns/new", daily_budget="-1", breaker="much")},
    "catalog.edit_campaign": {
        "campaign_edit_meanwhile": _campaign_changed_meanwhile,
        "campaign_edit_follows": _sent("/campaigns/{w.campaign}/edit", pacing="ahead"),
    },
    "catalog.unarchive_brand": {"brand_unarchive_refused": _sent("/brands/{w.gone}/unarchive", name="Garnet Games")},
    "catalog.pause_brand": {"brand_paused": _paused_in_the_list},
    "flights.flights": {"flight_refused": _sent("/campaigns/{w.campaign}/flights", starts_at="2027-01-02T10:00", ends_at="2027-01-01T10:00", budget="x")},
    "flights.edit": {"flight_follows": _sent("/campaigns/{w.campaign}/flights/1", "button:has-text('Save flight')", budget="10")},
    "limits.brand": {
        "limit_refused": _sent("/brands/{w.brand}/limits", "button:has-text('Schedule change')", how="down_percent", amount="100", until="2020-01-01T10:00"),
        "limit_follows": _limit_said_before,
    },
    "operations.new": {"bulk_budget": _for_many("budget"), "bulk_schedule": _for_many("schedule"), "bulk_refused": _refused_for_many},
    "operations.everything": {"everything": _sent("/", "#everything button[value=pause]")},
    "operations.apply": {"operation_applied": _sent("/operations/{w.draft}", "#apply button")},
    "operations.undo": {"operation_undo": _sent("/operations/{w.done}", "form[action$='/undo'] button")},
    "imports.page": {"import_refused": _sent("/import")},
    "notes.brand": {"note_refused": _sent("/brands/{w.brand}/notes"), "error_form": _without_its_token},
    "budget_edit.change": {"budget_meanwhile": _budget_changed_meanwhile},
    "alert_settings.rule": {"alert_rule_refused": _sent("/alerts/rules/daily?brand={w.brand}", levels="50, many")},
    "alert_settings.new_hook": {
        "webhook_refused": _sent("/alerts/webhooks/new", name="Duty phone", url="ftp://hooks.example.com/budgets"),
        "webhook_secret": _sent("/alerts/webhooks/new", name="Night shift", url="https://hooks.example.com/night", least="warning"),
    },
    "alert_settings.rotate_hook": {"webhook_rotated": _sent("/alerts/webhooks", "form[action$='/rotate'] button")},
    "alert_settings.test_hook": {"webhook_tested": _sent("/alerts/webhooks", "form[action$='/test'] button")},
    "alerts.acknowledge": {"alert_acknowledged": _sent("/alerts", "form[action$='/acknowledge'] button")},
    "people.new": {"user_refused": _sent("/people/new", name="Lea", password="short", role="operator", scope="some", brands="Nobody's")},
    "people.password": {"user_password_refused": _sent("/people/{w.user}", "form[action$='/password'] button", password="short")},
    "people.new_token": {
        "token_refused": _sent("/people/tokens/new", name="Bidder", scope="some", brands="99999"),
        "token_secret": _sent("/people/tokens/new", name="Bidder in Milan", scopes="spend", scope="all"),
    },
    "me.password": {"me_refused": _sent("/me", "form[action$='/password'] button", current="not hers", password="short", again="other")},
    "system.run": {"job_begun": _sent("/system", "#run-check")},
    "login.login": {"login_refused": _wrong_password},
}  # fmt: skip
"""By endpoint, with a name for each picture. The last one logs out."""

NO_ANSWER: Final[Mapping[str, str]] = {
    **dict.fromkeys(("catalog.pause", "catalog.resume", "catalog.resume_brand"), "the same message as catalog.pause_brand"),
    **dict.fromkeys(("catalog.archive_brand", "catalog.archive_campaign", "catalog.unarchive_campaign"), "leads back, with a message"),
    **dict.fromkeys(("limits.campaign", "notes.campaign"), "the same page as of a brand"),
    **dict.fromkeys(("limits.cancel_of_brand", "limits.cancel_of_campaign", "flights.remove"), "leads back, with a message"),
    **dict.fromkeys(("alerts.mute", "alerts.unmute"), "the same message as alerts.acknowledge"),
    **dict.fromkeys(("alert_settings.drop_rule", "alert_settings.disable_hook", "alert_settings.enable_hook"), "leads back, with a message"),
    **dict.fromkeys(("people.edit", "people.disable", "people.enable", "people.end_session", "people.revoke_token", "me.end_session"), "leads back, with a message"),
    **dict.fromkeys(
        tuple(f"rq_dashboard.{name}" for name in ("empty_queue", "compact_queue", "requeue_all", "requeue_job_view", "delete_job_view")),
        "answers scripts of its page",
    ),
    **dict.fromkeys(("operations.discard", "login.logout"), "leads elsewhere"),
}  # fmt: skip
