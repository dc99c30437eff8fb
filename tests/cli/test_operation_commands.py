"""Operations on the command line: what was changed, and taking it back."""

from __future__ import annotations

import pytest

from engine.wiring import System
from tests.cli.conftest import Be

pytestmark = pytest.mark.usefixtures("ready")


def test_a_change_is_listed_shown_and_taken_back(be: Be, ready: System) -> None:
    be("brand", "create", "<script>", "--daily", "10")
    (brand,) = ready.catalog.brands()
    be("brand", "update", str(brand.id), "--daily", "25")
    (one,) = be("operation", "list", "--json").document
    assert (one["kind"], one["state"], one["done"], one["words"]) == ("change", "done", 1, "Change brand <script>")
    shown = be("operation", "show", str(one["id"]), "--json").document
    assert shown["rows"][0]["changes"] == {"daily_budget": ["10.000000", "25.000000"]}
    assert "25.000000" in be("operation", "show", str(one["id"])).out
    assert be("operation", "undo", str(one["id"]), "--dry-run").status == 0
    assert ready.catalog.brand(brand.id).daily_budget_micros == 25_000_000
    undone = be("operation", "undo", str(one["id"]), "--json").document
    assert (undone["state"], undone["done"], undone["undo_of"]) == ("done", 1, one["id"])
    assert ready.catalog.brand(brand.id).daily_budget_micros == 10_000_000
    assert [line["id"] for line in be("operation", "list", "--json").document] == [undone["id"], one["id"]]


def test_everything_is_paused_and_resumed_by_one_command_with_a_look_before_and_an_undo_after(
    be: Be, ready: System
) -> None:
    for name in ("Aurora", "=cmd()"):
        be("brand", "create", name, "--daily", "10")
    looked = be("pause-all", "--dry-run", "--json").document
    assert (looked["state"], looked["ready"], {row["name"] for row in looked["rows"]}) == (
        "draft",
        2,
        {"Aurora", "=cmd()"},
    )
    assert not any(brand.paused for brand in ready.catalog.brands())
    done = be("pause-all", "--reason", "wrong prices", "--json").document
    assert (done["state"], done["done"], done["words"]) == ("done", 2, "Pause everything")
    assert all(brand.paused for brand in ready.catalog.brands())
    assert (be("pause-all", "--json").document["done"], be("pause-all").status) == (0, 0)
    assert be("operation", "undo", str(done["id"])).status == 0
    assert not any(brand.paused for brand in ready.catalog.brands())
    be("brand", "pause", str(ready.catalog.brands()[0].id))
    assert be("resume-all", "--json").document["done"] == 1
    assert not any(brand.paused for brand in ready.catalog.brands())
    assert "too long" in be("pause-all", "--reason", "x" * 5000).err


def test_an_operation_that_is_not_there_is_refused_in_one_line(be: Be) -> None:
    for verb in ("show", "undo"):
        answer = be("operation", verb, "77")
        assert answer.status == 1 and "there is no operation 77" in answer.err and answer.err.count("\n") == 1
