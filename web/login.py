"""Login: a name, which every change is signed with, and the password of BUDGET_ADMIN_PASSWORD. Wrong tries wait longer and longer, by address."""

from __future__ import annotations

import hmac
import threading
import time
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, current_app, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from web.forms import LoginForm
from web.guard import local_path, logged_in, password_proof

FREE_TRIES: Final = 5
LONGEST_WAIT_S: Final = 60
FORGET_S: Final = 900
MOST_ADDRESSES: Final = 10_000

blueprint = Blueprint("login", __name__)


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Throttle:
    """Counts wrong passwords by address. After five, each next try waits 1, 2, 4 ... 60 seconds; forgotten after a quarter of an hour."""

    def __init__(self, clock: object = time.monotonic) -> None:
        assert callable(clock)
        self._clock = clock
        self._failures: dict[str, _Failures] = {}
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> int:
        """Seconds until this address may try again; 0 for now."""
        with self._lock:
            failures = self._failures.get(address)
            if failures is None or failures.count < FREE_TRIES:
                return 0
            wait = min(LONGEST_WAIT_S, 2 ** min(failures.count - FREE_TRIES, 10))
            return max(0, -int(-(failures.last + wait - self._clock()) // 1))

    def failed(self, address: str) -> None:
        with self._lock:
            now = self._clock()
            if len(self._failures) >= MOST_ADDRESSES:
                self._failures = {a: f for a, f in self._failures.items() if now - f.last < LONGEST_WAIT_S}
            failures = self._failures.get(address)
            if failures is None or now - failures.last > FORGET_S:
                failures = self._failures[address] = _Failures(0, now)
            failures.count += 1
            failures.last = now

    def succeeded(self, address: str) -> None:
        with self._lock:
            self._failures.pop(address, None)


def _throttle() -> Throttle:
    throttle = current_app.extensions["login_throttle"]
    assert isinstance(throttle, Throttle)
    return throttle


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """The login page. A right password begins a fresh session and goes on to the page that was wanted."""
    password: str | None = current_app.config["ADMIN_PASSWORD"]
    target = local_path(request.args.get("next")) or url_for("status.status")
    if password is None or logged_in(password):
        return redirect(target)
    form = LoginForm()
    if not form.validate_on_submit():
        return render_template("login.html", form=form)
    address = request.remote_addr or "unknown"
    wait = _throttle().wait_s(address)
    if wait:
        form.password.errors = [f"Too many wrong passwords: try again in {wait} s."]
        return render_template("login.html", form=form), 429, {"Retry-After": str(wait)}
    if not hmac.compare_digest((form.password.data or "").encode(), password.encode()):
        _throttle().failed(address)
        form.password.errors = ["That is not the password."]
        return render_template("login.html", form=form), 401
    _throttle().succeeded(address)
    session.clear()
    session.permanent = True
    session["actor"] = form.actor.data
    session["proof"] = password_proof(password)
    return redirect(target)


@blueprint.post("/logout")
def logout() -> ResponseReturnValue:
    """Ends the session."""
    session.clear()
    g.actor = None
    return redirect(url_for("login.login"))
