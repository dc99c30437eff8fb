"""`make speedups`: the comparisons of C with Python, long, with the address and the undefined behaviour sanitizer.

python -m tests.speedups [--examples N]: builds the C twice, as it is and as for Python 3.14, and runs the tests on each.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCE: Final = ROOT / "speedups" / "budget_engine_speedups.c"
FLAGS: Final = [
    "-g",
    "-O1",
    "-fsanitize=address,undefined",
    "-fno-omit-frame-pointer",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-shared",
    "-fPIC",
]
LIBRARIES: Final = ("libasan.so", "libubsan.so")
TESTS: Final = ("tests/speedups/test_spend.py", "tests/speedups/test_pack.py")


def main() -> int:
    """0: all is the same and no memory was misused. 3: this compiler has no sanitizers."""
    parser = argparse.ArgumentParser(prog="make speedups", description=__doc__)
    parser.add_argument("--examples", type=int, default=5000)
    examples = parser.parse_args().examples
    found = [_library(name) for name in LIBRARIES]
    if not all(found):
        print("make speedups: gcc with libasan and libubsan is needed: nothing was run", file=sys.stderr)
        return 3
    for what, more in (("as it is", []), ("as for Python 3.14", ["-DBY_TUPLE_NEW"])):
        print(f"the C {what}, {examples} examples", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / f"budget_engine_speedups{sysconfig.get_config_var('EXT_SUFFIX')}"
            include = f"-I{sysconfig.get_paths()['include']}"
            subprocess.run(["gcc", *FLAGS, *more, include, str(SOURCE), "-o", str(built)], check=True)
            environ = {
                **os.environ,
                "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",  # Python itself frees not all at its end
                "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
                "LD_PRELOAD": " ".join(found),
                "PYTHONMALLOC": "malloc",
                "PYTHONPATH": folder,
                "TEST_SPEEDUPS_EXAMPLES": str(examples),
                "BUDGET_REQUIRE_TOOLS": "1",
            }
            words = ["-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-o", "timeout=0", *TESTS]
            status = subprocess.run([sys.executable, *words], cwd=ROOT, env=environ, check=False).returncode
            if status != 0:
                return status
    return 0


def _library(name: str) -> str:
    """Where gcc has a library; empty where it has none."""
    try:
        place = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return place.strip() if "/" in place else ""


if __name__ == "__main__":
    sys.exit(main())
