"""A child process under the supervisor. Its output is printed, its exit is noticed, and its process group ends with
it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from engine.local.bound import dies_with_us
from engine.local.printer import Printer

_POLL_S: Final = 0.05


class Backoff:
    """Exponential backoff: the wait doubles up to `longest_s`, and starts anew after a run of at least `steady_s`."""

    def __init__(self, first_s: float = 0.5, longest_s: float = 10.0, steady_s: float = 30.0) -> None:
        self._first_s, self._longest_s, self._steady_s = first_s, longest_s, steady_s
        self._next_s = first_s

    def after(self, lived_s: float) -> float:
        """The wait in seconds after a run of `lived_s` seconds."""
        if lived_s >= self._steady_s:
            self._next_s = self._first_s
        wait_s = self._next_s
        self._next_s = min(wait_s * 2, self._longest_s)
        return wait_s


class Child:
    """One command as a child process. Call it from the main thread only; a thread of its own reads the output.

    printer: prints the output under the child's name. Without a printer the child inherits stdout and stderr.
    """

    def __init__(
        self, name: str, args: Sequence[str], environ: Mapping[str, str], printer: Printer | None = None
    ) -> None:
        self.name = name
        self._args = list(args)
        self._environ = dict(environ)
        self._printer = printer
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started = 0.0

    @property
    def pid(self) -> int | None:
        """The process id, also of a process that has just ended; None before the first start."""
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs and before it starts."""
        return self._process.poll() if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def lived_s(self) -> float:
        """Seconds since the last start."""
        return time.monotonic() - self._started

    def start(self) -> None:
        """Starts the process in a session of its own, so that the terminal's Ctrl-C reaches the supervisor alone."""
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            self._args,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._printer else None,
            stderr=subprocess.STDOUT if self._printer else None,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            env=self._environ,
            start_new_session=True,
            preexec_fn=dies_with_us(signal.SIGTERM),  # noqa: PLW1509  # it makes two system calls only
        )
        if self._printer is not None:
            self._reader = threading.Thread(
                target=self._read, args=(self._process, self._printer), name=f"{self.name} output", daemon=True
            )
            self._reader.start()

    def terminate(self) -> None:
        """Sends SIGTERM; does nothing when the process does not run."""
        if self._process is not None and self.alive:
            self._process.terminate()

    def end_group(self) -> None:
        """Kills what is left of the process group, and waits up to 2 s for the last line of output."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._reader is not None:
            self._reader.join(2)

    def how_it_ended(self) -> str:
        """The exit status for people: `status 1`, `signal SIGKILL`."""
        code = self.returncode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return f"signal {signal.Signals(-code).name}"
        return f"status {code}"

    def _read(self, process: subprocess.Popen[str], printer: Printer) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                printer.line(self.name, line)


def stop_together(
    children: Sequence[Child], patience_s: float, hurried: Callable[[], bool] = lambda: False
) -> list[str]:
    """Sends SIGTERM to all children, waits, then kills the rest. Returns the names of those that it killed.

    patience_s: the longest wait. hurried: asked again and again; True ends the wait at once.
    """
    for child in children:
        child.terminate()
    deadline = time.monotonic() + patience_s
    while any(child.alive for child in children) and time.monotonic() < deadline and not hurried():
        time.sleep(_POLL_S)
    slow = [child.name for child in children if child.alive]
    for child in children:
        child.end_group()
    return slow
