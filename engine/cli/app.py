"""What a command works with: whether JSON is wanted, who is asking, and the system of this process, made when first asked for."""

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
"""How long a spend on the command line waits for Redis."""


class App:
    """One call of the command line."""

    def __init__(self) -> None:
        self.json = False

    @cached_property
    def settings(self) -> Settings:
        """The settings with the embedded servers' URLs filled in. Raises InvalidSetting; ServerAway when nothing is named and nothing runs."""
        from engine.settings import Settings

        return Settings.load().resolved()

    @cached_property
    def system(self) -> System:
        """The parts, wired; nothing connects before it is used."""
        from engine.wiring import COMMANDS, System

        return System(self.settings, COMMANDS)

    @cached_property
    def client(self) -> BudgetClient:
        """A bidder's client, without anything of PostgreSQL: spending on the command line starts quickly."""
        from engine.client.sync import BudgetClient
        from engine.settings import hot_redis_url

        return BudgetClient.from_url(hot_redis_url(), timeout_ms=COMMAND_MS)

    def check_revision(self, *, where_it_answers: bool = False) -> None:
        """Before anything is written. where_it_answers: a process that waits for its servers does not ask one that is away.

        Raises WrongVersion where PostgreSQL's tables are of another release, ServerAway.
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
        """Who changes things here: the user of this process, as `cli:<name>`."""
        try:
            import pwd

            name = pwd.getpwuid(os.getuid()).pw_name
        except (ImportError, KeyError):
            name = f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"
        return f"cli:{name}"

    def brand_id(self, text: str) -> int:
        """A brand by its id or `ext:VALUE`. Raises InvalidId, NotFound."""
        return self.system.catalog.resolve_brand(text)

    def campaign_id(self, text: str) -> int:
        """A campaign by its id or `ext:VALUE`; a plain id is not looked up. Raises InvalidId, NotFound."""
        if text.startswith("ext:") or not (text.isascii() and text.isdigit()):
            return self.system.catalog.resolve_campaign(text)
        from engine.domain.ids import check_campaign_id

        return check_campaign_id(int(text[:20]))

    def close(self) -> None:
        """Lets connections go."""
        if "system" in self.__dict__:
            self.system.close()
        if "client" in self.__dict__:
            self.client.close()


def own_id(text: str) -> str | None:
    """What `--external-id` says: an id, or none. An empty text is neither; it is refused where ids are checked."""
    return None if text == "none" else text


DAY = click.DateTime(["%Y-%m-%d"])
"""A day on the command line; a UTC one."""
pass_app = click.make_pass_decorator(App, ensure=True)
