"""Prints the output of several processes on one terminal. Each line begins with the name of its process."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Mapping
from typing import Final, TextIO

from engine.logs import visible

_COLOURS: Final = (36, 32, 33, 35, 34, 96, 92, 93)
WIDTH: Final = 9
TAB: Final = "\t"


class Printer:
    """Prints lines with a process name in front. Thread-safe. Colours appear only on a terminal without NO_COLOR."""

    def __init__(self, out: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._out = sys.stdout if out is None else out
        self._lock = threading.Lock()
        self._colours: dict[str, int] = {}
        self._coloured = self._out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"

    def line(self, name: str, text: str) -> None:
        """Prints one line of a process. Errors of a closed terminal are ignored."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            # A child's output may contain terminal escape codes, or text that looks like another child's line.
            self._out.write(f"{self._head(name)} {visible(text.rstrip(), kept=TAB)}\n")
            self._out.flush()

    def say(self, text: str) -> None:
        """Prints a line of the supervisor itself."""
        self.line("up", text)

    def _head(self, name: str) -> str:
        head = f"{name:<{WIDTH}}|"
        if not self._coloured:
            return head
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        return f"\033[{colour}m{head}\033[0m"
