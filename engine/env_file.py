"""Reads `.env`: NAME=value, a line each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from engine.errors import InvalidSetting

_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)


def read_env_file(path: Path) -> dict[str, str]:
    """The settings of a file by name; none where there is no file. Raises InvalidSetting for one that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidSetting(f"{path} cannot be read ({why}): make it readable, or take it away", ".env") from None
    out: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            # The error does not show the line, because it may have a part of a password.
            raise InvalidSetting(f"{path} line {number} is not NAME=value: write it like BUDGET_WEB_PORT=8000", ".env")
        out[match[1]] = _unquoted(match[2], path, number)
    return out


def _unquoted(value: str, path: Path, number: int) -> str:
    value = value.strip()
    if value[:1] in ("'", '"'):
        end = value.find(value[0], 1)
        after = value[end + 1 :].strip()
        if end < 0 or (after and not after.startswith("#")):
            raise InvalidSetting(f"{path} line {number} has a quote that does not close", ".env")
        return value[1:end]
    # A comment needs a space before its #, because passwords and URLs may contain one.
    return re.split(r"\s#", value, maxsplit=1)[0].strip()
