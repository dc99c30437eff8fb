"""The status page says what a person must know, in words, of the numbers as they stand this moment."""

from __future__ import annotations

import gzip
import html
import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import event, text

from engine.domain.schedule import Schedule
from engine.wiring import System
from tests.web.conftest import HERE, Visitor, brand_with, spend_now


def words(page: str) -> str:
    """A page as it reads: tags away, spaces one."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page))).strip()


def test_without_brands_it_says_how_to_begin(visitor: Visitor) -> None:
    status, page = visitor.get("/status")
    assert status == 200
    assert "Begin with a brand" in page
    assert 'href="/brands/new"' in page


def test_spend_remaining_and_per_cent_stand_beside_the_budget(ready: System, visitor: Visitor) -> None:
    _, (campaign,) = brand_with(ready, daily=2_000_000_000)
    ready.client.record_spend(campaign, "1234.5")
    said = words(visitor.get("/status")[1])
    assert "1,234.50 of 2,000.00" in said
    assert "61.7 %" in said
    assert "765.50 left" in said
    assert "This month 1,234.50" in said
    assert "no limit" in said


def test_spend_past_the_budget_reads_as_over_and_reported_late(ready: System, visitor: Visitor) -> None:
    _, (campaign,) = brand_with(ready, daily=10_000_000)
    spend_now(ready, campaign, "13.2")
    said = words(visitor.get("/status")[1])
    assert "over by 3.20: spend was recorded after the budget was used up" in said
    assert "paused: daily budget used up, again at 00:00 UTC" in said
    assert "0 of 1 running" in said


def test_status_shows_at_once_before_any_job_has_written_it(ready: System, visitor: Visitor) -> None:
    brand_id, (campaign,) = brand_with(ready, daily=1_000_000)
    ready.client.record_spend(campaign, "1")
    assert ready.catalog.campaign(campaign).status == "active"
    assert "paused: daily budget used up" in visitor.get(f"/live?open={brand_id}")[1]


def test_latest_spends_and_changes_are_listed_with_their_actor(ready: System, visitor: Visitor) -> None:
    _, (campaign,) = brand_with(ready)
    spend_now(ready, campaign, "0.001235")
    ready.manage.pause_campaign(campaign, "Mia")
    said = words(visitor.get("/live")[1])
    assert "0.001235" in said
    assert "switched off by a person" in said
    assert "by Mia" in said


def test_a_script_as_a_brands_name_is_text(ready: System, visitor: Visitor) -> None:
    brand_with(ready, "<script>alert(1)</script>")
    page = visitor.get("/status")[1]
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_many_brands_are_folded_and_only_opened_ones_bring_their_campaigns(ready: System, visitor: Visitor) -> None:
    ids = [brand_with(ready, f"Brand {i}", campaigns=2)[0] for i in range(5)]
    assert "campaign-" not in visitor.get("/live")[1]
    page = visitor.get(f"/live?open={ids[3]}")[1]
    assert re.findall(r'id="campaign-(\d+)"', page) == [str(ids[3] * 65536 + 1), str(ids[3] * 65536 + 2)]


def test_stopped_brands_and_campaigns_come_first(ready: System, visitor: Visitor) -> None:
    calm, (_, late) = brand_with(ready, "Aaa", campaigns=2)
    gone, (campaign,) = brand_with(ready, "Zzz", daily=1_000_000)
    ready.client.record_spend(campaign, "1")
    ready.manage.pause_campaign(late, "Mia")
    page = visitor.get("/live")[1]
    assert re.findall(r'id="brand-(\d+)"', page) == [str(gone), str(calm)]
    assert re.findall(r'id="campaign-(\d+)"', page) == [str(campaign), str(late), str(late - 1)]


def test_text_and_cause_filter_stand_in_the_address(ready: System, visitor: Visitor) -> None:
    for i in range(4):
        brand_with(ready, f"Brand {i}", campaigns=2)
    other, (one, two) = brand_with(ready, "Other", campaigns=2)
    ready.manage.pause_campaign(two, "Mia")
    page = visitor.get("/status?cause=manual")[1]
    assert re.findall(r'id="campaign-(\d+)"', page) == [str(two)]
    assert re.findall(r'id="brand-(\d+)"', page) == [str(other)]
    assert re.search(r'<option value="manual" selected>', page)
    page = visitor.get("/status?q=oTHer+1")[1]
    assert re.findall(r'id="campaign-(\d+)"', page) == [str(one)]
    assert 'value="oTHer 1"' in page
    assert "0 brands of 5 match" in words(visitor.get("/status?q=nobody")[1])


@pytest.mark.parametrize(
    "query",
    [
        "open=x.1.-3", "cause=nonsense", "fold=99999999999999999999", "open=" + "1." * 9999, "whole=1.", "whole=%C2%B2",
        "q=" + "x" * 101,
    ],
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_refused_by_its_name_and_not_guessed_at(
    ready: System, visitor: Visitor, query: str
) -> None:
    brand_with(ready)
    for path in ("/status", "/live"):
        status, page = visitor.get(f"{path}?{query}")
        assert status == 400
        assert f"{query.partition('=')[0]} " in words(page).lower()
    assert visitor.get("/status?q=%00%ff")[0] == 200


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-5", "limit=foo", "limit=5001", "before=foo", "before=0", "before=1.5"]
)
def test_a_page_of_changes_that_cannot_be_is_refused(visitor: Visitor, query: str) -> None:
    status, page = visitor.get(f"/changes?{query}")
    assert status == 400
    assert "is not a number from 1 to" in page


def test_every_change_can_be_reached_page_by_page_however_many_there_are(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready, campaigns=0)
    with ready.db.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO catalog_change (actor, entity, entity_id, field, old, new)"
                " SELECT 'Mia', 'brand', :brand, 'name', 'n' || g, 'n' || g + 1 FROM generate_series(1, 5200) AS g"
            ),
            {"brand": brand_id},
        )
    path, seen = "/changes?limit=2000", 0
    for _ in range(3):
        page = visitor.get(path)[1]
        seen += page.count('data-label="Who"')
        found = re.search(r'href="(/changes\?before=[^"]+)"', page)
        path = html.unescape(found[1]) if found else ""
    assert (seen, path) == (5201, "")


def test_an_archived_brand_is_found_with_its_campaigns_and_only_where_it_is_looked_for(
    ready: System, visitor: Visitor
) -> None:
    gone, (campaign,) = brand_with(ready, "Old Harbour")
    kept, (one, other) = brand_with(ready, "Aurora", campaigns=2)
    ready.manage.archive_brand(gone, "Mia")
    ready.manage.archive_campaign(one, "Mia")
    assert "Old Harbour" not in re.sub(r"(?s)<aside.*?</aside>", "", visitor.get("/status")[1])
    assert "Look among archived ones" in visitor.get("/status?q=harbour")[1]
    page = visitor.get("/status?cause=archived&q=harbour")[1]
    assert re.findall(r'id="brand-(\d+)"', page) == [str(gone)]
    assert re.findall(r'id="campaign-(\d+)"', page) == [str(campaign)]
    assert f'formaction="/campaigns/{campaign}/pause"' not in page
    page = visitor.get("/status?cause=archived")[1]
    assert set(re.findall(r'id="campaign-(\d+)"', page)) == {str(campaign), str(one)}
    assert str(other) not in re.findall(r'id="campaign-(\d+)"', visitor.get("/status?cause=archived")[1])
    assert kept


def test_a_refresh_costs_the_same_statements_for_one_brand_and_for_thirty(ready: System, visitor: Visitor) -> None:
    counted: list[str] = []  # without the look for the first user, which is made at most every two seconds
    event.listen(
        ready.db, "before_cursor_execute", lambda *args: counted.append(args[2]) if "app_user" not in args[2] else None
    )
    brand_with(ready, "First")
    visitor.get("/live")
    counted.clear()
    visitor.get("/live")
    few = len(counted)
    for i in range(30):
        brand_with(ready, f"Brand {i}")
    counted.clear()
    visitor.get("/live")
    assert len(counted) == few <= 14


def test_the_fragment_is_packed_for_browsers(ready: System, visitor: Visitor) -> None:
    brand_with(ready)
    answer = visitor.client.get("/live", base_url=HERE, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Aurora" in gzip.decompress(answer.data).decode()


def test_times_are_in_utc_for_machines_and_people(ready: System, visitor: Visitor) -> None:
    brand_with(ready)
    page = visitor.get("/live")[1]
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert re.search(rf'<time datetime="{today}T[\d:.]+Z" data-how="time">\d\d:\d\d:\d\d UTC</time>', page)


def test_the_audit_page_lists_who_changed_what(ready: System, visitor: Visitor) -> None:
    brand_id, _ = brand_with(ready)
    ready.manage.update_brand(brand_id, "Mia", daily_budget_micros=5_000_000, note="asked by sales")
    said = words(visitor.get("/changes")[1])
    assert "Mia" in said
    assert "daily budget" in said
    assert "no limit 5.00" in said
    assert "asked by sales" in said
    ready.manage.pause_campaign(brand_id * 65536 + 1, "Mia")
    ready.manage.update_campaign(brand_id * 65536 + 1, "Mia", schedule=Schedule.parse({"days": ["sat"]}))
    said = words(visitor.get("/changes")[1])
    assert "switch on off" in said
    assert "schedule always Sat all day (UTC)" in said
    assert "daily budget none, monthly budget none" in said
    assert "_budget" not in said
    assert f"Aurora 1 campaign {brand_id * 65536 + 1} of Aurora" in said
