"""The pages of operations: what will change, how far it is, what was left out, and who may see and take back which."""

from __future__ import annotations

import re
from html import unescape

from engine.domain.money import MICROS
from engine.domain.operations import wanted_of
from engine.ledger.operations import OperationRecord
from engine.wiring import System
from tests.web.conftest import Visitor, brand_with
from tests.web.test_scope import Place, place  # noqa: F401  # a fixture

EVIL = "<script>alert('x')</script>"
UNDO = re.compile(r'action="(/operations/\d+/undo)"')


def budget(system: System, brands: list[int], change: str = "percent:110") -> OperationRecord:
    return system.operations.preview(wanted_of("budget", change=change), brands, [], "anna")


def test_a_draft_shows_old_and_new_values_the_effect_and_what_is_left_out(visitor: Visitor, ready: System) -> None:
    first, _ = brand_with(ready, EVIL, 100 * MICROS)
    second, _ = brand_with(ready, "=cmd()|calc", None)
    made = budget(ready, [first, second])
    status, page = visitor.get(f"/operations/{made.id}")
    text = unescape(page)
    assert status == 200 and "<script>alert" not in page and EVIL in text
    assert "Nothing is changed yet. 1 row will change, 1 row left out." in " ".join(text.split())
    assert "100.00" in text and "110.00" in text and "+10.00" in text
    assert "=cmd()|calc" in text and "it has no daily budget to change" in text
    assert "No campaign starts or stops by it." in text
    assert ready.catalog.brand(first).daily_budget_micros == 100 * MICROS


def test_apply_changes_the_rows_and_the_message_has_an_undo_that_takes_them_back(
    visitor: Visitor, ready: System
) -> None:
    first, _ = brand_with(ready, "Aurora", 100 * MICROS)
    made = budget(ready, [first])
    status, page = visitor.post(f"/operations/{made.id}/apply", f"/operations/{made.id}")
    assert status == 200 and "1 row changed." in page
    assert ready.catalog.brand(first).daily_budget_micros == 110 * MICROS
    undo = UNDO.search(page)
    assert undo is not None
    status, page = visitor.post(undo[1], f"/operations/{made.id}")
    assert status == 200 and "Undo: Daily budget to 110 % of what it is: 1 row changed." in unescape(page)
    assert ready.catalog.brand(first).daily_budget_micros == 100 * MICROS


def test_an_undo_of_rows_that_somebody_changed_since_is_shown_before_it_is_made(
    visitor: Visitor, ready: System
) -> None:
    first, _ = brand_with(ready, "Aurora", 100 * MICROS)
    second, _ = brand_with(ready, "Borealis", 50 * MICROS)
    made = budget(ready, [first, second])
    ready.operations.begin(made.id, "anna")
    ready.manage.update_brand(second, "boris", daily_budget_micros=1 * MICROS)
    _, page = visitor.post(f"/operations/{made.id}/undo", f"/operations/{made.id}")
    assert "Nothing is changed yet. 1 row will change, 1 row left out." in " ".join(page.split())
    assert "it was changed since, last by boris" in page
    assert ready.catalog.brand(first).daily_budget_micros == 110 * MICROS


def test_a_draft_is_dropped_and_cannot_be_applied_after(visitor: Visitor, ready: System) -> None:
    first, _ = brand_with(ready, "Aurora", 100 * MICROS)
    made = budget(ready, [first])
    _, page = visitor.post(f"/operations/{made.id}/discard", f"/operations/{made.id}")
    assert "dropped. Nothing was changed." in page
    assert visitor.get(f"/operations/{made.id}")[0] == 404


def test_more_rows_than_a_page_waits_for_are_left_to_a_worker_and_the_page_shows_how_far_it_is(
    visitor: Visitor, ready: System
) -> None:
    _, campaigns = brand_with(ready, "Aurora", campaigns=201)
    made = ready.operations.preview(wanted_of("pause"), [], campaigns, "anna")
    status, page = visitor.post(f"/operations/{made.id}/apply", f"/operations/{made.id}")
    assert status == 200 and "0 of 201 rows changed." in page and "<progress" in page
    assert any(name.startswith(b"operations-") for name in ready.jobs_redis.lrange("rq:queue:jobs", 0, -1))
    assert f"/operations/{made.id}/progress" in page
    ready.operations.apply_open(lambda: False)
    _, part = visitor.get(f"/operations/{made.id}/progress")
    assert "201 rows changed." in part and "hx-trigger" not in part


def test_a_switch_in_the_list_is_followed_by_a_message_that_carries_its_undo(visitor: Visitor, ready: System) -> None:
    _, (campaign,) = brand_with(ready, "Aurora")
    _, page = visitor.post(f"/campaigns/{campaign}/pause", "/status")
    undo = UNDO.search(page)
    assert "Aurora 1 paused." in page and undo is not None
    visitor.post(undo[1], "/status")
    assert ready.catalog.campaign(campaign).enabled


def test_who_does_not_see_every_brand_of_an_operation_finds_none(place: Place) -> None:  # noqa: F811
    both = budget(place.system, [place.mine, place.other], "set:5")
    mine = budget(place.system, [place.mine], "set:6")
    operator = place.visitor("Olga", "operator", [place.mine])
    viewer = place.visitor("Vera", "viewer", [place.mine])
    assert operator.get(f"/operations/{both.id}", base_url="http://localhost").status_code == 404
    assert operator.get(f"/operations/{mine.id}", base_url="http://localhost").status_code == 200
    seen = viewer.get(f"/operations/{mine.id}", base_url="http://localhost").get_data(as_text=True)
    assert "/apply" not in seen
