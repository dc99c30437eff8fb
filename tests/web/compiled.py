"""Templates and addresses are compiled once in a test process, and not again for each test's application."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule


class Compiled(BytecodeCache):
    """Keeps compiled templates in memory; jinja compares their source's checksum."""

    def __init__(self) -> None:
        self._codes: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        code = self._codes.get(bucket.key)
        if code is not None:
            bucket.load_bytecode(io.BytesIO(code))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key] = bucket.bytecode_to_string()


Builder = Callable[..., tuple[str, str]]


def builders_once() -> Callable[[Rule, bool], Builder]:
    """In place of the function that compiles how a rule's address is built. Two rules of one text are built alike: what
    a converter makes of a value is asked when an address is built.
    """
    compiled = Rule._compile_builder
    known: dict[tuple[object, ...], Builder] = {}

    def once(rule: Rule, append_unknown: bool = True) -> Builder:
        if rule.defaults:
            return compiled(rule, append_unknown)
        key = (rule.rule, append_unknown, *rule._trace)
        if key not in known:
            known[key] = compiled(rule, append_unknown)
        return known[key]

    return once


def install(patch: pytest.MonkeyPatch) -> None:
    """For every application that this process makes from here on."""
    patch.setattr(Flask, "jinja_options", {**Flask.jinja_options, "bytecode_cache": Compiled()})
    patch.setattr(Rule, "_compile_builder", builders_once())
