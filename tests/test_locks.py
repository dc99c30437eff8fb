"""What `make` installs: pinned releases, each file with its digest, and nothing beside them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import audit, ensure_venv, lock

ROOT = Path(__file__).resolve().parents[1]
_PIN = re.compile(r"^([a-z0-9-]+)==(\S+) \\$", re.M)


def pins(name: str) -> dict[str, str]:
    return dict(_PIN.findall((ROOT / "locks" / f"{name}.txt").read_text(encoding="utf-8")))


def test_every_release_is_pinned_once_with_a_digest_for_each_file_and_as_the_constraints_say() -> None:
    said = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    constrained = dict(line.split("==") for line in said.splitlines() if not line.startswith("#"))
    together: dict[str, str] = {}
    for name in lock.HEADS:
        text = (ROOT / "locks" / f"{name}.txt").read_text(encoding="utf-8")
        for block in re.split(r"(?m)^(?=[a-z0-9])", text)[1:]:
            first, *digests = block.rstrip().split("\n")
            assert re.fullmatch(r"[a-z0-9-]+==\S+ \\", first), first
            assert digests and all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line) for line in digests), (
                first
            )
        for package, version in pins(name).items():
            assert together.setdefault(package, version) == version
    assert together == constrained


def test_what_the_project_asks_for_is_locked_within_its_ranges() -> None:
    for name, texts in lock.wanted().items():
        locked = pins(name)
        for requirement in map(Requirement, texts):
            assert locked[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_image_s_lock_has_what_runs_and_nothing_that_builds_tests_or_serves_for_trial() -> None:
    run, dev = pins("run"), pins("dev")
    assert run.items() <= dev.items()
    assert {"pytest", "mypy", "ruff", "hypothesis", "playwright", "hatchling", *lock.EMBEDDED}.isdisjoint(run)


def test_make_installs_by_digest_and_builds_without_fetching() -> None:
    steps = ensure_venv.steps()
    assert steps[-1] == ["--no-deps", "--no-build-isolation", "--editable", "."]
    assert [step[:2] for step in steps[:-1]] == [["--require-hashes", "--no-build-isolation"]] * 2
    for name in ("bench", "export"):
        line = next(line for line in (ROOT / "Makefile").read_text().splitlines() if f"locks/{name}.txt" in line)
        assert "--require-hashes" in line


def test_this_environment_is_what_is_locked() -> None:
    locked = {**pins("build"), **pins("dev"), **pins("export")}
    here = {canonicalize_name(one.metadata["Name"]): one.version for one in distributions()}
    assert {name: version for name, version in here.items() if name in locked and locked[name] != version} == {}


def test_a_file_with_another_digest_is_not_installed(tmp_path: Path) -> None:
    name = "harmless-1.0-py3-none-any.whl"
    with zipfile.ZipFile(tmp_path / name, "w") as wheel:
        wheel.writestr("harmless.py", "")
        wheel.writestr("harmless-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n")
        wheel.writestr("harmless-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("harmless-1.0.dist-info/RECORD", "")
    (tmp_path / "lock.txt").write_text(f"harmless==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    words = [*ensure_venv.steps()[0][:-1], str(tmp_path / "lock.txt")]
    place = ["--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "target")]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *words, *place],
        env=ensure_venv.environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "target").exists()


def test_the_bill_of_materials_names_what_runs_and_nothing_that_tests(tmp_path: Path) -> None:
    out = tmp_path / "sbom.json"
    subprocess.run([sys.executable, "-m", "tools.sbom", "--out", str(out)], cwd=ROOT, check=True, timeout=60)
    made = json.loads(out.read_text())
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    parts = {part["name"]: part for part in made["components"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {canonicalize_name(Requirement(text).name) for text in project["dependencies"]} <= set(parts)
    assert {"pytest", "mypy", "ruff", "hypothesis"}.isdisjoint(parts)
    assert {"hiredis", "htmx", "pico"} <= set(parts)
    assert all(part["licenses"] and part["version"] for part in parts.values())
    refs = {part["bom-ref"] for part in made["components"]}
    assert all(set(line["dependsOn"]) <= refs for line in made["dependencies"])


@pytest.mark.parametrize("path", [*(f"locks/{name}.txt" for name in lock.HEADS), "constraints.txt", "Makefile"])
def test_no_address_of_an_index_stands_in_a_file(path: str) -> None:
    assert "://" not in (ROOT / path).read_text(encoding="utf-8")


def test_an_audit_that_could_not_look_is_not_one_that_found_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    clean = {"name": "a", "version": "1", "vulns": []}
    bad = {"name": "b", "version": "2", "vulns": [{"id": "GHSA-1"}]}
    skipped = {"name": "c", "skip_reason": "not found"}
    for parts, status in (((clean,), 0), ((clean, bad, skipped), 1), ((clean, skipped), 3), ((skipped,), 3)):
        assert audit.judged(json.dumps({"dependencies": parts}), "") == status
    assert audit.judged("", "requests.exceptions.ConnectionError: Max retries exceeded") == 3
    assert audit.judged("", "a bug") == 1
    said = capsys.readouterr()
    assert "b 2: GHSA-1" in said.out and "0 of 1 releases were checked" in said.out
    assert "no advisory source knew c" in said.err
