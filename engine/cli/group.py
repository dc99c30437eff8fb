"""How commands are found and what every one of them has: `--json` before or after its name, and imports only when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from engine.cli.app import App


def _json_wanted(ctx: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        ctx.ensure_object(App).json = True


def _json_option() -> click.Option:
    return click.Option(
        ["--json"],
        is_flag=True,
        expose_value=False,
        callback=_json_wanted,
        help="Print one JSON document; amounts are decimal strings, ids are integers.",
    )


class Command(click.Command):
    """A command that takes `--json`, and refuses to run on a database of another release.

    any_revision: it does not refuse, since it writes nothing of the catalog and the log, or sees to the revision itself.
    """

    def __init__(self, *args: Any, any_revision: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.any_revision = any_revision
        self.params.append(_json_option())

    def invoke(self, ctx: click.Context) -> Any:
        """Runs it. Raises WrongVersion, ServerAway."""
        if not self.any_revision:
            ctx.ensure_object(App).check_revision()
        return super().invoke(ctx)


class Group(click.Group):
    """A group that takes `--json`, and whose commands do."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(_json_option())


class LazyGroup(Group):
    """The top group: it knows where each command stands and imports the one that is called."""

    def __init__(self, name: str, places: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._places)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        place = self._places.get(name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found
