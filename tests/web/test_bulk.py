"""What is done to a selection: the ticked rows of a list or all that its filter leaves, shown first, and never a brand out of sight."""

from __future__ import annotations

import re
from html import unescape

import pytest
from sqlalchemy import text

from engine.domain.money import MICROS
from engine.wiring import System
from tests.web.conftest import HERE, Visitor, brand_with
from tests.web.test_scope import Place, place  # noqa: F401  # a fixture

EVIL = "=<script>alert(1)</script>"
APPLY = re.compile(r'action="(/operations/\d+/apply)"')


def applied(visitor: Visitor, page: str) -> str:
    """Presses the button of a draft."""
    found = APPLY.search(page)
    assert found is not None, page
    return visitor.post(found[1], "/status")[1]


def test_the_list_has_a_box_for_each_row_and_a_form_that_works_without_scripts(visitor: Visitor, ready: System) -> None:
    brand_id, (campaign,) = brand_with(ready, EVIL)
    _, page = visitor.get("/status")
    assert f'form="bulk" name="campaign" value="{campaign}"' in page
    assert f'form="bulk" name="brand" value="{brand_id}"' in page
    assert EVIL not in page


def test_ticked_campaigns_are_paused_after_a_look_and_nothing_else(visitor: Visitor, ready: System) -> None:
    _, campaigns = brand_with(ready, EVIL, campaigns=3)
    _, page = visitor.post("/operations/new", "/status", kind="pause", campaign=[str(c) for c in campaigns[:2]])
    assert "2 rows will change." in " ".join(page.split()) and "2 campaigns stop at once." in page
    assert all(ready.catalog.campaign(c).enabled for c in campaigns), "a look changes nothing"
    applied(visitor, page)
    assert [ready.catalog.campaign(c).enabled for c in campaigns] == [False, False, True]


def test_all_that_match_means_what_the_filter_leaves_and_not_a_page_of_it(visitor: Visitor, ready: System) -> None:
    for name in ("Aurora", "Aurora too", "Borealis", "Last"):
        brand_with(ready, name, campaigns=2)
    _, page = visitor.post("/operations/new", "/status", kind="pause", all="1", list="status")
    assert "8 rows will change." in " ".join(page.split()), "brands that are folded are among them"
    _, page = visitor.post("/operations/new", "/status", kind="pause", all="1", list="status", q="aurora")
    assert "4 rows will change." in " ".join(page.split())
    applied(visitor, page)
    assert sorted(c.name for c in ready.catalog.campaigns() if not c.enabled) == [
        "Aurora 1", "Aurora 2", "Aurora too 1", "Aurora too 2",
    ]  # fmt: skip


def test_all_that_match_in_the_list_of_budgets_are_the_brands_that_its_tab_chips_and_search_leave(
    visitor: Visitor, ready: System
) -> None:
    made = {name: brand_with(ready, name, 10 * MICROS) for name in ("Aurora", "Aurora too", "Borealis")}
    ready.client.record_spend(made["Aurora"][1][0], "12")
    ready.client.record_spend(made["Borealis"][1][0], "9.5")
    asked = {"kind": "archive", "all": "1", "list": "budgets"}
    for state, names in (
        ({}, ["Aurora", "Aurora too", "Borealis"]),
        ({"q": "aurora"}, ["Aurora", "Aurora too"]),
        ({"tab": "budget"}, ["Aurora"]),
        ({"tab": "attention", "only": "near"}, ["Borealis"]),
    ):
        _, page = visitor.post("/operations/new", "/", **asked, **state)
        assert re.findall(r'<th scope="row">(.*?) <small>\s*brand', page) == names
    applied(visitor, page)
    assert [brand.name for brand in ready.catalog.brands()] == ["Aurora", "Aurora too"]
    assert visitor.post("/operations/new", "/", kind="pause", all="1", list="nowhere")[0] == 400
    assert visitor.post("/operations/new", "/", **asked, tab="nowhere")[0] == 400


@pytest.mark.parametrize(
    ("how", "amount", "becomes"),
    [("set", "55", 55), ("none", "", None), ("up_percent", "10", 110), ("down_percent", "25", 75), ("up", "0.5", 100.5), ("down", "1", 99)],
)  # fmt: skip
def test_a_budget_is_changed_by_what_the_form_says(
    visitor: Visitor, ready: System, how: str, amount: str, becomes: float | None
) -> None:
    brand_id, _ = brand_with(ready, EVIL, 100 * MICROS)
    _, form = visitor.post("/operations/new", "/status", kind="budget", brand=str(brand_id))
    assert "Change the budgets of 1 brand" in form and f'name="brands" value="{brand_id}"' in form
    asked = {"kind": "budget", "asked": "1", "brands": str(brand_id), "period": "daily", "how": how, "amount": amount}
    applied(visitor, visitor.post("/operations/new", "/status", **asked)[1])
    assert ready.catalog.brand(brand_id).daily_budget_micros == (None if becomes is None else int(becomes * MICROS))


@pytest.mark.parametrize(
    ("how", "amount", "why"),
    [
        ("set", "", "Amount or percent is empty"),
        ("set", "1e3", "is not a decimal amount"),
        ("set", "none", "choose Set to no limit"),
        ("up", "0", "is 0, which changes nothing"),
        ("up", "-5", "is not a decimal amount"),
        ("down_percent", "100", "leaves nothing"),
        ("up_percent", "901", "raise by at most 900 percent"),
        ("sideways", "5", "Not a valid choice"),
    ],
)
def test_a_wrong_amount_is_named_and_nothing_is_drafted(
    visitor: Visitor, ready: System, how: str, amount: str, why: str
) -> None:
    brand_id, _ = brand_with(ready, "Aurora", 100 * MICROS)
    asked = {"kind": "budget", "asked": "1", "brands": str(brand_id), "period": "daily", "how": how, "amount": amount}
    status, page = visitor.post("/operations/new", "/status", **asked)
    assert status == 422 and why in unescape(page), page
    assert f'name="brands" value="{brand_id}"' in page, "the selection is still there"


def test_a_schedule_goes_to_the_campaigns_of_a_ticked_brand(visitor: Visitor, ready: System) -> None:
    brand_id, campaigns = brand_with(ready, "Aurora", campaigns=2)
    _, form = visitor.post("/operations/new", "/status", kind="schedule", brand=str(brand_id))
    assert "its campaigns get this one" in form
    asked = {"kind": "schedule", "asked": "1", "brands": str(brand_id), "mode": "window", "days": "mon"}
    page = visitor.post("/operations/new", "/status", **asked, start_time="09:00", end_time="17:00")[1]
    applied(visitor, page)
    assert {ready.catalog.campaign(c).schedule.words() for c in campaigns} == {"Mon 09:00-17:00 (UTC)"}
    status, page = visitor.post("/operations/new", "/status", **asked, start_time="9", end_time="17:00")
    assert status == 422 and "is not a time" in unescape(page)


def test_a_ticked_brand_is_paused_as_a_whole_and_its_campaigns_keep_their_switches(
    visitor: Visitor, ready: System
) -> None:
    brand_id, campaigns = brand_with(ready, EVIL, campaigns=2)
    _, page = visitor.post("/operations/new", "/", kind="pause", brand=str(brand_id), list="budgets")
    assert "Pause 1 brand" in page and "2 campaigns of 1 brand stop at once." in page
    applied(visitor, page)
    assert ready.catalog.brand(brand_id).paused
    assert all(ready.catalog.campaign(c).enabled for c in campaigns)


def test_everything_is_paused_after_a_look_that_counts_brands_and_campaigns_and_resumed_again(
    visitor: Visitor, ready: System
) -> None:
    for name in ("Aurora", "Borealis"):
        brand_with(ready, name, campaigns=2)
    _, page = visitor.post("/operations/everything", "/", kind="pause")
    assert "4 campaigns of 2 brands stop at once." in page and ">Pause 2 brands</button>" in page
    assert not any(brand.paused for brand in ready.catalog.brands())
    page = applied(visitor, page)
    assert all(brand.paused for brand in ready.catalog.brands())
    assert "/undo" in page
    assert (
        "Every brand is paused already. Nothing was changed."
        in visitor.post("/operations/everything", "/", kind="pause")[1]
    )
    _, page = visitor.post("/operations/everything", "/", kind="resume")
    assert "4 campaigns of 2 brands start again." in page
    applied(visitor, page)
    assert not any(brand.paused for brand in ready.catalog.brands())
    assert visitor.post("/operations/everything", "/", kind="drop")[0] == 400


def test_only_an_admin_pauses_everything(place: Place) -> None:  # noqa: F811
    olga = Visitor(place.visitor("Olga", "operator", None))
    assert "everything" not in olga.get("/")[1]
    assert olga.post("/operations/everything", "/me", kind="pause")[0] == 403
    assert "Pause everything" in Visitor(place.visitor("Ada", "admin", None)).get("/")[1]


def test_nothing_ticked_says_so_and_a_wrong_field_is_refused_by_name(visitor: Visitor, ready: System) -> None:
    brand_with(ready, "Aurora")
    assert "Nothing is selected" in visitor.post("/operations/new", "/status", kind="pause")[1]
    for fields, name in (({"kind": "drop"}, "kind"), ({"kind": "pause", "brand": "1 OR 1"}, "brand"), ({"kind": "pause", "campaigns": "1.x"}, "campaigns")):  # fmt: skip
        status, page = visitor.post("/operations/new", "/status", **fields)
        assert status == 400 and name in page.lower(), (status, fields)
    assert visitor.post("/operations/new", "/status", kind="pause", campaign="65536999")[0] == 404


def test_who_sees_one_brand_selects_no_other_by_id_or_filter(place: Place) -> None:  # noqa: F811
    olga = place.visitor("Olga", "operator", [place.mine])
    vera = place.visitor("Vera", "viewer", None)

    def post(client: object, **fields: object) -> tuple[int, str]:
        return Visitor(client).post("/operations/new", "/me", **fields)  # type: ignore[arg-type]  # a browser

    def written() -> int:
        with place.system.db.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM operation")).scalar_one())

    before = written()
    assert post(olga, kind="pause", campaign=str(place.other_campaign))[0] == 404
    assert post(olga, kind="pause", brand=[str(place.mine), str(place.other)])[0] == 404
    assert written() == before, "nothing is written of what is refused"
    for of in ("status", "budgets"):
        status, page = post(olga, kind="pause", all="1", list=of)
        assert status == 200 and "1 row will change." in " ".join(page.split())
    assert post(vera, kind="pause", campaign=str(place.my_campaign))[0] == 403
    assert HERE and place.system.catalog.campaign(place.other_campaign)
