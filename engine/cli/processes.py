"""The commands `migrate` and `env`, and the long-running `worker`, `scheduler`, `web` and `api`, which end on SIGTERM."""

from __future__ import annotations

import shlex

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command
from engine.cli.output import LINES_SHOWN, note, print_json


@click.command(cls=Command, any_revision=True)
@pass_app
def migrate(app: App) -> None:
    """Bring the tables of PostgreSQL up to this version. Harmless when they are."""
    from engine.ledger import names
    from engine.ledger.database import make_engine
    from engine.ledger.migrate import upgrade
    from engine.views.board import ANSWER_S

    db = make_engine(app.settings.database_url, patience_s=ANSWER_S)
    moved = upgrade(db)
    with db.connect() as connection:
        doubtful = list(names.doubtful(connection))
    for line in doubtful[:LINES_SHOWN]:
        note(line)
    if len(doubtful) > LINES_SHOWN:
        note(f"and {len(doubtful) - LINES_SHOWN:,} more names")
    if app.json:
        print_json({"before": moved.before, "after": moved.after})
    elif moved.before == moved.after:
        click.echo(f"nothing to do: the database is at {moved.after}")
    else:
        click.echo(f"migrated from {moved.before or 'an empty database'} to {moved.after}")


@click.command(cls=Command, any_revision=True)
@pass_app
def env(app: App) -> None:
    """Print the settings in use as `export NAME=value` lines, passwords included, for `eval "$(budget-engine env)"`."""
    values = app.settings.as_environment()
    if app.json:
        print_json(values)
        return
    for name, value in values.items():
        click.echo(f"export {name}={shlex.quote(value)}")


@click.command(cls=Command, any_revision=True)
@click.option(
    "--queue",
    type=click.Choice(["persist", "jobs", "verify"]),
    help="Only one queue; without it, all three, in a process each.",
)
@pass_app
def worker(app: App, queue: str | None) -> None:
    """Work the job queues until SIGTERM or Ctrl-C."""
    from engine.processes import worker as run_worker

    run_worker(queue)


@click.command(cls=Command, any_revision=True)
@pass_app
def scheduler(app: App) -> None:
    """Ring the periodic jobs until SIGTERM or Ctrl-C."""
    from engine.processes import scheduler as run_scheduler
    from engine.settings import database_url_if_named

    # A scheduler may have JOBS_REDIS_URL alone; then the workers check the revision.
    if database_url_if_named():
        app.check_revision(where_it_answers=True)
    run_scheduler()


@click.command(cls=Command, any_revision=True)
@pass_app
def web(app: App) -> None:
    """Serve the pages until SIGTERM or Ctrl-C."""
    from web.serve import serve

    app.check_revision(where_it_answers=True)
    serve(app.system)


@click.command(cls=Command, any_revision=True)
@pass_app
def api(app: App) -> None:
    """Serve the HTTP API until SIGTERM or Ctrl-C."""
    from api.serve import serve

    app.check_revision(where_it_answers=True)
    serve(app.system)
