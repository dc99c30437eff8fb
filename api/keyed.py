"""POSTs of the catalog under an Idempotency-Key: the same request again gets the answer of the first, for a day."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

from flask import Response, request
from sqlalchemy.exc import SQLAlchemyError

from api.access import token
from api.problems import TYPE, problem
from api.reading import KEY, key
from api.results import answer
from engine.errors import BudgetError
from engine.ledger import idempotency
from engine.ledger.idempotency import Kept
from web.services import services

LOG = logging.getLogger("api")
View = TypeVar("View", bound=Callable[..., Response])
_DROP_S: Final = 3600.0
_dropped_at = 0.0


def keyed(func: View) -> View:
    """A view of a POST, which runs once for each key of a token. An error of the engine (5xx) leaves the key free."""

    @wraps(func)
    def view(**given: object) -> Response:
        name = key()
        if name is None:
            return func(**given)
        db, mine = services().db, token().id
        seen = idempotency.claim(db, mine, name, fingerprint())
        if seen == "other":
            return problem(
                422, f"{KEY} {name} was used for another request: give each request a key of its own.", field=KEY
            )
        if seen == "under way":
            return problem(409, f"The request with the {KEY} {name} is under way: repeat it in a moment.", field=KEY)
        if isinstance(seen, Kept):
            return _again(seen)
        done = False
        try:
            told = func(**given)
            if done := told.status_code < 500:
                idempotency.keep(db, mine, name, Kept(told.status_code, _to_keep(told), told.headers.get("ETag")))
        except BudgetError as error:
            # Said again by the same request, which changes nothing.
            LOG.debug("a keyed request was refused: %s", error)
            raise
        finally:
            if not done:
                _leave(mine, name)
        _drop_old()
        return told

    return view  # type: ignore[return-value]  # `wraps` keeps the signature, which mypy cannot see


def fingerprint() -> str:
    """What this request asks for, as 64 hexadecimal digits. A password is no part of it: a digest this fast would help to guess it."""
    data = request.get_data()
    if b'"password"' in data or b"\\u" in data:
        document = request.get_json(force=True, silent=True)
        if isinstance(document, dict) and document.pop("password", None) is not None:
            data = json.dumps(document, sort_keys=True).encode()
    said = b"\n".join((request.method.encode(), request.full_path.encode(), data))
    return hashlib.sha256(said).hexdigest()


def once(document: dict[str, Any], secret: str, status: int) -> Response:
    """An answer with a secret that nothing shows again: what is kept for a repeat has null in its place."""
    told = answer(document, status)
    told.kept = json.dumps({**document, secret: None})  # type: ignore[attr-defined]  # read by `keyed` alone
    return told


def _to_keep(told: Response) -> str:
    kept: str | None = getattr(told, "kept", None)
    return told.get_data(as_text=True) if kept is None else kept


def _again(kept: Kept) -> Response:
    kind = TYPE if kept.status >= 400 else "application/json"
    headers = {"Idempotency-Replayed": "true", **({"ETag": kept.etag} if kept.etag else {})}
    return Response(kept.answer, kept.status, headers, content_type=kind)


def _leave(token_id: int, name: str) -> None:
    try:
        idempotency.leave(services().db, token_id, name)
    except (BudgetError, SQLAlchemyError) as error:
        LOG.warning("a claimed key stays for a minute: %s", " ".join(str(error).split()))


def _drop_old() -> None:
    """Drops old answers once an hour."""
    global _dropped_at  # noqa: PLW0603  # one instant for the process
    if time.monotonic() - _dropped_at > _DROP_S:
        _dropped_at = time.monotonic()
        idempotency.drop_old(services().db)
