"""The one door: what is in use, what is not and why, and how `make` builds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import engine.views.doctor  # noqa: F401  # loads the module that is looked at below
from engine.speedups import DISTRIBUTION, Speedups
from tests.speedups.compiled import compiled, new_spend
from tools import ensure_venv

ROOT = Path(__file__).resolve().parents[2]
ASKS = "import gc, engine; engine.Spend; from engine.speedups import speedups as s; print(s.why, s.pack is not None, gc.is_tracked(engine.Spend(1)), sep='|')"


def asked(path: Path | None = None, **environ: str) -> list[str]:
    """What a fresh process has in use. path: a folder that is looked at first."""
    given = {"PYTHONPATH": f"{path or ''}:{ROOT}", **environ}
    done = subprocess.run([sys.executable, "-c", ASKS], cwd=ROOT, env=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split("|")


def test_the_compiled_steps_are_in_use_where_they_are_installed() -> None:
    compiled()
    assert (
        asked()
        == asked(BUDGET_SPEEDUPS="1")
        == asked(BUDGET_SPEEDUPS="")
        == [f"{DISTRIBUTION} in use", "True", "False"]
    )


def test_a_variable_turns_them_off() -> None:
    assert asked(BUDGET_SPEEDUPS="0") == ["pure Python: BUDGET_SPEEDUPS=0", "False", "True"]


def test_what_cannot_be_used_is_left_out_and_its_reason_given(tmp_path: Path) -> None:
    place = tmp_path / "budget_engine_speedups.py"
    for text, why in (
        ("API = 0", "cannot be used: it is of another release than the client"),
        ("", "cannot be used: it is of another release than the client"),
        ("raise ImportError('undefined\\nsymbol')", "cannot be used: undefined symbol"),
        ("raise ModuleNotFoundError('gone')", "is not installed"),
        (
            "API, pack = 1, print\ndef quicken(kind): raise TypeError('not this class')",
            "cannot be used: not this class",
        ),
    ):
        place.write_text(text)
        assert asked(tmp_path) == [f"pure Python: {DISTRIBUTION} {why}", "False", "True"], text


def test_doctor_reports_what_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["engine.views.doctor.examine"]  # the package's own `examine` is the function
    for broken, state in ((False, "ok"), (True, "warn")):
        found = Speedups()
        found.broken, found.why = broken, "what is in use"
        monkeypatch.setattr(module, "speedups", found)
        (finding,) = [one for one in module._versions() if one.name == "speedups"]
        assert (finding.state, finding.detail, bool(finding.todo)) == (state, "what is in use", broken)


def test_without_a_compiler_or_headers_make_says_one_line_once_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ensure_venv, "SPEEDUPS_STAMP", str(tmp_path / "stamp"))
    monkeypatch.setattr(ensure_venv, "build_speedups", lambda: pytest.fail("nothing can be built"))
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    ensure_venv.speed_up()
    (line,) = capsys.readouterr().out.splitlines()
    assert "no C compiler no-such-compiler" in line and "optional" in line
    ensure_venv.speed_up()
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("CC", sys.executable)
    monkeypatch.setattr(ensure_venv.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    ensure_venv.speed_up()
    assert "no Python.h" in capsys.readouterr().out
    (tmp_path / "Python.h").write_text("")
    monkeypatch.setattr(ensure_venv, "build_speedups", lambda: "error: it broke")
    for said in ("building them failed: error: it broke\n", ""):
        ensure_venv.speed_up()
        assert capsys.readouterr().out.endswith(said)
    monkeypatch.setattr(ensure_venv, "build_speedups", lambda: pytest.fail("it was tried, and nothing has changed"))
    ensure_venv.speed_up()


def test_the_door_hands_nothing_to_a_class_where_nothing_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGET_SPEEDUPS", "0")
    made, kind = Speedups(), new_spend()
    made.quicken(kind)
    assert made.pack is None and not made.broken and kind(1) == (1, None, None, None, None)
