"""Runs files of the Node client's own tests."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tools.node_client import node


def passes(folder: Path, *names: str, timeout_s: float = 150, **environ: str) -> int:
    """Runs test files by name; returns how many tests passed. Fails with what failed, and where any was skipped."""
    done = subprocess.run(
        [
            node(),
            "--test",
            "--test-concurrency=1",
            "--test-reporter=tap",
            *(f"dist-test/{name}.test.js" for name in names),
        ],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    counts = {name: int(n) for name, n in re.findall(r"^# (pass|fail|skipped|cancelled) (\d+)$", done.stdout, re.M)}
    failed = done.stdout[max(done.stdout.find("not ok") - 200, 0) :][:6000]
    assert done.returncode == 0, f"{counts}\n{failed}\n{done.stderr[-2000:]}"
    assert counts["skipped"] == counts["fail"] == counts["cancelled"] == 0, done.stdout[-2000:]
    return counts["pass"]
