"""Which scope each route needs: one table of every endpoint. `api/guard.py` asks it before each request, and an endpoint without a row
is for the scope admin; a test compares the table with the app's routes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from flask import g

from engine.domain.ids import brand_of
from engine.domain.tokens import Scope
from engine.errors import NotFound, shown
from engine.ledger.tokens import Token

OPEN: Final = "open"
"""For everybody, without a token."""
Needs = Scope | Literal["open"]
TABLE: Final[dict[str, Needs]] = {
    "static": OPEN,
    "health.healthz": OPEN,
    "health.readyz": OPEN,
    "docs.openapi": OPEN,
    "docs.page": OPEN,
    "spending.spend": "spend",
    "spending.spends": "spend",
    "spending.hold": "spend",
    "spending.settle": "spend",
    "spending.release": "spend",
    "spending.refund": "spend",
    "audit.spends": "read",
    "brands.brands": "read",
    "brands.brand": "read",
    "brands.create_brand": "write",
    "brands.change_brand": "write",
    "brands.pause_brand": "write",
    "brands.resume_brand": "write",
    "brands.archive_brand": "write",
    "brands.unarchive_brand": "write",
    "campaigns.campaigns": "read",
    "campaigns.campaign": "read",
    "campaigns.create_campaign": "write",
    "campaigns.change_campaign": "write",
    "campaigns.pause_campaign": "write",
    "campaigns.resume_campaign": "write",
    "campaigns.archive_campaign": "write",
    "campaigns.unarchive_campaign": "write",
    "reports.brand_days": "read",
    "reports.brand_hours": "read",
    "reports.brand_minutes": "read",
    "reports.brand_forecast": "read",
    "reports.campaign_days": "read",
    "reports.campaign_hours": "read",
    "reports.campaign_minutes": "read",
    "reports.campaign_forecast": "read",
    "activity.activity": "read",
    "activity.of_brand": "read",
    "operations.operations": "read",
    "operations.operation": "read",
    "operations.operation_rows": "read",
    "operations.create_operation": "write",
    "operations.apply_operation": "write",
    "operations.undo_operation": "write",
    "flights.flights": "read",
    "flights.flight": "read",
    "flights.add_flight": "write",
    "flights.change_flight": "write",
    "flights.remove_flight": "write",
    "limits.limits": "read",
    "limits.limit": "read",
    "limits.schedule_limit": "write",
    "limits.cancel_limit": "write",
    "curves.curves": "read",
    "curves.curve": "read",
    "curves.create_curve": "write",
    "curves.change_curve": "write",
    "curves.remove_curve": "write",
    "alerts.alerts": "read",
    "alerts.alert": "read",
    "alerts.acknowledge_alert": "write",
    "alerts.mute_alert": "write",
    "alerts.unmute_alert": "write",
    "webhooks.webhooks": "admin",
    "webhooks.webhook": "admin",
    "webhooks.create_webhook": "admin",
    "webhooks.rotate_webhook": "admin",
    "webhooks.test_webhook": "admin",
    "webhooks.disable_webhook": "admin",
    "webhooks.enable_webhook": "admin",
    "webhooks.deliveries": "admin",
    "tokens.tokens": "admin",
    "tokens.token": "admin",
    "tokens.create_token": "admin",
    "tokens.revoke_token": "admin",
    "users.users": "admin",
    "users.user": "admin",
    "users.create_user": "admin",
    "users.change_user": "admin",
    "users.disable_user": "admin",
    "users.enable_user": "admin",
    "users.set_password": "admin",
}


def needs(endpoint: str | None) -> Needs:
    """The scope that an endpoint needs."""
    return TABLE.get(endpoint or "", "admin")


class OutOfScope(Exception):
    """A token may not do this: which scope or brand is missing."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def token() -> Token:
    """The token of this request."""
    found = g.token
    assert isinstance(found, Token)
    return found


def check_spends(campaign_ids: Iterable[int], indexed: bool = False) -> None:
    """Refuses a spend on a brand that the token does not see. Raises OutOfScope, whether or not the brand exists."""
    brands = token().brands
    if brands is None:
        return
    for index, campaign_id in enumerate(campaign_ids):
        if brand_of(campaign_id) not in brands:
            field = f"spends[{index}].campaign_id" if indexed else "campaign_id"
            raise OutOfScope(
                f"{field} {shown(campaign_id)} is of brand {brand_of(campaign_id)}, which this token does not see",
                field,
            )


def check_brand(brand_id: int) -> int:
    """A brand's id, if the token sees it. Raises NotFound, as for a brand that does not exist."""
    brands = token().brands
    if brands is not None and brand_id not in brands:
        raise NotFound(f"there is no brand {shown(brand_id)}: `brand list` shows all")
    return brand_id


def check_campaign(campaign_id: int) -> int:
    """A campaign's id, if the token sees its brand. Raises NotFound, as for a campaign that does not exist."""
    brands = token().brands
    if brands is not None and brand_of(campaign_id) not in brands:
        raise NotFound(f"there is no campaign {shown(campaign_id)}: `campaign list` shows all")
    return campaign_id
