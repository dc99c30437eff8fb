"""Notes and reasons: what a person wrote stands where the change does, with his name, and changes nothing by itself."""

from __future__ import annotations

import csv
import io

from engine.domain.money import MICROS
from engine.domain.operations import wanted_of
from engine.ledger import operations
from engine.wiring import System
from tests.web.conftest import HERE, Visitor, brand_with, spend_now
from tests.web.test_activity_page import words
from tests.web.test_scope import SECRET, Place, place  # noqa: F401  # a fixture

EVIL = "<script>alert('x')</script>"


def test_a_note_stands_on_its_page_and_in_the_activity_and_changes_nothing(visitor: Visitor, ready: System) -> None:
    brand, (campaign,) = brand_with(ready, "Aurora")
    version = ready.catalog.campaign(campaign).version
    for path in (f"/brands/{brand}/notes", f"/campaigns/{campaign}/notes"):
        status, page = visitor.post(path, note=f"  {EVIL} said so\nand more ")
        assert status == 200 and "<script>alert" not in page and "said so" in page
        assert "Note on" in words(visitor.get("/activity?kind=note")[1])
    assert words(visitor.get("/activity?kind=note")[1]).count("said so") == 2
    assert ready.catalog.campaign(campaign).version == version
    for wrong in ("   ", "x" * 1001):
        status, page = visitor.post(f"/brands/{brand}/notes", note=wrong)
        assert status == 422
    assert words(visitor.get("/activity?kind=note")[1]).count("Note on") == 2


def test_whoever_left_a_note_did_not_change_the_row(ready: System) -> None:
    from engine.ledger import notes

    brand, _ = brand_with(ready, "Aurora", 10 * MICROS)
    made = ready.operations.preview(wanted_of("budget", change="set:5"), [brand], [], "anna")
    ready.manage.update_brand(brand, "boris", daily_budget_micros=7 * MICROS)
    notes.add(ready.db, "brand", brand, "clara", "Called the client")
    ready.operations.begin(made.id, "anna")
    assert operations.items(ready.db, made.id, skipped=True)[0].why == "it was changed since, last by boris"


def test_the_reason_of_a_form_is_the_changes_own(visitor: Visitor, ready: System) -> None:
    brand, (campaign,) = brand_with(ready, "Aurora", 10 * MICROS)
    fields = {"daily_budget": "20", "monthly_budget": "none", "name": "Aurora", "note": "More for the holidays"}
    visitor.post(f"/brands/{brand}/edit", expected_version=str(ready.catalog.brand(brand).version), **fields)
    own = {"name": "Renamed", "mode": "always", "note": "A typing error"}
    visitor.post(f"/campaigns/{campaign}/edit", expected_version=str(ready.catalog.campaign(campaign).version), **own)
    said = words(visitor.get("/activity?kind=change")[1])
    assert "10.00 → 20.00 More for the holidays" in said and "→ Renamed" in said and "A typing error" in said
    assert [one.note for one in operations.latest(ready.db, 2)] == ["A typing error", "More for the holidays"]


def test_the_spends_of_a_campaign_come_as_a_table_of_exact_amounts(visitor: Visitor, ready: System) -> None:
    brand, (one, two) = brand_with(ready, "=Aurora", campaigns=2)
    spend_now(ready, one, "1.000001")
    spend_now(ready, two, "2.5")
    status, page = visitor.get(f"/brands/{brand}/spend.csv")
    rows = list(csv.DictReader(io.StringIO(page)))
    assert status == 200 and [row["amount"] for row in rows] == ["1.000001", "2.500000"]
    assert {row["campaign"] for row in rows} == {"'=Aurora 1", "'=Aurora 2"}
    (mine,) = csv.DictReader(io.StringIO(visitor.get(f"/campaigns/{two}/spend.csv")[1]))
    assert (mine["campaign_id"], mine["amount"], mine["kind"]) == (str(two), "2.500000", "spend")
    assert visitor.get(f"/campaigns/{two}/spend.csv?from=2020-01-01&to=2020-01-02")[1].count("\r\n") == 1
    for wrong in (
        "from=1",
        "to=0001-01-01",
        "from=2020-01-02&to=2020-01-01",
        "from=2020-01-01&to=2023-01-01",
        "to=9999-12-31",
    ):
        assert visitor.get(f"/brands/{brand}/spend.csv?{wrong}")[0] == 400, wrong


def test_who_sees_one_brand_reads_no_notes_and_no_spends_of_another(place: Place) -> None:  # noqa: F811
    client = place.visitor("Olga", "operator", [place.mine])
    for path in (
        f"/brands/{place.other}/notes",
        f"/brands/{place.other}/spend.csv",
        f"/campaigns/{place.other_campaign}/spend.csv",
    ):
        answer = client.get(path, base_url=HERE)
        assert answer.status_code == 404 and SECRET not in answer.get_data(as_text=True)
