"""Operations: what a preview promises is what happens, once, and what is taken back is what nobody changed since."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from engine.domain.money import MICROS
from engine.domain.operations import wanted_of
from engine.errors import Conflict, InvalidInput, NotFound, ServerAway
from engine.ledger import operations
from engine.wiring import System

EVIL = "<script>alert(1)</script>"


def brand(system: System, name: str, campaigns: int = 2, daily: int | None = 100 * MICROS) -> tuple[int, list[int]]:
    made = system.manage.create_brand(name, daily, None, None, "test").row
    return made.id, [
        c.id for c in system.manage.create_campaigns(made.id, [f"{name} {i}" for i in range(campaigns)], "test")
    ]


def trail(system: System, operation_id: int) -> list[tuple[str, int, str, str | None, str | None]]:
    query = text(
        "SELECT actor, entity_id, field, old, new FROM catalog_change WHERE operation_id = :id ORDER BY entity_id, id"
    )
    with system.db.connect() as connection:
        return [tuple(row) for row in connection.execute(query, {"id": operation_id})]


def test_a_preview_changes_nothing_and_says_what_stops(ready: System) -> None:
    _, campaigns = brand(ready, EVIL)
    ready.manage.pause_campaign(campaigns[0], "anna")
    made = ready.operations.preview(wanted_of("pause"), [], campaigns, "boris")
    assert (made.state, made.ready, made.skipped, made.starts, made.stops) == ("draft", 1, 1, 0, 1)
    assert operations.items(ready.db, made.id, skipped=True)[0].why == "it is paused already"
    assert ready.catalog.campaign(campaigns[1]).enabled
    assert trail(ready, made.id) == []


def test_an_applied_operation_reaches_bidders_and_every_row_names_it(ready: System) -> None:
    _, campaigns = brand(ready, "Aurora")
    made = ready.operations.preview(wanted_of("pause"), [], campaigns, "anna")
    after = ready.operations.begin(made.id, "boris")
    assert (after.state, after.done, after.ready) == ("done", 2, 0)
    assert [ready.client.status(c).reasons for c in campaigns] == [("manual",)] * 2
    assert trail(ready, made.id) == [("boris", c, "enabled", "true", "false") for c in campaigns]
    assert operations.behind(ready.db, made.id) == 0
    assert ready.operations.begin(made.id, "boris").done == 2, "again is no change"
    assert len(trail(ready, made.id)) == 2


@pytest.mark.parametrize(
    ("change", "becomes"),
    [
        ("set:50", 50),
        ("set:none", None),
        ("add:25.50", 125.5),
        ("add:-25", 75),
        ("percent:110", 110),
        ("percent:90", 90),
    ],
)
def test_a_budget_becomes_what_was_asked_for(ready: System, change: str, becomes: float | None) -> None:
    brand_id, _ = brand(ready, "Aurora")
    made = ready.operations.preview(wanted_of("budget", period="daily", change=change), [brand_id], [], "anna")
    ready.operations.begin(made.id, "anna")
    wanted = None if becomes is None else int(becomes * MICROS)
    assert ready.catalog.brand(brand_id).daily_budget_micros == wanted


def test_a_raised_budget_says_how_many_campaigns_start_again_and_they_do(ready: System) -> None:
    brand_id, campaigns = brand(ready, "Aurora", 3, 10 * MICROS)
    ready.client.record_spend(campaigns[0], "10")
    ready.status.refresh([brand_id])
    low = ready.operations.preview(wanted_of("budget", change="add:0.000001"), [brand_id], [], "anna")
    same = ready.operations.preview(wanted_of("budget", change="set:9"), [brand_id], [], "anna")
    assert [(low.starts, low.stops), (same.starts, same.stops)] == [(3, 0), (0, 0)]
    ready.operations.begin(low.id, "anna")
    assert [ready.catalog.campaign(c).status for c in campaigns] == ["active"] * 3
    more = ready.operations.preview(wanted_of("budget", change="add:1"), [brand_id], [], "anna")
    assert (more.starts, more.stops) == (0, 0), "what runs already does not start"


def test_rows_that_cannot_be_changed_are_skipped_with_the_reason(ready: System) -> None:
    brand_id, campaigns = brand(ready, "Aurora", daily=None)
    gone, _ = brand(ready, "Gone")
    ready.manage.archive_brand(gone, "anna")
    made = ready.operations.preview(wanted_of("budget", change="add:5"), [brand_id, gone], campaigns[:1], "anna")
    whys = {item.entity_id: item.why for item in operations.items(ready.db, made.id, skipped=True)}
    assert whys == {
        brand_id: "it has no daily budget to change",
        gone: "it is archived",
        campaigns[0]: "it has no daily budget to change",
    }
    assert ready.operations.begin(made.id, "anna").done == 0


def test_what_is_wrong_is_refused_by_name(ready: System) -> None:
    with pytest.raises(InvalidInput, match="kind 'explode' is none of"):
        wanted_of("explode")
    with pytest.raises(InvalidInput, match="nothing is selected"):
        ready.operations.preview(wanted_of("pause"), [], [], "anna")
    with pytest.raises(NotFound, match="no campaign 65537"):
        ready.operations.preview(wanted_of("pause"), [], [65537], "anna")
    with pytest.raises(NotFound, match="no operation 77"):
        ready.operations.one(77)


def test_undo_gives_back_each_value_and_skips_what_somebody_changed_since(ready: System) -> None:
    brand_id, _ = brand(ready, "Aurora")
    other, _ = brand(ready, EVIL, daily=30 * MICROS)
    made = ready.operations.preview(wanted_of("budget", change="percent:200"), [brand_id, other], [], "anna")
    ready.operations.begin(made.id, "anna")
    ready.manage.update_brand(other, "boris", daily_budget_micros=7 * MICROS)
    undo = ready.operations.undo(made.id, "carla")
    assert (undo.ready, undo.skipped, undo.undo_of) == (1, 1, made.id)
    assert operations.items(ready.db, undo.id, skipped=True)[0].why == "it was changed since, last by boris"
    ready.operations.begin(undo.id, "carla")
    assert ready.catalog.brand(brand_id).daily_budget_micros == 100 * MICROS
    assert ready.catalog.brand(other).daily_budget_micros == 7 * MICROS, "boris' change is not overwritten"
    assert ready.operations.one(made.id).undone_by == undo.id
    again = ready.operations.undo(made.id, "carla")
    assert (again.ready, again.skipped) == (0, 2), "what is taken back once is not taken back twice"


def test_what_changes_between_preview_and_apply_is_skipped(ready: System) -> None:
    brand_id, _ = brand(ready, "Aurora")
    made = ready.operations.preview(wanted_of("budget", change="add:1"), [brand_id], [], "anna")
    ready.manage.update_brand(brand_id, "boris", daily_budget_micros=5 * MICROS)
    after = ready.operations.begin(made.id, "anna")
    assert (after.done, after.skipped) == (0, 1)
    assert ready.catalog.brand(brand_id).daily_budget_micros == 5 * MICROS


def test_an_archive_is_taken_back_unless_its_name_is_taken(ready: System) -> None:
    first, _ = brand(ready, "First")
    second, _ = brand(ready, "Second")
    made = ready.operations.preview(wanted_of("archive"), [first, second], [], "anna")
    assert made.stops == 4
    ready.operations.begin(made.id, "anna")
    brand(ready, "Second")
    undone = ready.operations.begin(ready.operations.undo(made.id, "anna").id, "anna")
    assert (undone.done, undone.skipped) == (1, 1)
    assert "is taken" in (operations.items(ready.db, undone.id, skipped=True)[0].why or "")
    assert not ready.catalog.brand(first).archived


def test_a_change_of_one_row_is_an_operation_that_can_be_taken_back(ready: System) -> None:
    brand_id, campaigns = brand(ready, "Aurora")
    ready.manage.update_brand(brand_id, "anna", name="Borealis", daily_budget_micros=None)
    ready.manage.update_brand(brand_id, "anna", name="Borealis")  # no change, and no operation
    ready.manage.update_campaign(
        campaigns[0], "boris", schedule=wanted_of("schedule", schedule={"days": ["mon"]}).schedule
    )
    found = operations.latest(ready.db, 10)
    assert [(one.actor, one.words) for one in found] == [
        ("boris", "Change campaign Aurora 0"),
        ("anna", "Change brand Borealis"),
    ]
    for one in found:
        ready.operations.begin(ready.operations.undo(one.id, "carla").id, "carla")
    assert (ready.catalog.brand(brand_id).name, ready.catalog.brand(brand_id).daily_budget_micros) == (
        "Aurora",
        100 * MICROS,
    )
    assert ready.catalog.campaign(campaigns[0]).schedule.always


def test_an_operation_that_is_not_applied_cannot_be_taken_back(ready: System) -> None:
    brand_id, _ = brand(ready, "Aurora")
    made = ready.operations.preview(wanted_of("pause"), [brand_id], [], "anna")
    with pytest.raises(Conflict, match="was not applied"):
        ready.operations.undo(made.id, "anna")
    assert operations.discard(ready.db, made.id)
    with pytest.raises(NotFound):
        ready.operations.one(made.id)


def test_with_redis_away_the_changes_are_kept_and_the_result_says_that_bidders_lack_them(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, campaigns = brand(ready, "Aurora")
    made = ready.operations.preview(wanted_of("pause"), [], campaigns, "anna")

    def away(*_: object) -> set[int]:
        raise ServerAway("Redis", "there", "start it")

    with monkeypatch.context() as patch:
        patch.setattr(ready.publisher, "publish", away)
        assert ready.operations.begin(made.id, "anna").done == 2
    assert operations.behind(ready.db, made.id) == 2
    ready.publisher.publish_pending()
    assert operations.behind(ready.db, made.id) == 0


def test_a_row_whose_change_cannot_be_noted_is_not_changed(ready: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the process were killed between the two: they are one transaction."""
    brand_id, _ = brand(ready, "Aurora")
    made = ready.operations.preview(wanted_of("budget", change="add:1"), [brand_id], [], "anna")

    def killed(*_: object, **__: object) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(operations, "_note", killed)
        with pytest.raises(KeyboardInterrupt):
            ready.operations.begin(made.id, "anna")
    assert ready.catalog.brand(brand_id).daily_budget_micros == 100 * MICROS
    assert ready.operations.apply_open(lambda: False) == 1
    assert ready.catalog.brand(brand_id).daily_budget_micros == 101 * MICROS


def test_two_processes_that_apply_one_operation_change_each_row_once(ready: System) -> None:
    _, campaigns = brand(ready, "Aurora", 120)
    made = ready.operations.preview(wanted_of("pause"), [], campaigns, "anna")
    operations.begin(ready.db, made.id, "anna")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ready.operations.apply(made.id), range(4)))
    ready.operations.apply(made.id)
    assert ready.operations.one(made.id).state == "done"
    assert len(trail(ready, made.id)) == 120


@pytest.mark.long
def test_a_worker_killed_in_the_middle_leaves_the_rest_to_the_next_and_nothing_is_applied_twice(
    ready: System, environment: dict[str, str]
) -> None:
    """kill -9 wherever it happens to be, again and again: each budget is raised by 1.00, once."""
    ids = [brand(ready, f"Brand {i}", 0, (i + 1) * MICROS)[0] for i in range(60)]
    made = ready.operations.preview(wanted_of("budget", change="add:1"), ids, [], "anna")
    operations.begin(ready.db, made.id, "anna")
    code = textwrap.dedent(f"""
        from engine.settings import Settings
        from engine.wiring import System
        system = System(Settings.load())
        print("begun", flush=True)
        system.operations.apply({made.id})
    """)
    # The last brand is held, so that none of them is through before it is killed.
    with ready.db.begin() as held:
        held.execute(text("SELECT 1 FROM brand WHERE id = :last FOR UPDATE"), {"last": ids[-1]})
        for at_least in (3, 17, 41):
            worker = subprocess.Popen(
                [sys.executable, "-c", code], env={**os.environ, **environment}, stdout=subprocess.PIPE
            )
            while ready.operations.one(made.id).done < at_least and worker.poll() is None:
                time.sleep(0.002)
            assert worker.poll() is None, "no worker was killed while there was work"
            worker.send_signal(signal.SIGKILL)
            worker.communicate()
    left = ready.operations.one(made.id)
    assert left.state == "applying" and left.ready
    assert ready.operations.apply_open(lambda: False) == 1
    after = ready.operations.one(made.id)
    assert (after.state, after.done) == ("done", 60)
    assert [ready.catalog.brand(b).daily_budget_micros for b in ids] == [(i + 2) * MICROS for i in range(60)]
    assert len(trail(ready, made.id)) == 60
