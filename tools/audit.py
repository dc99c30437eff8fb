"""`make audit`: checks the locked packages for known vulnerabilities, by pip-audit in a temporary environment.

Where no advisory source answers, nothing was checked, which has an exit status of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = ("locks/build.txt", "locks/dev.txt", "locks/bench.txt")
NOT_REACHED: Final = 3
_AWAY: Final = ("ConnectionError", "Max retries exceeded", "ServiceError", "HTTPError", "Timeout", "403", "404")


def main() -> int:
    """Returns the exit status. 0: all checked, nothing known. 1: something known, or pip-audit failed. 3: not all
    checked.
    """
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        installed = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "pip-audit>=2.10,<3"],
            capture_output=True,
            text=True,
            check=False,
        )
        if installed.returncode != 0:
            print("make audit: pip-audit cannot be fetched: nothing was checked", file=sys.stderr)
            return NOT_REACHED
        requirements = [word for lock in LOCKS for word in ("--requirement", str(ROOT / lock))]
        done = subprocess.run(
            [
                python,
                "-m",
                "pip_audit",
                "--disable-pip",
                "--require-hashes",
                "--progress-spinner",
                "off",
                "--format",
                "json",
                *requirements,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    return judged(done.stdout, done.stderr)


def judged(out: str, err: str) -> int:
    """Prints what pip-audit found and returns the exit status. A package that it skipped counts as not checked."""
    try:
        found = json.loads(out)["dependencies"]
    except (ValueError, KeyError):
        away = any(sign in err for sign in _AWAY)
        print("make audit: no advisory source answers: nothing was checked" if away else err, file=sys.stderr)
        return NOT_REACHED if away else 1
    known = [(one["name"], one["version"], each["id"]) for one in found for each in one.get("vulns", ())]
    skipped = [one["name"] for one in found if "skip_reason" in one]
    for name, version, advisory in known:
        print(f"{name} {version}: {advisory}")
    print(
        f"make audit: {len(found) - len(skipped)} of {len(found)} releases were checked, {len(known)} advisories found"
    )
    if skipped:
        print(f"make audit: no advisory source knew {', '.join(sorted(set(skipped)))}", file=sys.stderr)
    return 1 if known else NOT_REACHED if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
