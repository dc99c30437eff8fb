"""Webhooks: addresses, secrets, when a message is sent again, and its text. The signatures are those of Standard Webhooks."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from engine.errors import InvalidInput, shown

SECRET_PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
OLD_SECRET_HOURS: Final = 24
"""For so long a message has the signature of the secret before the last change too."""
GIVE_UP: Final = timedelta(hours=24)
"""A message is tried for so long."""
_FIRST_S: Final = 60
_LONGEST_S: Final = 4 * 3600
LONGEST_URL: Final = 1000
MOST_ANSWER: Final = 500
"""Characters of an answer that the delivery log keeps."""
_NAT64: Final = bytes.fromhex("0064ff9b0000000000000000")
_GIVEN_OUT: Final = IPv6Network("2000::/3")
"""The part of IPv6 that is given out to the Internet. `ipaddress` calls the rest global too, but for what it has a row of its own."""


def check_url(value: str) -> str:
    """The address of a webhook. Raises InvalidInput."""
    text = value.strip()
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= LONGEST_URL
    if not plain or parts.scheme not in ("https", "http") or not host or port == 0:
        raise InvalidInput(f"url {shown(value)} is no address such as https://hooks.example.com/budgets", "url")
    if parts.username or parts.password or "@" in parts.netloc:
        raise InvalidInput("url: leave name and password out; each message is signed instead", "url")
    if parts.fragment:
        raise InvalidInput(f"url {shown(value)}: leave out what is behind the #", "url")
    return text


def new_secret() -> str:
    """A secret, as receivers' libraries take it."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def rest_after(tries: int) -> timedelta:
    """How long a message rests after so many failed tries: 1 min, 2 min, 4 min, up to 4 hours."""
    return timedelta(seconds=min(_LONGEST_S, _FIRST_S * 2 ** min(tries - 1, 20)))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the Internet: not private, loopback, link-local, reserved or multicast, also where it wraps another."""
    found = ip_address(address.split("%", maxsplit=1)[0])
    within = isinstance(found, IPv4Address) or found in _GIVEN_OUT or found.packed[:12] == _NAT64
    return within and all(each.is_global and not each.is_multicast for each in (found, *_wrapped(found)))


def _wrapped(address: IPv4Address | IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return ()
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address.packed[:12] == _NAT64:
        found.append(IPv4Address(address.packed[12:]))
    return tuple(each for each in found if each is not None)


def message(what: str, at: datetime, data: Mapping[str, Any]) -> str:
    """The body of a message, as it is signed and sent."""
    return json.dumps({"type": what, "timestamp": at.isoformat(timespec="milliseconds"), "data": dict(data)})
