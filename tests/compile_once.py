"""What every new application and every new engine of SQLAlchemy would compile again is compiled once in a test process:
templates, the code that builds addresses, and SQL. So is redis-py's version, which each connection reads.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import redis.utils
from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import create_engine
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule


class Templates(BytecodeCache):
    """Keeps compiled templates in memory; jinja compares their source's checksum."""

    def __init__(self) -> None:
        self._codes: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        code = self._codes.get(bucket.key)
        if code is not None:
            bucket.load_bytecode(io.BytesIO(code))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key] = bucket.bytecode_to_string()


def install(patch: pytest.MonkeyPatch) -> None:
    """For every application and every engine that this process makes from here on."""
    patch.setattr(Flask, "jinja_options", {**Flask.jinja_options, "bytecode_cache": Templates()})
    patch.setattr(Rule, "_compile_builder", _rules(Rule._compile_builder))
    patch.setattr("engine.ledger.database.create_engine", _statements(create_engine))
    patch.setattr(redis.utils, "get_lib_version", cache(redis.utils.get_lib_version))
    # A statement's key names the dialect, of which each engine has its own: all of ours are alike.
    patch.setattr(PGDialect_psycopg2, "__eq__", lambda self, other: type(self) is type(other), raising=False)
    patch.setattr(PGDialect_psycopg2, "__hash__", lambda self: hash(type(self)), raising=False)


def _rules(compiled: Callable[..., Any]) -> Callable[..., Any]:
    """The code of a rule's builder follows from its text and defaults; it takes the rule itself as its argument."""
    built: dict[object, Any] = {}

    def builder(rule: Rule, append_unknown: bool = True) -> Any:
        key = (rule.rule, rule.subdomain, rule.host, repr(rule.defaults), append_unknown, tuple(rule._trace))
        if key not in built:
            built[key] = compiled(rule, append_unknown)
        return built[key]

    return builder


def _statements(create: Callable[..., Any]) -> Callable[..., Any]:
    compiled = LRUCache[Any, Any](2000)

    def engine(*args: Any, execution_options: dict[str, Any], **options: Any) -> Any:
        return create(*args, execution_options={**execution_options, "compiled_cache": compiled}, **options)

    return engine
