"""Reads the YAML of our own files: block mappings and lists, flow collections, quoted and plain scalars, anchors and merges.

What is beyond that raises ValueError, so our files keep to what every reader of YAML understands alike. Where PyYAML is there, a test compares the two.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

_KEY: Final = re.compile(r"""("[^"]*"|'[^']*'|[A-Za-z0-9_./<*&%$-][^:{}\[\]#"']*?):(?: +(.*))?$""")
_ANCHOR: Final = re.compile(r"&([\w-]+)(?: +(.*))?$")
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")


class _Line(NamedTuple):
    number: int
    indent: int
    text: str


def documents(text: str) -> list[Any]:
    """Every document of a file, empty ones left out."""
    found = [_Reader(part).document() for part in re.split(r"^---\s*$", text, flags=re.M)]
    return [document for document in found if document is not None]


def document(text: str) -> Any:
    """The one document of a file."""
    (found,) = documents(text)
    return found


class _Reader:
    def __init__(self, text: str) -> None:
        self._lines = [
            _Line(number, len(line) - len(line.lstrip(" ")), stripped)
            for number, line in enumerate(text.splitlines(), 1)
            if (stripped := _without_comment(line).strip())
        ]
        self._at = 0
        self._anchors: dict[str, Any] = {}

    def document(self) -> Any:
        if not self._lines:
            return None
        if any("\t" in line.text for line in self._lines):
            raise ValueError("a tab")
        found = self._block(self._lines[0].indent)
        if self._at != len(self._lines):
            raise ValueError(f"line {self._lines[self._at].number}: {self._lines[self._at].text}")
        return found

    def _block(self, indent: int) -> Any:
        line = self._lines[self._at]
        if line.text.startswith("- ") or line.text == "-":
            return self._list(indent)
        return self._mapping(indent) if _KEY.fullmatch(line.text) else self._scalar()

    def _list(self, indent: int) -> list[Any]:
        found = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.indent != indent or not line.text.startswith("- "):
                break
            # What follows the dash stands two columns further in, as if on a line of its own.
            self._lines[self._at] = _Line(line.number, indent + 2, line.text[2:].strip())
            found.append(self._block(indent + 2))
        return found

    def _mapping(self, indent: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.indent != indent:
                if line.indent > indent:
                    raise ValueError(f"line {line.number} is indented too far: {line.text}")
                break
            match = _KEY.fullmatch(line.text)
            if match is None:
                break
            key, rest = str(_scalar(match[1])), match[2] or ""
            if key in found:
                raise ValueError(f"line {line.number}: {key} twice")
            self._at += 1
            value = self._value(rest, indent)
            if key == "<<":
                merged.append(value)
            else:
                found[key] = value
        return {**{k: v for one in merged for k, v in one.items()}, **found}

    def _value(self, rest: str, indent: int) -> Any:
        anchor = _ANCHOR.fullmatch(rest)
        if anchor:
            rest = anchor[2] or ""
        if rest:
            value = self._anchors[rest[1:]] if rest.startswith("*") else _flow(rest)
        else:
            value = self._below(indent)
        if anchor:
            self._anchors[anchor[1]] = value
        return value

    def _below(self, indent: int) -> Any:
        """What is indented further; a list may begin in the column of its key."""
        if self._at == len(self._lines):
            return None
        line = self._lines[self._at]
        if line.indent > indent or (line.indent == indent and line.text.startswith("- ")):
            return self._block(line.indent)
        return None

    def _scalar(self) -> Any:
        line = self._lines[self._at]
        self._at += 1
        return _flow(line.text)


def _without_comment(line: str) -> str:
    quote = ""
    for at, sign in enumerate(line):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'" and (at == 0 or line[at - 1] in " [{,("):
            quote = sign
        elif sign == "#" and (at == 0 or line[at - 1] == " "):
            return line[:at]
    return line


def _flow(text: str) -> Any:
    found, left = _flow_part(text, "")
    if left.strip():
        raise ValueError(f"{left!r} is left of {text!r}")
    return found


def _flow_part(text: str, ends: str) -> tuple[Any, str]:
    """A value, and what is left behind it. ends: the signs that end a plain scalar here."""
    text = text.lstrip()
    if text[:1] == "[":
        return _flow_list(text[1:])
    if text[:1] == "{":
        return _flow_mapping(text[1:])
    if text[:1] in ("'", '"'):
        end = re.match(r"'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"", text)
        if end is None:
            raise ValueError(f"{text!r} has a quote that does not close")
        return _scalar(end[0]), text[end.end() :]
    if text[:1] in ("|", ">", "&", "*", "!", "@", "`", "%"):
        raise ValueError(f"{text!r} is beyond this reader")
    at = next((i for i, sign in enumerate(text) if sign in ends), len(text)) if ends else len(text)
    return _scalar(text[:at].strip()), text[at:]


def _flow_list(text: str) -> tuple[list[Any], str]:
    found = []
    while not text.lstrip().startswith("]"):
        value, text = _flow_part(text, ",]")
        found.append(value)
        text = _after_comma(text, "]")
    return found, text.lstrip()[1:]


def _flow_mapping(text: str) -> tuple[dict[str, Any], str]:
    found: dict[str, Any] = {}
    while not text.lstrip().startswith("}"):
        key, text = _flow_part(text, ":}")
        text = text.lstrip()
        if not text.startswith(":"):
            raise ValueError(f"{text!r} has no colon after {key!r}")
        found[str(key)], text = _flow_part(text[1:], ",}")
        text = _after_comma(text, "}")
    return found, text.lstrip()[1:]


def _after_comma(text: str, end: str) -> str:
    text = text.lstrip()
    if text.startswith(","):
        return text[1:]
    if not text.startswith(end):
        raise ValueError(f"{text!r} has neither a comma nor {end}")
    return text


def _scalar(text: str) -> Any:
    if text.startswith('"'):
        return json.loads(text)
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if text in ("true", "false"):
        return text == "true"
    if text in ("", "null", "~"):
        return None
    if text.lower() in ("yes", "no", "on", "off", "y", "n"):
        raise ValueError(f"{text!r} is text to some readers and a truth value to others: quote it")
    if _NUMBER.fullmatch(text):
        if text.lstrip("-").startswith("0") and text.isdigit() and len(text) > 1:
            return int(text, 8)
        return float(text) if "." in text else int(text)
    if ": " in text or " #" in text:
        raise ValueError(f"{text!r} must be quoted")
    return text
