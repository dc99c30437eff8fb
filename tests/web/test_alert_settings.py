"""The pages of admins about alerts: rules, webhooks whose secret is shown once, and the messages to them."""

from __future__ import annotations

import re
from html import unescape

from engine.domain.alerts import BY_KIND
from engine.ledger import alert_rules, webhooks
from engine.wiring import System
from tests.web.conftest import Visitor, brand_with

EVIL = "<script>alert('x')</script>"
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]{44}")


def test_a_rule_of_every_brand_and_one_of_a_brand_are_made_changed_and_removed(visitor: Visitor, ready: System) -> None:
    brand_id, _ = brand_with(ready, EVIL)
    _, page = visitor.get("/alerts/rules")
    assert "50, 80, 95, 100 %" in page and "the engine" in page
    _, page = visitor.post("/alerts/rules/daily", brand="", levels="90, 75", enabled="y")
    assert "75, 90 %" in page
    _, page = visitor.post("/alerts/rules/daily", brand=EVIL, levels="10", enabled="")
    assert "<script>alert" not in page and EVIL in unescape(page)
    assert ready.alerts.rules().of("daily", brand_id).asked == ()
    status, page = visitor.post("/alerts/rules/daily", brand="nobody", levels="10", enabled="y")
    assert status == 422 and "no brand 'nobody'" in unescape(page)
    status, page = visitor.post("/alerts/rules/daily", brand="", levels="x", enabled="y")
    assert status == 422 and "is not a whole number from 1 to 1000" in unescape(page)
    visitor.post("/alerts/rules/daily/drop", "/alerts/rules", brand=brand_id)
    assert ready.alerts.rules().of("daily", brand_id).asked == (75, 90)
    assert visitor.get("/alerts/rules/other")[0] == 404


def test_a_secret_is_shown_in_the_answer_in_which_it_is_made_and_never_again(visitor: Visitor, ready: System) -> None:
    _, page = visitor.post("/alerts/webhooks/new", name="Duty", url="https://hooks.example.com/x", least="critical")
    first = SECRET.findall(page)
    (made,) = webhooks.all_webhooks(ready.db)
    _, page = visitor.post(f"/alerts/webhooks/{made.id}/rotate", "/alerts/webhooks")
    second = SECRET.findall(page)
    assert len(first) == len(second) == 1 and first != second
    pages = [visitor.get(path)[1] for path in ("/alerts/webhooks", "/changes", "/activity", "/alerts/webhooks/new")]
    assert not SECRET.search("".join(pages)) and "https://hooks.example.com/x" in pages[0]
    status, page = visitor.post("/alerts/webhooks/new", name="Duty", url="ftp://x", least="critical")
    assert status == 422 and "is no address such as" in unescape(page)


def test_a_test_message_is_written_and_shown_and_a_disabled_webhook_gets_none(visitor: Visitor, ready: System) -> None:
    made = webhooks.create(ready.db, "anna", EVIL, "https://hooks.example.com/x").webhook
    _, page = visitor.post(f"/alerts/webhooks/{made.id}/test", "/alerts/webhooks")
    assert "is on its way" in page and "test-1" in page and "<script>alert" not in page
    assert any(name.startswith(b"webhooks-") for name in ready.jobs_redis.lrange("rq:queue:jobs", 0, -1))
    (due,) = webhooks.claim(ready.db, 9)
    webhooks.note(ready.db, due, 500, EVIL)
    _, page = visitor.get("/alerts/webhooks")
    assert "1 try" in page and "500" in page and EVIL in unescape(page) and "<script>alert" not in page
    _, page = visitor.post(f"/alerts/webhooks/{made.id}/disable", "/alerts/webhooks")
    assert "disabled" in page and "given up" in page
    _, page = visitor.post(f"/alerts/webhooks/{made.id}/enable", "/alerts/webhooks")
    assert "hears of alerts again" in page


def test_changes_of_rules_and_webhooks_are_in_the_trail(visitor: Visitor, ready: System) -> None:
    alert_rules.write(ready.db, "anna", BY_KIND["silence"], (45,), True)
    webhooks.create(ready.db, "anna", "Duty", "https://hooks.example.com/x")
    page = unescape(visitor.get("/activity")[1])
    assert "Duty" in page and "45 min" in page
