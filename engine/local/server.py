"""What Valkey and PostgreSQL have in common as children of ours: launched, waited for, looked after, stopped cleanly."""

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
"""A journal of gigabytes takes a while to read; a server that ends by itself is noticed at once."""
STOP_S: Final = 30.0
_LOG_LIMIT: Final = 8 << 20
_POLL_S: Final = 0.02


class PortTaken(Exception):
    """Somebody took the port between our look and the server's start: the caller gives another."""


class Server(ABC):
    """One embedded server. Not thread-safe: launched and stopped from the main thread."""

    stop_signal: ClassVar[signal.Signals]
    """Ends it in order, with everything written."""
    environ: ClassVar[Mapping[str, str]] = {}
    """What it needs in its environment beside what every server has."""

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
        """Where it is, password included."""

    @abstractmethod
    def launch(self) -> None:
        """Starts the program; does not wait for it."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it takes commands now. One quick look."""

    @property
    def folder(self) -> Path:
        """Its data."""
        return self.data.folder(self.role, self.program.data_name)

    @property
    def log(self) -> Path:
        """What it says."""
        return self.data.logs() / f"{self.role}.log"

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def wait(self, should_stop: Callable[[], bool], patience_s: float = READY_S) -> None:
        """Until it answers. Raises KeyboardInterrupt when it should stop, PortTaken, or ServerAway with its last words when it ended or took too long."""
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
        """Ends it in order; by force when it does not end. Does nothing when it does not run."""
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
        """The end of its log, in one line."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - 2000))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return "it said nothing"
        telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "ERROR", "# "))]
        return " ".join(" | ".join((telling or lines)[-3:]).split()) or "it said nothing"

    def end_leftovers(self) -> None:
        """A killed `up` leaves servers that are still writing their last page: two on one folder would ruin it."""
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
        """Runs the program as the servers' user, in its folder, its words in the log, `config` on its standard input."""
        with self.data.open_log(self.role, _LOG_LIMIT) as log:
            self.process = subprocess.Popen(
                args,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**plain_environment(), **self.environ},
                # A terminal's Ctrl-C is for the supervisor, which ends the servers last.
                start_new_session=True,
                preexec_fn=dies_with_us(self.stop_signal),  # noqa: PLW1509  # it makes two system calls, and no more
                user=self.data.account.uid if self.data.account else None,
                group=self.data.account.gid if self.data.account else None,
                extra_groups=[] if self.data.account else None,
            )
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(config)
            self.process.stdin.close()
        except BrokenPipeError:
            # It ended already; wait() tells why.
            pass

    def _away(self, hint: str) -> ServerAway:
        return ServerAway(self.title, f"127.0.0.1:{self.port}", hint)


def plain_environment() -> dict[str, str]:
    """What a server needs of ours: no PGDATA, no locale, no secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
