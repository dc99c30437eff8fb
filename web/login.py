"""Login: a name, with which every change is signed, and the password of that user, or BUDGET_ADMIN_PASSWORD. Wrong attempts are
throttled (`web/throttle.py`).
"""

from __future__ import annotations

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

from engine.domain.people import Person
from engine.errors import Overloaded, ServerAway, ServerHangs
from engine.flows.people import UNNAMED
from engine.ledger.user_names import key_of
from web.forms import LoginForm
from web.guard import has_session, local_path, need, password_proof, sessions, signing_key
from web.services import services
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
    target = local_path(request.args.get("next")) or url_for("budgets.budgets")
    g.login_needed = need().now(look=True)
    if not g.login_needed or has_session():
        return redirect(target)
    form = LoginForm()
    try:
        form.unnamed = bool(current_app.config["ADMIN_PASSWORD"]) and not services().people.exist()
        if not form.validate_on_submit():
            return render_template("login.html", form=form)
        return _try(form, str(form.actor.data or UNNAMED), str(form.password.data or ""), target)
    except (ServerAway, OperationalError) as error:
        LOG.warning("login failed: PostgreSQL keeps the users and sessions: %s", " ".join(str(error).split()))
        if not form.is_submitted():
            return render_template("login.html", form=form)
        how = "hangs" if isinstance(error, ServerHangs) else "is away"
        return _refused(form, f"PostgreSQL {how}, and keeps the logins: nobody can log in until it is back.", 503)


def _try(form: LoginForm, name: str, password: str, target: str) -> ResponseReturnValue:
    """One try of a name with a password. Raises ServerAway."""
    address = request.remote_addr or "unknown"
    keys = keys_of(address, key_of(name), services().people.knows(name), _browser(name))
    wait = _throttle().take(keys)
    if wait:
        return _refused(form, f"Too many wrong passwords: try again in {wait} s.", 429, wait)
    try:
        tried = services().people.log_in(name, password, address)
    except Overloaded as error:
        return _refused(form, f"Not looked at, because {error}.", 503, 2)
    if tried.person is None:
        LOG.warning("login refused", extra={"actor": name, "address": address})
        disabled = tried.outcome == "disabled"
        return _refused(
            form, "This user is disabled: ask an admin." if disabled else "The name or the password is wrong.", 401
        )
    _throttle().succeeded(keys)
    response = let_in(tried.person, address, target)
    _mark_browser(response, name)
    return response


def let_in(person: Person, address: str, target: str) -> Response:
    """Begins a session, and leads to a page. Raises ServerAway."""
    token = sessions().begin(person, address)
    LOG.info("login", extra={"actor": person.name, "address": address})
    session.clear()
    session.permanent = True
    session["token"] = token
    if person.user_id is None:
        session["proof"] = password_proof(current_app.config["ADMIN_PASSWORD"])
    return make_response(redirect(target))


def page(message: str, status: int) -> ResponseReturnValue:
    """The login page with a message, after a login that did not succeed elsewhere."""
    form = LoginForm(formdata=None)
    form.password.errors = [message]
    return render_template("login.html", form=form), status


def _refused(form: LoginForm, message: str, status: int, wait_s: int = 0) -> ResponseReturnValue:
    form.password.errors = [message]
    return render_template("login.html", form=form), status, {"Retry-After": str(wait_s)} if wait_s else {}


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """Ends the session, and with it every copy of its cookie."""
    token = session.get("token")
    session.clear()
    if isinstance(token, str):
        sessions().end(token)
    g.actor = None
    return redirect(url_for("login.login"))


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
