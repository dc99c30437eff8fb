"""The table of mutants fits the program as it is, and only an assertion of a test counts as a kill."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import redis

from engine.live.scripts import NAMES, assemble
from tests.mutants.runner import ROOT, SHORTEST_S, TIMES, judged, time_limit
from tests.mutants.table import MUTANTS
from tests.mutants.witness import OUT


def test_each_mutants_text_stands_exactly_once_in_its_file() -> None:
    rotten = [
        f"{mutant.name}: {times} times in {mutant.file}"
        for mutant in MUTANTS
        if (times := (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old)) != 1
    ]
    assert rotten == []
    assert [mutant.name for mutant in MUTANTS if mutant.old == mutant.new] == []
    assert [name for name, times in Counter(mutant.name for mutant in MUTANTS).items() if times > 1] == []


def test_there_are_enough_of_each_kind() -> None:
    lua = [mutant for mutant in MUTANTS if mutant.file.endswith(".lua")]
    assert len(MUTANTS) >= 44 and len(lua) >= 18
    assert {mutant.file for mutant in lua} >= {
        f"lua/{name}.lua" for name in ("holds", "refund", "publish", "adjust", "prune", "rebuild_set", "rebuild_finish")
    }


def test_each_killer_is_a_test_that_there_is() -> None:
    assert all(mutant.killers for mutant in MUTANTS)
    named: defaultdict[str, set[str]] = defaultdict(set)
    for mutant in MUTANTS:
        for killer in mutant.killers:
            path, _, test = killer.partition("[")[0].partition("::")
            named[path].add(test)
    missing = [
        f"{path}::{test}" for path, tests in sorted(named.items()) for test in sorted(tests - functions_of(ROOT / path))
    ]
    assert missing == []


def functions_of(path: Path) -> set[str]:
    """The functions at the top of a file, and those of its classes as Class::name. A killer may name a whole file."""
    found = {""}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return found


def pieces(path: str) -> set[str]:
    """The pieces of Lua in a script, itself among them."""
    included = re.findall(r"-- include: (\S+)", (ROOT / "lua" / path).read_text(encoding="utf-8"))
    return {path}.union(*(pieces(each) for each in included))


def test_a_mutant_is_a_slip_that_runs_and_no_slip_of_the_pen(hot_redis: redis.Redis) -> None:
    users = {name: pieces(f"{name}.lua") for name in NAMES}
    right = {name: assemble(name).text for name in NAMES}
    for mutant in MUTANTS:
        text = mutant.of((ROOT / mutant.file).read_text(encoding="utf-8"))
        if mutant.file.endswith(".py"):
            compile(text, mutant.file, "exec")
            continue
        piece = mutant.file.removeprefix("lua/")
        of_it = (assemble(name, {piece: text}) for name in NAMES if piece in users[name])
        changed = next((script for script in of_it if script.text != right[script.name]), None)
        assert changed is not None, mutant.name
        assert hot_redis.script_load(changed.text) == changed.sha1, mutant.name
    hot_redis.script_flush()


TESTS = """
import pytest

@pytest.fixture
def server():
    raise OSError("no server")

def test_asserts(): assert 1 + 1 == 3
def test_sees_no_error():
    with pytest.raises(ValueError): pass
def test_breaks(): {}["x"]
def test_has_no_server(server): pass
def test_hangs():
    import time
    time.sleep(60)
def test_passes(): pass
"""


@pytest.mark.long
def test_only_an_assertion_kills(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(TESTS)
    (tmp_path / "tests" / "test_not_python.py").write_text("def (")

    def ran(node: str) -> tuple[int, dict[str, Any], str]:
        out = tmp_path / "witness.json"
        plugins = ("-p", "no:cacheprovider", "-p", "tests.mutants.witness")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *plugins, "--timeout=0.5", f"--rootdir={tmp_path}", str(tmp_path / "tests" / node)],
            cwd=ROOT, env=os.environ | {OUT: str(out)}, capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, json.loads(out.read_text()), done.stdout

    status, said, output = ran("test_it.py")
    verdicts = [judged(status, {**said, "failures": [failure]}, output) for failure in said["failures"]]
    assert [(node.partition("::")[2], why.partition(" in ")[0]) for node, why in verdicts] == [
        ("test_asserts", "assert (1 + 1) == 3"),
        ("test_sees_no_error", "DID NOT RAISE ValueError"),
        ("", "no assertion, but KeyError"),
        ("", "no assertion, but setup"),
        ("", "no assertion, but timeout"),
    ]
    assert said["passed"] == 1
    assert {node.partition("::")[2] for node in said["seconds"]} >= {"test_asserts", "test_passes"}
    assert judged(0, {**said, "failures": []}, output) == ("", "it lives: every killer passed")
    assert judged(*ran("test_not_python.py"))[1].startswith("no assertion, but collect")
    assert judged(*ran("test_it.py::test_is_not_there"))[1].startswith("pytest broke off")


def test_killers_may_take_a_multiple_of_their_time_without_a_mutant() -> None:
    seconds = {"test_it.py::test_a[1]": 30.0, "test_it.py::test_a[2]": 20.0, "test_it.py::test_ab": 7.0}
    assert time_limit(["test_it.py::test_a"], 4.0, seconds) == TIMES * 54
    assert time_limit(["test_it.py::test_a[2]", "test_it.py::test_ab"], 4.0, seconds) == TIMES * 31
    assert time_limit(["test_it.py::test_ab"], 1.0, seconds) == SHORTEST_S
