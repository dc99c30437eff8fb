"""The page of an import: a file, what it would change, and nothing changed before a person says so."""

from __future__ import annotations

import csv
import io
import re
from html import unescape

from flask.testing import FlaskClient

from engine.domain.catalog_csv import MOST_BYTES, MOST_LINES
from engine.domain.money import MICROS
from engine.wiring import System
from tests.web.conftest import HERE, Visitor, brand_with
from tests.web.test_activity_page import words
from tests.web.test_scope import Place, place  # noqa: F401  # a fixture
from web.guard import may_upload

EVIL = "<script>alert('x')</script>"


def upload(visitor: Visitor, data: bytes, note: str = "") -> tuple[int, str]:
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', visitor.get("/import")[1])
    assert token is not None
    fields = {"csrf_token": token[1], "note": note, "file": (io.BytesIO(data), "budgets.csv")}
    answer = visitor.client.post("/import", base_url=HERE, data=fields, headers={"Origin": HERE}, follow_redirects=True)
    return answer.status_code, answer.get_data(as_text=True)


def test_an_upload_shows_what_it_changes_and_its_wrong_lines_before_anything_is_changed(
    visitor: Visitor, ready: System
) -> None:
    brand, _ = brand_with(ready, EVIL, 100 * MICROS, campaigns=2)
    table = visitor.get("/catalog.csv")[1].replace("100.000000", "80").replace(",always,", ",nonsense,", 1)
    status, page = upload(visitor, table.encode(), "Because")
    said = words(page)
    assert status == 200 and "<script>alert" not in page and EVIL in unescape(page)
    assert "Import of 3 rows" in said and "3 rows: 1 changes, 1 same, 1 wrong." in said and "100.00" in said
    assert "schedule" in said and "nonsense" in said and "Because" in said
    assert ready.catalog.brand(brand).daily_budget_micros == 100 * MICROS
    apply = re.search(r'action="(/operations/\d+)/apply"', page)
    assert apply is not None
    _, page = visitor.post(f"{apply[1]}/apply", apply[1])
    assert "1 row changed." in page and ready.catalog.brand(brand).daily_budget_micros == 80 * MICROS
    assert "Import of 3 rows" in words(visitor.get("/activity")[1]) and "Because" in words(visitor.get("/activity")[1])


def test_what_is_no_table_is_refused_beside_its_field_and_makes_no_operation(visitor: Visitor, ready: System) -> None:
    for data, said in (
        (b"\xff\xfek\0", "UTF-16"),
        (b"kind,name\nbrand,\xe9\n", "not in UTF-8"),
        (b"", "missing"),
        (b"a", "none of"),
        (b"kind,name\nbrand,a\n" + b"\n" * MOST_LINES, "blank ones too"),
    ):
        status, page = upload(visitor, data)
        assert status == 422 and said in page, (data, page)
    assert upload(visitor, b"x" * (MOST_BYTES + 1))[0] == 422
    assert upload(visitor, b"x" * (MOST_BYTES + 1024 * 1024))[0] == 413
    with ready.db.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM operation").scalar() == 0


def test_a_new_campaign_of_a_new_brand_is_shown_by_their_names_before_they_exist(
    visitor: Visitor, ready: System
) -> None:
    _, page = upload(visitor, b"kind,name,brand\nbrand,Fjord,\ncampaign,Tents,Fjord\n")
    said = words(page)
    assert "2 rows will change" in said and "Fjord new brand" in said and "Tents new campaign of Fjord" in said


def test_who_sees_one_brand_exports_and_imports_no_other(place: Place) -> None:  # noqa: F811
    client = place.visitor("Olga", "operator", [place.mine])
    visitor = Visitor(client)
    rows = list(csv.DictReader(io.StringIO(visitor.get("/catalog.csv")[1])))
    assert {row["brand_id"] for row in rows} == {str(place.mine)}
    _, page = upload(visitor, f"kind,id,version,name\nbrand,{place.other},1,Mine now\n".encode())
    assert f"there is no brand {place.other}" in page
    number = re.search(r"Operation (\d+)", page)
    assert number is not None
    other = place.visitor("Vera", "viewer", [place.other])
    assert other.get(f"/operations/{number[1]}", base_url=HERE).status_code == 404


def test_only_a_session_that_a_login_began_may_send_a_file_before_it_is_asked_who_it_is(place: Place) -> None:  # noqa: F811
    def cookie_of(visitor: FlaskClient) -> str:
        visitor.get("/login", base_url=HERE)
        kept = visitor.get_cookie("budget_engine", domain="localhost")
        return "" if kept is None else f"budget_engine={kept.value}"

    stranger, olga = cookie_of(place.app.test_client()), cookie_of(place.visitor("Olga", "operator", [place.mine]))
    assert stranger and olga
    asked = {cookie: may_upload(place.app, cookie) for cookie in (stranger, olga, olga[:-1], "budget_engine=x", "")}
    assert asked == {stranger: False, olga: True, olga[:-1]: False, "budget_engine=x": False, "": False}
