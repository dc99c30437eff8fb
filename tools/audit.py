"""`make audit`: known vulnerabilities of what is locked, asked by pip-audit, which is fetched into an environment of its own for this run.

Where no advisory source answers, nothing was checked, and that is a failure of its own.
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
    """0: all was checked and nothing is known. 1: something is known, or pip-audit failed. 3: not all could be checked."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        got = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "pip-audit>=2.10,<3"],
            capture_output=True,
            text=True,
            check=False,
        )
        if got.returncode != 0:
            print("make audit: pip-audit cannot be fetched: nothing was checked", file=sys.stderr)
            return NOT_REACHED
        words = [word for lock in LOCKS for word in ("--requirement", str(ROOT / lock))]
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
                *words,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    return judged(done.stdout, done.stderr)


def judged(out: str, err: str) -> int:
    """What pip-audit found, in words: what it skipped was not checked."""
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
