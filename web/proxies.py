"""Which headers of a proxy are trusted: the client's address and scheme from BUDGET_TRUSTED_PROXIES only, and the
public address from BUDGET_PUBLIC_URL.

Anybody can send a header. Without a named proxy no forwarded header is read. Without a password a request with one is
refused, because it comes from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from web.gate import Start, Wsgi

FORWARDED: Final = (
    "CDN-Loop",
    "CF-Connecting-IP",
    "CF-Ray",
    "Client-IP",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "Forwarded",
    "Forwarded-For",
    "Front-End-Https",
    "True-Client-IP",
    "Via",
    "X-Amzn-Trace-Id",
    "X-Appengine-User-IP",
    "X-Azure-ClientIP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Envoy-External-Address",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Host",
    "X-Original-Forwarded-For",
    "X-Original-Host",
    "X-Original-URL",
    "X-Originating-IP",
    "X-ProxyUser-Ip",
    "X-Real-IP",
    "X-Remote-Addr",
    "X-Remote-IP",
    "X-Rewrite-URL",
    "X-Scheme",
    "X-Url-Scheme",
)
_KINDS: Final = ("x-forwarded", "x-original-")
"""How further ones begin: each proxy invents its own."""
_HOST: Final = re.compile(
    r"(?!.{254})[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?"
)
_NO_HOST: Final = b"The Host header of this request is no name of a server: nothing was done.\n"
Networks = tuple[IPv4Network | IPv6Network, ...]


def is_forwarded(headers: Headers) -> bool:
    """Whether a request has a header that a proxy adds."""
    return any(name in headers for name in FORWARDED) or any(name.lower().startswith(_KINDS) for name, _ in headers)


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """The one spelling of an address: IPv4 where it is mapped into IPv6, and no zone. None for anything else."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


class Proxies:
    """A WSGI application in front of another, which then sees the client's own address and its browser's scheme."""

    def __init__(self, app: Wsgi, trusted: Networks, public_url: str) -> None:
        self._app = app
        self._trusted = trusted
        public = urlsplit(public_url)
        self._scheme, self._host = public.scheme, public.netloc.lower()

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if (host := environ.get("HTTP_HOST", "")) and not _HOST.fullmatch(host):
            # Flask can neither route it nor make an address from it, not even for its own error page.
            start("400 Bad Request", [("Content-Type", "text/plain; charset=utf-8")])
            return [_NO_HOST]
        through = self._is_trusted(environ.get("REMOTE_ADDR", ""))
        if through:
            environ["REMOTE_ADDR"] = self._client(environ)
            schemes = {each.strip().lower() for each in environ.get("HTTP_X_FORWARDED_PROTO", "").split(",")}
            if schemes and schemes <= {"http", "https"}:
                # One hop of several without TLS, or a client that says so, does not make cookies insecure.
                environ["wsgi.url_scheme"] = max(schemes)
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
            found = address_of(each.strip())
            if found is None:
                return nearest
            nearest = str(found)
            if not self._is_trusted(nearest):
                return nearest
        return nearest

    def _is_trusted(self, address: str) -> bool:
        found = address_of(address)
        return found is not None and any(found in network for network in self._trusted)
