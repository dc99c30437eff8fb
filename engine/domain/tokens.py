"""Tokens of programs: what one is made of, and the scopes that say what it may do."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import Final, Literal, get_args

from engine.errors import InvalidInput, shown

Scope = Literal["spend", "read", "write", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""spend: reports spends, holds and refunds. read: reads the catalog and reports. write: changes brands and campaigns. admin: users and
tokens. None includes another: a bidder's token reads nothing."""
PREFIX: Final = "be_live_"
"""How each token begins, so that a search for leaked secrets finds it."""


def new_token() -> str:
    """A token with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """What is stored of a token, as 64 hexadecimal digits. It has 256 random bits, so no salt and no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def check_scopes(given: Iterable[str], field: str = "scope") -> tuple[Scope, ...]:
    """The scopes of these names, each once, in the order of SCOPES. Raises InvalidInput for an unknown name, or for none."""
    names = set(given)
    for name in sorted(names):
        if name not in SCOPES:
            raise InvalidInput(f"{field} {shown(name)} is none of {', '.join(SCOPES)}", field)
    if not names:
        raise InvalidInput(f"{field}: name at least one of {', '.join(SCOPES)}", field)
    return tuple(scope for scope in SCOPES if scope in names)
