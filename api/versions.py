"""ETag and If-Match: a change names the version that it was made from."""

from __future__ import annotations

import re
from typing import Final

from flask import request

from api.problems import NoMatch, Stale

_TAG: Final = re.compile(r'"([0-9]{1,18})"')


def etag(version: int) -> dict[str, str]:
    """The header of an answer with a row of this version."""
    return {"ETag": f'"{version}"'}


def expected() -> int | None:
    """The version of If-Match; None for `*`, which is any. Raises NoMatch without it, Stale where it is no version of ours."""
    given = request.headers.get("If-Match", "").strip()
    if not given:
        raise NoMatch("A change needs If-Match with the ETag of the version that it was made from, or *.")
    if given == "*":
        return None
    found = _TAG.fullmatch(given)
    if found is None:
        raise Stale("If-Match is no ETag of this resource: read it again.")
    return int(found[1])
