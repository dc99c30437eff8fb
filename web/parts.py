"""What the pages need of a process' parts (`engine.wiring.System` has it all), and how a request gets at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from engine.wiring import System

KEY = "budget_engine"


def parts() -> System:
    """The parts that the app was made with."""
    return cast("System", current_app.extensions[KEY])
