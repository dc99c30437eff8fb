"""Scripts of a later release, as its readers see them: the monthly budget has a bit and a name that this release does
not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from engine.domain.causes import CAUSES, MONTHLY_BUDGET, mask_of
from engine.live.scripts import lua_folder, swapping

NEW_BIT: Final = 2 * max(row.bit for row in CAUSES)
NEW_NAME: Final = "weekly_budget"


@contextmanager
def later_release() -> Iterator[None]:
    """Runs this process's scripts with the new bit and name."""
    piece = "lib/budgets.lua"
    budgets = (lua_folder() / piece).read_text(encoding="utf-8")
    later, rows = re.subn(
        rf"^-- \| {MONTHLY_BUDGET} +\| brand +\| {mask_of((MONTHLY_BUDGET,))} +",
        f"-- | {NEW_NAME} | brand | {NEW_BIT} ",
        budgets,
        flags=re.M,
    )
    assert rows == 1, "the list of budgets is written in another way"
    with swapping({piece: later}):
        yield
