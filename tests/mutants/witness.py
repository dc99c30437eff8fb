"""A pytest plugin for one run under a mutant: it reports how the first failure occurred. Only an assertion of a test is
a kill.

Another exception, a failed fixture (a server, a rebuild), a failed import or a timeout show that something is wrong,
but not that money is. They do not kill a mutant.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

OUT = "MUTANT_WITNESS"
"""The variable that names the file to write to."""

_report: dict[str, Any] = {"engine": "", "passed": 0, "failures": [], "seconds": {}}


def pytest_sessionstart(session: pytest.Session) -> None:
    import engine

    _report["engine"] = str(Path(engine.__file__).resolve())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    _report["seconds"][item.nodeid] = _report["seconds"].get(item.nodeid, 0) + call.duration
    if report.passed and report.when == "call":
        _report["passed"] += 1
    elif report.failed and call.excinfo is not None:
        _add_failure(item.nodeid, report.when, call.excinfo, Path(item.config.rootpath))
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _report["failures"].append({"node": report.nodeid, "how": "collect", "why": _one_line(str(report.longrepr))})


def pytest_sessionfinish(session: pytest.Session) -> None:
    Path(os.environ[OUT]).write_text(json.dumps(_report), encoding="utf-8")


def _add_failure(node: str, when: str, caught: pytest.ExceptionInfo[BaseException], root: Path) -> None:
    why = str(caught.value)
    raised_in = Path(caught.traceback[-1].path) if caught.traceback else root
    by_the_program = raised_in.is_relative_to(root) and not raised_in.is_relative_to(root / "tests")
    if when != "call":
        how = when
    elif isinstance(caught.value, pytest.fail.Exception):
        # pytest.raises that saw nothing raised; the clock of a test fails it the same way.
        how = "timeout" if why.startswith("Timeout") else "assertion"
    elif isinstance(caught.value, AssertionError) and not by_the_program:
        how = "assertion"
    else:
        how = caught.typename
    _report["failures"].append({"node": node, "how": how, "why": _one_line(why)})


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
