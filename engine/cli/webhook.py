"""Commands on webhooks: create and rotate, whose secret is shown once; list, test, disable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.output import note, print_json, print_table
from engine.views.control_documents import webhook_document

if TYPE_CHECKING:
    from engine.ledger.webhooks import Made, Webhook

_ID: Final = click.IntRange(1, 2**63 - 1)


@click.group(cls=Group)
def webhook() -> None:
    """Webhooks: where alerts are sent, signed by the Standard Webhooks scheme."""


@webhook.command()
@click.argument("name")
@click.argument("url")
@click.option(
    "--least", default="warning", show_default=True, help="note, warning or critical: from which on it hears."
)
@pass_app
def create(app: App, name: str, url: str, least: str) -> None:
    """Create the webhook NAME to URL, and print its secret. Nothing shows it again."""
    from engine.ledger import webhooks

    _tell_secret(app, webhooks.create(app.system.db, app.actor, name, url, least), "created")


@webhook.command("list")
@pass_app
def list_(app: App) -> None:
    """List the webhooks, disabled ones last."""
    from engine.ledger.webhooks import all_webhooks

    found = all_webhooks(app.system.db)
    if app.json:
        print_json([webhook_document(each) for each in found])
        return
    rows = [(str(w.id), w.name, w.url, w.least, _state(w), str(w.waiting)) for w in found]
    print_table(("id", "name", "url", "hears from", "state", "waiting"), rows)


@webhook.command()
@click.argument("webhook_id", metavar="ID", type=_ID)
@pass_app
def test(app: App, webhook_id: int) -> None:
    """Send a test message to the webhook ID. A worker sends it within a minute."""
    from redis.exceptions import RedisError

    from engine.doorbell import enqueue_now
    from engine.job_table import BY_NAME
    from engine.ledger import webhooks

    message = webhooks.add_test(app.system.db, app.actor, webhook_id)
    try:
        enqueue_now(app.system.jobs_redis, BY_NAME["webhooks"])
    except RedisError:
        note("the jobs Redis is away: a worker sends it when it is back")
    if app.json:
        print_json({"webhook": webhook_id, "message": message})
    else:
        click.echo(
            f"the message {message} is written: `webhook list` shows whether it waits, the page what was answered"
        )


@webhook.command()
@click.argument("webhook_id", metavar="ID", type=_ID)
@pass_app
def rotate(app: App, webhook_id: int) -> None:
    """Give the webhook ID another secret, and print it. The last one signs too for a day."""
    from engine.ledger import webhooks

    _tell_secret(app, webhooks.rotate(app.system.db, app.actor, webhook_id), "rotated")


@webhook.command()
@click.argument("webhook_id", metavar="ID", type=_ID)
@pass_app
def disable(app: App, webhook_id: int) -> None:
    """Send nothing more to the webhook ID. Messages that wait for it are dropped."""
    from engine.ledger import webhooks

    found = webhooks.set_disabled(app.system.db, app.actor, webhook_id, True)
    if app.json:
        print_json(webhook_document(found))
    else:
        click.echo(f"disabled webhook {found.id} ({found.name})")


def _tell_secret(app: App, made: Made, done: str) -> None:
    if app.json:
        print_json({**webhook_document(made.webhook), "secret": made.secret})
        return
    click.echo(f"{done} webhook {made.webhook.id} ({made.webhook.name}); nothing shows its secret again:")
    click.echo(made.secret)


def _state(found: Webhook) -> str:
    return "active" if found.disabled_at is None else "disabled"
