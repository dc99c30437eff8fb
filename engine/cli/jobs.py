"""The commands `check`, `close-periods`, `persist`, `reconcile` and `rebuild`. Each runs a job in the foreground, as
one row of job_run.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import click

from engine.cli.app import DAY, App, pass_app
from engine.cli.group import Command
from engine.cli.output import bar, note, print_json, print_table
from engine.domain.ids import SHARDS

if TYPE_CHECKING:
    from engine.flows.rebuild.rebuilder import How


@click.command(cls=Command)
@pass_app
def check(app: App) -> int:
    """Compare all campaigns with budgets and schedules now, and write their status."""
    return _run(app, "check", lambda: _check(app))


@click.command("close-periods", cls=Command)
@pass_app
def close_periods(app: App) -> int:
    """Close every day and month that has ended, and drop rows that are past SPEND_LOG_KEEP_DAYS. What is closed already stays as it is."""
    return _run(app, "close_day", lambda: _close(app))


@click.command(cls=Command)
@pass_app
def persist(app: App) -> int:
    """Carry the journal into PostgreSQL until nothing is left of it."""
    return _run(app, "persist", lambda: _persist(app))


@click.command(cls=Command)
@click.option(
    "--dry-run", is_flag=True, help="Say what would be added, and change nothing; exit 1 when something would."
)
@click.option(
    "--duplicates",
    type=DAY,
    metavar="DAY",
    help="Only list the event ids of DAY that a brand counted again, after their window, and refunds paid again; changes nothing.",
)
@pass_app
def reconcile(app: App, dry_run: bool, duplicates: datetime | None) -> int:
    """Compare Redis' counters with the log, say what is apart and why, and add the difference, logged. Exit 1 when something is left."""
    if duplicates is not None:
        return _duplicates(app, duplicates.date())
    return _run(app, "reconcile", lambda: _reconcile(app, dry_run))


@click.command(cls=Command)
@click.option("--all", "every", is_flag=True, help="Every shard, also those that are whole.")
@click.option("--shard", "shards", type=click.IntRange(0, 63), multiple=True, help="This shard, also when it is whole.")
@click.option(
    "--take-over", is_flag=True, help="Also a shard that another instance owns; what that one has in it is given up."
)
@click.option(
    "--accept-clock",
    is_flag=True,
    help="Redis' clock is right now, though it was ahead when the last rows were recorded; days closed too early open again.",
)
@pass_app
def rebuild(app: App, every: bool, shards: tuple[int, ...], take_over: bool, accept_clock: bool) -> int:
    """Make the shards of Redis that lost something whole again from PostgreSQL."""
    from engine.flows.rebuild.rebuilder import How

    if (take_over or accept_clock) and not shards:
        raise click.UsageError("--take-over and --accept-clock need --shard N: name each shard that they are for")
    return _run(app, "rebuild", lambda: _rebuild(app, every, shards, How(take_over, accept_clock)))


def _run(app: App, job: str, work: Callable[[], tuple[dict[str, Any], str, bool]]) -> int:
    """Runs the work as one row of job_run and prints its result. Returns the exit status.

    work: returns the figures for `--json`, one line of text, and whether it succeeded.
    """
    from engine.ledger import runs

    with runs.run(app.system.db, job) as run:
        figures, words, well = work()
        run.detail = words
    if app.json:
        print_json({"job": job, "outcome": "done" if well else "failed", "detail": words, **figures})
    else:
        click.echo(f"{job.replace('_', ' ')}: {words}")
    if not well:
        note(f"{job} could not do all of it: {words}")
    return 0 if well else 1


def _check(app: App) -> tuple[dict[str, Any], str, bool]:
    from engine.flows.catalog.check import check_all

    checked = check_all(app.system.publisher, app.system.status)
    return {"published": checked.published, "changed": checked.changed}, str(checked), True


def _close(app: App) -> tuple[dict[str, Any], str, bool]:
    from engine.flows.catalog.check import check_all
    from engine.flows.upkeep.close import WAIT_S

    app.system.log_days.make_ahead()
    closed = app.system.closer.close_ended(WAIT_S)
    check_all(app.system.publisher, app.system.status)
    app.system.log_days.summarise()
    dropped = app.system.log_days.drop_old()
    figures = {"days": closed.days, "months": closed.months, "waiting": closed.waiting, "drift": closed.drift}
    figures |= {"dropped_days": [day.isoformat() for day in dropped.days], "not_dropped": dropped.all_kept}
    return figures, "; ".join(filter(None, (str(closed), str(dropped)))), not closed.drift


def _persist(app: App) -> tuple[dict[str, Any], str, bool]:
    from engine.domain.money import format_micros
    from engine.flows.persist.persister import trim_all

    system = app.system
    restored = system.publisher.recognise()
    with bar("spends", system.persister.backlog()) as advance:
        drained = system.persister.drain_all(lambda so_far: advance(so_far.entries, so_far.rows))
    if system.refund_desk.decide().approved:
        drained.add(system.persister.drain_all())
    changed = drained.changed_brands | (system.publisher.publish_pending() if restored else set())
    if changed:
        system.status.refresh(changed)
    trim_all(system.db, system.live, system.instance, system.settings.journal_keep_minutes)
    broken = [state.shard for state in system.live.read_shards() if not state.ready]
    words = f"{drained.rows} spends from {drained.entries} entries, {format_micros(drained.micros)}"
    words += f"; {restored}" if restored else ""
    if broken:
        words += f"; {len(broken)} shards are not ready: run `budget-engine rebuild`"
    figures = {"entries": drained.entries, "rows": drained.rows, "amount": format_micros(drained.micros)}
    return {**figures, "not_ready": broken}, words, not broken


def _reconcile(app: App, dry_run: bool) -> tuple[dict[str, Any], str, bool]:
    done = app.system.reconciler.reconcile(dry_run=dry_run, progress=(lambda line: None) if app.json else click.echo)
    verb = "to repair" if dry_run else "repaired"
    words = f"{done.counters} brands and campaigns compared with the log, {len(done.repairs)} differences {verb}"
    if done.left:
        words += f", {len(done.left)} left alone: {done.left[0]}"
    figures = {
        "dry_run": dry_run,
        "difference_micros": done.difference_micros,
        "repairs": [
            {
                "name": repair.name,
                "brand_id": repair.difference.owner.brand_id,
                "campaign_id": repair.difference.owner.campaign_id,
                "period": repair.difference.period,
                "counted_micros": repair.difference.counted,
                "logged_micros": repair.difference.logged,
                "added_micros": None if repair.after is None else -repair.difference.apart,
            }
            for repair in done.repairs
        ],
        "left": done.left,
    }
    return figures, words, not done.left and not (dry_run and done.repairs)


def _duplicates(app: App, day: date) -> int:
    from engine.domain.money import format_micros
    from engine.ledger import audit, retention

    with app.system.db.connect() as conn:
        found = audit.events_again(conn, day)
        gone = retention.dropped_days(conn, day - timedelta(days=1), day + timedelta(days=1))
    if gone:
        note(
            f"rows of {', '.join(map(str, gone))} were dropped (SPEND_LOG_KEEP_DAYS): event ids of them are not compared"
        )
    if app.json:
        print_json(
            [
                {**line._asdict(), "first_at": line.first_at.isoformat(), "last_at": line.last_at.isoformat()}
                for line in found
            ]
        )
        return 0
    rows = (
        (
            str(line.brand_id),
            line.kind,
            line.event_id + (f", part {line.refund_id}" if line.refund_id else ""),
            str(line.times),
            format_micros(line.again_micros),
            f"{line.first_at:%Y-%m-%d %H:%M:%S}",
            f"{line.last_at:%Y-%m-%d %H:%M:%S}",
        )
        for line in found
    )
    print_table(
        ("brand", "kind", "event id", "times", "counted again", "first", "last"), rows, right=("times", "counted again")
    )
    return 0


def _rebuild(app: App, every: bool, shards: tuple[int, ...], how: How) -> tuple[dict[str, Any], str, bool]:
    from engine.flows.rebuild.rebuilder import Rebuilt, lost_in

    system = app.system
    rebuilder = system.rebuilder
    missing = [state.shard for state in system.live.read_shards() if state.unmarked]
    wanted = range(SHARDS) if every else shards or missing
    ready = count(1)
    with bar("shards", len(wanted)) as advance:

        def advance_bar(_: Rebuilt) -> None:
            so_far = next(ready)
            advance(so_far, so_far)

        done = rebuilder.rebuild(wanted, advance_bar, only_missing=not every and not shards, how=how)
    if done:
        system.status.refresh_all()
    left = [state.shard for state in system.live.read_shards() if not state.ready]
    words = f"{len(done)} shards rebuilt{lost_in(done)}" + (
        f", {len(left)} are not ready: run it again" if left else ""
    )
    unknown = {str(shard.shard): [[n.first, n.last] for n in shard.unknown] for shard in done if shard.unknown}
    return {"rebuilt": [shard.shard for shard in done], "unknown": unknown, "not_ready": left}, words, not left
