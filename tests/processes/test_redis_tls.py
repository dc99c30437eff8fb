"""TLS for Redis, block by block as docs/operations.md has it, with a Redis that has TLS (Debian's): commands, jobs, client, asyncio and watch."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from engine import AsyncBudgetClient, BudgetClient
from engine.errors import Unavailable
from engine.settings import Settings
from engine.wiring import System
from tests.docs.documents import ROOT
from tests.ops.programs import checked, program
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.prepared import ran
from tests.processes.conftest import Processes, brand_of, ready, until, verified

TITLE = "### TLS for Redis, command by command\n"
SECTION = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition(TITLE)[2].partition("\n### ")[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.M | re.S)


class Encrypted:
    """A running Redis that speaks TLS alone. url: for whoever trusts its authority."""

    def __init__(self, folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.port, self.process = folder, port, process
        (export, self.command) = blocks("sh")[1].strip().splitlines()
        shown = re.search(r"REDIS_URL='(.+)'$", export)
        assert shown
        self.url = (
            shown[1].replace("redis.internal:6379", f"localhost:{port}").replace("/etc/budget-engine/ca", str(folder))
        )

    def answers(self) -> bool:
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[Encrypted]:
    server = program("redis-server")
    folder = tmp_path / "tls"
    folder.mkdir()
    make = blocks("sh")[0].replace("redis.internal", "localhost").replace("10.0.0.5", "127.0.0.1")
    checked("bash", "-euc", f"cd '{folder}'\n{make}")
    port = free_port()
    (conf,) = blocks("redis")
    conf = conf.replace("tls-port 6379", f"tls-port {port}").replace("/etc/redis/tls", str(folder))
    conf += f'bind 127.0.0.1\ndir {folder}\nrequirepass password\nsave ""\nmaxmemory-policy noeviction\n'
    process = subprocess.Popen([server, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(conf.encode())
    process.stdin.close()
    found = Encrypted(folder, port, process)
    try:
        until(lambda: process.poll() is not None or found.answers())
        assert process.poll() is None
        yield found
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.mark.long
def test_everything_works_over_tls(
    encrypted: Encrypted, environment: dict[str, str], processes: Processes, tmp_path: Path
) -> None:
    url = encrypted.url
    jobs = url.replace("/0?", "/1?")
    processes.environment = {**environment, "REDIS_URL": url, "JOBS_REDIS_URL": jobs}
    worker = processes.start("worker")
    system = System(Settings.load(processes.environment, None))
    try:
        until(lambda: ready(system), why=processes.said)
        _, (campaign, _) = brand_of(system, "Acme", 2, daily=10_000_000)
        with BudgetClient.from_url(url, timeout_ms=5000) as client:
            assert client.try_spend(campaign, "1", event_id="e").outcome == "accepted"
            assert client.record_spend(campaign, "1", event_id="e").outcome == "duplicate"
            with client.watch() as watch:
                assert watch.wait_ready(PATIENCE_S) and campaign in watch.running

        async def spend() -> str:
            async with AsyncBudgetClient.from_url(url, timeout_ms=5000) as client:
                return (await client.record_spend(campaign, "2")).outcome

        assert asyncio.run(spend()) == "recorded"
        until(lambda: system.live.read_brand(1, 0).daily_spend == 3_000_000)  # type: ignore[union-attr]
        system.persister.drain_all()
        assert verified(system) == []
        words = encrypted.command.split()[1:]
        doctor = ran(words, {**processes.environment, "PYTHONPATH": str(ROOT)}, ROOT, PATIENCE_S)
        assert "cannot be reached" not in doctor.stdout + doctor.stderr
        worker.stop()
        assert worker.process.returncode == 0, processes.said()
    finally:
        system.close()


@pytest.mark.parametrize("wrong", ["another authority", "another name", "no TLS"])
def test_what_is_not_the_server_is_refused(wrong: str, encrypted: Encrypted, tmp_path: Path) -> None:
    url = encrypted.url
    if wrong == "another authority":
        words = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-keyout", tmp_path / "k")
        checked(program("openssl"), *words, "-out", tmp_path / "other.pem")
        url = url.replace(f"{encrypted.folder}/ca.pem", str(tmp_path / "other.pem"))
    elif wrong == "another name":
        url = url.replace("localhost", "127.0.0.2")
    else:
        url = url.replace("rediss:", "redis:").partition("?")[0]
    with BudgetClient.from_url(url, timeout_ms=2000) as client, pytest.raises(Unavailable):
        client.record_spend(65537, "1")
