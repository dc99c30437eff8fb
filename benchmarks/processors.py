"""Processor time of this process and the servers that it started, from /proc: on a busy machine wall time says little."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """One process. seconds: of processor time, its ended children included."""

    pid: int
    parent: int
    name: str
    seconds: float


def processor_s(name: str = "") -> float:
    """What this process and all that it started have used so far, or those with a name that begins so. 0 where there is no /proc."""
    return sum(process.seconds for process in started() if process.name.startswith(name))


def started(first: int | None = None) -> Iterator[Process]:
    """A process, this one where none is given, and all that it and they started."""
    found = list(_all())
    ours = {os.getpid() if first is None else first}
    while more := {process.pid for process in found if process.parent in ours} - ours:
        ours |= more
    return (process for process in found if process.pid in ours)


def pin(processors: set[int], *names: str) -> None:
    """Lets the servers with these names run on some processors alone, with all that they start from now on."""
    for process in started():
        if process.name.startswith(names):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, processors)


def _all() -> Iterator[Process]:
    tick = os.sysconf("SC_CLK_TCK")
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name is in brackets; after it the state, the parent, and further on four counts of clock ticks.
            head, _, rest = file.read_text().rpartition(")")
            fields = rest.split()
            yield Process(
                int(file.parent.name), int(fields[1]), head.partition("(")[2], sum(map(int, fields[11:15])) / tick
            )
