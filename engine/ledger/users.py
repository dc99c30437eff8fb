"""Users of the console in PostgreSQL. Each change is in the audit trail with its actor, and ends sessions in the same transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, text

from engine.domain.people import Person, Role
from engine.errors import Conflict, InvalidInput, NotFound, shown
from engine.ledger import changes, sessions
from engine.ledger.changes import FieldChange
from engine.ledger.database import writing
from engine.ledger.user_names import check_user_name, key_of

_COLUMNS: Final = (
    "id, name, role, brands, password IS NOT NULL AS has_password, created_at, disabled_at,"
    " (SELECT max(at) FROM login_event AS e WHERE e.user_id = app_user.id AND outcome = 'in') AS last_login"
)
_ONE: Final = f"SELECT {_COLUMNS} FROM app_user WHERE id = :id"
_ALL: Final = text(f"SELECT {_COLUMNS} FROM app_user ORDER BY disabled_at IS NOT NULL, name_key")
_CREDENTIAL: Final = text(
    "SELECT id, name, role, brands, password, disabled_at IS NOT NULL FROM app_user WHERE name_key = :key"
)
_INSERT: Final = text(
    "INSERT INTO app_user (name, name_key, role, brands, password, subject)"
    " VALUES (:name, :key, :role, CAST(:brands AS bigint[]), :password, :subject)"
    " ON CONFLICT DO NOTHING RETURNING id"
)

_OF_SUBJECT: Final = text("SELECT id FROM app_user WHERE subject = :subject")


class User(NamedTuple):
    """A user as pages and commands show him. brands: what he sees, None for every brand."""

    id: int
    name: str
    role: Role
    brands: tuple[int, ...] | None
    has_password: bool
    created_at: datetime
    disabled_at: datetime | None
    last_login: datetime | None = None


class Credential(NamedTuple):
    """What a login is held against. password: the digest, None for a user without one."""

    person: Person
    password: str | None
    disabled: bool


def exist(db: Engine) -> bool:
    """Whether there is a user, disabled ones too."""
    with db.connect() as conn:
        return bool(conn.execute(text("SELECT EXISTS (SELECT FROM app_user)")).scalar_one())


def all_users(db: Engine) -> list[User]:
    """Every user by name, disabled ones last."""
    with db.connect() as conn:
        return [_user(row) for row in conn.execute(_ALL).mappings()]


def one(db: Engine, user_id: int) -> User:
    """A user by his id. Raises NotFound."""
    with db.connect() as conn:
        return _one(conn, user_id)


def named(db: Engine, name: str) -> User:
    """A user by his name. Raises NotFound."""
    with db.connect() as conn:
        found = conn.execute(text("SELECT id FROM app_user WHERE name_key = :key"), {"key": key_of(name)}).scalar()
        if found is None:
            raise NotFound(f"there is no user {shown(name)}: `user list` shows all")
        return _one(conn, found)


def credential(db: Engine, name: str) -> Credential | None:
    """The user of a name, for a login."""
    with db.connect() as conn:
        row = conn.execute(_CREDENTIAL, {"key": key_of(name)}).first()
    if row is None:
        return None
    id_, called, role, brands, password, disabled = row
    scope = None if brands is None else frozenset(brands)
    return Credential(Person(called, role, scope, id_), password, disabled)


def create(
    db: Engine,
    actor: str,
    name: str,
    role: Role,
    brands: Collection[int] | None,
    password: str | None,
    *,
    subject: str | None = None,
) -> User:
    """A new user. password: its digest. Raises InvalidInput, Conflict where the name is taken, NotFound for an unknown brand."""
    name = check_user_name(name)
    with writing(db) as conn:
        scope = _scope(conn, role, brands)
        values = {
            "name": name,
            "key": key_of(name),
            "role": role,
            "brands": scope,
            "password": password,
            "subject": subject,
        }
        id_ = conn.execute(_INSERT, values).scalar()
        if id_ is None:
            raise Conflict(f"name {shown(name)} is taken by another user: choose another", "name")
        made = f"role {role}, {scope_text(scope)}"
        changes.write(conn, "user", actor, [FieldChange(id_, "created", None, name, made)])
        return _one(conn, id_)


def from_provider(
    db: Engine, actor: str, subject: str, name: str, role: Role, brands: Collection[int] | None
) -> Credential:
    """The user of a subject of a login provider, made or changed to this role and scope; a disabled one is left as he is.

    Raises InvalidInput, Conflict where the name is another user's, NotFound for an unknown brand.
    """
    user = _of_subject(db, subject)
    if user is None:
        try:
            user = create(db, actor, name, role, brands, None, subject=subject)
        except Conflict:
            # Another tab of the same person may have been first.
            user = _of_subject(db, subject)
            if user is None:
                said = f"name {shown(name)} is taken by another user, and nobody gets a user by his name alone"
                raise Conflict(said, "name") from None
    if user.disabled_at is None:
        user = change(db, actor, user.id, role, brands)
    scope = None if user.brands is None else frozenset(user.brands)
    return Credential(Person(user.name, user.role, scope, user.id), None, user.disabled_at is not None)


def without_role(db: Engine, subject: str) -> int | None:
    """Ends the sessions of whom a login provider gives no role any more. Returns his id, None where he never logged in."""
    with writing(db) as conn:
        id_: int | None = conn.execute(_OF_SUBJECT, {"subject": subject}).scalar()
        if id_ is not None:
            sessions.end_of_user(conn, id_, "no role")
        return id_


def change(
    db: Engine, actor: str, user_id: int, role: Role, brands: Collection[int] | None, *, seen: User | None = None
) -> User:
    """Another role and scope, which count from the user's next request. seen: as the caller knows him; raises Conflict where he
    has another role or scope by now. Raises InvalidInput, NotFound.
    """
    with writing(db) as conn:
        before = _one(conn, user_id, lock=True)
        if seen is not None and (before.role, before.brands) != (seen.role, seen.brands):
            raise Conflict(f"user {shown(before.name)} was changed since: load him again", "version")
        scope = _scope(conn, role, brands)
        conn.execute(
            text("UPDATE app_user SET role = :role, brands = CAST(:brands AS bigint[]) WHERE id = :id"),
            {"id": user_id, "role": role, "brands": scope},
        )
        after = _one(conn, user_id)
        pairs = (("role", before.role, after.role), ("brands", scope_text(before.brands), scope_text(after.brands)))
        changes.write(conn, "user", actor, [FieldChange(user_id, f, old, new) for f, old, new in pairs if old != new])
        return after


def set_password(db: Engine, actor: str, user_id: int, password: str, *, but_session: int | None = None) -> int:
    """Another password, by its digest. Ends his sessions but one; returns how many. Raises NotFound."""
    with writing(db) as conn:
        _one(conn, user_id, lock=True)
        conn.execute(text("UPDATE app_user SET password = :p WHERE id = :id"), {"id": user_id, "p": password})
        changes.write(conn, "user", actor, [FieldChange(user_id, "password", None, "changed")])
        return sessions.end_of_user(conn, user_id, "password", but_session)


def renew_digest(db: Engine, user_id: int, before: str, after: str) -> None:
    """Stores the same password under newer parameters, unless it was changed meanwhile."""
    with writing(db) as conn:
        values = {"id": user_id, "before": before, "after": after}
        conn.execute(text("UPDATE app_user SET password = :after WHERE id = :id AND password = :before"), values)


def set_disabled(db: Engine, actor: str, user_id: int, disabled: bool) -> int:
    """Shuts a user out, which ends his sessions, or lets him in again. Returns how many ended. Raises NotFound."""
    with writing(db) as conn:
        before = _one(conn, user_id, lock=True)
        if (before.disabled_at is not None) == disabled:
            return 0
        conn.execute(
            text("UPDATE app_user SET disabled_at = CASE WHEN :disabled THEN clock_timestamp() END WHERE id = :id"),
            {"id": user_id, "disabled": disabled},
        )
        flags = changes.flag(not disabled), changes.flag(disabled)
        changes.write(conn, "user", actor, [FieldChange(user_id, "disabled", *flags)])
        return sessions.end_of_user(conn, user_id, "disabled") if disabled else 0


def _of_subject(db: Engine, subject: str) -> User | None:
    with db.connect() as conn:
        id_ = conn.execute(_OF_SUBJECT, {"subject": subject}).scalar()
        return None if id_ is None else _one(conn, id_)


def scope_text(brands: Collection[int] | None) -> str:
    """A scope for people: `every brand`, or the ids."""
    if brands is None:
        return "every brand"
    return f"brand{'s' if len(brands) > 1 else ''} {', '.join(map(str, sorted(brands)))}"


def _scope(conn: Connection, role: Role, brands: Collection[int] | None) -> list[int] | None:
    if brands is None:
        return None
    if role == "admin":
        raise InvalidInput("brands: an admin sees every brand: leave them out, or give another role", "brands")
    wanted = sorted(set(brands))
    if not wanted:
        raise InvalidInput("brands: name at least one brand, or leave them out for every brand", "brands")
    found = set(
        conn.execute(text("SELECT id FROM brand WHERE id = ANY(CAST(:ids AS bigint[]))"), {"ids": wanted}).scalars()
    )
    for id_ in wanted:
        if id_ not in found:
            raise NotFound(f"there is no brand {shown(id_)}: `brand list` shows all")
    return wanted


def _one(conn: Connection, user_id: int, *, lock: bool = False) -> User:
    row = conn.execute(text(_ONE + (" FOR UPDATE" if lock else "")), {"id": user_id}).mappings().first()
    if row is None:
        raise NotFound(f"there is no user {shown(user_id)}: `user list` shows all")
    return _user(row)


def _user(row: Any) -> User:
    values = dict(row)
    brands = values["brands"]
    return User(**(values | {"brands": None if brands is None else tuple(brands)}))
