"""The page as a process: it answers, ends cleanly when asked to, and leaves nothing on its port."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import InvalidSetting
from engine.settings import Settings
from engine.wiring import System
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.prepared import Prepared
from web.serve import run_web

Page = tuple[Prepared, int]
ROOT = Path(__file__).resolve().parents[2]


def answers(port: int) -> int:
    """The status of /healthz; 0 when nobody listens."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            status: int = answer.status
            return status
    except (urllib.error.URLError, OSError):
        return 0


def wait_for(port: int, wanted: int, seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while answers(port) != wanted:
        assert time.monotonic() < end, f"port {port} did not come to {wanted}"
        time.sleep(0.1)


@pytest.fixture
def page(ready: System, environment: dict[str, str], tmp_path: Path) -> Iterator[Page]:
    yield from served(environment, tmp_path)


def served(environment: dict[str, str], folder: Path) -> Iterator[Page]:
    """A process that serves the page, in a session of its own."""
    port = free_port()
    environ = {**os.environ, **environment, "BUDGET_WEB_PORT": str(port)}
    process = Prepared(["web"], environ, ROOT, folder / "web.log")
    try:
        wait_for(port, 200)
        yield process, port
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_asked_to(page: Page, number: signal.Signals, tmp_path: Path) -> None:
    process, port = page
    process.send_signal(number)
    status, said = process.wait(PATIENCE_S), (tmp_path / "web.log").read_text()
    assert status == 0, said
    assert "Traceback" not in said
    assert f"http://127.0.0.1:{port}/" in said
    assert answers(port) == 0


def test_ctrl_c_at_a_terminal_reaches_both_processes_and_is_no_failure(page: Page, tmp_path: Path) -> None:
    process, port = page
    os.killpg(process.pid, signal.SIGINT)
    status, said = process.wait(PATIENCE_S), (tmp_path / "web.log").read_text()
    assert status == 0, said
    assert "Traceback" not in said
    assert answers(port) == 0


def test_killed_without_a_word_it_leaves_no_orphan(page: Page) -> None:
    process, port = page
    process.kill()
    process.wait()
    wait_for(port, 0)


def test_a_taken_port_is_refused_with_the_settings_name(ready: System, environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidSetting, match=f"BUDGET_WEB_PORT {port} cannot be listened on"):
            run_web(Settings.load({**environment, "BUDGET_WEB_PORT": str(port)}, None))
