"""A table that is imported does what its dry run said: a round trip changes nothing, nothing is overwritten, and all of it can be taken back."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pytest

from engine.domain.catalog_csv import COLUMNS
from engine.domain.money import MICROS
from engine.flows.operations import imports
from engine.ledger import import_rows, operations
from engine.ledger.operations import OperationRecord
from engine.wiring import System

FORMULA = "=cmd()|calc"


def exported(system: System) -> list[dict[str, str]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in imports.table(system.db)]


def file_of(rows: list[dict[str, str]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def drafted(system: System, rows: list[dict[str, str]], **more: Any) -> OperationRecord:
    return system.operations.draft_import(file_of(rows), "anna", **more)


def wrong(system: System, made: OperationRecord) -> list[tuple[int, str]]:
    return [(line.line, line.field) for line in import_rows.wrong_lines(system.db, made.id)]


@pytest.fixture
def place(ready: System) -> tuple[int, list[int]]:
    """A brand with a formula for a name, and two campaigns."""
    made = ready.manage.create_brand(FORMULA, 100 * MICROS, None, "none", "test", time_zone="Europe/Berlin").row
    own = ready.manage.create_campaigns(made.id, ["<script>", "@two"], "test")
    ready.manage.update_campaign(own[0].id, "test", schedule=None, daily_budget_micros=5, breaker_micros=MICROS)
    ready.manage.pause_campaign(own[1].id, "test")
    return made.id, [campaign.id for campaign in own]


def test_a_table_that_goes_out_and_comes_back_changes_nothing(ready: System, place: tuple[int, list[int]]) -> None:
    rows = exported(ready)
    assert [row["name"] for row in rows] == [f"'{FORMULA}", "<script>", "'@two"]
    made = drafted(ready, rows)
    assert (made.ready, made.skipped, made.same, made.wrong) == (0, 0, 3, 0)
    assert made.counted == "3 rows: 0 changes, 3 same"


def test_what_the_table_changes_reaches_bidders_with_its_reason_and_is_taken_back(
    ready: System, place: tuple[int, list[int]]
) -> None:
    brand_id, (one, two) = place
    rows = exported(ready)
    rows[0] |= {"daily_budget": "80", "external_id": "none"}
    rows[1] |= {"paused": "yes", "schedule": '{"days": ["mon"]}', "name": "Renamed"}
    rows[2] |= {"paused": "no"}
    made = drafted(ready, rows, note="New quarter")
    assert (made.ready, made.same, made.note) == (3, 0, "New quarter")
    assert ready.catalog.brand(brand_id).daily_budget_micros == 100 * MICROS, "a draft changes nothing"
    done = ready.operations.begin(made.id, "anna")
    assert (done.state, done.done) == ("done", 3) and operations.behind(ready.db, made.id) == 0
    brand = ready.catalog.brand(brand_id)
    assert (brand.daily_budget_micros, brand.external_id) == (80 * MICROS, None)
    assert ready.client.status(one).reasons[0] == "manual" and ready.catalog.campaign(two).enabled
    ready.operations.begin(ready.operations.undo(made.id, "boris").id, "boris")
    assert [row | {"version": ""} for row in exported(ready)] == [
        row | {"version": ""} for row in exported_before(rows)
    ]


def exported_before(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    first = rows[0] | {"daily_budget": "100.000000", "external_id": "'none"}
    return [first, rows[1] | {"paused": "no", "schedule": "always", "name": "<script>"}, rows[2] | {"paused": "yes"}]


def test_a_row_that_somebody_changed_since_the_export_is_left_out_and_never_overwritten(
    ready: System, place: tuple[int, list[int]]
) -> None:
    brand_id, (one, _) = place
    rows = exported(ready)
    ready.manage.update_brand(brand_id, "boris", daily_budget_micros=7 * MICROS)
    ready.manage.archive_campaign(one, "boris")
    rows[0]["daily_budget"], rows[1]["daily_budget"], rows[2]["daily_budget"] = "1", "2", "3"
    made = ready.operations.begin(drafted(ready, rows).id, "anna")
    assert (made.done, made.skipped) == (1, 2)
    why = {item.line: item.why or "" for item in operations.items(ready.db, made.id, skipped=True)}
    assert "changed since the export" in why[2] and "last by boris" in why[2] and "archived since" in why[3]
    assert ready.catalog.brand(brand_id).daily_budget_micros == 7 * MICROS


def test_rows_without_an_id_are_made_and_taking_them_back_archives_them(
    ready: System, place: tuple[int, list[int]]
) -> None:
    brand_id, _ = place
    new = dict.fromkeys(COLUMNS, "")
    rows = [
        new | {"kind": "campaign", "brand": "New", "name": "Of the new one", "daily_budget": "3", "paused": "yes"},
        new
        | {"kind": "brand", "name": "New", "daily_budget": "50", "time_zone": "Europe/Berlin", "external_id": "n-1"},
        new | {"kind": "campaign", "brand_id": str(brand_id), "name": "Of the old one"},
    ]
    made = drafted(ready, rows)
    assert (made.ready, made.wrong) == (3, 0)
    done = ready.operations.begin(made.id, "anna")
    assert (done.done, done.skipped) == (3, 0) and operations.behind(ready.db, made.id) == 0
    (brand,) = [brand for brand in ready.catalog.brands() if brand.name == "New"]
    (campaign,) = ready.catalog.campaigns(brand.id)
    assert (brand.daily_budget_micros, brand.time_zone, brand.external_id) == (50 * MICROS, "Europe/Berlin", "n-1")
    assert (campaign.name, campaign.enabled, campaign.daily_budget_micros) == ("Of the new one", False, 3 * MICROS)
    assert ready.client.status(campaign.id).reasons[0] == "manual"
    assert drafted(ready, rows).ready == 0, "their names are taken now"
    ready.operations.begin(ready.operations.undo(made.id, "anna").id, "anna")
    assert ready.catalog.brand(brand.id).archived and len(ready.catalog.campaigns(brand_id)) == 2


def test_each_wrong_line_is_named_and_the_good_ones_are_applied(ready: System, place: tuple[int, list[int]]) -> None:
    brand_id, (_one, _two) = place
    ready.manage.create_brand("Taken", None, None, "ext-1", "test")
    rows, new = exported(ready), dict.fromkeys(COLUMNS, "")
    lines: list[tuple[dict[str, str], str | None]] = [
        (rows[0] | {"daily_budget": "9"}, None),
        (rows[0] | {"daily_budget": "8"}, "id"),
        (rows[1] | {"version": ""}, "version"),
        (rows[2] | {"id": "999999999"}, "id"),
        (rows[2] | {"brand_id": "4711"}, "brand_id"),
        (new | {"kind": "brand", "name": "Taken"}, "name"),
        (new | {"kind": "brand", "name": "Twice"}, None),
        (new | {"kind": "brand", "name": "Twice"}, "name"),
        (new | {"kind": "brand", "name": "Other", "external_id": "ext-1"}, "external_id"),
        (new | {"kind": "brand"}, "name"),
        (new | {"kind": "campaign", "name": "Lost", "brand": "Nowhere"}, "brand"),
        (new | {"kind": "campaign", "name": "Lost"}, "brand_id"),
        (new | {"kind": "campaign", "name": "<script>", "brand_id": str(brand_id)}, "name"),
        (new | {"kind": "brand", "name": "x", "version": "4"}, "id"),
        (new | {"kind": "brand", "name": "a\u200bb"}, "name"),
    ]
    made = drafted(ready, [row for row, _ in lines])
    assert wrong(ready, made) == [(no, field) for no, (_, field) in enumerate(lines, 2) if field is not None]
    assert made.counted == "15 rows: 2 changes, 13 wrong"
    assert ready.operations.begin(made.id, "anna").done == 2
    assert ready.catalog.brand(brand_id).daily_budget_micros == 9 * MICROS


def test_who_sees_some_brands_changes_no_other_and_makes_none(ready: System, place: tuple[int, list[int]]) -> None:
    brand_id, _ = place
    other = ready.manage.create_brand("Other", None, None, None, "test").row
    rows, new = exported(ready), dict.fromkeys(COLUMNS, "")
    rows = [row | {"monthly_budget": "5"} for row in rows if row["kind"] == "brand"]
    rows += [new | {"kind": "brand", "name": "Mine"}, new | {"kind": "campaign", "name": "x", "brand": "Other"}]
    made = drafted(ready, rows, seen=[brand_id])
    assert wrong(ready, made) == [(3, "id"), (4, "id"), (5, "brand")] and made.ready == 1
    why = {line.line: line.why for line in import_rows.wrong_lines(ready.db, made.id)}
    unknown = drafted(ready, [rows[1] | {"id": str(other.id + 1)}], seen=[brand_id])
    (nobody,) = import_rows.wrong_lines(ready.db, unknown.id)
    assert why[3].replace(str(other.id), "N") == nobody.why.replace(str(other.id + 1), "N")


def test_an_import_that_was_killed_is_made_once_by_the_next_process(
    ready: System, place: tuple[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    brand_id, _ = place
    new = dict.fromkeys(COLUMNS, "") | {"kind": "campaign", "brand_id": str(brand_id)}
    made = drafted(ready, [new | {"name": f"New {n}"} for n in range(120)])
    operations.begin(ready.db, made.id, "anna")
    stops: Callable[[], bool] = lambda: True  # noqa: E731
    assert not ready.operations.apply(made.id, stops)
    assert len(ready.catalog.campaigns(brand_id)) == 2 + 50
    assert ready.operations.apply_open(lambda: False) == 1
    names = [campaign.name for campaign in ready.catalog.campaigns(brand_id)]
    assert len(names) == len(set(names)) == 122
