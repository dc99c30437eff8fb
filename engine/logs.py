"""Logging, configured in one place: one JSON object a line, or readable lines on a terminal. Records of all libraries
go the same way.

Modules log through the standard library (`logging.getLogger(__name__)`, figures in `extra`). Fields that are bound
here (the id of a request or job) are in every line of that thread. So one id connects a page, the catalog's audit
trail and the jobs that follow. Bidders do not import this module. structlog is imported where it is used, to keep
short commands fast.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

STYLE: Final = "BUDGET_LOGS"
"""The variable with `text` or `json`. `up` sets it for its children, whose stderr is a pipe to `up`'s terminal."""
_OURS: Final = ("engine", "web", "api")
_PASSWORDS: Final = re.compile(
    r"(\w://[^\s:/@]*:)\S+@|((?:password|client_secret|scram_\w+_key)\s*=\s*)('[^']*'|[^&\s'\"]+)", re.IGNORECASE
)
_INVISIBLE: Final = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories of characters that are invisible or change how others appear: controls, direction and zero-width
characters, line ends.
"""


def visible(text: str, kept: str = "") -> str:
    """Escapes invisible characters, except those in `kept`. So a name or error from outside cannot forge a log line or
    hide a part of one.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in kept or unicodedata.category(c) not in _INVISIBLE else _escape(c) for c in text)


def _escape(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def wants_text(stream: TextIO) -> bool:
    """Whether a stream gets readable lines instead of JSON."""
    style = os.environ.get(STYLE, "")
    return style == "text" or (style != "json" and stream.isatty())


def configure(stream: TextIO | None = None) -> None:
    """Sends all log records of this process to a stream, stderr by default.

    The level is WARNING; as JSON, the engine's own records are logged from INFO on.
    """
    import structlog

    out = sys.stderr if stream is None else stream
    text = wants_text(out)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%SZ" if text else "iso", utc=True, key="at"),
    ]
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    last += [structlog.processors.format_exc_info, _without_passwords, _escape_invisible]
    last.append(_line if text else structlog.processors.JSONRenderer(ensure_ascii=False))
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.WARNING if text else logging.INFO)


@contextmanager
def bound(**what: str) -> Iterator[None]:
    """Adds fields to every line that this thread logs inside the block."""
    import structlog

    with structlog.contextvars.bound_contextvars(**what):
        yield


def request_id() -> str | None:
    """The id of the HTTP request that this thread handles; None outside of one."""
    import structlog

    found: Any = structlog.contextvars.get_contextvars().get("request_id")
    return str(found) if found else None


def _without_passwords(_: Any, __: str, event: EventDict) -> EventDict:
    return {key: _masked(value) if isinstance(value, str) else value for key, value in event.items()}


def _masked(text: str) -> str:
    return _PASSWORDS.sub(lambda found: f"{found[1]}***@" if found[1] else f"{found[2]}***", text)


def _escape_invisible(_: Any, __: str, event: EventDict) -> EventDict:
    """Escapes invisible characters in all values. A traceback keeps its line ends and tabs."""
    return {
        visible(str(key)): _escape_value(value, "\n\t" if key == "exception" else "") for key, value in event.items()
    }


def _escape_value(value: Any, kept: str = "") -> Any:
    if isinstance(value, str):
        return visible(value, kept)
    if isinstance(value, dict):
        return {visible(str(key)): _escape_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_escape_value(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else visible(str(value))


def _line(_: Any, __: str, event: EventDict) -> str:
    """Formats a readable line, `12:00:00Z WARNING message request_id=...`, with a traceback below it, if there is one.

    A value with spaces is quoted, and each traceback line starts with a bar, so neither can imitate a field or a line.
    """
    at, level, message = event.pop("at"), event.pop("level").upper(), event.pop("event")
    event.pop("logger", None)
    traceback = event.pop("exception", "")
    more = "".join(f" {key}={_quoted(value)}" for key, value in event.items())
    return f"{at} {level} {message}{more}" + "".join(f"\n  | {line}" for line in traceback.split("\n") if traceback)


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[\s="]|^$', text) else text
