"""Text of others, fit to be looked at: what cannot be seen in it is written as an escape, and nothing is longer than a page can bear.

Old rows of the catalog may hold such signs, from before the door of names (`engine/domain/names.py`); jobs hold whatever somebody wrote to their Redis.
"""

from __future__ import annotations

from typing import Any, Final

from flask import Flask

from engine.domain.names import seen

LONGEST: Final = 4000
"""Characters of one text that a job page shows."""
_HEAD: Final = 1000
_ITEMS: Final = 200
_DEPTH: Final = 6


def cut(text: str, kept: str = "\n\t") -> str:
    """A text as a job page shows it: its beginning and its end, because an error's reason stands last."""
    left_out = len(text) - LONGEST
    if left_out > 0:
        apart = "\n" if "\n" in kept else " "
        notice = f"... {left_out:,} characters are left out here ..."
        text = apart.join((text[:_HEAD], notice, text[_HEAD - LONGEST :]))
    return seen(text, kept)


def bounded(value: Any, depth: int = _DEPTH) -> Any:
    """An answer for a page with every text in it cut, and no more of a list than can be read."""
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, dict) and depth:
        return {cut(str(key)): bounded(each, depth - 1) for key, each in list(value.items())[:_ITEMS]}
    if isinstance(value, list | tuple) and depth:
        return [bounded(each, depth - 1) for each in value[:_ITEMS]]
    return value if value is None or isinstance(value, bool | int | float) else cut(str(value))


def install(app: Flask) -> None:
    """From here on no template writes a text with a sign that cannot be seen.

    What is markup already was made from such texts; only the fields of forms hold what stands in the catalog, sign for sign, so that a name is not
    renamed by saving its form.
    """
    app.jinja_env.finalize = lambda value: seen(value) if type(value) is str else value
    app.jinja_env.filters["cut"] = lambda value: cut(str(value), kept="")
