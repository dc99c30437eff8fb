"""The command `up`, which runs everything in one terminal, and `demo-traffic`, which `up --demo` starts."""

from __future__ import annotations

import signal

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command
from engine.settings import Settings
from engine.stop_flag import StopFlag


@click.command(cls=Command, any_revision=True)
@click.option("--demo", is_flag=True, help="Also create sample brands and send simulated bidder traffic.")
@click.option("--yes", is_flag=True, help="Let --demo use named servers whose catalog it did not make.")
@click.option(
    "--cluster",
    "nodes",
    type=click.IntRange(2, 16),
    metavar="N",
    help="Let the embedded hot Redis be a cluster of N nodes. A folder keeps the number that it began with.",
)
@pass_app
def up(app: App, demo: bool, yes: bool, nodes: int | None) -> int:
    """Start servers (embedded ones when none is named), worker, scheduler and web; Ctrl-C stops all, data is kept."""
    from engine.up import run_up

    # Not app.settings, which raises where the embedded servers do not run yet.
    return run_up(Settings.load(), demo, yes, nodes or 0)


@click.command(cls=Command, hidden=True)
@pass_app
def demo_traffic(app: App) -> None:
    """Create the sample brands and send traffic until SIGTERM: what `up --demo` runs."""
    from engine.feeds.demo import Traffic, make_samples, names_of
    from engine.feeds.demo_controls import Person

    stop = StopFlag()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    campaigns = make_samples(app.system.catalog, app.system.manage)
    person = Person(app.system.manage, names_of(campaigns))
    Traffic(app.system.client, campaigns, person=person).run(stop.wait, click.echo)
