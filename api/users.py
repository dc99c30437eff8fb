"""/users, for the scope admin: who logs in at the page, what he may do, and which brands he sees."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from flask import Response, g, request
from pydantic import Field

from api.brands import refusing_stale
from api.keyed import keyed
from api.lists import PageQuery, packed, page, place_of
from api.problems import NoMatch, Stale
from api.reading import Answer, Body, KeyHeader, MatchHeader, Path, reads
from api.results import answer
from api.routes import routes
from api.tokens import Brands
from engine.domain.people import check_role
from engine.errors import InvalidInput
from engine.ledger import users as ledger
from engine.ledger.users import User
from engine.views.control_documents import user_document
from web.services import services

blueprint = routes("users", __name__)
Role = Annotated[str, Field(max_length=20, description="viewer, operator or admin")]
Password = Annotated[str, Field(max_length=1000)]


class UserIn(Body):
    """A new user. Without a password he cannot log in by one."""

    name: str = Field(min_length=1, max_length=400)
    role: Role
    brands: Brands = None
    password: Password | None = None


class UserChange(Body):
    """Another role, or other brands; what is not given stays."""

    role: Role | None = None
    brands: Brands = None


class PasswordIn(Body):
    """Another password, which ends the user's sessions."""

    password: Password


class UserPath(Path):
    """The address of a user."""

    user_id: Annotated[int, Field(ge=1, le=2**63 - 1)]


class UsersQuery(PageQuery):
    """Users by name, disabled ones last."""


class UserOut(Answer):
    """A user. brands: those that he sees, null is every brand."""

    id: int
    name: str
    role: str
    brands: list[int] | None
    disabled: bool
    last_login: str | None


class UsersOut(Answer):
    """A page of users."""

    items: list[UserOut]
    next: str | None


@blueprint.get("/users", responses={200: UsersOut})
@reads
def users(query: UsersQuery) -> Response:
    """List the users."""
    place = place_of(query.cursor, [], (int, int))
    found = ledger.all_users(services().db)
    first = 0
    if place is not None:
        first = next((at + 1 for at, one in enumerate(found) if one.id == place[1]), max(place[0], 0))
    shown = found[first : first + query.limit]
    cursor = packed([], (first + len(shown), shown[-1].id)) if first + query.limit < len(found) else None
    return answer(page([user_document(one) for one in shown], cursor))


@blueprint.post("/users", responses={201: UserOut})
@reads
@keyed
def create_user(body: UserIn, header: KeyHeader) -> Response:
    """Create a user of the page."""
    role = check_role(body.role)
    return _told(services().people.create(g.actor, body.name, role, body.brands, body.password), 201)


@blueprint.get("/users/<int:user_id>", responses={200: UserOut})
@reads
def user(path: UserPath) -> Response:
    """Read a user. ETag is of his role and brands."""
    return _told(ledger.one(services().db, path.user_id))


@blueprint.patch("/users/<int:user_id>", responses={200: UserOut})
@reads
def change_user(path: UserPath, body: UserChange, header: MatchHeader) -> Response:
    """Give a user another role or other brands, if he still has those of If-Match."""
    given = request.headers.get("If-Match", "").strip()
    if not given:
        raise NoMatch("A change needs If-Match with the ETag of the version that it was made from, or *.")
    before = ledger.one(services().db, path.user_id)
    if not body.model_fields_set:
        raise InvalidInput("nothing is to change: give role or brands")
    if "role" in body.model_fields_set and body.role is None:
        raise InvalidInput("role is null: give a value, or leave it out", "role")
    if given not in ("*", _tag(before)):
        raise Stale(f"user {before.id} was changed since: read him again")
    role = before.role if body.role is None else check_role(body.role)
    brands = body.brands if "brands" in body.model_fields_set else before.brands
    with refusing_stale():
        seen = None if given == "*" else before
        return _told(ledger.change(services().db, g.actor, before.id, role, brands, seen=seen))


@blueprint.post("/users/<int:user_id>/disable", responses={200: UserOut})
@reads
@keyed
def disable_user(path: UserPath, header: KeyHeader) -> Response:
    """Shut a user out, and end his sessions."""
    ledger.set_disabled(services().db, g.actor, path.user_id, True)
    return _told(ledger.one(services().db, path.user_id))


@blueprint.post("/users/<int:user_id>/enable", responses={200: UserOut})
@reads
@keyed
def enable_user(path: UserPath, header: KeyHeader) -> Response:
    """Let a user in again."""
    ledger.set_disabled(services().db, g.actor, path.user_id, False)
    return _told(ledger.one(services().db, path.user_id))


@blueprint.post("/users/<int:user_id>/password", responses={200: UserOut})
@reads
@keyed
def set_password(path: UserPath, body: PasswordIn, header: KeyHeader) -> Response:
    """Give a user another password, and end his sessions."""
    found = ledger.one(services().db, path.user_id)
    services().people.set_password(g.actor, found, body.password)
    return _told(found)


def _tag(found: User) -> str:
    """The ETag of what PATCH changes of a user."""
    said = json.dumps([found.id, found.role, found.brands]).encode()
    return f'"{hashlib.sha256(said).hexdigest()[:16]}"'


def _told(found: User, status: int = 200) -> Response:
    return answer(user_document(found), status, {"ETag": _tag(found)})
