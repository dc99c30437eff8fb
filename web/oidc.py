"""Login with an OpenID provider: the code flow with PKCE, by Authlib, which the extra `budget-engine[oidc]` brings.

The provider has 3 s for each answer. What it signs is checked against its keys, this client, and the nonce of this browser.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
import time
from typing import Any, Final

from flask import Blueprint, Flask, abort, current_app, redirect, request, session, url_for
from flask.typing import ResponseReturnValue

from engine.domain.people import groups_of
from engine.errors import BudgetError, Conflict, InvalidInput, InvalidSetting, NotFound
from engine.settings import Settings
from web import login
from web.guard import local_path
from web.services import services

LOG = logging.getLogger("web")
ANSWER_S: Final = 3.0
KEEP_S: Final = 600.0
"""Seconds for which the provider's addresses and keys are used before they are read again."""
SIGNED_WITH: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
_LONGEST_SUBJECT: Final = 1000
_ROOM: Final = 4
"""The most threads that wait for the provider at the same time."""

blueprint = Blueprint("oidc", __name__)


class ProviderFails(BudgetError):
    """The provider is away, refuses, or sends what cannot be believed."""


class Provider:
    """The provider of the settings. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret
        self._known: tuple[float, dict[str, Any], dict[str, Any]] | None = None
        self._room = threading.BoundedSemaphore(_ROOM)

    def begin(self, back: str) -> tuple[str, dict[str, str]]:
        """The address to which a browser goes, and what its cookie keeps. back: where it comes back to. Raises ProviderFails."""
        kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        with self._answers() as client:
            found, _ = self._metadata(client)
            client.redirect_uri = back
            url, _ = client.create_authorization_url(
                found["authorization_endpoint"],
                state=kept["state"],
                nonce=kept["nonce"],
                code_verifier=kept["verifier"],
            )
        return str(url), {**kept, "back": back}

    def finish(self, kept: dict[str, str], code: str) -> dict[str, Any]:
        """The claims of whoever came back with a code. Raises ProviderFails."""
        from joserfc import jwt
        from joserfc.jwk import KeySet

        with self._answers() as client:
            found, keys = self._metadata(client)
            client.redirect_uri = kept["back"]
            token = client.fetch_token(
                found["token_endpoint"], code=code, code_verifier=kept["verifier"], allow_redirects=False
            )
            signed = jwt.decode(token["id_token"], KeySet.import_key_set(keys), algorithms=list(SIGNED_WITH))
            jwt.JWTClaimsRegistry(
                leeway=30,
                iss={"essential": True, "value": self._issuer},
                aud={"essential": True, "value": self._client_id},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": kept["nonce"]},
            ).validate(signed.claims)
            claims = dict(signed.claims)
            if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != self._client_id:
                raise ProviderFails("the provider signed this for another client")
        return claims

    def _answers(self) -> _Asking:
        return _Asking(self._room, self._client_id, self._secret)

    def _metadata(self, client: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        known = self._known
        if known is None or time.monotonic() - known[0] > KEEP_S:
            found = _json(client, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self._issuer:
                raise ProviderFails(f"BUDGET_OIDC_ISSUER is {self._issuer}, and the provider calls itself otherwise")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not str(found[name]).startswith(f"{self._issuer.partition(':')[0]}://"):
                    raise ProviderFails(f"the provider's {name} is no address like BUDGET_OIDC_ISSUER's")
            known = self._known = (time.monotonic(), found, _json(client, found["jwks_uri"]))
        return known[1], known[2]


class _Asking:
    """A client of the provider, and its errors as ours."""

    def __init__(self, room: threading.BoundedSemaphore, client_id: str, secret: str) -> None:
        self._room = room
        self._made = (client_id, secret)

    def __enter__(self) -> Any:
        from authlib.integrations.requests_client import OAuth2Session

        if not self._room.acquire(blocking=False):
            raise ProviderFails("others wait for it already: try again in a moment")
        self._client = OAuth2Session(
            *self._made, scope="openid profile email groups", code_challenge_method="S256", default_timeout=ANSWER_S
        )
        return self._client

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        from authlib.common.errors import AuthlibBaseError
        from joserfc.errors import JoseError
        from requests import RequestException

        self._room.release()
        self._client.close()
        if isinstance(error, (RequestException, AuthlibBaseError, JoseError, LookupError, TypeError, ValueError)):
            LOG.warning("the login provider failed: %s", " ".join(str(error).split()))
            raise ProviderFails("the provider is away, or its answer cannot be believed; the log has why") from error


def _json(client: Any, url: str) -> dict[str, Any]:
    answer = client.get(url, withhold_token=True, allow_redirects=False)
    answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, dict):
        raise ProviderFails("the provider sent no JSON object")
    return found


def install(app: Flask, settings: Settings) -> None:
    """Registers the pages. Raises InvalidSetting where a provider is set and the extra is not installed."""
    app.register_blueprint(blueprint)
    check_installed(settings)
    if settings.oidc_issuer:
        app.extensions["oidc"] = Provider(settings)


def check_installed(settings: Settings) -> None:
    """Raises InvalidSetting where a provider is set and the extra is not installed."""
    if not settings.oidc_issuer:
        return
    try:
        import authlib.integrations.requests_client  # noqa: F401
        import joserfc.jwt  # noqa: F401
    except ModuleNotFoundError as error:
        raise InvalidSetting(
            f"BUDGET_OIDC_ISSUER needs the package {(error.name or 'authlib').partition('.')[0]}, which is not installed:"
            " pip install 'budget-engine[oidc]'",
            "BUDGET_OIDC_ISSUER",
        ) from None


@blueprint.get("/login/oidc")
def begin() -> ResponseReturnValue:
    """Sends the browser to the provider."""
    settings = services().settings
    back = settings.public_url + url_for("oidc.back") if settings.public_url else url_for("oidc.back", _external=True)
    try:
        url, kept = _provider().begin(back)
    except ProviderFails as error:
        return login.page(f"No login there: {error}.", 503)
    session["oidc"] = {**kept, "next": local_path(request.args.get("next")) or ""}
    return redirect(url)


@blueprint.get("/login/oidc/back")
def back() -> ResponseReturnValue:
    """Where the provider sends the browser with a code: the login, with role and brands by the person's groups."""
    provider, kept = _provider(), session.pop("oidc", None)
    state, code = request.args.get("state", ""), request.args.get("code", "")
    if not isinstance(kept, dict) or not hmac.compare_digest(state.encode(), str(kept.get("state")).encode()):
        return login.page("That login was begun in another browser, or long ago: begin again.", 400)
    if not code:
        return login.page("The provider refused the login.", 401)
    address = request.remote_addr or "unknown"
    try:
        claims = provider.finish(kept, code)
        subject = f"{claims['iss']} {claims['sub']}"
        if not subject.isprintable() or len(subject) > _LONGEST_SUBJECT:
            raise InvalidInput("the provider's id of you has signs that no id has, or is too long", "sub")
        name = next((str(claims[each]) for each in ("preferred_username", "email", "name") if claims.get(each)), "")
        groups = claims.get("groups")
        listed = [each for each in groups if isinstance(each, str)] if isinstance(groups, list) else []
        wanted = groups_of(listed, services().settings.oidc_groups)
        tried = services().people.log_in_from_provider(subject, name, wanted, address)
    except ProviderFails as error:
        return login.page(f"No login there: {error}.", 503)
    except (InvalidInput, Conflict, NotFound) as error:
        LOG.warning("a login by the provider was refused: %s", error, extra={"address": address})
        return login.page(f"You cannot log in: {error}.", 403)
    if tried.person is None:
        why = "this user is disabled" if tried.outcome == "disabled" else "none of your groups has a role here"
        return login.page(f"You cannot log in: {why}. Ask an admin.", 403)
    return login.let_in(tried.person, address, str(kept.get("next")) or url_for("budgets.budgets"))


def _provider() -> Provider:
    found = current_app.extensions.get("oidc")
    if found is None:
        abort(404, "There is no login provider here: BUDGET_OIDC_ISSUER is not set.")
    assert isinstance(found, Provider)
    return found
