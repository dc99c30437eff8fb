"""Somebody keeps a table of ours locked: the page and doctor answer all the same, and doctor says who waits for whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import pytest
from sqlalchemy import text

from engine.ledger.database import make_engine
from engine.views.doctor.examine import examine
from engine.views.doctor.finding import Finding
from engine.wiring import PAGES, System
from tests.patience import PATIENCE_S, beside_well, in_time
from tests.web.conftest import Visitor, brand_with
from tests.web.test_half_bodies import asked
from tests.web.test_serve import page as page  # noqa: PLC0414  # a fixture is used by its name
from web import create_app

TABLES = ("spend_log", "journal_cursor", "brand", "campaign", "job_run", "user_session")


@contextmanager
def locked(system: System, *tables: str) -> Iterator[int]:
    """Another program's transaction that holds them and does not end; answers its process."""
    other = make_engine(system.settings.database_url + "?application_name=migration-tool")
    with other.connect() as conn:
        pid: int = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        conn.execute(text(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE"))
        yield pid
        conn.rollback()
    other.dispose()


def doctor(system: System) -> tuple[dict[str, Finding], float]:
    began = time.monotonic()
    found = {finding.name: finding for finding in examine(system.settings, lambda _: ())}
    return found, time.monotonic() - began


def test_doctor_names_a_persist_that_waits_for_a_lock_and_who_holds_it(ready: System) -> None:
    _, (campaign,) = brand_with(ready)
    ready.client.record_spend(campaign, "4")
    assert doctor(ready)[0]["locks"].state == "ok"
    with locked(ready, "spend_log", "journal_cursor") as pid:
        persist = threading.Thread(target=ready.persister.drain_all)
        persist.start()
        end = time.monotonic() + PATIENCE_S
        while (found := doctor(ready)[0])["locks"].state == "ok":
            assert time.monotonic() < end
        said = found["locks"]
    persist.join(PATIENCE_S)
    assert said.state == "fail"
    assert said.detail.startswith("persist,") and f"held by process {pid} (migration-tool" in said.detail
    assert f"pg_terminate_backend({pid})" in said.todo
    assert doctor(ready)[0]["locks"].state == "ok"
    with ready.db.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM spend_log")).scalar_one() == 1, "and persist went on by itself"


def test_doctor_answers_whatever_tables_are_locked(ready: System) -> None:
    with locked(ready, *TABLES):
        found, took = doctor(ready)
    assert in_time(took, 5)
    assert found["hot Redis"].state == found["jobs Redis"].state == "ok"
    assert found["locks"].state == "ok", "nobody of ours has waited so long"


@pytest.mark.parametrize("tables", [("spend_log", "journal_cursor"), TABLES])
def test_the_page_answers_while_tables_are_locked(ready: System, tables: tuple[str, ...]) -> None:
    pages = System(ready.settings, PAGES)
    visitor = Visitor(create_app(pages).test_client())
    brand_with(ready)
    assert visitor.get("/")[0] == 200
    try:
        with locked(ready, *tables):
            for path in ("/", "/live", "/changes", "/healthz", "/readyz", "/metrics"):
                began = time.monotonic()
                status, said = visitor.get(path)
                assert in_time(time.monotonic() - began, 3), path
                assert status in (200, 503) and "Traceback" not in said, path
            assert visitor.get("/healthz")[0] == 200
    finally:
        pages.close()
    assert visitor.get("/")[0] == 200


def test_the_served_page_tells_that_it_is_alive_at_once_while_a_crowd_waits_for_a_lock(
    ready: System, page: tuple[object, int]
) -> None:
    port = page[1]
    well = {path: median(asked(port, path)[1] for _ in range(5)) for path in ("/healthz", "/readyz")}
    with locked(ready, *TABLES):
        crowd = [threading.Thread(target=asked, args=(port, "/changes")) for _ in range(24)]
        crowd += [threading.Thread(target=asked, args=(port, "/metrics")) for _ in range(4)]
        for one in crowd:
            one.start()
        for path in ("/healthz", "/readyz"):
            answers = [asked(port, path) for _ in range(5)]
            assert beside_well(median(took for _, took in answers), 0, well[path]), (path, answers)
            assert path != "/healthz" or {status for status, _ in answers} == {200}
        for one in crowd:
            one.join(PATIENCE_S)
