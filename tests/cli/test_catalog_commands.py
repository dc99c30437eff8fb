"""The table of the catalog on the command line: out, changed, and back in."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.wiring import System
from tests.cli.conftest import Be

pytestmark = pytest.mark.usefixtures("ready")


def test_a_table_is_exported_changed_looked_at_and_imported(be: Be, ready: System, tmp_path: Path) -> None:
    be("brand", "create", "=cmd()", "--daily", "10")
    (brand,) = ready.catalog.brands()
    file = tmp_path / "table.csv"
    assert be("catalog", "export", str(file), "--json").document["rows"] == 1
    assert be("catalog", "import", str(file), "--yes", "--json").document["same"] == 1
    file.write_text(
        file.read_text(encoding="utf-8").replace("10.000000", "12.5") + "ad,,,,,,,,,,,,,,,,\n", encoding="utf-8"
    )
    looked = be("catalog", "import", str(file), "--dry-run", "--json")
    assert looked.status == 1 and looked.document["wrong"][0]["line"] == 3
    assert looked.document["rows"][0]["changes"] == {"daily_budget": ["10.000000", "12.500000"]}
    assert ready.catalog.brand(brand.id).daily_budget_micros == 10_000_000
    unasked = be("catalog", "import", str(file))
    assert unasked.status != 0 and "--yes" in unasked.err
    done = be("catalog", "import", str(file), "--yes", "--note", "why not")
    assert "2 rows: 1 changes, 1 wrong" in done.out and "line 3, kind" in done.err
    assert ready.catalog.brand(brand.id).daily_budget_micros == 12_500_000
    (newest, *_) = be("operation", "list", "--json").document
    assert (newest["kind"], newest["note"]) == ("import", "why not")


def test_a_file_that_is_not_there_or_no_table_is_refused_in_one_line(be: Be, tmp_path: Path) -> None:
    assert "cannot be read" in be("catalog", "import", str(tmp_path / "none.csv"), "--yes").err
    (tmp_path / "x.csv").write_bytes(b"\xff\xfea")
    refused = be("catalog", "import", str(tmp_path / "x.csv"), "--yes")
    assert refused.status != 0 and "UTF-16" in refused.err and refused.err.count("\n") == 1
