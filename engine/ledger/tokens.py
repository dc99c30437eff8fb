"""Programs' tokens in PostgreSQL: made, shown once, found by their hash, revoked. Each change is in the audit trail with its actor."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, text

from engine.domain.tokens import PREFIX, Scope, check_scopes, hash_of, new_token
from engine.errors import InvalidInput, NotFound, shown
from engine.ledger import changes
from engine.ledger.changes import FieldChange
from engine.ledger.database import writing
from engine.ledger.user_names import check_user_name
from engine.ledger.users import scope_text

USED_S: Final = 60
"""The last use is written once in so many seconds at most, so that a busy token is no write a request."""
_COLUMNS: Final = "id, name, scopes, brands, created_at, created_by, used_at, revoked_at"
_ALL: Final = text(f"SELECT {_COLUMNS} FROM api_token ORDER BY revoked_at IS NOT NULL, id DESC")
_ONE: Final = f"SELECT {_COLUMNS} FROM api_token WHERE id = :id"
_FIND: Final = text(
    f"SELECT token_hash, {_COLUMNS} FROM api_token"
    " WHERE token_hash = ANY(CAST(:hashes AS text[])) AND revoked_at IS NULL"
)
_INSERT: Final = text(
    "INSERT INTO api_token (name, token_hash, scopes, brands, created_by)"
    " VALUES (:name, :hash, CAST(:scopes AS text[]), CAST(:brands AS bigint[]), :actor) RETURNING id"
)
_USED: Final = text(
    "UPDATE api_token SET used_at = now()"
    " WHERE id = ANY(CAST(:ids AS bigint[]))"
    f" AND (used_at IS NULL OR used_at < now() - interval '{USED_S} seconds')"
)


class Token(NamedTuple):
    """A token as pages and commands show it. brands: the ids of the brands that it sees, None for every brand."""

    id: int
    name: str
    scopes: tuple[Scope, ...]
    brands: tuple[int, ...] | None
    created_at: datetime
    created_by: str
    used_at: datetime | None
    revoked_at: datetime | None


class Made(NamedTuple):
    """A new token. secret: what the program sends, which nothing shows again."""

    token: Token
    secret: str


def create(db: Engine, actor: str, name: str, scopes: Iterable[str], brands: Collection[int] | None) -> Made:
    """A new token. Raises InvalidInput for a wrong name or scope, NotFound for an unknown brand."""
    name, wanted, secret = check_user_name(name), check_scopes(scopes), new_token()
    with writing(db) as conn:
        seen = None if brands is None else _known(conn, wanted, brands)
        values = {"name": name, "hash": hash_of(secret), "scopes": list(wanted), "brands": seen, "actor": actor}
        id_ = conn.execute(_INSERT, values).scalar_one()
        said = f"scope {', '.join(wanted)}, {scope_text(seen)}"
        changes.write(conn, "token", actor, [FieldChange(id_, "created", None, name, said)])
        return Made(_one(conn, id_), secret)


def find(db: Engine, secret: str) -> Token | None:
    """The token that a program sent; None where it never was, or is revoked. It writes nothing."""
    if not secret.startswith(PREFIX) or not secret.isascii():
        return None
    return find_all(db, [hash_of(secret)]).get(hash_of(secret))


def find_all(db: Engine, hashes: Collection[str]) -> dict[str, Token]:
    """The tokens of these hashes, without those that are unknown or revoked. It writes nothing."""
    with db.connect() as conn:
        rows = conn.execute(_FIND, {"hashes": list(hashes)}).mappings().all()
    return {row["token_hash"]: _token({name: row[name] for name in Token._fields}) for row in rows}


def note_use(db: Engine, token_ids: Collection[int]) -> None:
    """Writes down that tokens are used now."""
    with writing(db) as conn:
        conn.execute(_USED, {"ids": list(token_ids)})


def all_tokens(db: Engine) -> list[Token]:
    """Every token, newest first, revoked ones last."""
    with db.connect() as conn:
        return [_token(row) for row in conn.execute(_ALL).mappings()]


def one(db: Engine, token_id: int) -> Token:
    """A token by its id. Raises NotFound."""
    with db.connect() as conn:
        return _one(conn, token_id)


def revoke(db: Engine, actor: str, token_id: int) -> Token:
    """Ends a token for good; one that is revoked stays as it is. Raises NotFound."""
    with writing(db) as conn:
        before = _one(conn, token_id, lock=True)
        if before.revoked_at is not None:
            return before
        conn.execute(text("UPDATE api_token SET revoked_at = clock_timestamp() WHERE id = :id"), {"id": token_id})
        flags = changes.flag(False), changes.flag(True)
        changes.write(conn, "token", actor, [FieldChange(token_id, "revoked", *flags)])
        return _one(conn, token_id)


def _known(conn: Connection, scopes: tuple[Scope, ...], brands: Collection[int]) -> list[int]:
    """The brands of a token, sorted. Raises InvalidInput, NotFound."""
    if "admin" in scopes:
        raise InvalidInput("brands: a token with the scope admin sees every brand: leave one of the two out", "brands")
    wanted = sorted(set(brands))
    if not wanted:
        raise InvalidInput("brands: name at least one brand, or leave them out for every brand", "brands")
    query = text("SELECT id FROM brand WHERE id = ANY(CAST(:ids AS bigint[]))")
    there = set(conn.execute(query, {"ids": wanted}).scalars())
    for id_ in wanted:
        if id_ not in there:
            raise NotFound(f"there is no brand {shown(id_)}: `brand list` shows all")
    return wanted


def _one(conn: Connection, token_id: int, *, lock: bool = False) -> Token:
    row = conn.execute(text(_ONE + (" FOR UPDATE" if lock else "")), {"id": token_id}).mappings().first()
    if row is None:
        raise NotFound(f"there is no token {shown(token_id)}: `token list` shows all")
    return _token(row)


def _token(row: Any) -> Token:
    values = dict(row)
    brands = values["brands"]
    values |= {"scopes": tuple(values["scopes"]), "brands": None if brands is None else tuple(brands)}
    return Token(**values)
