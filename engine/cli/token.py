"""Commands on the tokens of programs: create, shown once; list; revoke."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.output import print_json, print_table
from engine.views.control_documents import token_document

if TYPE_CHECKING:
    from engine.ledger.tokens import Token


@click.group(cls=Group)
def token() -> None:
    """Tokens of programs for the HTTP API: what each may do, which brands it sees, and when it was last used."""


@token.command()
@click.argument("name")
@click.option("--scope", required=True, metavar="spend[,read,write,admin]", help="What the program may do.")
@click.option("--brand", "brands", multiple=True, metavar="ID", help="A brand that it sees; every brand without it.")
@pass_app
def create(app: App, name: str, scope: str, brands: tuple[str, ...]) -> None:
    """Create a token for the program NAME, and print it. Nothing shows it again."""
    from engine.domain.tokens import check_scopes
    from engine.ledger import tokens
    from engine.ledger.user_names import check_user_name

    called, wanted = check_user_name(name), check_scopes(part.strip() for part in scope.split(","))
    seen = [app.brand_id(brand) for brand in brands] or None
    made = tokens.create(app.system.db, app.actor, called, wanted, seen)
    if app.json:
        print_json({"id": made.token.id, "token": made.secret})
        return
    click.echo(f"created token {made.token.id} of {made.token.name}; nothing shows it again:")
    click.echo(made.secret)


@token.command("list")
@pass_app
def list_(app: App) -> None:
    """List the tokens, revoked ones last."""
    from engine.ledger.tokens import all_tokens
    from engine.ledger.users import scope_text

    found = all_tokens(app.system.db)
    if app.json:
        print_json([token_document(each) for each in found])
        return
    rows = [(str(t.id), t.name, ", ".join(t.scopes), scope_text(t.brands), _state(t), f"{t.used_at:%Y-%m-%d %H:%M}" if t.used_at else "never") for t in found]  # fmt: skip
    print_table(("id", "program", "scope", "sees", "state", "last use (UTC)"), rows)


@token.command()
@click.argument("token_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@pass_app
def revoke(app: App, token_id: int) -> None:
    """End the token ID for good."""
    from engine.ledger import tokens

    ended = tokens.revoke(app.system.db, app.actor, token_id)
    if app.json:
        print_json(token_document(ended))
        return
    click.echo(f"revoked token {ended.id} of {ended.name}")


def _state(token: Token) -> str:
    return "active" if token.revoked_at is None else "revoked"
