"""Spends, holds and refunds that the server's event loop answers itself, without a thread: those of a token that this process knows,
with a right body.

Everything else is left to a thread, which begins anew and says what is wrong (`api/spending.py`). Once a call was given to
the client its answer comes from here, whatever it is: a thread would send it again.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from api.guard import ALWAYS, actor_of
from api.known import KnownTokens
from api.problems import RETRY_S, TYPE, body_of, said_of
from api.rates import Rates
from api.results import of_hold, of_refund, of_spend
from api.spending import (
    IN_HOLD,
    HoldIn,
    ModedSpend,
    RefundIn,
    ReleaseIn,
    SettleIn,
    SpendsIn,
    known_results,
    none_is_ready,
    rows_of,
    said_not_ready,
    text_of_batch,
    whole_id,
)
from engine.client.aio.client import AsyncBudgetClient
from engine.client.request_ids import next_id
from engine.domain.ids import brand_of, check_campaign_id, check_text_id
from engine.errors import InvalidId, InvalidInput, Unavailable
from engine.ledger.tokens import Token
from engine.live.replies import NOT_READY, Answered
from web.requests import HEADER, ID

LOG = logging.getLogger("api")
MOST_WAITING: Final = 64_000
"""Spends that wait for Redis; one more gets 503."""
LARGEST: Final = 320 * 1024
"""Bytes of a body that is read here: a thousand spends with every field have fewer. A thread reads a larger one."""
_BEARER: Final = re.compile(rb"Bearer +([!-~]+)", re.IGNORECASE)
_JSON: Final = (b"application/json", b"application/json; charset=utf-8")
_HEADER: Final = HEADER.lower().encode()
_ALWAYS: Final = [(name.lower().encode(), value.encode()) for name, value in ALWAYS]

Headers = Mapping[bytes, bytes]
Sent = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers and body of an answer."""
_Told = tuple[int, bytes]
_Way = Callable[[bytes, str | None, Token], Awaitable[_Told | None]]


class Quick:
    """Belongs to one event loop."""

    def __init__(self, client: AsyncBudgetClient, known: KnownTokens, rates: Rates) -> None:
        self._client = client
        self._known = known
        self._rates = rates
        self.ways: dict[str, _Way] = {
            "/api/v1/spend": self._spend,
            "/api/v1/spends": self._spends,
            "/api/v1/holds": self._hold,
            "/api/v1/refunds": self._refund,
        }
        """What is answered here, by path. Each is a POST for tokens with the scope spend."""

    def way_of(self, path: str) -> _Way | None:
        """What answers a path here; None for a path that threads answer."""
        found = self.ways.get(path)
        if found is None and path.startswith(IN_HOLD) and "//" not in path:
            hold_id, _, end = path.removeprefix(IN_HOLD).rpartition("/")
            if hold_id and end in ("settle", "release"):
                return partial(self._settle if end == "settle" else self._release, hold_id)
        return found

    async def answer(self, path: str, given: Headers, body: bytes) -> Sent | None:
        """The answer to a POST; None where a thread is to answer. given: each header once, with its name in small letters."""
        sent, way = _BEARER.fullmatch(given.get(b"authorization", b"")), self.way_of(path)
        if (
            sent is None
            or way is None
            or given.get(b"content-type") not in _JSON
            or b"content-encoding" in given
            or len(body) > LARGEST
        ):
            return None
        token = self._known.seen(sent[1].decode("ascii"))
        if token is None or "spend" not in token.scopes:
            return None
        try:
            key = _key(given)
            told = await way(body, key, token)
        except (ValidationError, InvalidId):
            return None
        if told is None:
            return None
        status, text = told
        name = _name(given)
        if status >= 500:
            actor = actor_of(token.id, token.name)
            LOG.info(
                "request", extra={"method": "POST", "path": path, "status": status, "actor": actor, "request_id": name}
            )
        return status, _headers(status, text, name), text

    async def _spend(self, body: bytes, key: str | None, token: Token) -> _Told | None:
        asked = ModedSpend.model_validate_json(body)
        if not _sees(token, (asked.campaign_id,)) or self._rates.take(token.id):
            return None
        # An event makes a repeat exact, whoever sends it, so that such a spend may share a call. Any other has an id of its own.
        shares = key is None and asked.event_id is not None and asked.occurred_at is None
        request_id = None if shares else key or next_id()
        call = self._client.try_spend if asked.mode == "try" else self._client.record_spend
        try:
            result = await call(
                asked.campaign_id,
                asked.amount,
                event_id=asked.event_id,
                request_id=request_id,
                occurred_at=asked.occurred_at,
            )
        except Unavailable as error:
            if shares:
                # The id of a shared call is this process's own; by its event the spend counts once under any.
                error.request_id = request_id = next_id()
            return _failed(error, request_id)
        except Exception as error:  # noqa: BLE001  # whatever it is, the spend was given away
            return _failed(error, request_id)
        if result.outcome == NOT_READY:
            return 503, body_of(503, said_not_ready(result), request_id=request_id or next_id())
        return 200, of_spend(result).encode()

    async def _spends(self, body: bytes, key: str | None, token: Token) -> _Told | None:
        asked = SpendsIn.model_validate_json(body)
        if not _sees(token, (one["campaign_id"] for one in asked.spends)) or self._rates.take(token.id):
            return None
        request_id = key or next_id()
        call = self._client.try_spends if asked.mode == "try" else self._client.record_spends
        try:
            results = await call(rows_of(asked.spends), request_id=request_id)
        except Unavailable as error:
            said = said_of(error)
            return said.status, body_of(said.status, said.detail, **said.more, results=known_results(error))
        except Exception as error:  # noqa: BLE001  # as above
            return _failed(error, request_id)
        if none_is_ready(results):
            return 503, body_of(503, said_not_ready(results[0]), request_id=request_id)
        return 200, text_of_batch(request_id, results).encode()

    async def _hold(self, body: bytes, key: str | None, token: Token) -> _Told | None:
        asked = HoldIn.model_validate_json(body)
        name = asked.hold_id or key
        if name is None or not self._may(token, asked.campaign_id):
            return None
        return await _told_of(self._client.reserve(asked.campaign_id, asked.amount, asked.ttl, name), of_hold, None)

    async def _settle(self, hold_id: str, body: bytes, key: str | None, token: Token) -> _Told | None:
        asked = SettleIn.model_validate_json(body)
        name = whole_id(hold_id, asked.campaign_id)
        if not self._may(token, asked.campaign_id):
            return None
        return await _told_of(self._client.settle(name, asked.amount), of_hold, name)

    async def _release(self, hold_id: str, body: bytes, key: str | None, token: Token) -> _Told | None:
        asked = ReleaseIn.model_validate_json(body)
        name = whole_id(hold_id, asked.campaign_id)
        if not self._may(token, asked.campaign_id):
            return None
        return await _told_of(self._client.release(name), of_hold, name)

    async def _refund(self, body: bytes, key: str | None, token: Token) -> _Told | None:
        asked = RefundIn.model_validate_json(body)
        if not self._may(token, asked.campaign_id):
            return None
        refund = self._client.refund(
            asked.campaign_id, asked.amount, asked.event_id, spent_on=asked.spent_on, refund_id=asked.refund_id
        )
        return await _told_of(refund, of_refund, asked.event_id)

    def _may(self, token: Token, campaign_id: int) -> bool:
        """Whether a token may do it now. Raises InvalidId."""
        return _sees(token, (check_campaign_id(campaign_id),)) and not self._rates.take(token.id)


async def _told_of(
    call: Awaitable[Any], document_of: Callable[[Any], dict[str, Any]], name: str | None
) -> _Told | None:
    """What became of a call for a hold or a refund. name: of what is to be repeated where Redis is not ready."""
    try:
        result: Answered = await call
    except InvalidInput as error:
        # Nothing was written, and a thread says what day it is by the brand's clock, for which it reads PostgreSQL.
        return None if error.field == "spent_on" else _failed(error, None)
    except Exception as error:  # noqa: BLE001  # whatever it is, the call was given away
        return _failed(error, None)
    if result.outcome == NOT_READY:
        return 503, body_of(503, said_not_ready(result), request_id=getattr(result, "hold_id", name))
    return 200, json.dumps(document_of(result)).encode()


def _key(given: Headers) -> str | None:
    """The Idempotency-Key. Raises InvalidId."""
    sent = given.get(b"idempotency-key")
    return None if sent is None else check_text_id(sent.decode("latin-1"), "Idempotency-Key")


def _name(given: Headers) -> str:
    """The id of the request, as everywhere: the sender's own, or a new one."""
    sent = given.get(b"x-request-id", b"").decode("latin-1")
    return sent if ID.fullmatch(sent) else next_id()


def _sees(token: Token, campaign_ids: Iterable[int]) -> bool:
    brands = token.brands
    return brands is None or all(brand_of(campaign_id) in brands for campaign_id in campaign_ids)


def _failed(error: Exception, request_id: str | None) -> _Told:
    said = said_of(error)
    more = {"request_id": request_id, **said.more} if said.status == 503 else said.more
    return said.status, body_of(said.status, said.detail, **more)


def _headers(status: int, text: bytes, name: str) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", b"application/json" if status == 200 else TYPE.encode()),
        (b"content-length", b"%d" % len(text)),
        (_HEADER, name.encode("ascii")),
        *_ALWAYS,
    ]
    return [*headers, (b"retry-after", b"%d" % RETRY_S)] if status == 503 else headers
