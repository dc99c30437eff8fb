"""`python -m benchmarks.http_api`: how many spends a second the HTTP API takes, beside an empty route of the same server.

One API on servers of its own, and connections that stay open, from a process of their own. The empty route is a POST with
the same token and body: the body is read and parsed, and a fixed JSON object is the answer. Beside the answers a second
stands the processor time of an answer, which says more on a busy machine.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from benchmarks import size
from benchmarks.embedded import servers
from benchmarks.processors import processor_s, started
from engine.ledger import tokens
from engine.local.ports import any_free
from engine.settings import Settings
from engine.wiring import System

if TYPE_CHECKING:
    from api.door import ApiDoor
    from engine.ledger.tokens import Token

CONNECTIONS: Final = 32
OF_BATCHES: Final = 4
BATCH: Final = 1000
START_S: Final = 120.0
EVENTS: Final = 2_000
"""Requests of a row in turn: an event id that comes again is a duplicate."""
EMPTY: Final = "/api/v1/empty"


class Row(NamedTuple):
    """What is measured. spends: in a request."""

    name: str
    requests: Sequence[bytes]
    connections: int = CONNECTIONS
    spends: int = 1


class Measured(NamedTuple):
    """Answers a second; the processor time of one in the API and in Redis; the 50th and 99th percentile in ms."""

    rate: float
    api_us: float
    redis_us: float
    p50: float
    p99: float


def request(path: str, body: Any, secret: str) -> bytes:
    """The bytes of a POST."""
    sent = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n".encode() + sent


def drive(port: int, row: Row, seconds: float, pace: float, pipe: Any) -> None:
    """Sends requests over open connections, one at a time each, for some seconds; sends (answers, seconds, p50, p99) back.

    pace: requests a second, each due at its own instant, from which its time counts; 0 for as many as are answered.
    """
    chosen = selectors.DefaultSelector()
    free: list[socket.socket] = []
    held: dict[socket.socket, tuple[float, bytearray]] = {}
    for _ in range(row.connections):
        link = socket.create_connection(("127.0.0.1", port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chosen.register(link, selectors.EVENT_READ)
        free.append(link)
    taken: list[float] = []
    sent, began = 0, time.perf_counter()
    while (now := time.perf_counter()) < began + seconds:
        due = began + sent / pace if pace else now
        while free and due <= now:
            link = free.pop()
            held[link] = due, bytearray()
            link.sendall(row.requests[sent % len(row.requests)])
            sent += 1
            due = began + sent / pace if pace else now
        for key, _ in chosen.select(max(due - now, 0.0) if free else 1.0):
            link = key.fileobj  # type: ignore[assignment]  # each was registered as a socket
            text = held[link][1]
            text += link.recv(1 << 18)
            if _is_whole(text):
                assert text.startswith(b"HTTP/1.1 200"), bytes(text[:300])
                taken.append(time.perf_counter() - held.pop(link)[0])
                free.append(link)
    taken.sort()
    p50, p99 = (taken[int(len(taken) * share)] * 1000 for share in (0.5, 0.99))
    pipe.send((len(taken), now - began, p50, p99))


def ask(port: int, sent: bytes) -> None:
    """One request, and its answer."""
    with socket.create_connection(("127.0.0.1", port), START_S) as link:
        link.sendall(sent)
        text = bytearray(link.recv(1 << 16))
        while not _is_whole(text):
            text += link.recv(1 << 16)
    assert text.startswith(b"HTTP/1.1 200"), bytes(text)


def _is_whole(held: bytearray) -> bool:
    head, found, body = held.partition(b"\r\n\r\n")
    if not found:
        return False
    lower = head.lower()
    at = lower.index(b"content-length:") + 15
    return len(body) >= int(lower[at:].split(b"\r\n", 1)[0])


def measured(port: int, api_pid: int, row: Row, seconds: float, pace: float = 0) -> Measured:
    """A row for some seconds."""
    ours, theirs = multiprocessing.Pipe()
    before = _spent(api_pid)
    driver = multiprocessing.get_context("spawn").Process(target=drive, args=(port, row, seconds, pace, theirs))
    driver.start()
    if not ours.poll(seconds + START_S):
        driver.kill()
        raise RuntimeError("the requests of the benchmark did not end")
    answers, took, p50, p99 = ours.recv()
    driver.join()
    api_us, redis_us = ((now - then) / answers * 1e6 for now, then in zip(_spent(api_pid), before, strict=True))
    return Measured(answers / took, api_us, redis_us, p50, p99)


def _spent(api_pid: int) -> tuple[float, float]:
    """Seconds of processor time of the API and of Redis so far."""
    return sum(process.seconds for process in started(api_pid)), processor_s("redis") + processor_s("valkey")


@contextmanager
def api(system: System) -> Iterator[tuple[int, int]]:
    """A process of the API that has the empty route too; its port and its process id."""
    port = any_free()
    environment = {**os.environ, **system.settings.as_environment(), "BUDGET_API_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.http_api", "--serve"], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > end or process.poll() is not None:
                    raise RuntimeError("the API did not begin to listen") from None
                time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(START_S)


def serve() -> None:
    """`run_api`, with the empty route."""
    from web.serve import serve_on

    settings = Settings.load().resolved()
    serve_on("api", settings.api_host, settings.api_port, partial(_load, settings, os.getpid()))


def _load(settings: Settings, parent: int) -> ApiDoor:
    from pydantic_core import from_json

    from api.serve import load

    async def empty(body: bytes, key: str | None, token: Token) -> tuple[int, bytes]:
        from_json(body)
        return 200, json.dumps({"status": "ok"}).encode()

    door = load(settings, parent)
    assert door.quick is not None
    door.quick.ways[EMPTY] = empty
    return door


def rows_of(campaigns: Sequence[int], secret: str) -> list[Row]:
    """The empty route first, on which the others are measured."""
    spends = [{"campaign_id": campaign, "amount": "0.001234"} for campaign in campaigns]
    batch = {"spends": [spends[n % len(spends)] for n in range(BATCH)]}
    named = [spends[n % len(spends)] | {"event_id": f"{secret[-8:]}-{n}"} for n in range(EVENTS)]
    holds = [spends[n % len(spends)] | {"ttl": 3600, "hold_id": f"{secret[-8:]}-{n}"} for n in range(EVENTS)]
    return [
        Row("empty JSON route", [request(EMPTY, spends[0], secret)]),
        Row("POST /spend", [request("/api/v1/spend", spend, secret) for spend in spends]),
        Row("POST /spend, event ids", [request("/api/v1/spend", spend, secret) for spend in named]),
        Row("POST /holds", [request("/api/v1/holds", hold, secret) for hold in holds]),
        Row("POST /refunds", [request("/api/v1/refunds", spend, secret) for spend in named]),
        Row("POST /spends of 1,000", [request("/api/v1/spends", batch, secret)], OF_BATCHES, BATCH),
    ]


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Rounds of each row, in turn.")
@click.option("--seconds", default=5.0, show_default=True, help="Seconds of a row in a round.")
@click.option("--serve", "serves", is_flag=True, hidden=True)
def main(rounds: int, seconds: float, serves: bool) -> None:
    """Spends over HTTP, beside the same server's empty route."""
    if serves:
        serve()
        return
    with servers() as urls, size.fresh(urls) as system:
        brand = system.manage.create_brand("Measured", None, None, None, "bench").row
        campaigns = [c.id for c in system.manage.create_campaigns(brand.id, [f"c{n}" for n in range(10)], "bench")]
        rows = rows_of(campaigns, tokens.create(system.db, "bench", "bench", ["spend"], None).secret)
        found: dict[str, list[Measured]] = {row.name: [] for row in rows}
        with api(system) as (port, pid):
            ask(port, rows[1].requests[0])  # from now on it knows the token
            for _ in range(rounds):
                for row in rows:
                    found[row.name].append(measured(port, pid, row, seconds))
            best = max(one.rate for one in found[rows[1].name])
            half = measured(port, pid, rows[1], seconds, best / 2)
    tell(rows, found, half)


def tell(rows: Sequence[Row], found: dict[str, list[Measured]], half: Measured) -> None:
    """The table: the best round of each row, the least processor time, and the middle of what each round was of its empty route."""
    click.echo(
        "| | a second | of the empty route | API us | Redis us | p99 ms |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    )
    empty = [one.rate for one in found[rows[0].name]]
    for row in rows:
        top = max(found[row.name], key=lambda one: one.rate)
        api_us, redis_us = min(one.api_us for one in found[row.name]), min(one.redis_us for one in found[row.name])
        parts = [one.rate / beside for one, beside in zip(found[row.name], empty, strict=True)]
        part = f"{statistics.median(parts):.0%}" if row.spends == 1 else ""
        click.echo(f"| {row.name} | {top.rate * row.spends:,.0f} | {part} | {api_us:,.0f} | {redis_us:,.0f} | {top.p99:.1f} |")  # fmt: skip
    click.echo(
        f"POST /spend at half of that load ({half.rate:,.0f} a second): p50 {half.p50:.2f} ms, p99 {half.p99:.2f} ms"
    )


if __name__ == "__main__":
    main()
