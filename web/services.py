"""Gives a request access to the services of its process (`engine.wiring.System`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from engine.wiring import System

KEY = "budget_engine"


def services() -> System:
    """The services that the app was made with."""
    return cast("System", current_app.extensions[KEY])
