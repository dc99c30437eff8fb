"""Makes text from others safe to show: invisible characters are escaped, and long texts are cut.

Old rows of the catalog may have such characters, from before names were normalised (`engine/domain/names.py`); jobs
have whatever was written to their Redis.
"""

from __future__ import annotations

from typing import Any, Final

from flask import Flask
from markupsafe import Markup

from engine.domain.names import seen

LONGEST: Final = 4000
"""Characters of one text that a job page shows."""
_HEAD: Final = 1000
_ITEMS: Final = 200
_DEPTH: Final = 6


def cut(text: str, kept: str = "\n\t") -> str:
    """A text for a job page: its beginning and its end, because an error's reason is at the end."""
    left_out = len(text) - LONGEST
    if left_out > 0:
        apart = "\n" if "\n" in kept else " "
        notice = f"... {left_out:,} characters are left out here ..."
        text = apart.join((text[:_HEAD], notice, text[_HEAD - LONGEST :]))
    return seen(text, kept)


def bounded(value: Any, depth: int = _DEPTH) -> Any:
    """A value for a page with every text in it cut, and only the first items of long lists."""
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, dict) and depth:
        return {cut(str(key)): bounded(each, depth - 1) for key, each in list(value.items())[:_ITEMS]}
    if isinstance(value, list | tuple) and depth:
        return [bounded(each, depth - 1) for each in value[:_ITEMS]]
    return value if value is None or isinstance(value, bool | int | float) else cut(str(value))


def install(app: Flask) -> None:
    """Makes every template escape invisible characters.

    Markup was made from escaped texts already. Only the fields of forms have the stored text unchanged, so that
    saving a form does not rename anything.
    """
    app.jinja_env.finalize = lambda value: seen(value) if type(value) is str else value
    app.jinja_env.filters["written"] = lambda value: Markup("{}").format(seen(str(value).replace("\r\n", "\n"), "\n\t"))
    app.jinja_env.filters["cut"] = lambda value: cut(str(value), kept="")
