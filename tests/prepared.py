"""Starts `python -m engine ...` as a fork of one process that has imported the engine before: half of what a test with
processes of its own costs is their imports. `first_start.py`, `test_manners.py` and `up` start the interpreter itself.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.preloaded"])


class Prepared:
    """One command of the engine in a process and a session of its own, with the part of Popen that tests use.

    words: what stands after `budget-engine`. log: gets what it says, stdout and stderr. errors: gets stderr instead.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        errors: Path | None = None,
    ) -> None:
        self._words = list(words)
        log.touch()
        files = (str(log), str(errors or log))
        self._fork = _FORKS.Process(target=_run, args=(self._words, dict(environment), str(folder), files))
        self._fork.start()

    @property
    def pid(self) -> int:
        pid = self._fork.pid
        assert pid is not None
        return pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._fork.exitcode

    def poll(self) -> int | None:
        return self._fork.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises TimeoutExpired."""
        self._fork.join(timeout)
        status = self._fork.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(self._words, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended, as with Popen."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def ran(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end; its input is empty. Raises TimeoutExpired."""
    with tempfile.TemporaryDirectory() as place:
        out, errors = Path(place, "out"), Path(place, "errors")
        process = Prepared(words, environment, folder, out, errors)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(list(words), status, out.read_text(), errors.read_text())


def _run(words: list[str], environment: dict[str, str], folder: str, files: tuple[str, str]) -> None:
    """What the interpreter would have done for `python -m engine`, in the fork."""
    os.setsid()
    for number, file in enumerate(files, 1):
        out = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(out, number)
        os.close(out)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["budget-engine", *words]
    atexit._clear()
    try:
        runpy.run_module("engine", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
