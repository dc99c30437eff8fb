"""The page of alerts: what is open and counts, who has seen it, and that nobody sees or silences alerts of brands out of his sight."""

from __future__ import annotations

from html import unescape

from engine.domain.money import MICROS
from engine.ledger import alerts
from engine.wiring import System
from tests.flows.test_alerts import decide
from tests.web.conftest import HERE, Visitor, brand_with, spend_now
from tests.web.test_scope import SECRET, Place, place  # noqa: F401  # a fixture

EVIL = "<script>alert('x')</script>"


def plain(page: str) -> str:
    return " ".join(unescape(page).split())


def test_an_open_alert_is_listed_counted_acknowledged_and_muted(visitor: Visitor, ready: System) -> None:
    _, (campaign,) = brand_with(ready, EVIL, 100 * MICROS)
    assert "No alert is open." in visitor.get("/alerts")[1]
    spend_now(ready, campaign, "96")
    decide(ready)
    status, page = visitor.get("/alerts")
    assert status == 200 and "<script>alert" not in page and EVIL in unescape(page)
    assert "95 % reached: 96.00 of 100.00 spent today" in page and "80 % reached" not in page
    assert "1 alert needs a look." in page and '<span class="count">1</span>' in page
    found = alerts.list_open(ready.db, None, 1)[0]
    _, page = visitor.post(f"/alerts/{found.id}/acknowledge", "/alerts")
    assert "acknowledged. It counts no more." in plain(page).replace('</p> <p class="told then">', " ")
    assert "seen by" in page and 'class="count"' not in page
    _, page = visitor.post(f"/alerts/{found.id}/mute", "/alerts", hours="8")
    assert "muted for 8 hours." in page and "muted until" in page
    _, page = visitor.post(f"/alerts/{found.id}/unmute", "/alerts")
    assert "not muted any more." in page and "muted until" not in page
    status, page = visitor.post(f"/alerts/{found.id}/mute", "/alerts", hours="2")
    assert status == 400 and "is none of 1, 8, 24, 168" in unescape(page)


def test_the_history_says_how_each_alert_ended(visitor: Visitor, ready: System) -> None:
    id_, (campaign,) = brand_with(ready, "Aurora", 100 * MICROS)
    other, (second,) = brand_with(ready, "Borealis", 100 * MICROS)
    for each in (campaign, second):
        spend_now(ready, each, "55")
    decide(ready)
    ready.manage.update_brand(id_, "anna", daily_budget_micros=200 * MICROS)
    decide(ready)
    _, page = visitor.get("/alerts/history")
    assert "recovered: the budget was raised" in page and "Aurora" in page and "Borealis" in page
    _, page = visitor.get(f"/alerts/history?brand={other}")
    assert "Aurora" not in page and "Borealis" in page
    assert visitor.get("/alerts/history?before=x")[0] == 400


def test_alerts_of_brands_out_of_sight_are_neither_seen_nor_counted_nor_silenced(place: Place) -> None:  # noqa: F811
    spend_now(place.system, place.other_campaign, "6.63")
    decide(place.system)
    (secret,) = alerts.list_open(place.system.db, [place.other], 9)
    operator = place.visitor("Olga", "operator", [place.mine])
    for path in ("/alerts", "/alerts/history", f"/alerts/history?brand={place.other}"):
        page = operator.get(path, base_url=HERE).get_data(as_text=True)
        assert SECRET not in page and 'class="count"' not in page
    everything = Visitor(place.visitor("Omar", "operator", None))
    assert SECRET in everything.get("/alerts")[1]
    for what in ("acknowledge", "mute", "unmute"):
        status, page = Visitor(operator).post(f"/alerts/{secret.id}/{what}", "/", hours="1")
        assert status == 404 and "There is no alert" in page
    assert alerts.one(place.system.db, secret.id).acknowledged_at is None
    viewer = Visitor(place.visitor("Vera", "viewer", None))
    assert "/acknowledge" not in viewer.get("/alerts")[1]
