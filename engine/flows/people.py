"""Who logs in: users with passwords of their own, and BUDGET_ADMIN_PASSWORD as the one admin of a small set-up."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from typing import Final, NamedTuple

from sqlalchemy import Engine

from engine.domain.passwords import check_password, digest_of, fits, is_weak
from engine.domain.people import Grant, Person, Role
from engine.ledger import logins, sessions, users
from engine.ledger.logins import Outcome
from engine.ledger.user_names import LONGEST, check_user_name
from engine.ledger.users import User

PROVIDER: Final = "oidc"
"""The actor of what a login provider's groups change of a user."""
UNNAMED: Final = "admin"
"""The actor of whoever logs in with BUDGET_ADMIN_PASSWORD and gives no name."""


class Tried(NamedTuple):
    """A try to log in. person: who it was, None where nobody may come in."""

    person: Person | None
    outcome: Outcome


class People:
    """The users of one database, and the admin of a shared password where one is set."""

    def __init__(self, db: Engine, admin_password: str) -> None:
        self._db = db
        self._admin_password = admin_password

    def exist(self) -> bool:
        """Whether there is a user."""
        return users.exist(self._db)

    def knows(self, name: str) -> bool:
        """Whether a name is a user's, or somebody has logged in under it."""
        return users.credential(self._db, name) is not None or sessions.has_been_here(self._db, name)

    def log_in(self, name: str, password: str, address: str) -> Tried:
        """Looks at a name and a password, and keeps the outcome in the login log. Raises Overloaded, ServerAway.

        The name of a user takes his own password only; every other name takes BUDGET_ADMIN_PASSWORD. An unknown name costs the
        time of a wrong password, because one digest is computed for either.
        """
        found = users.credential(self._db, name)
        person: Person | None = None
        # Where there is no user, no name is there to be found out, so nothing slow is needed.
        right = (found is not None or self.exist()) and fits(password, found.password if found else None)
        if found is None:
            right = self._is_admins(password)
            person = Person(name, "admin") if right else None
        elif right and not found.disabled:
            person = found.person
            self._renew(found, password)
        outcome: Outcome = "in" if person is not None else "disabled" if right else "wrong"
        logins.log(self._db, name, address, outcome, found.person.user_id if found else None)
        return Tried(person, outcome)

    def log_in_from_provider(self, subject: str, name: str, granted: Grant | None, address: str) -> Tried:
        """Somebody whom a login provider knows. granted: what his groups may do, None for nothing. Raises InvalidInput, Conflict.

        His row is made at his first login, and has the role and brands of his groups from each login on. Without a role he does
        not come in, and his other sessions end.
        """
        if granted is None:
            shown = "".join(each for each in name if each.isprintable())[:LONGEST]
            logins.log(self._db, shown, address, "no role", users.without_role(self._db, subject))
            return Tried(None, "no role")
        found = users.from_provider(self._db, PROVIDER, subject, name, *granted)
        outcome: Outcome = "disabled" if found.disabled else "in"
        logins.log(self._db, found.person.name, address, outcome, found.person.user_id)
        return Tried(None if found.disabled else found.person, outcome)

    def create(self, actor: str, name: str, role: Role, brands: Collection[int] | None, password: str | None) -> User:
        """A new user; without a password he cannot log in by one. Raises InvalidInput, Conflict, NotFound, Overloaded."""
        name = check_user_name(name)
        digest = None if password is None else digest_of(check_password(password, name))
        return users.create(self._db, actor, name, role, brands, digest)

    def set_password(self, actor: str, user: User, password: str, *, but_session: int | None = None) -> int:
        """Another password, which ends the user's other sessions. Returns how many. Raises InvalidInput, NotFound, Overloaded."""
        digest = digest_of(check_password(password, user.name))
        return users.set_password(self._db, actor, user.id, digest, but_session=but_session)

    def has_password(self, user_id: int, password: str) -> bool:
        """Whether this is a user's present password. Raises NotFound, Overloaded."""
        found = users.credential(self._db, users.one(self._db, user_id).name)
        return fits(password, found.password if found else None)

    def _is_admins(self, password: str) -> bool:
        """Compares digests, which have one length whatever the passwords have."""
        given, wanted = (hashlib.sha256(each.encode()).digest() for each in (password, self._admin_password))
        return hmac.compare_digest(given, wanted) and bool(self._admin_password)

    def _renew(self, found: users.Credential, password: str) -> None:
        if found.password is not None and found.person.user_id is not None and is_weak(found.password):
            users.renew_digest(self._db, found.person.user_id, found.password, digest_of(password))
