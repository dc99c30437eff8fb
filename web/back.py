"""Where a form leads when it is done: to the page on which it was opened, a list or the page of a brand or campaign."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from flask import Flask, redirect, request, url_for
from flask.typing import ResponseReturnValue

from web.guard import is_htmx

FIELD: Final = "back"
"""The form's field that keeps the address."""
_LONGEST: Final = 2_000
_PAGES: Final = re.compile(r"/|/(?:status|alerts|activity|brands/[0-9]{1,19}|campaigns/[0-9]{1,19})")


def to_brand(brand_id: int, *, tab: str | None = None, but: str = "") -> ResponseReturnValue:
    """Redirects to where the request's form was opened, else to this tab of the brand's page. but: a path that is not meant."""
    found = address("")
    if not found or found.partition("?")[0] == but or (is_htmx() and FIELD not in request.form):
        found = url_for("brand.brand", brand_id=brand_id, tab=tab)
    return redirect(found)


def address(default: str) -> str:
    """The page on which the form of this request was opened; what the form kept, once it was sent."""
    given = request.form.get(FIELD, "") if request.method == "POST" else ""
    if given:
        return given if _is_ours(given) else default
    asked = urlsplit(request.referrer or "")
    given = f"{asked.path}?{asked.query}" if asked.query else asked.path
    return given if asked.netloc == request.host and _is_ours(given) else default


def _is_ours(given: str) -> bool:
    path, _, query = given.partition("?")
    return bool(_PAGES.fullmatch(path)) and len(given) <= _LONGEST and query.isprintable() and query.isascii()


def install(app: Flask) -> None:
    """Gives templates `back(default)`."""
    app.jinja_env.globals["back"] = address
