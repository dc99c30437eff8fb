"""Scripts of a later release under a console of this one: its cause reads as `other` in rows, on the page, in JSON, in /metrics and for verify."""

from __future__ import annotations

from sqlalchemy import text

from engine.domain.causes import OTHER
from engine.views.documents import campaign_document
from engine.wiring import System
from tests.later_release import NEW_NAME, later_release
from tests.web.conftest import Visitor, spend_now
from tests.web.test_metrics import scrape


def test_a_cause_of_a_later_release_is_other_wherever_it_is_written_or_shown(ready: System, visitor: Visitor) -> None:
    with later_release():
        brand = ready.manage.create_brand("Aurora", None, 2_000_000, None, "test").row
        (campaign,) = ready.manage.create_campaigns(brand.id, ["One"], "test")
        spend_now(ready, campaign.id, "2")
        ready.client.try_spend(campaign.id, "1")
        written = ready.catalog.campaign(campaign.id)
        assert (written.status, written.reasons) == ("paused", (OTHER,))
        with ready.db.connect() as conn:
            said = conn.execute(text("SELECT status, reasons FROM status_change ORDER BY id DESC LIMIT 1")).one()
            assert tuple(said) == ("paused", [OTHER])
            assert conn.execute(text("SELECT count(*) FROM quarantine")).scalar_one() == 0
        document = campaign_document(ready.overview.campaign(campaign.id))
        assert (document["status"], document["reasons"]) == ("paused", [OTHER])
        status, page = visitor.get(f"/status?open={brand.id}")
        assert status == 200
        assert "stopped by a cause of a later release" in page
        assert "1 other cause" in page
        assert ("refused", OTHER) in {
            (dict(key).get("outcome"), dict(key).get("cause")) for key in scrape(ready)["budget_engine_spends_total"]
        }
        (agrees,) = [check for check in ready.verifier.verify() if check.id == "V8"]
        assert agrees.result == "PASS", agrees


def test_a_cause_that_a_later_release_wrote_stays_as_it_wrote_it(ready: System, visitor: Visitor) -> None:
    with later_release():
        brand = ready.manage.create_brand("Aurora", None, 2_000_000, None, "test").row
        (campaign,) = ready.manage.create_campaigns(brand.id, ["One"], "test")
        spend_now(ready, campaign.id, "2")
        with ready.db.begin() as conn:
            conn.execute(text("UPDATE campaign SET reasons = ARRAY[:name]"), {"name": NEW_NAME})
        assert ready.status.refresh_all() == 0
        assert ready.catalog.campaign(campaign.id).reasons == (NEW_NAME,)
        ready.hot_redis.flushall()
        page = visitor.get("/status")[1]
        assert "1 other cause" in page
