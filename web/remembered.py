"""What a page showed last, to show it with its age while a server does not answer."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from flask import current_app

from engine.errors import ServerAway
from engine.views.kept import Kept


class Remembered(NamedTuple):
    """Values of a template. away: why they could not be read now; then they are `age_s` old."""

    values: dict[str, Any]
    away: ServerAway | None
    age_s: float


def read(key: Hashable, what: Callable[[], dict[str, Any]]) -> Remembered:
    """Reads, or takes what was read last where a server is away. Raises ServerAway where nothing was read before.

    Whoever may ask for the key may see what is kept of it: it is the same for all viewers.
    """
    kept: Kept[Hashable, dict[str, Any]] = current_app.extensions.setdefault("remembered", Kept(0.0))
    try:
        values = what()
    except ServerAway as away:
        last = kept.last(key)
        if last is None:
            raise
        return Remembered(last.value, away, last.age_s)
    kept.put(key, values)
    return Remembered(values, None, 0.0)
