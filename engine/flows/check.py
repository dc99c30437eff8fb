"""Check: every five minutes all campaigns are compared with their budgets and schedules, in bulk. The floor under all the quicker ways."""

from __future__ import annotations

from dataclasses import dataclass

from engine.flows.publish import Publisher
from engine.flows.status import StatusWriter


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check did: brands published late, campaigns whose causes changed."""

    published: int
    changed: int

    def __str__(self) -> str:
        return f"{self.published} brands published, {self.changed} campaigns changed"


def check_all(publisher: Publisher, status: StatusWriter) -> Checked:
    """Publishes what is still owed and writes every campaign's status. Raises ServerAway."""
    published = publisher.publish_pending()
    return Checked(len(published), status.refresh_all())
