"""The commands `doctor` and `verify`: what is wrong, and whether the money adds up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command
from engine.cli.output import print_json, print_table

if TYPE_CHECKING:
    import redis

    from engine.views.doctor import Finding


@click.command(cls=Command, any_revision=True)
@pass_app
def doctor(app: App) -> int:
    """Say what is wrong and what to do about it. Changes nothing; exit 1 when something fails."""
    from engine.views.doctor import examine

    findings = list(examine(app.settings, _jobs))
    if app.json:
        print_json([{"name": f.name, "state": f.state, "detail": f.detail, "todo": f.todo or None} for f in findings])
    else:
        rows = ((f.state, f.name, f.detail + (f"; {f.todo}" if f.todo else "")) for f in findings)
        print_table(("", "what", "found"), rows)
    return 1 if any(f.state == "fail" for f in findings) else 0


@click.command(cls=Command)
@click.option(
    "--days",
    type=click.IntRange(1, 400),
    default=2,
    show_default=True,
    help="How far back rows are looked at by themselves.",
)
@click.option(
    "--full/--recent",
    default=True,
    show_default="full",
    help="Read all rows of the month, or take what an earlier verify confirmed for granted and read what came since.",
)
@pass_app
def verify(app: App, days: int, full: bool) -> int:
    """Check that the money adds up, on the live system. Prints PASS or FAIL and the difference in micros; exit 1 on any FAIL."""
    from engine.flows.verify import FAIL, SHOWN, Check, summary
    from engine.ledger import runs

    def print_check(check: Check) -> None:
        if app.json:
            return
        click.echo(
            f"{check.result} {check.id} {check.title} ({check.checked}), difference {check.difference_micros} micros"
        )
        for brand_id, micros in sorted(check.brands.items())[:SHOWN]:
            click.echo(f"     brand {brand_id}: {micros:+d} micros")
        for finding in check.findings[:SHOWN]:
            click.echo(f"     {finding}")
        if len(check.findings) > SHOWN:
            click.echo(f"     and {len(check.findings) - SHOWN} more")

    with runs.run(app.system.db, "verify") as run:
        checks = app.system.verifier.verify(days, print_check, recent=not full)
        failed = any(check.result == FAIL for check in checks)
        run.outcome, run.detail = "failed" if failed else "done", summary(checks)
    if app.json:
        print_json(
            {
                "result": "FAIL" if failed else "PASS",
                "checks": [
                    {
                        "id": check.id,
                        "title": check.title,
                        "result": check.result,
                        "difference_micros": check.difference_micros,
                        "brands": {str(brand_id): micros for brand_id, micros in sorted(check.brands.items())},
                        "checked": check.checked,
                        "findings": check.findings[:SHOWN],
                    }
                    for check in checks
                ],
            }
        )
    return 1 if failed else 0


def _jobs(jobs: redis.Redis) -> Iterator[Finding]:
    """Checks RQ's Redis: whether a scheduler runs, the schedule is complete, and each queue has a worker."""
    from engine.doorbell import missing_from_schedule
    from engine.job_table import QUEUES
    from engine.views.doctor import Finding
    from engine.views.health import HEARTBEAT_KEY
    from engine.views.workers import workers_of

    scheduler_runs = bool(jobs.exists(HEARTBEAT_KEY))
    if scheduler_runs:
        yield Finding("scheduler", "ok", "it runs")
    else:
        yield Finding("scheduler", "fail", "no scheduler runs", "run `budget-engine scheduler`")
    missing = ", ".join(missing_from_schedule(jobs))
    if missing and scheduler_runs:
        todo = "the scheduler puts them back within seconds: look again"
        yield Finding("schedule", "warn", f"not scheduled: {missing}", todo)
    elif missing:
        yield Finding("schedule", "fail", f"not scheduled: {missing}", "run `budget-engine scheduler`")
    else:
        yield Finding("schedule", "ok", "complete")
    worked_queues = [queue for worker in workers_of(jobs) for queue in worker.queue_names()]
    for queue in QUEUES:
        count = worked_queues.count(queue)
        todo = "" if count else f"run `budget-engine worker --queue {queue}`"
        yield Finding(f"worker {queue}", "ok" if count else "fail", f"{count} running", todo)
