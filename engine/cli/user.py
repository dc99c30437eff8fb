"""Commands on users of the console: the first admin, roles, brands, and passwords."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.output import print_json, print_table
from engine.errors import InvalidInput
from engine.views.control_documents import user_document

if TYPE_CHECKING:
    from engine.ledger.users import User

_STDIN = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, not from a prompt."
)


@click.group(cls=Group)
def user() -> None:
    """Users of the web page: who logs in, what he may do, and which brands he sees."""


@user.command()
@click.argument("name")
@click.option(
    "--role",
    required=True,
    metavar="viewer|operator|admin",
    help="viewer reads; operator changes brands and campaigns; admin does everything.",
)
@click.option(
    "--brand", "brands", multiple=True, metavar="ID", help="A brand that the user sees; every brand without it."
)
@_STDIN
@pass_app
def create(app: App, name: str, role: str, brands: tuple[str, ...], password_stdin: bool) -> None:
    """Create the user NAME."""
    from engine.domain.people import check_role
    from engine.ledger.user_names import check_user_name

    wanted, called = check_role(role), check_user_name(name)
    scope = [app.brand_id(brand) for brand in brands] or None
    made = app.system.people.create(app.actor, called, wanted, scope, _password(password_stdin))
    _answer(app, f"created user {made.name}", made)


@user.command("list")
@pass_app
def list_(app: App) -> None:
    """List the users."""
    from engine.ledger.users import all_users, scope_text

    found = all_users(app.system.db)
    if app.json:
        print_json([user_document(each) for each in found])
        return
    rows = [(u.name, u.role, scope_text(u.brands), _state(u), f"{u.last_login:%Y-%m-%d %H:%M}" if u.last_login else "never") for u in found]  # fmt: skip
    print_table(("user", "role", "sees", "state", "last login (UTC)"), rows)
    if app.settings.admin_password:
        click.echo("BUDGET_ADMIN_PASSWORD is set: whoever knows it is an admin, under any name that is no user's")


@user.command()
@click.argument("name")
@pass_app
def disable(app: App, name: str) -> None:
    """Shut the user NAME out, and end his sessions."""
    from engine.ledger import users

    found = users.named(app.system.db, name)
    ended = users.set_disabled(app.system.db, app.actor, found.id, True)
    _answer(app, f"disabled user {found.name}; {_sessions(ended)}", users.one(app.system.db, found.id))


@user.command()
@click.argument("name")
@pass_app
def enable(app: App, name: str) -> None:
    """Let the user NAME in again."""
    from engine.ledger import users

    found = users.named(app.system.db, name)
    users.set_disabled(app.system.db, app.actor, found.id, False)
    _answer(app, f"enabled user {found.name}", users.one(app.system.db, found.id))


@user.command()
@click.argument("name")
@_STDIN
@pass_app
def password(app: App, name: str, password_stdin: bool) -> None:
    """Give the user NAME another password, and end his sessions."""
    from engine.ledger import users

    found = users.named(app.system.db, name)
    ended = app.system.people.set_password(app.actor, found, _password(password_stdin))
    _answer(app, f"changed the password of user {found.name}; {_sessions(ended)}", users.one(app.system.db, found.id))


def _password(from_stdin: bool) -> str:
    """A password from standard input, its first line, or twice from a prompt. Raises InvalidInput."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InvalidInput("password: there is no terminal to ask at: give it with --password-stdin", "password")
    given: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return given


def _answer(app: App, done: str, user: User) -> None:
    if app.json:
        print_json(user_document(user))
        return
    click.echo(done)


def _state(user: User) -> str:
    if user.disabled_at is not None:
        return "disabled"
    return "active" if user.has_password else "no password"


def _sessions(ended: int) -> str:
    return "no session was open" if not ended else f"{ended} session{'s' if ended > 1 else ''} ended"
