"""Runs code in a new Python process in which modules have additional rows, as after a recipe of docs/architecture.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

_PRELUDE: Final = """
import importlib.machinery, sys
class Edited(importlib.machinery.SourceFileLoader):
    def get_code(self, name):
        text = self.get_data(self.path).decode()
        row, before = ROWS[name]
        assert text.count(before) == 1, f"the table of {name} ends in another way"
        return compile(text.replace(before, row + before), self.path, "exec")
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in ROWS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        spec.loader = Edited(name, spec.origin)
        return spec
sys.meta_path.insert(0, Finder())
"""


class Row(NamedTuple):
    """Text to insert before another text of a module."""

    module: str
    text: str
    before: str


def run_with_rows(rows: list[Row], code: str) -> str:
    """Runs `code` with the rows in their modules; returns its output. Fails with its errors."""
    named = {row.module: (row.text, row.before) for row in rows}
    root = Path(__file__).resolve().parents[1]
    run = subprocess.run(
        [sys.executable, "-c", f"ROWS = {named!r}{_PRELUDE}{code}"],
        capture_output=True, text=True, cwd=root, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout
