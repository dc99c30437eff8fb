"""The context of a command: whether JSON is wanted, who runs the command, and the services, made on first use."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from engine.client.sync import BudgetClient
    from engine.settings import Settings
    from engine.wiring import System


COMMAND_MS: Final = 2000
"""The deadline of a spend on the command line, in ms."""


class App:
    """The context of one run of the command line."""

    def __init__(self) -> None:
        self.json = False

    @cached_property
    def settings(self) -> Settings:
        """The settings, with URLs of embedded servers filled in. Raises InvalidSetting, and ServerAway where no servers
        are named and no embedded ones run.
        """
        from engine.settings import Settings

        return Settings.load().resolved()

    @cached_property
    def system(self) -> System:
        """The services of this process. Each connects on first use."""
        from engine.wiring import COMMANDS, System

        return System(self.settings, COMMANDS)

    @cached_property
    def client(self) -> BudgetClient:
        """A bidder's client. It loads no code for PostgreSQL, so a spend on the command line starts fast."""
        from engine.client.sync import BudgetClient
        from engine.settings import hot_redis_url

        return BudgetClient.from_url(hot_redis_url(), timeout_ms=COMMAND_MS)

    def check_revision(self, *, where_it_answers: bool = False) -> None:
        """Checks that PostgreSQL has this release's tables, before anything is written.

        where_it_answers: skips the check while PostgreSQL is away, for processes that wait for it later. Raises
        WrongVersion for tables of another release, ServerAway.
        """
        from engine.errors import ServerAway
        from engine.ledger import revision

        try:
            revision.check(self.system.db)
        except ServerAway:
            if not where_it_answers:
                raise

    @property
    def actor(self) -> str:
        """The actor of the audit trail: the user of this process, as `cli:<name>`."""
        try:
            import pwd

            name = pwd.getpwuid(os.getuid()).pw_name
        except (ImportError, KeyError):
            name = f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"
        return f"cli:{name}"

    def brand_id(self, text: str) -> int:
        """Resolves a brand's id or `ext:VALUE` to its id. Raises InvalidId, NotFound."""
        return self.system.catalog.resolve_brand(text)

    def campaign_id(self, text: str) -> int:
        """Resolves a campaign's id or `ext:VALUE` to its id, without lookup for an id. Raises InvalidId, NotFound."""
        if text.startswith("ext:") or not (text.isascii() and text.isdigit()):
            return self.system.catalog.resolve_campaign(text)
        from engine.domain.ids import check_campaign_id

        return check_campaign_id(int(text[:20]))

    def close(self) -> None:
        """Closes all connections."""
        if "system" in self.__dict__:
            self.system.close()
        if "client" in self.__dict__:
            self.client.close()


def own_id(text: str) -> str | None:
    """The value of `--external-id`: an id, or None for `none`. The catalog refuses an empty text."""
    return None if text == "none" else text


DAY = click.DateTime(["%Y-%m-%d"])
"""The type of a day on the command line."""
pass_app = click.make_pass_decorator(App, ensure=True)
