"""Names of people who sign changes: what one may be, so that none looks like another's or the engine's own."""

from __future__ import annotations

import unicodedata
from typing import Final

from engine.domain.names import clean_name, likeness
from engine.errors import InvalidName, shown
from engine.job_table import BY_NAME
from engine.logs import visible

ENGINE: Final = "engine"
"""The actor of what the engine does by itself."""
NO_LOGIN: Final = "web (no login)"
"""The actor on a page that needs no login."""
RESERVED: Final = frozenset((ENGINE, NO_LOGIN, "rebuild", "reconcile", "worker", "scheduler", "web", "oidc", *BY_NAME))
"""Actors of the engine's own changes, and names that look like them. Nobody has one."""
LONGEST: Final = 64


def check_user_name(value: object, field: str = "name") -> str:
    """A name with which changes are signed: 1 to 64 visible characters. Raises InvalidName."""
    name = clean_name(value, field)
    if len(name) > LONGEST:
        raise InvalidName(f"{field} {shown(name)} is longer than {LONGEST} characters", field)
    if visible(name) != name:
        raise InvalidName(f"{field} holds a sign that cannot be seen: {visible(name)}: leave it out", field)
    if is_reserved(name):
        raise InvalidName(f"{field} {shown(name)} is how the engine signs its own changes: give another", field)
    return name


def is_reserved(name: str) -> bool:
    """Whether a signature would look like the command line, a job, or the page without login."""
    # NFKC maps wide letters and a wide colon to the plain ones, which they look like.
    read = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    return ":" in read or read in RESERVED


def key_of(name: str) -> str:
    """What two names share that a person would take for the same."""
    return unicodedata.normalize("NFKC", likeness(name)).casefold()
