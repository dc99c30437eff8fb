"""Programs that check an operator's files: nginx, promtool, Go and others. Where one is not installed its tests skip, and say so.

With BUDGET_REQUIRE_TOOLS=1, as in CI, a missing one is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
OPS: Final = ROOT / "ops"
_FOLDERS: Final = "/usr/sbin:/usr/local/sbin:/usr/bin"


def program(name: str) -> str:
    """Where a program is. Skips the test, or fails it where programs are required."""
    found = shutil.which(name) or shutil.which(name, path=_FOLDERS)
    if found is None:
        if os.environ.get("BUDGET_REQUIRE_TOOLS") == "1":
            pytest.fail(f"{name} is not installed, and BUDGET_REQUIRE_TOOLS=1 asks for it")
        pytest.skip(f"{name} is not installed: the file's structure was checked, and nothing more")
    return found


def checked(*words: str | Path, given: str | None = None, env: dict[str, str] | None = None) -> str:
    """What a program printed on stdout. It must end well."""
    done = subprocess.run(
        words, input=given, capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})}
    )
    assert done.returncode == 0, f"{words[0]}: {done.stderr}{done.stdout}"
    return done.stdout
