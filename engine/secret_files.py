"""Reads secrets from files, as containers provide them: `REDIS_URL_FILE=/run/secrets/redis` instead of `REDIS_URL=...`.

A file's content appears in no process list and in no child's environment. Standard library only, because bidders
import it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from engine.errors import InvalidSetting, shown

FROM_FILE: Final = (
    "REDIS_URL",
    "JOBS_REDIS_URL",
    "DATABASE_URL",
    "SECRET_KEY",
    "BUDGET_ADMIN_PASSWORD",
    "BUDGET_OIDC_CLIENT_SECRET",
    "METRICS_TOKEN",
)
SUFFIX: Final = "_FILE"
_LONGEST: Final = 64 << 10


def secret(name: str, value: str, path: str, base: Path) -> str:
    """A setting's value: the given one, or the content of its file. base: the start of relative paths. Raises
    InvalidSetting, which never shows the content.
    """
    if not path:
        return value
    setting = f"{name}{SUFFIX}"
    if value:
        raise InvalidSetting(f"{name} and {setting} are both set: set one of them", setting)
    named = f"{setting} names {shown(path)}, which"
    try:
        content = _read(base / Path(path).expanduser())
    except OSError as error:
        raise InvalidSetting(
            f"{named} cannot be read ({error.strerror}): make it readable, or set {name}", setting
        ) from None
    except (ValueError, RuntimeError):
        raise InvalidSetting(f"{named} is no path: name a file that holds {name}", setting) from None
    if content is None:
        raise InvalidSetting(
            f"{named} is not a file of at most {_LONGEST >> 10} KiB: name one that holds {name}", setting
        )
    try:
        # utf-8-sig drops a byte order mark, which editors on Windows write and which would become part of the password.
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise InvalidSetting(f"{named} is not UTF-8 text: write {name} into it, on one line", setting) from None
    if not text:
        raise InvalidSetting(f"{named} is empty: write {name} into it, on one line", setting)
    if len(text.splitlines()) > 1 or "\0" in text:
        raise InvalidSetting(f"{named} holds more than one line: write {name} alone into it", setting)
    return text


def _read(path: Path) -> bytes | None:
    """The content of a file; None where it is no regular file or too large. A pipe without a writer does not block."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        content = file.read(_LONGEST + 1)
        return content if len(content) <= _LONGEST else None
