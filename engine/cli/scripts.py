"""`scripts export`: what clients in other languages need."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.output import print_json


@click.group(cls=Group)
def scripts() -> None:
    """The Lua scripts, for clients in other languages."""


@scripts.command("export")
@click.argument("folder", metavar="DIR")
@pass_app
def export_(app: App, folder: str) -> None:
    """Write every script into DIR, with a manifest of their SHA1 and golden vectors to test a client with."""
    from engine.live.export import export

    if not folder.strip():
        raise click.BadParameter("it is empty: name the folder to write into", param_hint="DIR")
    done = export(Path(folder))
    if app.json:
        print_json(
            {"folder": str(done.folder), "layout": done.layout, "scripts": dict(done.sha1s), "files": list(done.files)}
        )
        return
    for name, sha1 in done.sha1s.items():
        click.echo(f"{sha1}  {name}.lua")
    click.echo(f"{len(done.files)} files, layout {done.layout}, in {done.folder}")
