"""The loader of the scripts, and what every script promises to Redis."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Final

import pytest
import redis

from engine.client.batches import MAX_SPENDS_A_CALL
from engine.domain.causes import BREAKER, CAUSES, PACING, RATE, mask_of
from engine.domain.ids import ORDINALS, SHARDS
from engine.domain.money import MAX_AMOUNT_MICROS, MAX_TOTAL_MICROS
from engine.domain.periods import month_of_date
from engine.domain.refunds import FIRST_DAY
from engine.live import placing, scripts
from engine.live.journal import SHORT


def test_every_lua_file_is_a_known_script_or_an_included_piece() -> None:
    folder = scripts.lua_folder()
    assert {path.stem for path in folder.glob("*.lua")} == set(scripts.NAMES)
    text = "".join(path.read_text() for path in folder.rglob("*.lua"))
    for piece in (folder / "lib").glob("*.lua"):
        assert f"-- include: lib/{piece.name}" in text, f"{piece.name} is included nowhere"


@pytest.mark.parametrize("name", scripts.NAMES)
def test_a_script_starts_with_its_shebang_and_holds_each_piece_once(name: str) -> None:
    made = scripts.script(name)
    assert re.match(r"#!lua( flags=(allow-oom|no-writes))?\n", made.text)
    assert "include:" not in made.text
    functions = re.findall(r"^local function (\w+)", made.text, re.M)
    assert len(functions) == len(set(functions))


def test_the_scripts_and_the_engine_name_the_same_month_on_every_day_of_four_centuries(hot_redis: redis.Redis) -> None:
    calendar = (scripts.lua_folder() / "lib" / "calendar.lua").read_text()
    ask = (
        "local months = {} for day = ARGV[1] + 0, ARGV[2] + 0 do months[#months + 1] = month_of(day) end return months"
    )
    for year in range(1970, 2371):
        first, last = date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal()
        epoch = date(1970, 1, 1).toordinal()
        months = hot_redis.eval(f"{calendar}\n{ask}", 0, first - epoch, last - epoch)
        assert months == [month_of_date(date.fromordinal(day)) for day in range(first, last + 1)], year


@pytest.mark.parametrize("name", scripts.NAMES)
def test_a_script_never_concatenates_a_number(name: str) -> None:
    for line in scripts.script(name).text.splitlines():
        assert not re.search(r"\.\.\s*(now|shard\.n|[a-z]+\.spent|amount)\b", line), line


_NAMED = re.compile(r"^local (?:function (\w+)|([\w, ]+?)(?: =|$))", re.M)
_USED = re.compile(r"(?<![\w.:'])(?:([a-z_]\w*)\(|([A-Z_]{3,})\b)")


def names_of(text: str) -> set[str]:
    """What a piece of Lua names for those that include it."""
    return {name.strip() for function, names in _NAMED.findall(text) for name in (function or names).split(",")}


def test_each_piece_includes_what_it_uses() -> None:
    folder = scripts.lua_folder()
    pieces = {f"lib/{path.name}": path.read_text() for path in (folder / "lib").glob("*.lua")}
    shared: set[str] = set().union(*map(names_of, pieces.values()))
    missing: set[tuple[str, str]] = set()
    for name, text in pieces.items():
        seen, waiting = {name}, [name]
        while waiting:
            found = set(re.findall(r"^-- include: (\S+)", pieces[waiting.pop()], re.M)) - seen
            seen |= found
            waiting += found
        known = set().union(*(names_of(pieces[piece]) for piece in seen))
        code = "\n".join(line.split("--")[0] for line in text.splitlines())
        used = {function or constant for function, constant in _USED.findall(code)}
        missing |= {(name, word) for word in (used & shared) - known}
    assert missing == set()


_TABLE = "-- | fruit | owner | price |\n-- | apple | tree | 3 |\n-- | melon | field | 5 |\n-- | cherry | tree | 7 |\n"


def test_a_block_stands_once_for_each_row_that_its_owner_has() -> None:
    block = "-- each tree fruit\nlocal price_$i = $price -- $name\n-- end each"
    text = scripts.assemble("trim", {"lib/clock.lua": f"{_TABLE}{block}\nlocal after = '$i'"}).text
    assert "local price_1 = 3 -- apple\nlocal price_2 = 7 -- cherry\nlocal after = '$i'\n" in text
    assert "melon |" in text and "5 --" not in text


@pytest.mark.parametrize(
    "text",
    [
        "-- each fruit\n$price",
        "-- each fruit\n-- each fruit\n-- end each\n-- end each",
        "-- each herb\n-- end each",
        "-- | plum | tree |",
        "-- end each",
        "-- each fruit\n$color\n-- end each",
    ],
)
def test_a_block_or_a_table_that_is_none_is_refused_when_a_script_is_assembled(text: str) -> None:
    with pytest.raises(ValueError, match="lua"):
        scripts.assemble("trim", {"lib/clock.lua": f"{_TABLE}{text}"})


SLOW_AFTER_FAST: Final = """\
local LIMIT = 5
-- Only for the slow path.
local function doubled(amount)
  return amount + amount
end
local function fits(amount)
  local text = 'doubled' -- doubled
  return amount.doubled or amount < LIMIT
end
local function unused() return doubled(1) end
if fits(ARGV[1]) then
  return 1
end
return doubled(2)
"""


def test_a_function_stands_before_the_first_statement_that_needs_it_and_nowhere_if_none_does() -> None:
    lines = SLOW_AFTER_FAST.splitlines()
    head, slow, fits, _, fast, end = lines[:1], lines[1:5], lines[5:9], lines[9], lines[10:13], lines[13:]
    assert placing.placed(lines) == [*head, *fits, *fast, *slow, *end]


def test_a_function_that_one_other_alone_needs_takes_no_name_of_the_script() -> None:
    lines = [
        "local function third() return 3 end",
        "-- Two.",
        "local function second() return third() - 1 end",
        "local function shared() return 0 end",
        "local function first() return second() - 1 + shared() end",
        "local function other() return shared() end",
        "return first() + other()",
    ]
    assert placing.placed(lines) == [
        lines[3],
        "local first",
        "do",
        "local second",
        "do",
        lines[0],
        "-- Two.",
        "function second() return third() - 1 end",
        "end",
        "function first() return second() - 1 + shared() end",
        "end",
        lines[5],
        lines[6],
    ]


def test_a_function_that_only_one_branch_needs_is_made_in_it_and_again_for_who_comes_later() -> None:
    lines = [
        "local function half(a) return a / 2 end",
        "local function shared(a) return a end",
        "local function quarter(a) return half(a) / 2 end",
        "if shared(ARGV[1]) then",
        "  -- make: quarter",
        "  return quarter(shared(8))",
        "end",
        "return half(4)",
    ]
    assert placing.placed(lines) == [
        lines[1], *lines[3:5], f"  {lines[0]}", f"  {lines[2]}", *lines[5:7], lines[0], lines[7],
    ]  # fmt: skip


def test_functions_that_are_reached_only_through_one_stand_in_its_block() -> None:
    lines = [
        "local function far() return 1 end",
        "local function left() return far() end",
        "local function right() return far() end",
        "local function near() return left() + right() end",
        "return near()",
    ]
    assert placing.placed(lines) == [
        "local near", "do", *lines[:3], "function near() return left() + right() end", "end", lines[4],
    ]  # fmt: skip


@pytest.mark.parametrize("name", scripts.NAMES)
def test_a_script_has_room_for_names_of_the_next_features(name: str) -> None:
    """Lua allows 200 at a time."""
    count, most, blocks = 0, 0, []
    for line in scripts.script(name).text.splitlines():
        if declared := re.match(r"local (?:function )?(\w+(?:, \w+)*)", line):
            count += len(declared[1].split(", "))
            most = max(most, count)
        if re.match(r"(local )?function |if |for |do$|repeat$", line) and not re.search(r"\bend$", line):
            blocks.append(count if line == "do" else None)
        elif re.match("end|until", line):
            begun = blocks.pop()
            count = count if begun is None else begun
    assert not blocks
    assert most <= 190


def test_a_name_that_is_declared_twice_is_refused_for_a_function_could_take_the_wrong_one() -> None:
    with pytest.raises(ValueError, match="LIMIT twice"):
        placing.placed(
            ["local LIMIT = 5", "local function fits(a) return a < LIMIT end", "local LIMIT = 6", "return fits(5)"]
        )


@pytest.mark.parametrize("name", [scripts.RECORD, scripts.TRY])
def test_a_call_makes_no_function_that_only_a_later_path_needs(name: str) -> None:
    """Each function costs every call that comes by it, used or not."""
    text = scripts.script(name).text
    single, rest = text.split("\nrepeat\n")
    packed, rest = rest.split("\nif opened and opened.shard.layout == LAYOUT", 1)
    of_features, slow = rest.split("\nif opened and opened.shard.layout ~= LAYOUT", 1)
    made = [set(re.findall(r"^(?:local )?function (\w+)", part, re.M)) for part in (single, packed, of_features, slow)]
    assert "read_clock" in made[0] and not made[0] & {"open_shard", "fast_packed"}
    assert "fast_packed" in made[1] and not made[1] & {"own_budgets", "write_counters", "read_campaign", "by_one"}
    assert "own_budgets" in made[2] and not made[2] & {"read_campaign", "by_one"}
    assert {"by_one", "read_campaign", "charge"} <= made[3]


def test_an_include_that_goes_round_in_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="circle"):
        scripts.assemble("trim", {"lib/clock.lua": "-- include: lib/shard.lua"})


def test_python_and_lua_agree_on_the_numbers() -> None:
    lua = "".join(path.read_text() for path in scripts.lua_folder().rglob("*.lua"))
    assert f"LAYOUT = '{scripts.LAYOUT}'" in lua
    assert f"MAX_AMOUNT, MAX_TOTAL = {MAX_AMOUNT_MICROS}, {MAX_TOTAL_MICROS}" in lua
    assert f"WITH_OWN_LIMITS = '{scripts.WITH_OWN_LIMITS}'" in lua
    assert scripts.ALSO_SERVED == (scripts.WITH_OWN_LIMITS,)
    assert "  return layout == LAYOUT or layout == WITH_OWN_LIMITS\n" in lua
    assert f"MAX_SPENDS = {MAX_SPENDS_A_CALL}" in lua
    assert f"SHORT = {SHORT} " in lua
    tables = scripts.tables(lua.splitlines())
    causes = {row["name"]: int(row["cause"]) for table in ("gate", "budget") for row in tables[table]}
    assert f"RATE = {mask_of([RATE])}\n" in lua and f"NO_BRAKE, BREAKER = ',,0', {mask_of([BREAKER])}\n" in lua
    assert f"PACING = {mask_of([PACING])}\n" in lua
    assert causes | {RATE: mask_of([RATE]), PACING: mask_of([PACING])} == {row.name: row.bit for row in CAUSES}
    assert f"id % {ORDINALS}" in lua
    assert f"FIRST_DAY = {FIRST_DAY} " in lua
    assert SHARDS == 64


def test_the_scripts_say_nothing_of_tests() -> None:
    for path in Path(scripts.lua_folder()).rglob("*.lua"):
        assert "test:" not in path.read_text()
