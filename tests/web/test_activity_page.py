"""The feed of what happened: who did what and why, page by page without a gap, for each person what he may see."""

from __future__ import annotations

import csv
import io
import re
from html import unescape

import pytest
from sqlalchemy import text

from engine.domain.money import MICROS
from engine.domain.operations import wanted_of
from engine.ledger import logins, notes, webhooks
from engine.ledger.activity import Wanted
from engine.wiring import System
from tests.web.conftest import HERE, Visitor, brand_with
from tests.web.test_scope import SECRET, Place, place  # noqa: F401  # a fixture
from web import activity

EVIL = "<script>alert('x')</script>"
OLDER = re.compile(r'href="(/activity\?[^"]*after=[^"]+)" rel="next"')


def words(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_what_was_changed_stands_in_the_feed_with_who_did_it_and_why(visitor: Visitor, ready: System) -> None:
    brand, _ = brand_with(ready, EVIL, 100 * MICROS)
    ready.manage.update_brand(brand, "anna", daily_budget_micros=80 * MICROS, note="The client asked for it")
    status, page = visitor.get("/activity")
    said = words(page)
    assert status == 200 and "<script>alert" not in page
    assert f"Change brand {EVIL} daily budget 100.00 → 80.00 The client asked for it" in said
    assert "· by anna" in said and f"{EVIL} created" in said


def test_an_operation_of_many_rows_is_one_line_that_takes_it_back(visitor: Visitor, ready: System) -> None:
    brand, campaigns = brand_with(ready, "Aurora", campaigns=7)
    made = ready.operations.preview(wanted_of("pause"), [], campaigns, "anna")
    _, _page = visitor.post(f"/operations/{made.id}/apply", f"/operations/{made.id}", note="  Bad landing page  ")
    with ready.db.begin() as connection:  # starts and stops are shown by the minute, and one may end in between
        connection.execute(text("UPDATE status_change SET at = (SELECT max(at) FROM status_change)"))
    said = words(visitor.get("/activity?kind=change")[1])
    assert "Pause 7 rows" in said and "and 4 rows more" in said and "Bad landing page" in said
    assert said.count("switch on → off") == 3
    assert "7 campaigns Aurora paused: switched off" in words(visitor.get("/activity?kind=status")[1])
    with ready.db.connect() as connection:
        trail = f"SELECT DISTINCT note FROM catalog_change WHERE operation_id = {made.id}"
        assert list(connection.execute(text(trail)).scalars()) == ["Bad landing page"]
    undo = re.search(rf'action="(/operations/{made.id}/undo)"', visitor.get("/activity")[1])
    assert undo is not None
    visitor.post(undo[1], "/activity")
    said = words(visitor.get("/activity")[1])
    assert "taken back" in said and all(ready.catalog.campaign(one).enabled for one in campaigns)
    assert visitor.get(f"/activity?brand={brand}")[0] == 200


def test_every_line_is_on_one_page_and_one_only_also_where_many_are_of_one_instant(
    visitor: Visitor, ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "A_PAGE", 3)
    brand_with(ready, "Aurora", campaigns=4)
    with ready.db.begin() as connection:
        connection.execute(text("UPDATE catalog_change SET at = '2026-01-01'"))
        connection.execute(text("UPDATE status_change SET at = '2026-01-01'"))
        for _ in range(5):
            logins.log(ready.db, "mia", "127.0.0.1", "wrong", None)
        connection.execute(text("UPDATE login_event SET at = '2026-01-01'"))
    whole = [(line.source, line.id) for line in _lines(ready)]
    path, found = "/activity", 0
    for _ in range(len(whole)):
        _, page = visitor.get(path, **{"HX-Request": "true"})
        found += page.count("<li") - page.count('id="older"')
        older = OLDER.search(unescape(page))
        if older is None:
            break
        path = older[1]
    assert len(whole) == len(set(whole)) > 12
    assert older is None and found >= len({source for source, _ in whole})
    seen: list[tuple[str, int]] = []
    after = None
    while True:
        lines = _lines(ready, 3, after)
        seen += [(line.source, line.id) for line in lines]
        if len(lines) < 3:
            break
        after = lines[-1].cursor
    assert seen == whole


def _lines(ready: System, limit: int = 1000, after: object = None) -> list[object]:
    from engine.ledger import activity as ledger

    with ready.db.connect() as connection:
        return ledger.page(connection, Wanted(), limit, after)  # type: ignore[arg-type, return-value]


def test_the_filters_leave_what_they_name(visitor: Visitor, ready: System) -> None:
    aurora, _ = brand_with(ready, "Aurora", 10 * MICROS)
    boreal, _ = brand_with(ready, "Boreal", 10 * MICROS)
    ready.manage.update_brand(aurora, "anna", daily_budget_micros=20 * MICROS)
    ready.manage.update_brand(boreal, "boris", daily_budget_micros=30 * MICROS)
    assert "20.00" in words(visitor.get("/activity?who=anna")[1])
    assert "30.00" not in words(visitor.get("/activity?who=anna")[1])
    for brand in ("Boreal", str(boreal)):
        said = words(visitor.get(f"/activity?brand={brand}")[1])
        assert "30.00" in said and "20.00" not in said
    assert "Nothing like that happened" in visitor.get("/activity?to=2020-01-01")[1]
    assert "30.00" in words(visitor.get("/activity?from=2020-01-01&kind=change")[1])
    for wrong in (
        "from=tomorrow",
        "to=2026-13-01",
        "kind=all",
        "after=1.9.1",
        "after=x",
        "from=2026-11-29+25:00",
        "who=%00",
    ):
        status, page = visitor.get(f"/activity?{wrong}")
        assert status == 400, (wrong, page)
    assert visitor.get("/activity?brand=Nobody")[0] == 404
    assert visitor.get("/activity?brand=%00")[0] == 400


def test_logins_and_changes_of_users_are_for_admins(place: Place) -> None:  # noqa: F811
    admin, viewer = place.visitor("Ada", "admin", None), place.visitor("Vera", "viewer", [place.mine])
    logins.log(place.system.db, "Gustav", "10.9.8.7", "wrong", None)
    assert "10.9.8.7" in admin.get("/activity", base_url=HERE).get_data(as_text=True)
    assert "Ada" in words(admin.get("/activity?kind=people", base_url=HERE).get_data(as_text=True))
    url = "https://hooks.example.com/services/T0/Gustav"
    webhooks.create(place.system.db, "Ada", "Duty", url)
    assert url in admin.get("/activity?kind=people", base_url=HERE).get_data(as_text=True)
    others = (viewer, place.visitor("Victor", "viewer", None), place.visitor("Olga", "operator", None))
    for path in ("/activity", "/activity.csv", "/changes"):
        for kind in ("", "?kind=login", "?kind=people"):
            for other in others:
                page = other.get(f"{path}{kind}", base_url=HERE).get_data(as_text=True)
                assert "10.9.8.7" not in page and "Gustav" not in page and "Ada" not in page, (path, kind)


def test_who_sees_one_brand_of_an_operation_sees_its_rows_and_no_others(place: Place) -> None:  # noqa: F811
    made = place.system.operations.preview(wanted_of("budget", change="set:5"), [place.mine, place.other], [], "anna")
    place.system.operations.begin(made.id, "anna")
    viewer = place.visitor("Olga", "operator", [place.mine])
    page = viewer.get("/activity", base_url=HERE).get_data(as_text=True)
    assert "Daily budget to 5.00" in page and "10.00 → 5.00" in words(page)
    assert SECRET not in page and "20.00 → 5.00" not in words(page) and f"/operations/{made.id}" not in page
    table = viewer.get("/activity.csv", base_url=HERE).get_data(as_text=True)
    assert table.count("daily_budget,10") == 1 and SECRET not in table


def test_what_a_person_did_in_brands_out_of_sight_is_in_no_feed_by_his_name(place: Place) -> None:  # noqa: F811
    operations, manage = place.system.operations, place.system.manage
    for brand, budget in ((place.mine, "6"), (place.other, "7")):
        operations.begin(
            operations.preview(wanted_of("budget", change=f"set:{budget}"), [brand], [], "anna").id, "anna"
        )
    manage.pause_campaign(place.my_campaign, "anna")
    manage.resume_campaign(place.other_campaign, "anna")
    notes.add(place.system.db, "brand", place.other, "anna", SECRET)
    viewer = place.visitor("Olga", "operator", [place.mine])
    shown = ""
    for path in ("/activity", "/activity.csv"):
        for kind in ("", "&kind=change", "&kind=status", "&kind=note"):
            shown += viewer.get(f"{path}?who=anna{kind}", base_url=HERE).get_data(as_text=True)
    assert "Daily budget to 6.00" in shown and "paused: switched off" in words(shown)
    assert SECRET not in shown and "7.00" not in shown


def test_the_table_has_every_changed_field_and_no_formula(visitor: Visitor, ready: System) -> None:
    brand, campaigns = brand_with(ready, "=cmd()|calc", 10 * MICROS, campaigns=5)
    made = ready.operations.preview(wanted_of("pause"), [], campaigns, "anna")
    ready.operations.begin(made.id, "anna", "weekend")
    status, page = visitor.get(f"/activity.csv?brand={brand}")
    lines = list(csv.DictReader(io.StringIO(page)))
    assert status == 200 and {line["brand"] for line in lines} == {"'=cmd()|calc"}
    paused = [line for line in lines if line["operation"] == str(made.id)]
    assert len(paused) == 5 and {(line["what"], line["from"], line["to"]) for line in paused} == {
        ("enabled", "true", "false")
    }
    assert {line["note"] for line in paused} == {"weekend"} and {line["kind"] for line in lines} == {"change", "status"}
