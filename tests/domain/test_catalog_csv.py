"""The table of the catalog as text: what is written is what is read, and what is no table is refused in one line."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.catalog_csv import COLUMNS, MOST_BYTES, Wrong, cells_of, lines_of
from engine.domain.csv_cells import guarded, unguarded
from engine.errors import InvalidInput

ROW: dict[str, Any] = {
    "name": "Aurora", "external_id": None, "enabled": True, "daily_budget_micros": 1_234_567, "monthly_budget_micros": None,
    "lifetime_budget_micros": 0, "rate_limit_micros": 5_000_000, "breaker_micros": None,
    "schedule": [{"days": ["mon"], "start_time": "09:00", "end_time": "17:00"}], "pacing": "even", "catch_up": "300",
}  # fmt: skip


def written(*rows: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([list(COLUMNS), *rows])
    return out.getvalue().encode()


@given(st.text(st.sampled_from("'=+-@\t\ra ;\n"), max_size=8))
def test_a_guarded_text_is_no_formula_wherever_a_spreadsheet_splits_it_and_comes_back_as_it_was(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    for part in re.split("[;\r\n]", cell):
        assert not part.startswith(("=", "+", "-", "@", "\t")), cell


@pytest.mark.parametrize(
    "name",
    [
        "=cmd()|calc",
        "'=1",
        "''@x",
        "a;=cmd|'/c calc'!A0;",
        "a;'=1",
        "+49",
        "-",
        "'quoted'",
        "<script>",
        'say "a, b"',
        "Größe",
    ],
)
@pytest.mark.parametrize("external_id", [None, "none", "NONE", "=x", "-1", "@a", "17"])
def test_what_is_written_is_read_as_the_same_values(name: str, external_id: str | None) -> None:
    row = ROW | {"name": name, "external_id": external_id}
    cells = cells_of("campaign", 65537, 3, (1, "=Brand"), row)
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
    (line,) = lines_of(written(cells))
    assert line.values() == row and line.number("version") == 3 and line.cells["brand"] == "=Brand"


def test_files_of_spreadsheets_elsewhere_are_read_too() -> None:
    data = "\ufeffKind;Name;daily_budget\r\nbrand;Größe;1.5\r\n\r\n;;\r\nbrand;Zwei;none\r\n".encode()
    assert [(line.no, line.values()) for line in lines_of(data)] == [
        (2, {"name": "Größe", "daily_budget_micros": 1_500_000}),
        (5, {"name": "Zwei", "daily_budget_micros": None}),
    ]


def test_a_line_has_the_number_that_an_editor_shows_also_after_cells_of_several_lines() -> None:
    data = b'kind,name,schedule\nbrand,"a\nb",\nbrand,c,\n'
    assert [line.no for line in lines_of(data)] == [2, 4]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "file is empty"),
        (b"kind,name\n", "no rows under its head"),
        (b"kind,name\nbrand,a\0b\n", "NUL on line 2"),
        (b"kind,name\nbrand,Gr\xf6\xdfe\n", "not in UTF-8 (byte 0xf6 on line 2)"),
        ("kind,name\nbrand,a\n".encode("utf-16"), "UTF-16"),
        (b"kind,nme\nbrand,a\n", "a column 'nme', which is none of"),
        (b"kind,name,name\nbrand,a,b\n", "the column name twice"),
        (b"id,name\n1,a\n", "no column kind"),
        (b'kind,name\nbrand,"a\n', "file is no CSV from line 2"),
        (b"x" * (MOST_BYTES + 1), "give at most"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line_that_says_what_to_do(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match="file") as refused:
        lines_of(data)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        ("campaign,x,,,maybe,,", "paused"),
        ("campaign,x,1.2345678,,,,", "daily_budget"),
        ("campaign,x,-1,,,,", "daily_budget"),
        ("brand,x,,5,,,", "lifetime_budget"),
        ("campaign,x,,,,09-17,", "schedule"),
        ("campaign,x,,,,,Mars", "time_zone"),
        ("ad,x,,,,,", "kind"),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_named_with_its_column(cells: str, field: str) -> None:
    (line,) = lines_of(f"kind,name,daily_budget,lifetime_budget,paused,schedule,time_zone\n{cells}\n".encode())
    with pytest.raises(Wrong) as wrong:
        line.values()
    assert wrong.value.field == field and wrong.value.why
