"""What is wrong with a URL of the page or of its login provider."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def public_url_complaint(value: str) -> str | None:
    """What is wrong with the public URL of a page; None where nothing is."""
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        return "is not a URL"
    if url.scheme not in ("http", "https") or not url.hostname or port == 0 or "@" in url.netloc:
        return "is not http:// or https:// with a host"
    return "has more than a host and a port" if url.path.strip("/") or url.query or url.fragment else None


def issuer_complaint(value: str) -> str | None:
    """What is wrong with the issuer of a login provider, which may have a path; None where nothing is."""
    try:
        url = urlsplit(value)
    except ValueError:
        return "is not a URL"
    if what := public_url_complaint(f"{url.scheme}://{url.netloc}"):
        return what
    if url.query or url.fragment:
        return "has a query or a fragment"
    if url.scheme == "http" and not _is_this_machine(url.hostname or ""):
        return "is http:// to another machine, where anybody between could log in as anybody: only https:// is taken"
    return None


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
