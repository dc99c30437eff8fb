"""The application factory: puts settings, guard, pages, job pages and error pages together. It opens no connection."""

from __future__ import annotations

import logging
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from flask import Flask, g, request
from flask.sessions import SecureCookieSessionInterface
from flask_wtf import CSRFProtect
from werkzeug.routing import IntegerConverter

from engine.ledger import alerts as alert_rows
from engine.ledger import users
from engine.ledger.logins import LoginCounts
from web import (
    access,
    activity,
    alert_settings,
    alerts,
    back,
    brand,
    budget_edit,
    budgets,
    bulk,  # noqa: F401  # its views are of the blueprint of operations
    campaign,
    catalog,
    diagnosis,
    failures,
    flights,
    formats,
    guard,
    health,
    imports,
    limits,
    login,
    me,
    messages,
    metrics,
    notes,
    oidc,
    operation_words,
    operations,
    people,
    queues,
    requests,
    seen,
    spend_log,
    spending,
    status,
    view,
    words,
)
from web.alert_counts import AlertCounts
from web.need import LoginNeed
from web.proxies import Proxies
from web.services import KEY
from web.sessions import Sessions
from web.throttle import FORGET_S, Throttle

if TYPE_CHECKING:
    from engine.wiring import System

LOG = logging.getLogger("web")
SHARED_REDIS = (
    "Job queues and budgets share one Redis. Whoever can write to it can start and delete jobs: give the jobs a Redis of their own "
    "(JOBS_REDIS_URL)."
)
PAGES = (
    status,
    budgets,
    activity,
    imports,
    notes,
    spend_log,
    alerts,
    alert_settings,
    brand,
    budget_edit,
    campaign,
    diagnosis,
    spending,
    catalog,
    flights,
    limits,
    operations,
    people,
    me,
    login,
    health,
)
"""Modules with a blueprint each."""


def create_app(system: System) -> Flask:
    """Makes the console. Without an admin password in the settings, and without users, it answers on loopback only."""
    settings = system.settings
    password = settings.admin_password or None
    app = Flask(__name__)
    app.url_map.converters["int"] = Digits
    app.secret_key = settings.secret_key or _random_key()
    app.config.update(
        ADMIN_PASSWORD=password,
        SESSION_COOKIE_NAME="budget_engine",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(hours=12),
        WTF_CSRF_TIME_LIMIT=None,  # a form left open overnight must not lose its text; the token ends with the session
        MAX_CONTENT_LENGTH=256 * 1024,
    )
    app.extensions[KEY] = system
    app.extensions["login_throttle"] = Throttle(LoginCounts(lambda: system.db, FORGET_S))
    app.extensions["sessions"] = Sessions(lambda: system.db)
    app.extensions["alert_counts"] = AlertCounts(lambda: alert_rows.counts(system.db))
    app.extensions["login_need"] = LoginNeed(settings.needs_login, lambda: users.exist(system.db))
    app.session_interface = SecureWhenHttps()
    app.wsgi_app = Proxies(app.wsgi_app, settings.trusted_proxies, settings.public_url)  # type: ignore[method-assign, assignment]  # as Flask's own documentation does it
    formats.install(app)
    back.install(app)
    words.install(app)
    operation_words.install(app)
    activity.install(app)
    seen.install(app)
    requests.install(app)
    guard.install(app)
    csrf = CSRFProtect(app)
    for module in PAGES:
        app.register_blueprint(module.blueprint)
    oidc.install(app, settings)
    metrics.install(app, system.metrics, settings.metrics_token)
    failures.install(app)
    warnings = [SHARED_REDIS] if settings.jobs_on_hot_redis else []
    queues.install(app, settings.jobs_redis_url, csrf)
    if warnings:
        LOG.warning(SHARED_REDIS)

    @app.context_processor
    def always() -> dict[str, object]:
        return {
            "actor": g.get("actor"),
            "alert_count": alerts.open_count,
            "silent_servers": system.overview.parts.silent,
            "may": access.may,
            "oidc": bool(settings.oidc_issuer),
            "sees_all": (who := g.get("person")) is not None and who.sees_all,
            "waiting": messages.waiting,
            "login_needed": g.get("login_needed", True),
            "warnings": warnings,
            "FILTERS": view.FILTERS,
            "CAUSE_WORDS": view.CAUSE_WORDS,
            "KINDS": words.KINDS,
        }

    return app


class Digits(IntegerConverter):
    """An integer in a URL, ASCII digits only. Werkzeug's own converter also accepts the digits of other scripts."""

    regex = "[0-9]{1,19}"


def _random_key() -> str:
    LOG.warning("SECRET_KEY is not set: one is made up, so every login ends when this process does")
    return secrets.token_hex(32)


class SecureWhenHttps(SecureCookieSessionInterface):
    """Sets the Secure flag on cookies of https requests only, so that the console over plain http keeps its cookies."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure
