"""`doctor` and `verify`: what is wrong, and whether the money adds up."""

from __future__ import annotations

from datetime import timedelta

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command
from engine.cli.output import print_json, print_table


@click.command(cls=Command)
@pass_app
def doctor(app: App) -> int:
    """Say what is wrong and what to do about it. Changes nothing; exit 1 when something fails."""
    from engine.flows.doctor import examine

    findings = list(examine(app.settings))
    if app.json:
        print_json([{"name": f.name, "state": f.state, "detail": f.detail, "todo": f.todo or None} for f in findings])
    else:
        rows = ((f.state, f.name, f.detail + (f"; {f.todo}" if f.todo else "")) for f in findings)
        print_table(("", "what", "found"), rows)
    return 1 if any(f.state == "fail" for f in findings) else 0


@click.command(cls=Command)
@click.option(
    "--days", type=click.IntRange(1, 400), default=2, show_default=True, help="How far back to look for duplicates."
)
@pass_app
def verify(app: App, days: int) -> int:
    """Check that the money adds up, on the live system. Prints PASS or FAIL and the difference in micros; exit 1 on any FAIL."""
    from engine.flows.verify import FAIL, SHOWN, Check, Verifier

    system, settings = app.system, app.settings
    windows = timedelta(hours=settings.event_id_hours), timedelta(minutes=settings.request_id_minutes)

    def told(check: Check) -> None:
        if app.json:
            return
        click.echo(
            f"{check.result} {check.id} {check.title} ({check.checked}), difference {check.difference_micros} micros"
        )
        for finding in check.findings[:SHOWN]:
            click.echo(f"     {finding}")
        if len(check.findings) > SHOWN:
            click.echo(f"     and {len(check.findings) - SHOWN} more")

    checks = Verifier(system.db, system.catalog, system.live, system.journal, *windows).verify(days, told)
    failed = any(check.result == FAIL for check in checks)
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
                        "checked": check.checked,
                        "findings": check.findings[:SHOWN],
                    }
                    for check in checks
                ],
            }
        )
    return 1 if failed else 0
