"""The house: imports only point down, and a bidder's import loads Redis and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "errors": 0,
    "domain": 1,
    "running": 1,
    "urls": 1,
    "secret_files": 1,
    "logs": 1,
    "settings": 2,
    "live": 3,
    "ledger": 3,
    "local": 3,
    "flows": 4,
    "wiring": 5,
    "jobs": 6,
    "stranded": 6,
    "rq_gate": 7,
    "doorbell": 8,
    "processes": 9,
    "up": 9,
    "cli": 10,
}
"""The floor of each room; a room imports from floors below its own (and from itself). Rooms that share a floor, as `live` and `ledger`, do not see each other."""


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
        "import sys, engine; engine.BudgetClient.from_url('redis://localhost:1');"
        "bad = {'sqlalchemy', 'rq', 'rq_scheduler', 'flask', 'psycopg2', 'click', 'alembic'} & set(sys.modules);"
        "sys.exit(repr(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
