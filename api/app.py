"""The application factory of the API. It opens no connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask_openapi.openapi import OpenAPI
from werkzeug.routing import IntegerConverter

from api import (
    activity,
    alerts,
    audit,
    brands,
    campaigns,
    curves,
    docs,
    flights,
    guard,
    health,
    limits,
    operations,
    problems,
    rates,
    reports,
    spending,
    tokens,
    users,
    webhooks,
)
from api.known import KnownTokens
from api.rates import Rates
from engine.client.sync import BudgetClient
from web.services import KEY

if TYPE_CHECKING:
    from engine.wiring import System

TIMEOUT_MS: Final = 1000
"""For a call to Redis, retries included. A caller over HTTP is less in a hurry than a bidder beside Redis."""
MOST_BYTES: Final = 1024 * 1024
ROUTES: Final = (
    spending, brands, campaigns, reports, audit, activity, operations, flights, limits, curves, alerts, webhooks, tokens, users,
)  # fmt: skip
_ABOUT: Final = (
    "Real-time advertising budgets. Amounts are decimal strings with at most six places. Every POST takes an Idempotency-Key:"
    " repeating a request with it does nothing twice."
)


def create_api(system: System, client: BudgetClient | None = None) -> OpenAPI:
    """Makes the API. client: for its spends; made from the settings where none is given."""
    app = OpenAPI(
        "api",
        info={"title": "Budget engine", "version": docs.VERSION, "description": _ABOUT},
        security_schemes={"token": {"type": "http", "scheme": "bearer", "description": "A token of `budget-engine token create`"}},
        validation_error_model=docs.Problem,
        doc_ui=False,
    )  # fmt: skip
    app.openapi_version = "3.1.0"
    app.url_map.converters["int"] = Digits
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # an address with an empty part is not there, and no page with HTML
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]  # as Flask's own provider has it
    settings = system.settings
    if client is None:
        client = BudgetClient.from_url(
            settings.redis_url, TIMEOUT_MS, busy_poll_us=0, wait_replicas=settings.wait_replicas
        )
    app.extensions[KEY] = system
    app.extensions[spending.CLIENT] = client
    app.extensions[rates.KEY] = Rates(settings.api_rate)
    app.extensions[guard.KNOWN] = KnownTokens(lambda: system.db)
    guard.install(app)
    problems.install(app)
    for module in (health, docs):
        app.register_blueprint(module.blueprint)
    for routes in ROUTES:
        app.register_api(routes.blueprint)
    return app


class Digits(IntegerConverter):
    """An integer in an address, ASCII digits only."""

    regex = "[0-9]{1,19}"
