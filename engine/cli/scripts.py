"""The commands of `scripts`, for clients in other languages: `export` writes the scripts, `acl` prints the rights that
a client's login in Redis needs.
"""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.output import print_json


@click.group(cls=Group)
def scripts() -> None:
    """The Lua scripts, for clients in other languages."""


@scripts.command("export", any_revision=True)
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


@scripts.command(any_revision=True)
@click.argument("user", default="bidder")
@click.option("--read-only", is_flag=True, help="For one who watches and spends nothing.")
@click.option("--db", type=click.IntRange(0), default=0, show_default=True, help="The number in REDIS_URL's path.")
@pass_app
def acl(app: App, user: str, read_only: bool, db: int) -> None:
    """Print the least that a bidder's login in Redis needs, as an ACL SETUSER command without a password.

    Set the password apart, so that it stands in no shell's history: a login without one cannot be used.
    """
    from engine.live.acl import acl_setuser

    arguments = acl_setuser(user, read_only=read_only, db=db)
    if app.json:
        print_json({"user": user, "arguments": arguments})
    else:
        click.echo(" ".join(("ACL SETUSER", *arguments)))
