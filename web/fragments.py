"""The part of a page that refreshes itself: nothing but its head where it has not changed, and compressed where the browser takes that."""

from __future__ import annotations

import gzip
import hashlib

from flask import Response, request


def tag_of(html: str) -> str:
    """The ETag of a fragment."""
    return hashlib.sha256(html.encode()).hexdigest()[:32]


def fragment(html: str, age_s: float, oldest: str) -> Response:
    """The response to a poll. age_s, oldest: how old its oldest figures are, and of which part they are."""
    etag = tag_of(html)
    response = Response(status=304) if etag in request.if_none_match else Response(html)
    response.set_etag(etag)
    response.headers["Figures-Age"] = f"{age_s:.1f}"
    response.headers["Figures-Oldest"] = oldest
    if response.status_code == 200 and request.accept_encodings["gzip"] > 0:
        # A fragment has no token, so its compressed length reveals nothing.
        response.set_data(gzip.compress(response.get_data(), 5))
        response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    return response
