"""Login: a name, with which every change is signed, and BUDGET_ADMIN_PASSWORD. Wrong attempts are throttled
(`web/throttle.py`).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from typing import Final

from flask import (
    Blueprint,
    Response,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from sqlalchemy.exc import OperationalError

from engine.errors import ServerAway, ServerHangs
from web.forms import LoginForm
from web.guard import has_session, local_path, password_proof, sessions, signing_key
from web.throttle import Throttle, keys_of

LOG = logging.getLogger("web")
BROWSER_COOKIE: Final = "budget_engine_browser"
_BROWSER_S: Final = 90 * 86400

blueprint = Blueprint("login", __name__)


def _throttle() -> Throttle:
    throttle = current_app.extensions["login_throttle"]
    assert isinstance(throttle, Throttle)
    return throttle


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """The login page. A right password begins a new session and leads to the requested page."""
    password: str | None = current_app.config["ADMIN_PASSWORD"]
    target = local_path(request.args.get("next")) or url_for("status.status")
    if password is None or has_session(password):
        return redirect(target)
    form = LoginForm()
    if not form.validate_on_submit():
        return render_template("login.html", form=form)
    name, address = str(form.actor.data), request.remote_addr or "unknown"
    keys = keys_of(address, name, sessions().known(name), _browser(name))
    wait = _throttle().take(keys)
    if wait:
        form.password.errors = [f"Too many wrong passwords: try again in {wait} s."]
        return render_template("login.html", form=form), 429, {"Retry-After": str(wait)}
    if not hmac.compare_digest(_digest(form.password.data or ""), _digest(password)):
        LOG.warning("login refused", extra={"actor": name, "address": address})
        form.password.errors = ["That is not the password."]
        return render_template("login.html", form=form), 401
    _throttle().succeeded(keys)
    try:
        token = sessions().begin(name, address)
    except (ServerAway, OperationalError) as error:
        LOG.warning("login failed: PostgreSQL keeps the sessions: %s", " ".join(str(error).split()))
        how = "hangs" if isinstance(error, ServerHangs) else "is away"
        form.password.errors = [f"PostgreSQL {how}, and keeps the logins: nobody can log in until it is back."]
        return render_template("login.html", form=form), 503
    LOG.info("login", extra={"actor": name, "address": address})
    session.clear()
    session.permanent = True
    session["token"] = token
    session["proof"] = password_proof(password)
    response = make_response(redirect(target))
    _mark_browser(response, name)
    return response


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """Ends the session, and with it every copy of its cookie."""
    token = session.get("token")
    session.clear()
    if isinstance(token, str):
        sessions().end(token)
    g.actor = None
    return redirect(url_for("login.login"))


def _digest(password: str) -> bytes:
    """Of a fixed length, so that comparing does not reveal the password's."""
    return hashlib.sha256(password.encode()).digest()


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(signing_key(), salt="a browser that has logged in")


def _browser(name: str) -> str | None:
    """Marks a browser in which this name has logged in. It grants nothing; it only separates the count of wrong
    passwords.
    """
    try:
        whose, mark = _signer().loads(request.cookies.get(BROWSER_COOKIE, ""), max_age=_BROWSER_S)
    except (BadSignature, ValueError, TypeError):
        return None
    return str(mark) if whose == name else None


def _mark_browser(response: Response, name: str) -> None:
    value = _signer().dumps([name, secrets.token_hex(8)])
    secure = current_app.session_interface.get_cookie_secure(current_app._get_current_object())  # type: ignore[attr-defined]
    response.set_cookie(BROWSER_COOKIE, value, _BROWSER_S, path="/login", secure=secure, httponly=True, samesite="Lax")
