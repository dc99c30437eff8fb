"""Counts the instructions of scripts, by Valgrind: a number that a crowded machine does not change.

A copy of the embedded Valkey runs under callgrind, which collects only inside EVALSHA. It has a copy of every key of
another server, so that a measure makes its brands there, at full speed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import redis

from engine.local.binaries import find_valkey
from engine.local.ports import any_free

_TOTALS: Final = re.compile(r"^totals: (\d+)", re.M)
_PATIENCE_S: Final = 120


def can_count() -> bool:
    """Whether this machine has Valgrind."""
    return shutil.which("valgrind") is not None


class Counter:
    """The server under callgrind. plain: its client, slow but patient."""

    def __init__(self, plain: redis.Redis, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.plain = plain
        self._process = process
        self._folder = folder
        self._dumps = 0

    def instructions(self, work: Callable[[], object]) -> int:
        """The instructions of all scripts that run in `work`."""
        self._dump()
        work()
        return self._dump()

    def _dump(self) -> int:
        """The instructions since the last dump."""
        pid = self._process.pid
        subprocess.run(["callgrind_control", f"--dump={self._dumps}", str(pid)], check=True, capture_output=True)
        self._dumps += 1
        path, ends = self._folder / f"callgrind.out.{self._dumps}", time.monotonic() + _PATIENCE_S
        while not (path.exists() and (found := _TOTALS.search(path.read_text(errors="replace")))):
            if time.monotonic() > ends:
                raise TimeoutError(f"valgrind wrote no counts into {path}: is callgrind_control of the same version?")
            time.sleep(0.01)
        path.unlink()
        return int(found[1])


@contextmanager
def counting(source: redis.Redis) -> Iterator[Counter]:
    """A server under callgrind with the keys of `source`; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="budget-count-") as name:
        folder = Path(name)
        program, port = find_valkey(), any_free()
        process = subprocess.Popen(
            [
                "valgrind", "--tool=callgrind", "--toggle-collect=evalShaCommand",
                f"--callgrind-out-file={folder}/callgrind.out",
                program.path(program.parts[0]), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                "--appendonly", "no", "--dir", name,
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        plain = redis.Redis(port=port, socket_timeout=_PATIENCE_S)
        try:
            _wait(plain)
            _copy(source, plain)
            yield Counter(plain, process, folder)
        finally:
            plain.close()
            process.kill()
            process.wait()


def _copy(source: redis.Redis, target: redis.Redis) -> None:
    keys: list[bytes] = list(source.scan_iter(count=1000))
    for key in keys:
        value: Any = source.dump(key)
        if value is not None:
            target.restore(key, 0, value, replace=True)


def _wait(plain: redis.Redis) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while True:
        try:
            plain.ping()
            return
        except redis.exceptions.ConnectionError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.1)
