"""Names in use that look alike or have invisible characters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Engine

from engine.ledger import names
from engine.views.doctor.finding import Finding

_SHOWN: Final = 10


def look_at_names(db: Engine) -> Iterator[Finding]:
    """One warning for each group that looks alike, the first ten of them."""
    with db.connect() as conn:
        found = list(names.doubtful(conn))
    if not found:
        yield Finding("names", "ok", "no two brands, and no two campaigns of a brand, look alike")
    for line in found[:_SHOWN]:
        what, _, todo = line.rpartition(": ")
        yield Finding("names", "warn", what, todo)
    if len(found) > _SHOWN:
        yield Finding("names", "warn", f"and {len(found) - _SHOWN:,} more", "rename these first, then look again")
