"""`check`, `close-periods`, `persist`, `reconcile`, `rebuild`: a job run now, in the foreground, and noted in job_run like any other run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command
from engine.cli.output import note, print_json


@click.command(cls=Command)
@pass_app
def check(app: App) -> int:
    """Compare all campaigns with budgets and schedules now, and write their status."""
    return _run(app, "check", lambda: _check(app))


@click.command("close-periods", cls=Command)
@pass_app
def close_periods(app: App) -> int:
    """Close every day and month that has ended. What is closed already stays as it is."""
    return _run(app, "close_day", lambda: _close(app))


@click.command(cls=Command)
@pass_app
def persist(app: App) -> int:
    """Carry the journal into PostgreSQL until nothing is left of it."""
    return _run(app, "persist", lambda: _persist(app))


@click.command(cls=Command)
@pass_app
def reconcile(app: App) -> int:
    """Compare Redis' counters with the spend log. Exit 1 when one differs: `rebuild --all` makes them right from the log."""
    return _run(app, "reconcile", lambda: _reconcile(app))


@click.command(cls=Command)
@click.option("--all", "every", is_flag=True, help="Every shard, also those that are whole.")
@pass_app
def rebuild(app: App, every: bool) -> int:
    """Make the shards of Redis that lost something whole again from PostgreSQL."""
    return _run(app, "rebuild", lambda: _rebuild(app, every))


def _run(app: App, job: str, work: Callable[[], tuple[dict[str, Any], str, bool]]) -> int:
    """Does the work as one row of job_run; it answers figures, one line, and whether all is well."""
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
    from engine.flows.check import check_all

    checked = check_all(app.system.publisher, app.system.status)
    return {"published": checked.published, "changed": checked.changed}, str(checked), True


def _close(app: App) -> tuple[dict[str, Any], str, bool]:
    from engine.flows.check import check_all

    closed = app.system.closer.close_ended()
    check_all(app.system.publisher, app.system.status)
    figures = {"days": closed.days, "months": closed.months, "waiting": closed.waiting, "drift": closed.drift}
    return figures, str(closed), not closed.drift


def _persist(app: App) -> tuple[dict[str, Any], str, bool]:
    from engine.domain.money import format_micros
    from engine.flows.persist import trim_all

    system = app.system
    drained = system.persister.drain_all()
    if drained.changed_brands:
        system.status.refresh(drained.changed_brands)
    trim_all(system.db, system.live, system.instance, system.settings.journal_keep_minutes)
    broken = [state.shard for state in system.live.read_shards() if not state.ready]
    words = f"{drained.rows} spends from {drained.entries} entries, {format_micros(drained.micros)}"
    if broken:
        words += f"; {len(broken)} shards are not ready: run `budget-engine rebuild`"
    figures = {"entries": drained.entries, "rows": drained.rows, "amount": format_micros(drained.micros)}
    return {**figures, "not_ready": broken}, words, not broken


def _reconcile(app: App) -> tuple[dict[str, Any], str, bool]:
    checks = app.system.verifier.counters.check()
    findings = [finding for check in checks for finding in check.findings]
    words = f"{', '.join(check.checked for check in checks)} compared with the log, {len(findings)} differences"
    if findings:
        words += f": {findings[0]}; run `budget-engine rebuild --all`"
    return (
        {"difference_micros": sum(check.difference_micros for check in checks), "findings": findings},
        words,
        not findings,
    )


def _rebuild(app: App, every: bool) -> tuple[dict[str, Any], str, bool]:
    system = app.system
    done = system.rebuilder.rebuild() if every else system.rebuilder.rebuild_missing()
    if done:
        system.status.refresh_all()
    left = [state.shard for state in system.live.read_shards() if not state.ready]
    words = f"{len(done)} shards rebuilt" + (f", {len(left)} are not ready: run it again" if left else "")
    return {"rebuilt": [shard.shard for shard in done], "not_ready": left}, words, not left
