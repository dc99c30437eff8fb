"""Reads redis-cli transcripts out of a document and says what a real Redis answers to them."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from typing import Any, Final

import redis

from engine.domain.periods import ms_of
from engine.live.scripts import NAMES, script

PROMPT: Final = "redis> "
_BLOCK: Final = re.compile(r"^```redis\n(.*?)^```$", re.M | re.S)
_CLOCK: Final = re.compile(r"# (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z")


def _words(line: str) -> list[bytes]:
    """The words of a command, with redis-cli's `\\xNN` for a byte that is no text."""
    escaped = re.compile(rb"\\x([0-9a-f]{2})")
    return [
        escaped.sub(lambda match: bytes.fromhex(match[1].decode()), word.encode())
        for word in shlex.split(line.removeprefix(PROMPT))
    ]


def blocks(text: str) -> list[str]:
    """The transcripts of a document."""
    return _BLOCK.findall(text)


def answered(plain: redis.Redis, block: str) -> str:
    """The transcript as this Redis answers it: the same commands, with the replies that it gives. `# <instant>` moves the clock."""
    out: list[str] = []
    for line in block.splitlines():
        if line.startswith("#"):
            clock = _CLOCK.fullmatch(line)
            assert clock, f"{line!r} names no instant"
            plain.set("test:clock", ms_of(datetime.fromisoformat(clock[1]).replace(tzinfo=UTC)))
            out.append(line)
        elif line.startswith(PROMPT):
            out += [line, *_shown(_reply(plain, _words(line)))]
    return "\n".join(out) + "\n"


def _reply(plain: redis.Redis, words: list[bytes]) -> Any:
    if words[0] == b"EVALSHA":
        name = words[1].decode().removeprefix("$")
        assert name in NAMES, words[1]
        words[1] = plain.script_load(script(name).text).encode()
    # As bytes, through no reply callback: what redis-cli would show.
    connection = plain.connection_pool.get_connection()
    try:
        connection.send_command(*words)
        return connection.read_response()
    finally:
        plain.connection_pool.release(connection)


def _shown(reply: Any, indent: str = "") -> list[str]:
    """A reply as redis-cli prints it."""
    if isinstance(reply, list):
        if not reply:
            return ["(empty array)"]
        lines: list[str] = []
        width = len(str(len(reply)))
        for number, part in enumerate(reply, 1):
            label = f"{number:>{width}}) "
            shown = _shown(part, indent + " " * len(label))
            lines += [(indent if number > 1 else "") + label + shown[0], *shown[1:]]
        return lines
    if reply is None:
        return ["(nil)"]
    return [f"(integer) {reply}"] if isinstance(reply, int) else [f'"{reply.decode()}"']
