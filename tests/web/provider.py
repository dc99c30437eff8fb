"""An OpenID provider on Authlib's own server, a process of its own: `python -m tests.web.provider PEOPLE REDIRECT`.

PEOPLE: a JSON file {login: claims}, read at each login. REDIRECT: the one address to which it sends browsers back. It prints its own.
Whoever asks with `login_hint` is that person: there is no password here. `hang` beside PEOPLE: it takes requests and does not answer.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # on loopback

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants import OpenIDCode
from flask import Flask, jsonify, request
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

CLIENT_ID, CLIENT_SECRET = "budget-engine", "the secret of the page"


class Client(ClientMixin):
    """The page, as the provider knows it."""

    def __init__(self, redirect: str) -> None:
        self._redirect = redirect

    def get_client_id(self) -> str:
        return CLIENT_ID

    def get_default_redirect_uri(self) -> str:
        return self._redirect

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self._redirect

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT_SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


class Code(SimpleNamespace):
    """A code, for one use."""

    def get_redirect_uri(self) -> str:
        return str(self.redirect_uri)

    def get_scope(self) -> str:
        return str(self.scope)

    def get_nonce(self) -> str:
        return str(self.nonce)

    def get_auth_time(self) -> int:
        return int(self.auth_time)

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


def provider(people: Path, redirect: str, issuer: list[str]) -> Flask:
    """The provider's pages."""
    app, codes = Flask(__name__), dict[str, Code]()
    key, client = RSAKey.generate_key(2048, {"kid": "one"}), Client(redirect)

    class Grant(AuthorizationCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]

        def save_authorization_code(self, code: str, request: Any) -> Code:
            data = request.payload.data
            codes[code] = Code(
                code=code, redirect_uri=request.payload.redirect_uri, scope=request.payload.scope, nonce=data.get("nonce"), user=request.user,
                auth_time=int(time.time()), code_challenge=data.get("code_challenge"), code_challenge_method=data.get("code_challenge_method"),
            )  # fmt: skip
            return codes[code]

        def query_authorization_code(self, code: str, client: Any) -> Code | None:
            return codes.get(code)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            codes.pop(authorization_code.code, None)

        def authenticate_user(self, authorization_code: Code) -> Any:
            return authorization_code.user

    class OpenId(OpenIDCode):  # type: ignore[misc]
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return any(code.nonce == nonce for code in codes.values())

        def resolve_client_private_key(self, client: Any) -> RSAKey:
            return key

        def get_client_algorithm(self, client: Any) -> str:
            return "RS256"

        def get_encode_header(self, client: Any) -> dict[str, str]:
            return {"alg": "RS256", "kid": "one"}

        def get_client_claims(self, client: Any) -> dict[str, Any]:
            return {"iss": issuer[0], "aud": [CLIENT_ID]}

        def generate_user_info(self, user: str, scope: str) -> dict[str, Any]:
            return {"sub": user, **json.loads(people.read_text())[user]}

    server = AuthorizationServer(
        app, query_client=lambda id_: client if id_ == CLIENT_ID else None, save_token=lambda *_: None
    )
    server.register_grant(Grant, [OpenId(require_nonce=True), CodeChallenge(required=True)])

    @app.before_request
    def hang() -> None:
        while (people.parent / "hang").exists():
            time.sleep(0.05)

    @app.get("/.well-known/openid-configuration")
    def configuration() -> Any:
        return jsonify(
            issuer=issuer[0],
            authorization_endpoint=f"{issuer[0]}/authorize",
            token_endpoint=f"{issuer[0]}/token",
            jwks_uri=f"{issuer[0]}/keys",
        )

    @app.get("/keys")
    def keys() -> Any:
        return jsonify(keys=[key.as_dict(private=False)])

    @app.get("/authorize")
    def authorize() -> Any:
        grant = server.get_consent_grant(end_user=request.args["login_hint"])
        return server.create_authorization_response(grant_user=request.args["login_hint"], grant=grant)

    @app.post("/token")
    def token() -> Any:
        return server.create_token_response()

    return app


if __name__ == "__main__":
    address = [""]
    served = make_server("127.0.0.1", 0, provider(Path(sys.argv[1]), sys.argv[2], address), threaded=True)
    address[0] = f"http://127.0.0.1:{served.server_port}"
    print(address[0], flush=True)
    served.serve_forever()
