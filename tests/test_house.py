"""The house: imports only point down, and a bidder's import loads Redis and nothing else."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "errors": 0,
    "domain": 1,
    "running": 1,
    "urls": 1,
    "secret_files": 1,
    "env_file": 1,
    "page_urls": 1,
    "logs": 1,
    "speedups": 1,
    "stop_flag": 1,
    "settings": 2,
    "job_table": 2,
    "live": 3,
    "ledger": 3,
    "local": 3,
    "client": 4,
    "flows": 4,
    "views": 5,
    "feeds": 5,
    "wiring": 6,
    "jobs": 7,
    "stranded": 7,
    "rq_gate": 8,
    "doorbell": 9,
    "processes": 10,
    "up": 10,
    "cli": 11,
}
"""The floor of each room; a room imports from floors below its own (and from itself). Rooms that share a floor, as `live` and `ledger`, do not see each other."""
CORNERS = {
    "flows": {
        "catalog": 0,
        "persist": 1,
        "operations": 1,
        "alerts": 1,
        "upkeep": 1,
        "export": 1,
        "rebuild": 2,
        "verify": 2,
    },
    "client": {"watch": 0, "leases": 1, "aio": 2},
}
"""The same inside the two largest rooms."""
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 70


def imports_of(path: Path) -> set[str]:
    """The rooms of `engine` that a module imports anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("engine."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "engine":
            rooms.update(alias.name for alias in node.names if alias.name in FLOORS)
        elif isinstance(node, ast.Import):
            rooms.update(alias.name.split(".")[1] for alias in node.names if alias.name.startswith("engine."))
    return rooms


@pytest.mark.parametrize("room", list(FLOORS))
def test_imports_only_point_down(room: str) -> None:
    folder, single = ROOT / "engine" / room, ROOT / "engine" / f"{room}.py"
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [single]
    assert files, f"engine/{room} is gone: take it out of FLOORS"
    for file in files:
        for other in imports_of(file) - {room}:
            assert other in FLOORS and FLOORS[other] < FLOORS[room], f"{file.relative_to(ROOT)} imports engine.{other}"


def test_the_domain_needs_the_standard_library_only() -> None:
    for file in (ROOT / "engine" / "domain").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                assert top in ("engine", "__future__") or top in sys.stdlib_module_names, f"{file.name} imports {name}"


def test_a_bidder_that_imports_the_client_loads_neither_sqlalchemy_nor_rq_nor_flask() -> None:
    code = (
        "import sys; from engine import *; BudgetClient.from_url('redis://localhost:1');"
        "bad = {'sqlalchemy', 'rq', 'rq_scheduler', 'flask', 'flask_openapi', 'pydantic', 'psycopg2', 'click', 'alembic', 'pyarrow', 'httpx', 'standardwebhooks'} & set(sys.modules);"
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr


def test_the_command_line_s_help_loads_no_library_of_a_server() -> None:
    """Every name of the package is imported when it is used, so help is there in a tenth of a second."""
    code = (
        "import sys; from engine.cli import cli; from engine.cli.run import run; run(cli, ['--help']);"
        "bad = {'redis', 'sqlalchemy', 'rq', 'flask', 'pydantic', 'psycopg2', 'asyncio'} & set(sys.modules);"
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr


def corner_of(module: str) -> tuple[str, str] | None:
    """Room and corner of a module of `engine`, where its room has corners."""
    parts = module.split(".")
    return (parts[1], parts[2]) if len(parts) > 2 and parts[2] in CORNERS.get(parts[1], {}) else None


@pytest.mark.parametrize(("room", "corner"), [(room, corner) for room in CORNERS for corner in CORNERS[room]])
def test_imports_only_point_down_inside_a_room(room: str, corner: str) -> None:
    floors = CORNERS[room]
    files = sorted((ROOT / "engine" / room / corner).rglob("*.py"))
    assert files, f"engine/{room}/{corner} is gone: take it out of CORNERS"
    for file in files:
        for module in modules_of(file):
            other = corner_of(module)
            if other is not None and other[0] == room and other[1] != corner:
                assert floors[other[1]] < floors[corner], f"{file.relative_to(ROOT)} imports {module}"


def modules_of(path: Path) -> set[str]:
    """The modules of ours that a file imports anywhere in it, in full."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for top in ("engine", "web", "api", "benchmarks", "tests")
        for path in (ROOT / top).rglob("*.py")
    }
    left = {name: (modules_of(path) & set(files)) - {name} for name, path in files.items()}
    while free := {name for name, wanted in left.items() if not wanted}:
        left = {name: wanted - free for name, wanted in left.items() if name not in free}
    # What is left stands in a circle, or waits for one: a package's own name is no import of all of it.
    left = {name: {w for w in wanted if not name.startswith(f"{w}.")} for name, wanted in left.items()}
    while free := {name for name, wanted in left.items() if not wanted}:
        left = {name: wanted - free for name, wanted in left.items() if name not in free}
    assert left == {}


def test_no_file_is_too_long_to_read() -> None:
    for top in ("engine", "web", "api", "lua", "tests", "benchmarks", "tools"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".py", ".lua", ".js", ".css", ".html") and "vendor" not in path.parts:
                lines = len(path.read_text(encoding="utf-8").splitlines())
                assert lines <= MOST_LINES, f"{path.relative_to(ROOT)} has {lines} lines"


def test_no_function_is_too_long_to_read() -> None:
    for path in [file for top in ("engine", "web", "api", "benchmarks") for file in (ROOT / top).rglob("*.py")]:
        if "migrations" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                assert lines <= MOST_LINES_OF_A_FUNCTION, f"{path.relative_to(ROOT)}: {node.name} has {lines} lines"


def test_a_campaigns_id_is_taken_apart_in_one_place() -> None:
    for file in [file for top in ("engine", "web", "api") for file in (ROOT / top).rglob("*.py")]:
        place = file.relative_to(ROOT).parts
        # The modules that make a bidder's calls still divide in their loops, where a call of a function is felt.
        if file.name == "ids.py" or (place[:2] == ("engine", "client") and place[2] not in ("watch", "leases")):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.BinOp):
                by = {ast.unparse(node.left), ast.unparse(node.right)}
                shifted = isinstance(node.op, ast.LShift | ast.RShift) and ast.unparse(node.right) == "16"
                divided = isinstance(node.op, ast.FloorDiv | ast.Mod | ast.Mult) and by & {"ORDINALS", "65536"}
                assert not shifted and not divided, f"{file.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}"


LUA_FUNCTION = re.compile(r"( *)(?:local )?function (\w+).*")


def lua_functions(lines: list[str]) -> Iterator[tuple[str, int]]:
    """The name and the number of lines of each function: from its head to the `end` under it, as this repository writes them."""
    for at, line in enumerate(lines):
        if head := LUA_FUNCTION.fullmatch(line):
            last = next(place for place, other in enumerate(lines) if place > at and other == f"{head[1]}end")
            yield head[2], last - at + 1


def test_no_lua_function_is_too_long_to_read() -> None:
    found = 0
    for path in sorted((ROOT / "lua").rglob("*.lua")):
        for name, lines in lua_functions(path.read_text(encoding="utf-8").splitlines()):
            found += 1
            assert lines <= MOST_LINES_OF_A_FUNCTION, f"{path.relative_to(ROOT)}: {name} has {lines} lines"
    assert found > 60
