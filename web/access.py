"""Who may open what: one table of every endpoint, with the least role to read and to change, and how it keeps to a person's brands.

`web/guard.py` asks it before each request. An endpoint without a row is for admins; a test holds the table to the app's addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from flask import abort, g, request

from engine.domain.ids import brand_of
from engine.domain.people import Person, Role
from engine.errors import NotFound, shown

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
Scope = Literal["none", "brand", "campaign", "listed", "every"]
"""none: nothing of a brand is there. brand, campaign: the address has its id. listed: the view leaves out what the person does not see.
every: for persons who see every brand.
"""


class Rule(NamedTuple):
    """One endpoint: the least role that may read it, the least role that may change by it, and its scope.

    None: open to everybody, without a login.
    """

    read: Role | None
    change: Role | None
    scope: Scope = "none"


OPEN: Final = Rule(None, None)
ADMIN: Final = Rule("admin", "admin", "every")
_OWN: Final = Rule("viewer", "viewer")
"""What a person changes of himself."""
_BRAND_FORM: Final = Rule("operator", "operator", "brand")
_CAMPAIGN_FORM: Final = Rule("operator", "operator", "campaign")

TABLE: Final[Mapping[str, Rule]] = {
    "static": OPEN,
    "health.healthz": OPEN,
    "health.readyz": OPEN,
    "metrics.metrics": OPEN,  # by its own token
    "login.login": OPEN,
    "oidc.begin": OPEN,
    "oidc.back": OPEN,
    "login.logout": OPEN,  # it ends what the cookie names, also while that cannot be asked
    "status.status": Rule("viewer", "admin", "listed"),
    "status.live": Rule("viewer", "admin", "listed"),
    "budgets.budgets": Rule("viewer", "admin", "listed"),
    "budgets.moved": Rule("viewer", "admin", "listed"),
    "budgets.live": Rule("viewer", "admin", "listed"),
    "budgets.poll": Rule("viewer", "admin", "listed"),
    "budgets.export": Rule("viewer", "admin", "listed"),
    "brand.brand": Rule("viewer", "operator", "brand"),
    "brand.live": Rule("viewer", "operator", "brand"),
    "budget_edit.preview": _BRAND_FORM,
    "budget_edit.change": _BRAND_FORM,
    "campaign.campaign": Rule("viewer", "operator", "campaign"),
    "campaign.live": Rule("viewer", "operator", "campaign"),
    "system.system": Rule("operator", "admin", "every"),
    "system.live": Rule("operator", "admin", "every"),
    "system.diagnosis": Rule("operator", "admin", "every"),
    "system.run": ADMIN,
    "status.changes": Rule("viewer", "admin", "listed"),
    "activity.activity": Rule("viewer", "admin", "listed"),
    "activity.export": Rule("viewer", "admin", "listed"),
    "imports.page": Rule("operator", "operator", "listed"),
    "imports.export": Rule("viewer", "admin", "listed"),
    "notes.brand": Rule("viewer", "operator", "brand"),
    "notes.campaign": Rule("viewer", "operator", "campaign"),
    "spend_log.brand": Rule("viewer", "admin", "brand"),
    "spend_log.campaign": Rule("viewer", "admin", "campaign"),
    "spending.spending": Rule("viewer", "admin", "brand"),
    "catalog.new_brand": Rule("operator", "operator", "every"),
    "catalog.edit_brand": _BRAND_FORM,
    "catalog.archive_brand": _BRAND_FORM,
    "catalog.unarchive_brand": _BRAND_FORM,
    "catalog.new_campaign": _BRAND_FORM,
    "catalog.edit_campaign": _CAMPAIGN_FORM,
    "catalog.archive_campaign": _CAMPAIGN_FORM,
    "catalog.unarchive_campaign": _CAMPAIGN_FORM,
    "catalog.pause_brand": _BRAND_FORM,
    "catalog.resume_brand": _BRAND_FORM,
    "catalog.pause": _CAMPAIGN_FORM,
    "catalog.resume": _CAMPAIGN_FORM,
    "flights.flights": Rule("viewer", "operator", "campaign"),
    "flights.edit": _CAMPAIGN_FORM,
    "flights.remove": _CAMPAIGN_FORM,
    "limits.brand": Rule("viewer", "operator", "brand"),
    "limits.campaign": Rule("viewer", "operator", "campaign"),
    "limits.cancel_of_brand": _BRAND_FORM,
    "limits.cancel_of_campaign": _CAMPAIGN_FORM,
    "operations.new": Rule("operator", "operator", "listed"),
    "operations.everything": ADMIN,
    "operations.show": Rule("viewer", "operator", "listed"),
    "operations.progress": Rule("viewer", "operator", "listed"),
    "operations.apply": Rule("operator", "operator", "listed"),
    "operations.discard": Rule("operator", "operator", "listed"),
    "operations.undo": Rule("operator", "operator", "listed"),
    "alerts.alerts": Rule("viewer", "admin", "listed"),
    "alerts.history": Rule("viewer", "admin", "listed"),
    "alerts.acknowledge": Rule("operator", "operator", "listed"),
    "alerts.mute": Rule("operator", "operator", "listed"),
    "alerts.unmute": Rule("operator", "operator", "listed"),
    "alert_settings.rules": ADMIN,
    "alert_settings.rule": ADMIN,
    "alert_settings.drop_rule": ADMIN,
    "alert_settings.hooks": ADMIN,
    "alert_settings.new_hook": ADMIN,
    "alert_settings.rotate_hook": ADMIN,
    "alert_settings.test_hook": ADMIN,
    "alert_settings.disable_hook": ADMIN,
    "alert_settings.enable_hook": ADMIN,
    "me.me": _OWN,
    "me.password": _OWN,
    "me.end_session": _OWN,
    "people.people": ADMIN,
    "people.login_log": ADMIN,
    "people.new": ADMIN,
    "people.edit": ADMIN,
    "people.password": ADMIN,
    "people.disable": ADMIN,
    "people.enable": ADMIN,
    "people.end_session": ADMIN,
    "people.new_token": ADMIN,
    "people.revoke_token": ADMIN,
    "rq_dashboard.static": ADMIN,
    "rq_dashboard.favicon": ADMIN,
    "rq_dashboard.queues_overview": ADMIN,
    "rq_dashboard.workers_overview": ADMIN,
    "rq_dashboard.jobs_overview": ADMIN,
    "rq_dashboard.job_view": ADMIN,
    "rq_dashboard.delete_job_view": ADMIN,
    "rq_dashboard.requeue_job_view": ADMIN,
    "rq_dashboard.requeue_all": ADMIN,
    "rq_dashboard.empty_queue": ADMIN,
    "rq_dashboard.compact_queue": ADMIN,
    "rq_dashboard.list_queues": ADMIN,
    "rq_dashboard.list_jobs": ADMIN,
    "rq_dashboard.job_info": ADMIN,
    "rq_dashboard.list_workers": ADMIN,
}


def rule_of(endpoint: str | None) -> Rule:
    """The row of an endpoint; that of an admin where there is none, also for an address that leads nowhere."""
    return TABLE.get(endpoint or "", ADMIN)


def is_open(endpoint: str | None) -> bool:
    """Whether everybody may open it, without a login."""
    return rule_of(endpoint).read is None


def check(person: Person, endpoint: str | None, method: str, view_args: Mapping[str, object] | None) -> None:
    """Refuses what a person may not open: 403 by his role, and for a brand that he does not see what an unknown one gets.

    The role comes first, so that no answer depends on whether a brand exists. Raises NotFound.
    """
    if endpoint is None:
        return  # nothing is there: 404 or 405, which show nothing
    rule = rule_of(endpoint)
    least = rule.read if method in SAFE_METHODS else rule.change
    if least is not None and not person.may(least):
        abort(
            403, f"This needs the role {least}, and yours is {person.role}. Nothing was changed. Ask an admin for it."
        )
    if person.sees_all:
        return
    if rule.scope == "every":
        abort(
            403,
            "This needs a user who sees every brand, and you see some of them. Nothing was changed. Ask an admin for it.",
        )
    _check_brand(person, rule.scope, view_args or {})


def _check_brand(person: Person, scope: Scope, view_args: Mapping[str, object]) -> None:
    if scope not in ("brand", "campaign"):
        return
    number = view_args[f"{scope}_id"]
    assert isinstance(number, int)
    if not person.sees(number if scope == "brand" else brand_of(number)):
        raise NotFound(f"there is no {scope} {shown(number)}: `{scope} list` shows all")


def person() -> Person:
    """Who sent this request."""
    found = g.person
    assert isinstance(found, Person)
    return found


def may(endpoint: str, method: str = "GET") -> bool:
    """Whether whoever sent this request may open an endpoint, by role and number of brands; for the buttons of pages."""
    who: Person | None = g.get("person")
    rule = rule_of(endpoint)
    least = rule.read if method in SAFE_METHODS else rule.change
    if who is None:
        return least is None
    return (least is None or who.may(least)) and (who.sees_all or rule.scope != "every")


def check_request() -> None:
    """Checks this request for the person whom the guard found. Raises NotFound."""
    check(person(), request.endpoint, request.method, request.view_args)
