"""The recipes of docs/architecture.md, "Where to add things": each step names a place that is there, and no place is left out.

What was added so far shows whether a recipe is whole: a file that names every setting, job or cause is one that the next of them must be added to.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import click
import pytest

from engine.cli import _COMMANDS
from engine.cli.group import Command, LazyGroup
from engine.cli.run import run
from engine.domain.causes import ORDER
from engine.live.scripts import NAMES, lua_folder
from engine.settings import TABLE
from tests.docs.documents import ROOT

ARCHITECTURE = ROOT / "docs" / "architecture.md"
OPERATIONS = ROOT / "docs" / "operations.md"
SOURCES = (".env.example", "engine/", "lua/", "web/", "api/", "docs/")
"""Where things are added; tests and tools come on top."""


def recipes() -> dict[str, list[str]]:
    """The numbered steps of each recipe."""
    section = ARCHITECTURE.read_text(encoding="utf-8").partition("## Where to add things\n")[2]
    found = {}
    for part in section.split("\n### ")[1:]:
        title, _, body = part.partition("\n")
        steps = re.findall(r"^\d+\. (.+(?:\n   .+)*)", body, re.M)
        if steps:
            found[title] = steps
    return found


def places(steps: Iterable[str]) -> set[str]:
    """The files that the steps name."""
    text = "\n".join(steps)
    linked = {f"docs/{name}" for name in re.findall(r"\]\(([\w.]+\.md)\)", text)}
    return linked | {name for name in re.findall(r"`([\w./]+)`", text) if (ROOT / name).is_file()}


def naming_all(names: Iterable[str]) -> set[str]:
    """The sources that name each of these: in quotes or as code, as a constant in capitals, or as a row of a table in Lua."""
    patterns = [re.compile(rf"[\"'`]{name}[\"'`]|\b{name.upper()}\b|-- \| {name} +\|") for name in names]
    folders = [ROOT / folder for folder in SOURCES if folder.endswith("/")]
    files = [ROOT / ".env.example", *(path for folder in folders for path in folder.rglob("*") if path.is_file())]
    wanted = {".py", ".lua", ".md", ".html", ".js", ".example"}
    read = [path for path in files if path.suffix in wanted and not {"decisions", "migrations"} & set(path.parts)]
    return {
        path.relative_to(ROOT).as_posix()
        for path in read
        if all(pattern.search(path.read_text(encoding="utf-8")) for pattern in patterns)
    }


def jobs() -> list[str]:
    """The jobs of the table in docs/operations.md, which another test compares with the schedule."""
    table = OPERATIONS.read_text(encoding="utf-8").partition("## The jobs")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \| \w+ \| ", table, re.M)


def test_every_step_of_a_recipe_names_a_file_that_is_there() -> None:
    assert len(recipes()) >= 7
    for title, steps in recipes().items():
        for step in steps:
            assert places([step]) or "as above" in step or re.search(r"`(?:lua/<name>\.lua|tests/\w+/)`", step), (
                title,
                step,
            )


@pytest.mark.parametrize(("title", "names"), [("A setting", [row.name for row in TABLE]), ("A job", jobs())])
def test_a_recipe_names_every_file_that_lists_what_it_adds_and_no_other(title: str, names: list[str]) -> None:
    assert len(names) >= 5
    named = {place for place in places(recipes()[title]) if place.startswith(SOURCES)}
    assert naming_all(names) == named


def test_the_recipe_of_a_cause_names_every_file_that_lists_causes_and_none_without_one() -> None:
    named = {place for place in places(recipes()["A cause"]) if place.startswith(SOURCES)}
    assert naming_all(ORDER) <= named
    assert named <= {place for name in ORDER for place in naming_all([name])}


def test_each_file_in_the_recipe_of_a_budget_names_the_budgets_that_there_are() -> None:
    for place in places(recipes()["A budget"]):
        text = (ROOT / place).read_text(encoding="utf-8").lower()
        assert ("daily" in text and "monthly" in text) or "budgets" in text, place


def test_a_command_that_follows_its_recipe_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "`_COMMANDS`" in "".join(recipes()["A command"])

    @click.command("greet", cls=Command, any_revision=True)
    def greet() -> None:
        """Greets."""
        click.echo("hello")

    module = ModuleType("a_recipe_s_module")
    monkeypatch.setattr(module, "greet", greet, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    cli = LazyGroup("budget-engine", {**_COMMANDS, "greet": f"{module.__name__}:greet"})
    assert run(cli, ["greet"]) == 0
    assert capsys.readouterr().out == "hello\n"
    assert run(cli, ["--help"]) == 0
    assert "greet" in capsys.readouterr().out


def test_every_script_has_what_its_recipe_wants() -> None:
    protocol = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    for name in NAMES:
        path = Path(lua_folder() / f"{name}.lua")
        head = path.read_text(encoding="utf-8").splitlines()
        assert head[0].startswith("#!lua") and head[1].startswith("-- "), name
        assert any(line.startswith("-- KEYS") for line in head), name
        assert f"`{name}`" in protocol, name


def test_every_script_for_bidders_has_golden_cases() -> None:
    protocol = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    bidders = protocol.partition("## Scripts for bidders")[2].partition("\n## ")[0]
    wanted = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^### (.+)$", bidders, re.M))))
    golden = json.loads((lua_folder() / "golden.json").read_text(encoding="utf-8"))
    called = {step["script"] for case in golden["cases"] for step in case["steps"]}
    assert len(wanted) >= 8
    assert wanted <= called
