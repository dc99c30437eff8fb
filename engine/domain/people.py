"""Who may do what: roles, and the brands that a person sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from engine.errors import InvalidInput, shown

Role = Literal["viewer", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""Each role may do what the ones before it may."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whoever uses the console. name: the actor of his changes. brands: the ids of the brands that he sees, None for every brand.

    user_id: his row in `app_user`; None for whoever logged in with BUDGET_ADMIN_PASSWORD, or needs no login.
    """

    name: str
    role: Role
    brands: frozenset[int] | None = None
    user_id: int | None = None

    def may(self, least: Role) -> bool:
        """Whether his role includes another."""
        return ROLES.index(self.role) >= ROLES.index(least)

    def sees(self, brand_id: int) -> bool:
        """Whether a brand is within his scope."""
        return self.brands is None or brand_id in self.brands

    @property
    def sees_all(self) -> bool:
        """Whether no brand is hidden from him."""
        return self.brands is None


def check_role(value: object, field: str = "role") -> Role:
    """A role by its name. Raises InvalidInput."""
    for role in ROLES:
        if value == role:
            return role
    raise InvalidInput(f"{field} {shown(value)} is none of {', '.join(ROLES)}", field)


Grant = tuple[Role, frozenset[int] | None]
"""A role, and the brands that go with it; None is every brand."""


def parse_groups(text: str) -> dict[str, Grant]:
    """What a login provider's groups may do: `ads-admins=admin,buyers=operator:17+18,readers=viewer`. Raises InvalidInput."""
    out: dict[str, Grant] = {}
    for part in text.split(","):
        group, equals, given = part.strip().rpartition("=")
        role, colon, listed = given.partition(":")
        if not (group and equals):
            raise InvalidInput(f"{shown(part)} is not group=role or group=role:ID+ID")
        if group in out:
            raise InvalidInput(f"group {shown(group)} is named twice: give it one role")
        found = check_role(role)
        ids = listed.split("+") if colon else []
        if not all(each.isascii() and each.isdigit() and len(each) < 13 for each in ids) or (
            colon and found == "admin"
        ):
            raise InvalidInput(f"{shown(part)}: after the colon are ids of brands joined by +, and none for an admin")
        out[group] = found, frozenset(map(int, ids)) if colon else None
    return out


def groups_of(groups: Iterable[str], granted: Mapping[str, Grant]) -> Grant | None:
    """The highest role of a person's groups, with the brands of all groups that have it; None where no group has a role."""
    found = [granted[group] for group in groups if group in granted]
    if not found:
        return None
    role = max((each for each, _ in found), key=ROLES.index)
    scopes = [brands for each, brands in found if each == role]
    known = [brands for brands in scopes if brands is not None]
    return role, frozenset().union(*known) if len(known) == len(scopes) else None
