"""`python -m benchmarks.http_api`: how many spends a second the HTTP API takes, beside its own route that does nothing.

One `budget-engine api` on servers of its own, and connections that stay open, from a process of their own. The empty
route is /healthz, which answers a fixed JSON object from the same application, without a token.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from benchmarks import size
from benchmarks.embedded import servers
from engine.ledger import tokens
from engine.local.ports import any_free
from engine.wiring import System

CONNECTIONS: Final = 32
BATCH: Final = 1000
START_S: Final = 120.0


def request(path: str, body: Any, secret: str) -> bytes:
    """The bytes of a request."""
    sent = b"" if body is None else json.dumps(body).encode()
    head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Authorization: Bearer {secret}\r\n"
    if sent:
        head += f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n"
    return head.encode() + b"\r\n" + sent


def drive(port: int, requests: list[bytes], connections: int, seconds: float, pipe: Any) -> None:
    """Sends requests over open connections, one at a time each, for some seconds; sends (answers, seconds) back."""
    import selectors

    chosen = selectors.DefaultSelector()
    links: dict[socket.socket, tuple[bytes, bytearray]] = {}
    for number in range(connections):
        link = socket.create_connection(("127.0.0.1", port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        links[link] = (requests[number % len(requests)], bytearray())
        chosen.register(link, selectors.EVENT_READ, link)
    for link, (text, _) in links.items():
        link.sendall(text)
    answers, began = 0, time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        for key, _ in chosen.select(1.0):
            link = key.data
            text, held = links[link]
            held += link.recv(1 << 18)
            if not _is_whole(held):
                continue
            assert held.startswith(b"HTTP/1.1 200"), bytes(held[:300])
            held.clear()
            answers += 1
            link.sendall(text)
    pipe.send((answers, now - began))


def _is_whole(held: bytearray) -> bool:
    head, found, body = held.partition(b"\r\n\r\n")
    if not found:
        return False
    lower = head.lower()
    at = lower.index(b"content-length:") + 15
    return len(body) >= int(lower[at:].split(b"\r\n", 1)[0])


def rate(port: int, requests: list[bytes], connections: int, seconds: float) -> float:
    """Answers a second."""
    ours, theirs = multiprocessing.Pipe()
    driver = multiprocessing.get_context("spawn").Process(
        target=drive, args=(port, requests, connections, seconds, theirs)
    )
    driver.start()
    if not ours.poll(seconds + START_S):
        driver.kill()
        raise RuntimeError("the requests of the benchmark did not end")
    answers, took = ours.recv()
    driver.join()
    return float(answers) / float(took)


@contextmanager
def api(system: System) -> Iterator[int]:
    """A process of the API; its port."""
    port = any_free()
    environment = {**os.environ, **system.settings.as_environment(), "BUDGET_API_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-m", "engine", "api"], env=environment, stdout=subprocess.DEVNULL)
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
        yield port
    finally:
        process.terminate()
        process.wait(START_S)


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Rounds of each row, in turn; the best of each counts.")
@click.option("--seconds", default=5.0, show_default=True, help="Seconds of a row in a round.")
def main(rounds: int, seconds: float) -> None:
    """Spends over HTTP, beside the same server's empty route."""
    with servers() as urls, size.fresh(urls) as system:
        brand = system.manage.create_brand("Measured", None, None, None, "bench").row
        campaigns = [c.id for c in system.manage.create_campaigns(brand.id, [f"c{n}" for n in range(10)], "bench")]
        secret = tokens.create(system.db, "bench", "bench", ["spend"], None).secret
        one = [request("/api/v1/spend", {"campaign_id": c, "amount": "0.001234"}, secret) for c in campaigns]
        batch = {"spends": [{"campaign_id": campaigns[n % 10], "amount": "0.001234"} for n in range(BATCH)]}
        many = [request("/api/v1/spends", batch, secret)]
        rows = {
            "empty route": ([request("/healthz", None, secret)], CONNECTIONS, 1),
            "POST /spend": (one, CONNECTIONS, 1),
            "POST /spends of 1,000": (many, 4, BATCH),
        }
        best = dict.fromkeys(rows, 0.0)
        with api(system) as port:
            for _ in range(rounds):
                for name, (requests, connections, each) in rows.items():
                    best[name] = max(best[name], rate(port, requests, connections, seconds) * each)
        for name, found in best.items():
            click.echo(f"{name:<24}{found:>12,.0f} a second")
        click.echo(f"POST /spend is {best['POST /spend'] / best['empty route']:.0%} of the empty route")


if __name__ == "__main__":
    main()
