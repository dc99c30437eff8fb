"""The supervisor: what dies is started again, and whatever way it ends, nothing is left."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from engine.local.bound import processes_in
from engine.local.child import Backoff, Child, stop_together
from engine.local.data_dir import DataDir
from engine.local.ports import any_free, is_free, next_free
from engine.local.printer import Printer
from engine.local.servers import EmbeddedServers
from engine.local.supervisor import StopAsked, Supervisor
from tests.local.conftest import until

ROOT = Path(__file__).resolve().parents[2]
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
)
GRANDPARENT = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def child(name: str, code: str, out: io.StringIO) -> Child:
    return Child(name, [sys.executable, "-u", "-c", code], os.environ, Printer(out))


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return sys.platform != "linux"


def test_the_wait_doubles_to_ten_seconds_and_begins_again_after_a_steady_while() -> None:
    backoff = Backoff()
    assert [backoff.after(1) for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert backoff.after(31) == 0.5


def test_every_line_bears_the_name_of_who_said_it(out: io.StringIO) -> None:
    one = child("worker", "print('one'); print('two')", out)
    one.start()
    until(lambda: not one.alive)
    one.end_group()
    assert out.getvalue() == "worker   | one\nworker   | two\n"


def test_colours_only_on_a_terminal_that_wants_them() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    coloured, plain = Terminal(), Terminal()
    Printer(coloured, {}).line("web", "hello")
    Printer(plain, {"NO_COLOR": "1"}).line("web", "hello")
    assert "\033[" in coloured.getvalue()
    assert plain.getvalue() == "web      | hello\n"


def test_a_child_that_dies_is_started_again(out: io.StringIO) -> None:
    dying = child("web", "import time; time.sleep(600)", out)
    supervisor = Supervisor([[dying]], None, Printer(out), StopAsked())
    supervisor.start()
    first = dying.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: not dying.alive)
    until(lambda: supervisor.look() or dying.alive)
    assert dying.pid != first
    assert "web ended with signal SIGKILL; starting it again in 0.5 s" in out.getvalue()
    supervisor.stop()
    assert not dying.alive


def test_callers_are_stopped_before_what_carries_their_spends_on(out: io.StringIO) -> None:
    stages = [
        [child("web", "import time; time.sleep(600)", out)],
        [child("persist", "import time; time.sleep(600)", out)],
    ]
    supervisor = Supervisor(stages, None, Printer(out), StopAsked())
    supervisor.start()
    supervisor.stop()
    said = out.getvalue()
    assert 0 <= said.index("stopping web") < said.index("stopping persist")


def test_what_does_not_end_is_ended_by_force_with_its_own_children(out: io.StringIO) -> None:
    stubborn, parent = child("stubborn", STUBBORN, out), child("parent", GRANDPARENT, out)
    for one in (stubborn, parent):
        one.start()
    until(lambda: "ready" in out.getvalue() and "parent   | " in out.getvalue())
    grandchild = int(out.getvalue().split("parent   | ")[1].split()[0])
    assert stop_together([stubborn, parent], 3) == ["stubborn"]
    until(lambda: not runs(grandchild))


def test_a_second_ctrl_c_shortens_the_wait(out: io.StringIO) -> None:
    stubborn = child("stubborn", STUBBORN, out)
    stop = StopAsked()
    supervisor = Supervisor([[stubborn]], None, Printer(out), stop)
    supervisor.start()
    until(lambda: "ready" in out.getvalue())
    with stop.listening():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        until(lambda: stop.times == 2)
        supervisor.run()
        supervisor.stop()
    assert not stubborn.alive
    assert "ended by force" in out.getvalue()


def test_a_server_that_is_killed_comes_back_with_its_data_at_the_same_address(data_dir: Path, out: io.StringIO) -> None:
    with EmbeddedServers(data_dir) as servers:
        supervisor = Supervisor([], servers, Printer(out), StopAsked())
        hot = redis.Redis.from_url(servers.urls.hot)
        hot.set("spent", "3")
        hot.execute_command("WAITAOF", 1, 0, 60_000)
        for server in (servers.all[0], servers.all[2]):
            assert server.process is not None
            server.process.kill()
            server.process.wait()
        until(lambda: supervisor.look() or out.getvalue().count("answers again") == 2)
        assert redis.Redis.from_url(servers.urls.hot).get("spent") == b"3"


def test_a_free_port_is_none_that_the_system_gives_to_a_connection() -> None:
    """Else a connection takes the port of a server that is just being started again."""
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first = int(given.read_text().split()[0]) if given.exists() else 49_152
    found = [any_free() for _ in range(20)]
    assert all(1024 <= port < first for port in found), found
    assert len(set(found)) > 10, "two who look at the same time do not find the same"


def test_where_the_system_gives_every_port_away_a_free_one_is_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text("1024\t65535\n")
    monkeypatch.setattr("engine.local.ports._GIVEN_AWAY", tmp_path / "range")
    assert is_free(any_free())


def test_the_next_free_port_is_found() -> None:
    import socket

    with socket.socket() as taker:
        taker.bind(("127.0.0.1", 0))
        taker.listen()
        taken = taker.getsockname()[1]
        assert not is_free(taken)
        assert next_free(taken, "127.0.0.1") > taken


class Up:
    """A real `budget-engine up` and what it printed."""

    def __init__(self, data_dir: Path) -> None:
        environ = {**os.environ, "BUDGET_DATA_DIR": str(data_dir), "BUDGET_ENV_FILE": os.devnull}
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "engine", "up"],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.said = ""
        self._marker = f"BUDGET_DATA_DIR={data_dir}".encode()
        self._base = data_dir
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line

    def left(self) -> list[int]:
        """Processes of ours, found by the data folder in their environment, and servers at work in their folders."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self._marker in (entry / "environ").read_bytes().split(b"\0") and runs(int(entry.name)):
                    found.append(int(entry.name))
            except OSError:
                continue
        if self._base.exists():
            found += [pid for path in DataDir(self._base).base().glob("*-*") for pid in processes_in(path)]
        return found

    def until_running(self) -> None:
        until(lambda: "waiting for the page" in self.said or self.process.poll() is not None)
        assert self.process.poll() is None, self.said
        # The worker and scheduler have their processes by now.
        until(lambda: len(self.left()) >= 7)


@pytest.fixture
def up(data_dir: Path) -> Iterator[Up]:
    made = Up(data_dir)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
        made.process.wait()
        until(lambda: not made.left())


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


@on_linux
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_up_ends_cleanly_and_leaves_nothing(up: Up, number: signal.Signals) -> None:
    up.until_running()
    up.process.send_signal(number)
    assert up.process.wait(60) == 0, up.said
    until(lambda: "stopped, data kept" in up.said)
    assert up.left() == []
    assert "Traceback" not in up.said


@on_linux
def test_ctrl_c_pressed_again_and_again_still_leaves_nothing(up: Up) -> None:
    up.until_running()
    for _ in range(3):
        up.process.send_signal(signal.SIGINT)
    assert up.process.wait(60) == 0, up.said
    # PostgreSQL's own processes see by themselves that their first one was ended by force.
    until(lambda: up.left() == [])


@on_linux
def test_kill_9_of_up_ends_everything_it_started(up: Up) -> None:
    up.until_running()
    up.process.kill()
    up.process.wait()
    until(lambda: not up.left())
