"""The one door to the compiled steps of `budget-engine-speedups`, which is optional: chosen once, at the first import.

The Python code beside each step is the reference, and runs where the speedups are not installed, are of another
release, or are turned off by `BUDGET_SPEEDUPS=0`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Final

__all__ = ["DISTRIBUTION", "Speedups", "speedups"]

DISTRIBUTION: Final = "budget-engine-speedups"
_MODULE: Final = "budget_engine_speedups"
_SWITCH: Final = "BUDGET_SPEEDUPS"
_API: Final = 1
"""Of `speedups/budget_engine_speedups.c`, which this file was written for."""

Packs = Callable[[Sequence[int], Sequence[int], Sequence[int], int], tuple[str, bytes] | None]


class Speedups:
    """The compiled steps that are in use.

    pack: packs a call (`engine/live/packed.py`), or None where it is not in use. why: what is in use, in a line.
    broken: whether the speedups are installed and cannot be used.
    """

    __slots__ = ("_module", "broken", "pack", "why")

    def __init__(self) -> None:
        self._module: ModuleType | None = None
        self.pack: Packs | None = None
        self.broken = False
        if os.environ.get(_SWITCH) == "0":
            self.why = f"pure Python: {_SWITCH}=0"
            return
        try:
            found = importlib.import_module(_MODULE)
        except ModuleNotFoundError:
            self.why = f"pure Python: {DISTRIBUTION} is not installed"
            return
        except ImportError as error:
            self._leave_out(" ".join(str(error).split()))
            return
        if getattr(found, "API", None) != _API:
            self._leave_out("it is of another release than the client")
            return
        self._module, self.pack = found, found.pack
        self.why = f"{DISTRIBUTION} in use"

    def quicken(self, spend: type) -> None:
        """Lets calls of `Spend` make their tuple in C; what the class is stays the same."""
        if self._module is None:
            return
        try:
            self._module.quicken(spend)
        except TypeError as error:
            self._leave_out(str(error))

    def _leave_out(self, why: str) -> None:
        self._module, self.pack, self.broken = None, None, True
        self.why = f"pure Python: {DISTRIBUTION} cannot be used: {why}"


speedups: Final = Speedups()
