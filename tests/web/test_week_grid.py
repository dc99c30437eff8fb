"""The week of a schedule's form: what is ticked is what is saved, never rounded; by the keyboard alone, and without a script."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from engine.domain.schedule import Schedule
from engine.errors import InvalidSchedule
from engine.wiring import System
from tests.web.conftest import Visitor, brand_with
from web.week_grid import CELLS, cells_of, schedule_of

OFFICE = [{"days": ["mon", "tue"], "start_time": "09:00", "end_time": "12:30"}]
EXACT = [{"days": ["mon"], "start_time": "09:10", "end_time": "17:00"}]


@pytest.fixture
def dawn(ready: System) -> int:
    return brand_with(ready, "Aurora")[1][0]


@pytest.mark.parametrize(
    "value",
    [
        OFFICE,
        [{"days": ["sun"], "start_time": "22:00", "end_time": "02:00"}],
        [{"start_time": "00:00", "end_time": "24:00"}],
        [{"days": ["sat"]}, {"days": ["sat", "sun"], "start_time": "06:30", "end_time": "07:00"}],
    ],
)
def test_a_schedule_on_half_hours_comes_back_from_the_grid_as_it_was(value: object) -> None:
    schedule = Schedule.parse(value)
    cells = cells_of(schedule)
    assert cells is not None and schedule_of(cells).compiled == schedule.compiled


def test_a_schedule_that_is_not_on_half_hours_has_no_grid_and_an_empty_grid_is_no_schedule() -> None:
    assert cells_of(Schedule.parse(EXACT)) is None
    assert cells_of(Schedule()) == set(CELLS) and schedule_of(CELLS).always
    for wrong in ([], ["mon-48"], ["mon-18", "foo"]):
        with pytest.raises(InvalidSchedule, match=r"schedule\.cells"):
            schedule_of(wrong)


def fields(ready: System, campaign: int, **more: object) -> dict[str, object]:
    return {"name": "Dawn", "expected_version": str(ready.catalog.campaign(campaign).version), "mode": "grid"} | more


def test_without_a_script_the_ticked_boxes_are_saved_and_an_empty_grid_is_refused(
    ready: System, visitor: Visitor, dawn: int
) -> None:
    path = f"/campaigns/{dawn}/edit"
    status, page = visitor.post(path, **fields(ready, dawn, cells=["mon-18", "mon-19", "tue-18", "tue-19"]))
    assert status == 200 and "saved" in page
    saved = ready.catalog.campaign(dawn).schedule
    assert saved.to_json() == [{"days": ["mon", "tue"], "start_time": "09:00", "end_time": "10:00"}]
    page = visitor.get(path)[1]
    assert re.search(r'value="grid"[^>]*checked|checked[^>]*value="grid"', page)
    assert page.count(" checked>") >= 4 and 'value="mon-18" aria-label="Monday 09:00" checked' in page
    status, page = visitor.post(path, **fields(ready, dawn))
    assert status == 422 and "choose Always" in page
    assert ready.catalog.campaign(dawn).schedule == saved, "nothing was saved"


def test_exact_windows_are_shown_and_kept_when_something_else_is_saved(
    ready: System, visitor: Visitor, dawn: int
) -> None:
    ready.manage.update_campaign(dawn, "test", schedule=Schedule.parse(EXACT))
    path = f"/campaigns/{dawn}/edit"
    page = visitor.get(path)[1]
    assert "Its hours are not on half hours: Mon 09:10-17:00" in page
    assert re.search(r'value="json"[^>]*checked|checked[^>]*value="json"', page)
    text = '[{"days": ["mon"], "start_time": "09:10", "end_time": "17:00"}]'
    assert visitor.post(path, **fields(ready, dawn, mode="json", schedule_json=text))[0] == 200
    assert ready.catalog.campaign(dawn).schedule.to_json() == EXACT


def test_a_week_is_set_with_the_keyboard_alone_and_its_json_is_in_step(
    ready: System, opened: Callable[..., Page], dawn: int
) -> None:
    page = opened(f"/campaigns/{dawn}/edit")
    page.focus("input[name=mode][value=always]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.is_visible("#week")
    page.focus("th[data-day=mon] button")  # the head of a column
    page.keyboard.press("Space")
    assert page.locator("#week input:checked").count() == 48
    page.keyboard.press("Space")
    assert page.locator("#week input:checked").count() == 0
    page.focus('#week input[tabindex="0"]')
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Space", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert page.evaluate("document.activeElement.value") == "tue-3"
    assert '"start_time": "01:00"' in page.input_value("#schedule_json")
    assert page.evaluate("document.querySelectorAll('#week input[tabindex=\"0\"]').length") == 1
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("saved")
    assert ready.catalog.campaign(dawn).schedule.to_json() == [
        {"days": ["tue"], "start_time": "01:00", "end_time": "02:00"}
    ]


@pytest.mark.long
def test_json_that_is_not_on_half_hours_is_saved_exactly_and_a_drag_ticks_a_range(
    ready: System, opened: Callable[..., Page], dawn: int
) -> None:
    page = opened(f"/campaigns/{dawn}/edit")
    page.check("input[name=mode][value=grid]")
    page.click("text=Mon–Fri 9–17")
    assert page.locator("#week input:checked").count() == 5 * 16
    page.click("text=Clear")
    page.hover("input[value=wed-20]")
    page.mouse.down()
    page.hover("input[value=wed-21]")
    page.hover("input[value=wed-22]")
    page.mouse.up()
    assert page.evaluate("[...document.querySelectorAll('#week input:checked')].map(box => box.value)") == [
        "wed-20", "wed-21", "wed-22",
    ]  # fmt: skip
    page.click("summary:has-text('As JSON')")
    page.fill("#schedule_json", '[{"days": ["mon"], "start_time": "09:10", "end_time": "17:00"}]')
    assert page.is_checked("input[name=mode][value=json]")
    page.click("text=Save campaign")
    expect(page.locator(".toast")).to_contain_text("saved")
    assert ready.catalog.campaign(dawn).schedule.to_json() == EXACT
