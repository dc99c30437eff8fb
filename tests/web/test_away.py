"""With a server away each page still answers: which one, where it was looked for, what to do; never a password, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from engine.wiring import System
from tests.web.conftest import Visitor, brand_with, spend_now
from web import create_app

NOWHERE = "127.0.0.1:1"


@pytest.fixture
def brand(ready: System) -> tuple[int, int]:
    """A brand and its campaign with 4.00 spent and written."""
    brand_id, (campaign,) = brand_with(ready, daily=10_000_000)
    spend_now(ready, campaign, "4")
    return brand_id, campaign


def visiting(ready: System, **urls: str) -> Iterator[Visitor]:
    """A visitor of a console that looks for a server where there is none."""
    lost = System(replace(ready.settings, **urls))  # type: ignore[arg-type]
    yield Visitor(create_app(lost).test_client())
    lost.close()


@pytest.fixture
def without_redis(ready: System) -> Iterator[Visitor]:
    yield from visiting(ready, redis_url=f"redis://:hush@{NOWHERE}/0")


@pytest.fixture
def without_postgresql(ready: System) -> Iterator[Visitor]:
    yield from visiting(ready, database_url=f"postgresql://someone:hush@{NOWHERE}/budget")


@pytest.fixture
def without_jobs_redis(ready: System) -> Iterator[Visitor]:
    yield from visiting(ready, jobs_redis_url=f"redis://:hush@{NOWHERE}/0")


def pages(brand: tuple[int, int]) -> list[str]:
    brand_id, campaign = brand
    return [
        "/status",
        "/live",
        "/changes",
        f"/brands/{brand_id}/spend",
        f"/brands/{brand_id}",
        f"/campaigns/{campaign}",
        "/system",
        "/system.txt",
        "/brands/new",
        f"/brands/{brand_id}/edit",
        f"/brands/{brand_id}/campaigns/new",
        f"/campaigns/{campaign}/edit",
        f"/campaigns/{campaign}/archive",
        "/rq/",
        "/rq/0/data/queues.json",
        "/healthz",
        "/readyz",
    ]


def check(visitor: Visitor, brand: tuple[int, int]) -> None:
    for path in pages(brand):
        status, text = visitor.get(path)
        assert status in (200, 503), (path, status)
        assert "hush" not in text, path
        assert "Traceback" not in text, path
    assert visitor.get("/healthz")[0] == 200
    assert visitor.get("/readyz")[0] == 503


def test_with_redis_away_the_page_shows_the_logs_figures(brand: tuple[int, int], without_redis: Visitor) -> None:
    status, page = without_redis.get("/status")
    assert status == 200
    assert NOWHERE in page
    assert "Aurora" in page
    assert "4.00" in page
    assert "check REDIS_URL" in page
    check(without_redis, brand)


def test_with_redis_away_a_change_is_kept_and_said_to_come_later(
    ready: System, brand: tuple[int, int], without_redis: Visitor
) -> None:
    version = str(ready.catalog.brand(brand[0]).version)
    fields = {"name": "Aurora", "daily_budget": "20", "monthly_budget": "none", "expected_version": version}
    status, page = without_redis.post(f"/brands/{brand[0]}/edit", **fields)
    assert status == 200
    assert "Brand Aurora saved: daily budget 10.00 → 20.00." in page
    assert "Bidders do not have it yet" in page
    assert ready.catalog.brand(brand[0]).daily_budget_micros == 20_000_000


def test_with_postgresql_away_the_page_says_where_it_looked(
    brand: tuple[int, int], without_postgresql: Visitor
) -> None:
    status, page = without_postgresql.get("/status")
    assert status == 503
    assert "PostgreSQL is away" in page
    assert NOWHERE in page
    assert "DATABASE_URL" in page
    assert 'id="part-redis"' in page
    assert without_postgresql.get("/live")[0] == 200
    check(without_postgresql, brand)


def test_with_the_jobs_redis_away_the_figures_stay(brand: tuple[int, int], without_jobs_redis: Visitor) -> None:
    status, page = without_jobs_redis.get("/status")
    assert status == 200
    assert "4.00 of 10.00" in page.replace("<strong>", "").replace("</strong>", "")
    assert NOWHERE in page
    assert "JOBS_REDIS_URL" in page
    assert "The jobs Redis is away" in without_jobs_redis.get("/rq/0/data/queues.json")[1]
    check(without_jobs_redis, brand)


def test_a_page_names_a_server_that_is_away_also_where_it_does_without_it(
    brand: tuple[int, int], without_jobs_redis: Visitor
) -> None:
    for path in ("/", "/activity", "/alerts", "/import", f"/brands/{brand[0]}", f"/campaigns/{brand[1]}"):
        status, page = without_jobs_redis.get(path)
        assert status == 200 and "<strong>Jobs Redis is away.</strong>" in page, path
