"""Commands for an incident: pause every brand, and resume every one that is paused."""

from __future__ import annotations

from typing import Literal

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command
from engine.cli.operation import apply_or_show


@click.command("pause-all", cls=Command)
@click.option("--dry-run", is_flag=True, help="Show which brands would be paused, and change nothing.")
@click.option("--reason", metavar="TEXT", help="Why, for the name of the operation.")
@pass_app
def pause_all(app: App, dry_run: bool, reason: str | None) -> None:
    """Pause every brand at once. Campaigns keep their own switches; `operation undo` resumes exactly the brands that it paused."""
    _everything(app, "pause", dry_run, reason)


@click.command("resume-all", cls=Command)
@click.option("--dry-run", is_flag=True, help="Show which brands would be resumed, and change nothing.")
@click.option("--reason", metavar="TEXT", help="Why, for the name of the operation.")
@pass_app
def resume_all(app: App, dry_run: bool, reason: str | None) -> None:
    """Resume every paused brand, whoever paused it: each campaign runs as its own switch, budget and schedule permit."""
    _everything(app, "resume", dry_run, reason)


def _everything(app: App, kind: Literal["pause", "resume"], dry_run: bool, reason: str | None) -> None:
    apply_or_show(app, app.system.operations.preview_everything(kind, app.actor, reason), dry_run)
