"""The page as a process: it answers, ends cleanly when asked to, and leaves nothing on its port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from engine.errors import InvalidSetting
from engine.settings import Settings
from engine.wiring import System
from tests.patience import PATIENCE_S
from web.serve import run_web

CODE = "from engine.settings import Settings; from web.serve import run_web\nif __name__ == '__main__': run_web(Settings.load())"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
def page(ready: System, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    yield from served(environment)


def served(environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that serves the page, in a session of its own."""
    port = free_port()
    environ = {**os.environ, **environment, "BUDGET_WEB_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        wait_for(port, 200)
        yield process, port
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_asked_to(page: tuple[subprocess.Popen[str], int], number: signal.Signals) -> None:
    process, port = page
    process.send_signal(number)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert f"http://127.0.0.1:{port}/" in said
    assert answers(port) == 0


def test_ctrl_c_at_a_terminal_reaches_both_processes_and_is_no_failure(page: tuple[subprocess.Popen[str], int]) -> None:
    process, port = page
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert answers(port) == 0


def test_killed_without_a_word_it_leaves_no_orphan(page: tuple[subprocess.Popen[str], int]) -> None:
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
