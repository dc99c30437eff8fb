"""Access control: checks Host, Origin and login before every request, and sets security headers after it.

Without BUDGET_ADMIN_PASSWORD and without users the app answers only on loopback and only to loopback names. So a foreign page that
rebinds its DNS name to 127.0.0.1 gets nothing. With a password or a user, all but health, assets and the login page need a login.
"""

from __future__ import annotations

import hashlib
import hmac
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, Request, Response, abort, current_app, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadSignature
from werkzeug.http import parse_cookie
from werkzeug.wrappers import Response as BaseResponse

from engine.domain.people import Person
from engine.ledger import user_names
from engine.ledger.sessions import Session
from web import access
from web.access import SAFE_METHODS
from web.need import LoginNeed
from web.proxies import is_forwarded
from web.sessions import Sessions, Unknown

NO_LOGIN_ACTOR = user_names.NO_LOGIN

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # Pico draws its arrows and ticks as data: images
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without a port, is loopback."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def host_of(netloc: str) -> str:
    """The host of "host:port", "[::1]:8000" and the like; "" where it cannot be parsed."""
    try:
        return urlsplit(f"//{netloc}").hostname or ""
    except ValueError:
        return ""


def signing_key() -> bytes:
    """The key that signs cookies and forms."""
    key = current_app.secret_key
    assert isinstance(key, (str, bytes))
    return key.encode() if isinstance(key, str) else key


def password_proof(password: str) -> str:
    """A digest of the password for the session, so that a new password ends every session that was begun with it."""
    return hmac.new(signing_key(), password.encode(), hashlib.sha256).hexdigest()


def sessions() -> Sessions:
    """The sessions of this app."""
    found = current_app.extensions["sessions"]
    assert isinstance(found, Sessions)
    return found


def need() -> LoginNeed:
    """Whether this app needs a login."""
    found = current_app.extensions["login_need"]
    assert isinstance(found, LoginNeed)
    return found


def session_now() -> Session | None:
    """The session of this request, if it is in force; else None. Raises Unknown where PostgreSQL does not answer.

    One that was begun with BUDGET_ADMIN_PASSWORD belongs to the present one; a user's ends with his own password.
    """
    token, proof = session.get("token"), session.get("proof")
    if not isinstance(token, str):
        return None
    found = sessions().find(token, reading=request.method in SAFE_METHODS)
    if found is None or found.person.user_id is not None:
        return found
    password: str | None = current_app.config["ADMIN_PASSWORD"]
    if password is None or not isinstance(proof, str) or not hmac.compare_digest(proof, password_proof(password)):
        return None
    return found


def has_session() -> bool:
    """Whether the request has a valid session; False where that is unknown, because the login page is always shown."""
    try:
        return session_now() is not None
    except Unknown:
        return False


def may_upload(app: Flask, cookie: str) -> bool:
    """Whether a Cookie header has a session that a login began here; of a page without a login, any session that began here.

    It waits for nothing. A session that has ended since is refused when its request is answered.
    """
    signer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert signer is not None
    try:
        kept = signer.loads(
            parse_cookie(cookie).get(app.config["SESSION_COOKIE_NAME"], ""),
            max_age=int(app.permanent_session_lifetime.total_seconds()),
        )
    except BadSignature:
        return False
    of: LoginNeed = app.extensions["login_need"]
    return isinstance(kept, dict) and ("token" in kept or not of.now(look=False))


def is_htmx() -> bool:
    """Whether htmx requests a fragment of a page."""
    return request.headers.get("HX-Request") == "true"


def same_origin(asked: Request, *, open_house: bool) -> bool:
    """Whether a request comes from a page of this site, by the browser's headers; False without them."""
    site = asked.headers.get("Sec-Fetch-Site")
    source = asked.headers.get("Origin") or asked.headers.get("Referer")
    if site is not None and (site != "same-origin" or source is None or not open_house):
        return site == "same-origin"
    # Without a password both headers are required: behind a proxy that rewrites Host, a foreign page has the same
    # origin for its browser.
    try:
        of = urlsplit(source or "").netloc.lower()
    except ValueError:  # an address that no browser is at
        return False
    return of != "" and of == asked.host.lower()


def local_path(path: str | None) -> str | None:
    """Returns a path on this site, or None for anything that leads a browser elsewhere."""
    if not path or not path.startswith("/") or path.startswith("//") or "\\" in path or any(c < " " for c in path):
        return None
    return None if urlsplit(path).netloc else path


def install(app: Flask) -> None:
    """Registers the checks and headers."""

    @app.before_request
    def check() -> BaseResponse | None:
        opened = access.is_open(request.endpoint)
        # Health, assets and a logout never wait for PostgreSQL; the login page looks by itself.
        g.login_needed = need().now(look=not opened)
        g.actor = g.person = g.session_id = None
        if not g.login_needed:
            _sign(Person(NO_LOGIN_ACTOR, "admin"))
            _check_loopback()
            access.check_request()
            return None
        # The origin is checked before PostgreSQL is read, and for a logout even if the session cannot be checked.
        _check_origin()
        if opened:
            return None
        found = session_now()
        if found is not None:
            _sign(found.person)
            g.session_id = found.id
            access.check_request()
            return None
        wanted = request.full_path.rstrip("?") if request.method == "GET" and not is_htmx() else "/"
        target = url_for("login.login", next=None if wanted == "/" else wanted)
        if is_htmx():
            return Response(status=401, headers={"HX-Redirect": target})
        return redirect(target)

    @app.after_request
    def headers(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", _POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if request.endpoint != "static":
            response.headers["Cache-Control"] = "no-store"
        if request.is_secure:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        return response


def _sign(person: Person) -> None:
    g.person, g.actor = person, person.name


def _check_loopback() -> None:
    if is_forwarded(request.headers):
        abort(
            403,
            "A proxy sends this for somebody else, and without BUDGET_ADMIN_PASSWORD this page is for this machine alone."
            " Set a password to open it up.",
        )
    if not is_loopback(host_of(request.host)) or not _remote_is_loopback():
        abort(
            403,
            "Without BUDGET_ADMIN_PASSWORD this page answers only as localhost, to this machine. Set a password to open it up.",
        )
    _check_origin()


def _remote_is_loopback() -> bool:
    return request.remote_addr is None or is_loopback(request.remote_addr)


def _check_origin() -> None:
    """Refuses changes from a foreign page, and every GET that changes something (rq-dashboard has one)."""
    if request.endpoint == "rq_dashboard.requeue_all" and request.method in SAFE_METHODS:
        abort(405, "Requeue from the button on the page: a link must not change anything.")
    if request.method not in SAFE_METHODS and not same_origin(request, open_house=not g.login_needed):
        abort(
            403,
            "This request did not come from a page of this site, so nothing was changed. Reload the page and try again.",
        )
