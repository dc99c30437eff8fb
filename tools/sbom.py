"""`make sbom`: what it takes to run the project, as a CycloneDX 1.6 document in sbom.json: each package with version,
licence and what it needs.

Development tools are left out. The page's scripts and styles that stand in web/static/vendor are in.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
PROJECT: Final = "budget-engine"
VENDORED: Final = ROOT / "web" / "static" / "vendor"
VENDORED_LICENCES: Final = {"htmx": "0BSD", "pico": "MIT"}
_VENDORED_NAME: Final = re.compile(r"([a-z]+)-(\d+(?:\.\d+)+)\.min\.(?:js|css)")


def needs(one: Distribution) -> list[str]:
    """The names that a package needs on this Python and system; of all extras only redis[hiredis]."""
    extra = "hiredis" if canonicalize_name(one.metadata["Name"]) == "redis" else ""
    asked = map(Requirement, one.requires or [])
    return sorted({canonicalize_name(r.name) for r in asked if r.marker is None or r.marker.evaluate({"extra": extra})})


def installed(name: str) -> dict[str, Distribution]:
    """A package and everything that it needs, directly or not, as far as it is installed."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        try:
            found[each] = distribution(each)
        except PackageNotFoundError:
            continue
        waiting += needs(found[each])
    return found


def licence(one: Distribution) -> list[dict[str, Any]]:
    """The licence that a package names: an SPDX expression where it has one, else its own text."""
    if expression := one.metadata.get("License-Expression"):
        return [{"expression": expression}]
    names = [
        line.rpartition(" :: ")[2] for line in one.metadata.get_all("Classifier", []) if line.startswith("License ::")
    ]
    text = (one.metadata.get("License") or "").strip()
    if not names and text and "\n" not in text:
        names = [text]
    return [{"license": {"name": name}} for name in names]


def component(name: str, one: Distribution) -> dict[str, Any]:
    made = {"type": "library", "bom-ref": ref(name, one.version), "name": name, "version": one.version}
    return {**made, "purl": ref(name, one.version), "licenses": licence(one)}


def ref(name: str, version: str) -> str:
    """The package URL (purl) of a release."""
    return f"pkg:pypi/{name}@{version}"


def vendored() -> Iterable[dict[str, Any]]:
    """The third-party files in the checkout, each with its digest."""
    for path in sorted(VENDORED.iterdir()):
        if found := _VENDORED_NAME.fullmatch(path.name):
            name, version = found.groups()
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            yield {
                "type": "library",
                "bom-ref": f"vendored:{path.name}",
                "name": name,
                "version": version,
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "licenses": [{"expression": VENDORED_LICENCES[name]}],
            }


def document() -> dict[str, Any]:
    """The whole CycloneDX document."""
    found = installed(PROJECT)
    own = found.pop(PROJECT)
    refs = {name: ref(name, one.version) for name, one in found.items()}
    kept = {PROJECT: own, **found}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "component": {**component(PROJECT, own), "type": "application"},
        },
        "components": [*(component(name, found[name]) for name in sorted(found)), *vendored()],
        "dependencies": [
            {"ref": ref(name, one.version), "dependsOn": [refs[each] for each in needs(one) if each in refs]}
            for name, one in sorted(kept.items())
        ],
    }


def main() -> int:
    """Writes the document; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make sbom", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "sbom.json")
    out = parser.parse_args().out
    made = document()
    out.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    print(f"{out}: {len(made['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
