"""Which headers of a proxy are trusted: the client's address and scheme from BUDGET_TRUSTED_PROXIES only, and the
public address from BUDGET_PUBLIC_URL.

Anybody can send a header. Without a named proxy no forwarded header is read. Without a password a request with one is
refused, because it comes from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from web.gate import Start, Wsgi

FORWARDED: Final = (
    "CF-Connecting-IP",
    "Fastly-Client-IP",
    "Forwarded",
    "True-Client-IP",
    "Via",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Envoy-External-Address",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Original-Host",
    "X-Real-IP",
)
Networks = tuple[IPv4Network | IPv6Network, ...]


def is_forwarded(headers: Headers) -> bool:
    """Whether a request has a header that a proxy adds."""
    return any(name in headers for name in FORWARDED)


class Proxies:
    """A WSGI application in front of another, which then sees the client's own address and its browser's scheme."""

    def __init__(self, app: Wsgi, trusted: Networks, public_url: str) -> None:
        self._app = app
        self._trusted = trusted
        public = urlsplit(public_url)
        self._scheme, self._host = public.scheme, public.netloc.lower()

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        through = self._is_trusted(environ.get("REMOTE_ADDR", ""))
        if through:
            environ["REMOTE_ADDR"] = self._client(environ)
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").strip().lower()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
            if self._host:
                # Some proxies set their own value there.
                environ["HTTP_HOST"] = self._host
        if self._host and environ.get("HTTP_HOST", "").lower() == self._host:
            environ["wsgi.url_scheme"] = self._scheme
        return self._app(environ, start)

    def _client(self, environ: Mapping[str, Any]) -> str:
        """From the right, the first address that is not a trusted proxy: a client can invent those further left."""
        nearest = str(environ["REMOTE_ADDR"])
        for each in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")):
            try:
                found = str(ip_address(each.strip()))
            except ValueError:
                return nearest
            nearest = found
            if not self._is_trusted(found):
                return found
        return nearest

    def _is_trusted(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self._trusted)
