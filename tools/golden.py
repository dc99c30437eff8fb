"""Makes and replays `lua/golden.json`: calls of the scripts with their exact replies, by which a client in any language
can check itself.

`make golden` writes the file, on a Redis of its own; a test replays the committed file. The calls are in
`tools/golden_cases.py`, `tools/golden_holds.py` and `tools/golden_refunds.py`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import redis

from engine.live import scripts
from tools.golden_cases import CASES
from tools.golden_steps import PLANTED, Case, Step

PLACE: Final = Path(__file__).resolve().parents[1] / "lua" / "golden.json"
CLOCK_KEY: Final = "golden:clock"
MOVABLE_CLOCK: Final = f"local function read_clock()\n  return tonumber(redis.call('GET', '{CLOCK_KEY}'))\nend"
HOW: Final = [
    "Replay a case on an empty Redis: write the keys of `begin` (an object is a hash, a list a stream, an object in `zset` a sorted set); then for each step SET clock.key to `at`, call the script with `keys` and",
    "`argv`, and compare the reply: strings as strings, numbers as integers, an object as an error of that text. `end` is every key afterwards.",
    "Take each script's text with clock.find replaced by clock.replace, so that time is what `at` says; production scripts have no such switch.",
    'Bytes that are no plain text stand as {"hex": ...}, in `argv` and in the fields of entries.',
    "Where a step has `any_order`, the parts of those replies that `;` divides may come in any order.",
]


def clock_piece() -> str:
    """The source of the function that reads the time, as the assembled scripts contain it."""
    text = (scripts.lua_folder() / "lib" / "clock.lua").read_text(encoding="utf-8")
    return text[text.index("local function read_clock()") :].rstrip("\n")


def call(plain: redis.Redis, step: Step | Mapping[str, Any]) -> Any:
    """Runs one step; returns its reply as JSON values."""
    made = scripts.script(step["script"]).text
    text = made.replace(clock_piece(), MOVABLE_CLOCK)
    # A script that does not read the time has no clock function.
    assert text != made or "read_clock()" not in made
    plain.set(CLOCK_KEY, step["at"])
    try:
        return as_json(plain.eval(text, len(step["keys"]), *step["keys"], *map(raw_of, step["argv"])))
    except redis.ResponseError as error:
        return {"error": str(error).split(" script:", maxsplit=1)[0]}


def as_json(reply: Any) -> Any:
    """Decodes all bytes in a reply to text."""
    if isinstance(reply, list):
        return [as_json(part) for part in reply]
    return reply.decode() if isinstance(reply, bytes) else reply


def shown(raw: bytes) -> Any:
    """Bytes as a JSON value: text, or {"hex": ...} where they are not printable ASCII."""
    text = raw.decode("latin-1")
    return text if text.isascii() and text.isprintable() else {"hex": raw.hex()}


def raw_of(value: Any) -> Any:
    """The inverse of `shown`."""
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def contents(plain: redis.Redis) -> dict[str, Any]:
    """Reads every key of the engine: a hash as an object, a stream as a list of [id, object], a sorted set as
    {"zset": {name: score}}.
    """
    out: dict[str, Any] = {}
    for raw in sorted(plain.scan_iter(match="budget:*")):
        key, kind = raw.decode(), plain.type(raw).decode()
        if kind == "hash":
            out[key] = {f.decode(): v.decode() for f, v in sorted(plain.hgetall(raw).items())}
        elif kind == "stream":
            out[key] = [[i.decode(), {f.decode(): shown(v) for f, v in e.items()}] for i, e in plain.xrange(raw)]
        else:
            out[key] = {
                "zset": {name.decode(): int(score) for name, score in plain.zrange(raw, 0, -1, withscores=True)}
            }
    return out


def write_contents(plain: redis.Redis, keys: Mapping[str, Any]) -> None:
    """The inverse of `contents`."""
    for key, value in keys.items():
        if isinstance(value, list):
            for entry_id, fields in value:
                plain.xadd(key, {field: raw_of(content) for field, content in fields.items()}, id=entry_id)
        elif isinstance(value.get("zset"), dict):
            plain.zadd(key, value["zset"])
        else:
            plain.hset(key, mapping=value)


def empty(plain: redis.Redis) -> None:
    """Deletes the engine's keys and the clock."""
    for key in [*plain.scan_iter(match="budget:*"), CLOCK_KEY]:
        plain.delete(key)


def same(step: Mapping[str, Any], reply: Any) -> bool:
    """Whether a reply equals that of the step, where some parts may have any order."""

    def sorted_parts(parts: Any) -> Any:
        unordered = step.get("any_order", [])
        return [sorted(p.split(";")) if i in unordered else p for i, p in enumerate(parts)] if unordered else parts

    return bool(sorted_parts(reply) == sorted_parts(step["reply"]))


def replay(plain: redis.Redis, case: Mapping[str, Any]) -> list[str]:
    """Replays a case; returns one text for each difference."""
    empty(plain)
    write_contents(plain, case["begin"])
    wrong = []
    for number, step in enumerate(case["steps"]):
        reply = call(plain, step)
        if not same(step, reply):
            wrong.append(f"step {number} {step['script']}: {reply!r} instead of {step['reply']!r}")
    end = contents(plain)
    wrong += [
        f"{key}: {end.get(key)!r} instead of {case['end'].get(key)!r}"
        for key in sorted({*end, *case["end"]})
        if end.get(key) != case["end"].get(key)
    ]
    empty(plain)
    return wrong


def make(plain: redis.Redis) -> dict[str, Any]:
    """Runs all cases; returns the whole document."""
    return {
        "layout": scripts.LAYOUT,
        "how": HOW,
        "clock": {"key": CLOCK_KEY, "find": clock_piece(), "replace": MOVABLE_CLOCK},
        "cases": [_made(plain, case) for case in CASES],
    }


def _made(plain: redis.Redis, case: Case) -> dict[str, Any]:
    empty(plain)
    for step in PLANTED if case.planted else ():
        assert call(plain, step)[0] == "ok", step
    for command in case.then:
        plain.execute_command(*command)
    begin = contents(plain)
    steps = [{**step, "reply": call(plain, step)} for step in case.steps]
    return {"name": case.name, "begin": begin, "steps": steps, "end": contents(plain)}


def text_of(document: Mapping[str, Any]) -> str:
    """Formats the file: one step a line, so that a diff is readable."""

    def lines(items: Sequence[Any], indent: str) -> str:
        return ",\n".join(indent + json.dumps(item) for item in items)

    def keys(value: Mapping[str, Any]) -> str:
        return ",\n".join(f"      {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())

    cases = ",\n".join(
        f'  {{\n    "name": {json.dumps(case["name"])},\n    "begin": {{\n{keys(case["begin"])}\n    }},\n'
        f'    "steps": [\n{lines(case["steps"], "      ")}\n    ],\n    "end": {{\n{keys(case["end"])}\n    }}\n  }}'
        for case in document["cases"]
    )
    head = json.dumps({name: value for name, value in document.items() if name != "cases"}, indent=1)
    return head.removesuffix("\n}") + ',\n "cases": [\n' + cases + "\n ]\n}\n"


def main() -> None:
    """Writes the file, on embedded servers of its own."""
    from engine.local.servers import EmbeddedServers

    folder = Path(tempfile.mkdtemp(prefix="budget-golden-"))
    servers = EmbeddedServers(folder / "data")
    try:
        with redis.Redis.from_url(servers.start().hot) as plain:
            PLACE.write_text(text_of(make(plain)), encoding="utf-8")
    finally:
        servers.remove()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{PLACE.name}: {len(CASES)} cases")


if __name__ == "__main__":
    main()
