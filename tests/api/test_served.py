"""The API as a process: it answers without PostgreSQL, and reads what is sent within limits."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.ledger import tokens
from engine.wiring import System
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.prepared import Prepared
from tests.web.conftest import brand_with
from tests.web.test_serve import wait_for

ROOT = Path(__file__).resolve().parents[2]
Served = tuple[Prepared, int]


@pytest.fixture
def served(ready: System, environment: dict[str, str], tmp_path: Path) -> Iterator[Served]:
    port = free_port()
    process = Prepared(["api"], {**os.environ, **environment, "BUDGET_API_PORT": str(port)}, ROOT, tmp_path / "api.log")
    try:
        wait_for(port, 200)
        yield process, port
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def sent(port: int, path: str, body: bytes | None, secret: str = "") -> tuple[int, Any]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        line.request("GET" if body is None else "POST", path, body, headers)
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        line.close()


def test_spends_are_taken_and_limits_hold_and_it_ends_cleanly(ready: System, served: Served) -> None:
    process, port = served
    _, (campaign,) = brand_with(ready)
    made = tokens.create(ready.db, "test", "bidder", ["spend"], None)
    spend = json.dumps({"campaign_id": campaign, "amount": "1"}).encode()
    status, told = sent(port, "/api/v1/spend", spend, made.secret)
    assert (status, told["outcome"]) == (200, "recorded")
    assert sent(port, "/readyz", None)[1]["parts"]["redis"] == "ok"
    assert oversized(port).split()[1] == b"413"
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


def test_the_examples_of_the_document_do_what_it_says(ready: System, served: Served) -> None:
    brand, (campaign,) = brand_with(ready, "First")
    made = tokens.create(ready.db, "test", "bidder", ["spend", "read", "write", "admin"], None)
    text = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S) if "curl" in block]
    ids = {"CAMPAIGN": str(campaign), "BRAND": str(brand)}
    environ = {**os.environ, "API": f"http://127.0.0.1:{served[1]}", "TOKEN": made.secret, **ids}
    said = []
    for block in blocks:
        # One answer a line: they end without one.
        lines = block.replace("\ncurl ", "\necho; curl ").replace('/brands/1"', f'/brands/{brand}"')
        lines = lines.replace('If-Match: "1"', f'If-Match: "{ready.catalog.brand(brand).version}"')
        done = subprocess.run(["sh", "-euc", lines], env=environ, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        said += [json.loads(line) for line in done.stdout.splitlines()]
    (shown,) = re.findall(r"^```json\n(.*?)^```$", text, re.M | re.S)
    assert said[0].keys() == json.loads(shown).keys() and said[0]["outcome"] == "accepted"
    assert [one["outcome"] for one in said[2:5]] == ["accepted", "settled", "refunded"]
    (listed,) = [one["items"] for one in said if one.get("items") and "daily_budget" in one["items"][0]]
    assert [one["name"] for one in listed] == ["Aurora"]
    assert [one["rollover_cap"] for one in said if "rollover_cap" in one][-1] == "25.000000"
    (days,) = [one["items"] for one in said if one.get("items") and "backfilled" in one["items"][0]]
    assert len(days) == 7


def oversized(port: int) -> bytes:
    """The first line of the answer to a request that says that it has 10 MB, before any of them is sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        line.sendall(b"POST /api/v1/spend HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10485760\r\n\r\n")
        return line.recv(4096).split(b"\r\n")[0]
