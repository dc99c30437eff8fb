"""Sends messages to webhooks: signed, to public addresses only, with a time for the whole of it. It keeps no connection and follows nothing.

A name is resolved once, all of its addresses are checked, and the connection is made to one of these. So no second answer of a name server
can lead a message elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Engine

from engine.domain.webhooks import MOST_ANSWER, is_public
from engine.ledger import webhooks
from engine.ledger.webhooks import Due

if TYPE_CHECKING:
    import httpx

WHOLE_S: Final = 10.0
"""Seconds for a message: to resolve, connect, send and read the answer."""
AT_ONCE: Final = 16
SEND_S: Final = 10.0
"""Seconds after which a run lets other jobs go first, where any wait."""
LONGEST_S: Final = 45.0
MOST_BYTES: Final = 4096
"""Of an answer: what is more is not read."""


class Refused(Exception):
    """An address that is not sent to; the text is why."""


class Answer(NamedTuple):
    """What became of a try. status: None where there was no answer, and text says why."""

    status: int | None
    text: str


@dataclass(slots=True)
class Sent:
    """What a run did."""

    delivered: int = 0
    waiting: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{self.delivered} messages delivered, {self.waiting} to be tried again, {self.failed} given up"


class Sender:
    """Sends what is due. private: whether private, loopback and link-local addresses are sent to as well."""

    def __init__(self, db: Engine, private: bool) -> None:
        self._db = db
        self._private = private
        # Of its own, because asyncio waits at the end of a run for all that its own threads look up, whatever the time for a message.
        self._names = ThreadPoolExecutor(AT_ONCE, "names of receivers")

    def send_due(self, stopping: Callable[[], bool], is_waited_for: Callable[[], bool] = lambda: False) -> Sent:
        """Sends until nothing is due. stopping: whether to end. is_waited_for: whether other jobs wait, which go first after some seconds."""
        started, done = time.monotonic(), Sent()
        while not stopping():
            passed = time.monotonic() - started
            if passed >= LONGEST_S or (passed >= SEND_S and is_waited_for()):
                break
            batch = webhooks.claim(self._db, AT_ONCE)
            if not batch:
                break
            for due, answer in zip(batch, asyncio.run(self._send_all(batch)), strict=True):
                state = webhooks.note(self._db, due, answer.status, answer.text)
                setattr(done, state, getattr(done, state) + 1)
        return done

    async def _send_all(self, batch: list[Due]) -> list[Answer]:
        import httpx

        # The certificates of this machine, so that an operator's own authority counts. No proxy of the environment: it would resolve names.
        async with httpx.AsyncClient(
            verify=ssl.create_default_context(), trust_env=False, timeout=WHOLE_S, follow_redirects=False
        ) as client:
            return await asyncio.gather(*(self._send(client, due) for due in batch))

    async def _send(self, client: httpx.AsyncClient, due: Due) -> Answer:
        try:
            async with asyncio.timeout(WHOLE_S):
                return await self._post(client, due)
        except TimeoutError:
            return Answer(None, f"no answer within {WHOLE_S:.0f} s")
        except Refused as refused:
            return Answer(None, str(refused))
        except Exception as error:  # noqa: BLE001  # whatever a receiver does, the others are sent to
            said = " ".join(str(error).split())
            return Answer(None, f"{type(error).__name__}: {said}"[:MOST_ANSWER])

    async def _post(self, client: httpx.AsyncClient, due: Due) -> Answer:
        import httpx

        url = httpx.URL(due.url)
        address = await self._address(url.host, url.port or (443 if url.scheme == "https" else 80))
        request = client.build_request(
            "POST",
            url.copy_with(host=address),
            content=due.body.encode(),
            headers={**signed(due, datetime.now(UTC)), "Host": url.netloc.decode("ascii"), "Connection": "close"},
            extensions={"sni_hostname": url.host},
        )
        answer = await client.send(request, stream=True)
        try:
            part = b""
            async for chunk in answer.aiter_raw():
                part += chunk
                if len(part) >= MOST_BYTES:
                    break
        finally:
            await answer.aclose()
        text = part[:MOST_BYTES].decode("utf-8", "replace").replace("\x00", " ")
        if 300 <= answer.status_code < 400:
            return Answer(answer.status_code, "a redirect, which is not followed: give the address that it leads to")
        return Answer(answer.status_code, " ".join(text.split())[:MOST_ANSWER])

    async def _address(self, host: str, port: int) -> str:
        """The one address that is connected to. Raises Refused, OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._names, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        )
        addresses = [str(each[4][0]) for each in found]
        inside = [each for each in addresses if not is_public(each)]
        if inside and not self._private:
            raise Refused(
                f"{host} is at {inside[0]}, which is no public address: set BUDGET_WEBHOOK_PRIVATE=1 where that is meant"
            )
        return addresses[0]


def signed(due: Due, at: datetime) -> dict[str, str]:
    """The headers of a message, by Standard Webhooks: one signature for each secret in force."""
    from standardwebhooks import Webhook

    return {
        "Content-Type": "application/json",
        "User-Agent": "budget-engine",
        "webhook-id": due.message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(each).sign(due.message_id, at, due.body) for each in due.secrets),
    }
