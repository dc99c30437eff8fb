"""Builds the Node client in `clients/node`: what npm installs, the scripts that it carries, and its JavaScript.

`make node` runs this with its linters, then the tests. Nothing is built again while its sources are the same.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engine.live.export import export
from engine.live.scripts import lua_folder

ROOT: Final = Path(__file__).resolve().parents[1]
CLIENT: Final = ROOT / "clients" / "node"
OLDEST: Final = 20
_SOURCES: Final = ("src", "test", "bench", "package.json", "package-lock.json", "tsconfig.json")
_STAMP: Final = "node_modules/.built"
_TIMEOUT_S: Final = 300


class NotThere(Exception):
    """What the client needs and this machine has not; the message is the reason."""


def node() -> str:
    """The path of Node. Raises NotThere where it is missing or too old."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise NotThere(f"node and npm are not installed: install Node {OLDEST} or newer")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    version = re.match(r"v(\d+)\.", said)
    if version is None or int(version[1]) < OLDEST:
        raise NotThere(f"node is {said.strip()}: install Node {OLDEST} or newer")
    return found


def build() -> Path:
    """Installs what the lockfile names, and builds. Returns the folder. Raises NotThere, and CalledProcessError with the
    output of the step that failed.
    """
    node()
    with _alone():
        stamp, wanted = CLIENT / _STAMP, _digest()
        if stamp.exists() and stamp.read_text() == wanted:
            return CLIENT
        _install()
        export(CLIENT / "scripts")
        shutil.copyfile(ROOT / "LICENSE", CLIENT / "LICENSE")
        for made in ("dist", "dist-test", "dist-bench"):
            shutil.rmtree(CLIENT / made, ignore_errors=True)
        npm("run", "build")
        for project in ("test", "bench"):
            npm("exec", "--no", "--", "tsc", "--project", f"{project}/tsconfig.json")
        stamp.write_text(wanted)
    return CLIENT


def npm(*words: str, folder: Path = CLIENT) -> str:
    """What npm printed. Raises CalledProcessError."""
    done = subprocess.run(
        ["npm", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
        check=True,
        env={**os.environ, "npm_config_update_notifier": "false"},
    )
    return done.stdout


def _install() -> None:
    """Installs where the lockfile is another than that of the last time."""
    lock = (CLIENT / "package-lock.json").read_bytes()
    installed = CLIENT / "node_modules" / ".lock"
    if installed.exists() and installed.read_bytes() == lock:
        return
    try:
        npm("ci", "--no-audit", "--no-fund")
    except subprocess.CalledProcessError as failed:
        if any(
            sign in failed.stdout for sign in ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH")
        ):
            raise NotThere(f"npm cannot reach its registry: {failed.stdout.strip().splitlines()[0]}") from None
        raise
    installed.write_bytes(lock)


def _digest() -> str:
    """One text for all that is built from."""
    places = [ROOT / "LICENSE", *sorted(lua_folder().rglob("*.lua")), lua_folder() / "golden.json"]
    for name in _SOURCES:
        place = CLIENT / name
        places += sorted(place.rglob("*")) if place.is_dir() else [place]
    seen = hashlib.sha256()
    for place in places:
        if place.is_file():
            seen.update(str(place).encode() + b"\0" + place.read_bytes())
    return seen.hexdigest()


@contextmanager
def _alone() -> Iterator[None]:
    """Holds the lock of a build: tests run in several processes."""
    with (CLIENT / ".install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Builds and lints."""
    try:
        build()
        print(npm("run", "lint"), end="")
    except NotThere as why:
        print(f"make: {why}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failed:
        print(failed.stdout, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
