"""Check: every five minutes all campaigns are compared with their budgets and schedules, in bulk. The floor under all the quicker ways."""

from __future__ import annotations

from dataclasses import dataclass

from engine.flows.catalog.publish import Mended, Publisher
from engine.flows.catalog.status import StatusWriter


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check did: brands published late, campaigns whose causes changed, and what differed between Redis and the catalog."""

    published: int
    changed: int
    mended: Mended

    def __str__(self) -> str:
        done = f"{self.published} brands published, {self.changed} campaigns changed"
        return "; ".join(filter(None, (done, str(self.mended))))


def check_all(publisher: Publisher, status: StatusWriter) -> Checked:
    """Publishes what is still owed, or differs in Redis, and writes every campaign's status. Raises ServerAway."""
    mended = publisher.mend()
    published = publisher.publish_pending()
    return Checked(len(published), status.refresh_all(), mended)
