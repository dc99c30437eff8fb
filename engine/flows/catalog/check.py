"""The check job: every five minutes it compares all campaigns with their budgets and schedules. It corrects whatever
the faster ways missed.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.flows.catalog.publish import Mended, Publisher
from engine.flows.catalog.status import StatusWriter


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check did: brands published late, campaigns whose causes changed, and differences between Redis and the
    catalog.
    """

    published: int
    changed: int
    mended: Mended

    def __str__(self) -> str:
        done = f"{self.published} brands published, {self.changed} campaigns changed"
        return "; ".join(filter(None, (done, str(self.mended))))


def check_all(publisher: Publisher, status: StatusWriter) -> Checked:
    """Publishes what is pending or differs in Redis, and writes every campaign's status. Raises ServerAway."""
    publisher.renew_zones()
    mended = publisher.mend()
    published = publisher.publish_pending()
    return Checked(len(published), status.refresh_all(), mended)
