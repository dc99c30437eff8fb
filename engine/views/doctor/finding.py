"""A finding, and how a look that fails becomes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from engine.errors import BudgetError

State = Literal["ok", "warn", "fail", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. todo is empty where nothing is to be done."""

    name: str
    state: State
    detail: str
    todo: str = ""


def guarded(name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a check. One that raises is a finding too, and hides no other."""
    try:
        yield from look()
    except BudgetError as error:
        yield Finding(name, "fail", str(error))
    except Exception as error:  # noqa: BLE001  # an error in one finding must not hide the others
        yield Finding(name, "unknown", f"cannot tell: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
