"""Commands on alerts: list, acknowledge, mute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.output import print_json, print_table

if TYPE_CHECKING:
    from engine.ledger.alerts import AlertRow

MOST: Final = 1000
_ID: Final = click.IntRange(1, 2**63 - 1)


@click.group(cls=Group)
def alert() -> None:
    """Alerts: what a person should look at, and who has seen it."""


@alert.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that ended too, the newest first.")
@click.option("--brand", metavar="ID", help="Those of a brand only.")
@click.option("--limit", default=100, type=click.IntRange(1, MOST), show_default=True, help="At most so many.")
@pass_app
def list_(app: App, everything: bool, brand: str | None, limit: int) -> None:
    """List open alerts, those that count first; of each budget the highest level."""
    from engine.ledger import alerts, webhooks

    of = None if brand is None else app.brand_id(brand)
    brands = None if of is None else [of]
    rows = (alerts.history if everything else alerts.list_open)(app.system.db, brands, limit)
    if app.json:
        print_json([webhooks.document(row) for row in rows])
        return
    lines = [(str(r.id), r.severity, r.kind, r.brand_name or r.subject, r.detail, f"{r.opened_at:%Y-%m-%d %H:%M}", state(r)) for r in rows]  # fmt: skip
    print_table(("id", "severity", "kind", "of", "what", "since (UTC)", "state"), lines)


@alert.command()
@click.argument("alert_id", metavar="ID", type=_ID)
@pass_app
def ack(app: App, alert_id: int) -> None:
    """Acknowledge the alert ID: you have seen it, and it counts no more."""
    from engine.ledger import alerts

    _tell(app, alerts.acknowledge(app.system.db, alert_id, app.actor), "acknowledged")


@alert.command()
@click.argument("alert_id", metavar="ID", type=_ID)
@click.option("--hours", default=8, type=int, show_default=True, help="1, 8, 24 or 168; 0 ends the silence.")
@pass_app
def mute(app: App, alert_id: int, hours: int) -> None:
    """Silence what the alert ID is about: its kind, for that brand or campaign."""
    from engine.ledger import alerts

    if hours == 0:
        _tell(app, alerts.unmute(app.system.db, alert_id, app.actor), "not muted any more")
    else:
        _tell(app, alerts.mute(app.system.db, alert_id, hours, app.actor), f"muted for {hours} h")


def state(row: AlertRow) -> str:
    """The state of an alert in a few words."""
    if row.end_reason is not None:
        return {"raised": "recovered: budget raised", "period": "period ended", "off": "no rule"}.get(
            row.end_reason, row.end_reason
        )
    if row.muted_until is not None:
        return f"muted until {row.muted_until:%Y-%m-%d %H:%M}"
    return f"seen by {row.acknowledged_by}" if row.acknowledged_by else "new"


def _tell(app: App, row: AlertRow, done: str) -> None:
    from engine.ledger import webhooks

    if app.json:
        print_json(webhooks.document(row))
    else:
        click.echo(f"alert {row.id} ({row.detail}): {done}")
