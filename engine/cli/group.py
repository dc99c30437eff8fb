"""The base classes of all commands. `--json` may come before or after a command's name, and a command is imported only
when it is called.
"""

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

    any_revision: skips that check, for a command that writes neither catalog nor log, or checks the revision itself.
    """

    def __init__(self, *args: Any, any_revision: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.any_revision = any_revision
        self.params.append(_json_option())

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command. Raises WrongVersion, ServerAway."""
        if not self.any_revision:
            ctx.ensure_object(App).check_revision()
        return super().invoke(ctx)


class Group(click.Group):
    """A group of commands that all take `--json`, as the group does."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(_json_option())


class LazyGroup(Group):
    """The top group: has the import path of each command and imports the one that is called."""

    def __init__(self, name: str, places: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._import_paths = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._import_paths)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        import_path = self._import_paths.get(name)
        if import_path is None:
            return None
        module, _, attribute = import_path.partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found
