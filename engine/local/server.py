"""The base class of the embedded servers: start, wait until ready, stop cleanly."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from engine.errors import ServerAway
from engine.local.binaries import Program
from engine.local.bound import dies_with_us, processes_in
from engine.local.data_dir import DataDir

READY_S: Final = 60.0
"""Reading an append-only file of gigabytes takes a while. A server that exits is noticed at once."""
STOP_S: Final = 30.0
_LOG_LIMIT: Final = 8 << 20
_POLL_S: Final = 0.02


class PortTaken(Exception):
    """Another program took the port between the check and the server's start; the caller chooses another port."""


class Server(ABC):
    """One embedded server. Not thread-safe: start and stop it from the main thread."""

    stop_signal: ClassVar[signal.Signals]
    """The signal for a clean shutdown, after which all data is on disk."""
    environ: ClassVar[Mapping[str, str]] = {}
    """Environment variables of this server, in addition to `plain_environment`."""

    def __init__(self, role: str, title: str, data: DataDir, program: Program, password: str, port: int) -> None:
        self.role = role
        self.title = title
        self.data = data
        self.program = program
        self.password = password
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The server's URL, password included."""

    @abstractmethod
    def launch(self) -> None:
        """Starts the program; does not wait until it is ready."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server accepts commands now; one quick check."""

    @property
    def folder(self) -> Path:
        """The server's data folder."""
        return self.data.folder(self.role, self.program.data_name)

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.data.logs() / f"{self.role}.log"

    @property
    def alive(self) -> bool:
        """Whether the server's process is running."""
        return self.process is not None and self.process.poll() is None

    def wait(self, should_stop: Callable[[], bool], patience_s: float = READY_S) -> None:
        """Waits until the server accepts commands.

        Raises KeyboardInterrupt when `should_stop` returns True, PortTaken, and ServerAway with the end of the log when
        the server exits or takes longer than `patience_s`.
        """
        deadline = time.monotonic() + patience_s
        while not self.answers():
            if should_stop():
                raise KeyboardInterrupt
            if not self.alive:
                words = self.last_words()
                if "in use" in words.lower() and "address" in words.lower():
                    raise PortTaken
                raise self._away(f"it ended at its start: {words} (all of it in {self.log})")
            if time.monotonic() > deadline:
                raise self._away(
                    f"it did not answer within {patience_s:.0f} s: {self.last_words()} (all of it in {self.log})"
                )
            time.sleep(_POLL_S)

    def stop(self, patience_s: float = STOP_S) -> None:
        """Shuts the server down cleanly, and kills it after `patience_s`. Does nothing when it does not run."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def last_words(self) -> str:
        """The end of the server's log in one line, lines with errors preferred."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 2000))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return "it said nothing"
        telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "ERROR", "# "))]
        return " ".join(" | ".join((telling or lines)[-3:]).split()) or "it said nothing"

    def end_leftovers(self) -> None:
        """Ends servers that a killed `up` left in this folder, and waits for them. Two servers on one folder would
        corrupt its data.
        """
        deadline = time.monotonic() + STOP_S
        asked: set[int] = set()
        while left := processes_in(self.folder):
            for pid in left:
                if pid not in asked:
                    _signal(pid, self.stop_signal)
                    asked.add(pid)
                elif time.monotonic() > deadline:
                    _signal(pid, signal.SIGKILL)
            time.sleep(_POLL_S)

    def spawn(self, args: Sequence[str | Path], config: bytes = b"") -> None:
        """Runs the program in its folder as the servers' user. Its output goes to the log, `config` to its stdin."""
        with self.data.open_log(self.role, _LOG_LIMIT) as log:
            self.process = subprocess.Popen(
                args,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**plain_environment(), **self.environ},
                # The terminal's Ctrl-C must reach the supervisor alone, which stops the servers last.
                start_new_session=True,
                preexec_fn=dies_with_us(self.stop_signal),  # noqa: PLW1509  # it makes two system calls only
                user=self.data.account.uid if self.data.account else None,
                group=self.data.account.gid if self.data.account else None,
                extra_groups=[] if self.data.account else None,
            )
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(config)
            self.process.stdin.close()
        except BrokenPipeError:
            # The server has exited already; wait() raises the reason.
            pass

    def _away(self, hint: str) -> ServerAway:
        return ServerAway(self.title, f"127.0.0.1:{self.port}", hint)


def plain_environment() -> dict[str, str]:
    """The environment of a server: the few variables that it needs, without PGDATA, locale or secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
