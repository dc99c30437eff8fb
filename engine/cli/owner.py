"""An argument that names a brand or a campaign: BRAND|CAMPAIGN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.cli.app import App
from engine.errors import Conflict, InvalidId, NotFound, shown

if TYPE_CHECKING:
    from engine.ledger.hourly import Owner


def owner_of(app: App, text: str) -> Owner:
    """The brand or campaign of an id or of `ext:VALUE`.

    Raises InvalidId, NotFound where there is neither, and Conflict where both have that id.
    """
    from engine.ledger.hourly import Owner

    found: list[Owner] = []
    wrong: InvalidId | None = None
    catalog = app.system.catalog
    try:
        found.append(Owner("brand", catalog.resolve_brand(text)))
    except NotFound:
        pass
    except InvalidId as error:
        wrong = error
    try:
        found.append(Owner("campaign", catalog.resolve_campaign(text)))
    except (NotFound, InvalidId):
        pass
    if len(found) == 2:
        raise Conflict(f"{shown(text)} is a brand and a campaign: give the other id of the one that you mean")
    if not found:
        raise wrong or NotFound(
            f"there is no brand or campaign {shown(text)}: `brand list` and `campaign list` show them"
        )
    return found[0]
