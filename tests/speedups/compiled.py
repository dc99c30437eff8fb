"""The compiled module, a Spend that it makes, and the same class as Python makes it."""

from __future__ import annotations

import importlib
import os
from datetime import datetime
from decimal import Decimal
from types import ModuleType
from typing import Any, Final, NamedTuple

import pytest

EXAMPLES: Final = int(os.environ.get("TEST_SPEEDUPS_EXAMPLES", "400"))
"""Of each comparison, or a part of it; `make speedups` takes more."""


def compiled() -> ModuleType:
    """The compiled module. Skips the test where it is not built, or fails it where programs are required, as in CI."""
    try:
        return importlib.import_module("budget_engine_speedups")
    except ImportError as error:
        if os.environ.get("BUDGET_REQUIRE_TOOLS") == "1":
            pytest.fail(f"the speedups are not built, and BUDGET_REQUIRE_TOOLS=1 asks for them: {error}")
        pytest.skip(f"the speedups are not built: {error}")


def new_spend() -> Any:
    """A class as `Spend` is written in engine/client/spends.py, made anew."""

    class Spend(NamedTuple):
        campaign_id: int
        amount: str | Decimal | None = None
        event_id: str | None = None
        amount_micros: int | None = None
        occurred_at: datetime | None = None

    return Spend
