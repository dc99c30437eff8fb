"""How a request gets at the process's services (`engine.wiring.System`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from engine.wiring import System

KEY = "budget_engine"


def parts() -> System:
    """The services with which the app was made."""
    return cast("System", current_app.extensions[KEY])
