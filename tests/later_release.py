"""Scripts of a release after this one, as far as its readers are concerned: the month's budget has a bit and a name that this release does not know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from engine.domain.causes import CAUSES, MONTHLY_BUDGET
from engine.live.scripts import lua_folder, swapping

NEW_BIT: Final = 1 << len(CAUSES)
NEW_NAME: Final = "weekly_budget"


@contextmanager
def later_release() -> Iterator[None]:
    """Runs this process's scripts with the new bit and name."""
    old = ", ".join(str(row.bit) for row in CAUSES)
    new = old.removesuffix(str(CAUSES[-1].bit)) + str(NEW_BIT)
    pieces, changed = {}, {old: 0, MONTHLY_BUDGET: 0}
    for path in lua_folder().rglob("*.lua"):
        text = path.read_text(encoding="utf-8")
        changed[old] += text.count(f"= {old}\n")
        changed[MONTHLY_BUDGET] += text.count(f"'{MONTHLY_BUDGET}'")
        pieces[path.relative_to(lua_folder()).as_posix()] = text.replace(f"= {old}\n", f"= {new}\n").replace(
            f"'{MONTHLY_BUDGET}'", f"'{NEW_NAME}'"
        )
    assert all(changed.values()), "the scripts spell causes in another way"
    with swapping(pieces):
        yield
