"""Resolves the names in a spend file to campaign ids: looks each up once, creates the missing ones, refuses one by one.

A name means the brand or campaign in use, else the newest archived one of that name. Spends on an archived campaign
are facts and are counted, and a repeated replay finds the same campaigns. No campaign is created in an archived brand.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.errors import BudgetError, Conflict, InvalidInput, NotFound
from engine.flows.catalog.manage import Manage
from engine.ledger.catalog import Catalog
from engine.ledger.records import CampaignRecord

Pair = tuple[str, str]


class CatalogNames:
    """Campaign ids by brand name and campaign name, cached. Missing ones are created in the order of the file, and
    published.
    """

    def __init__(self, catalog: Catalog, manage: Manage, actor: str) -> None:
        self._catalog = catalog
        self._manage = manage
        self._actor = actor
        self._brands: dict[str, int] = {}
        self._campaigns: dict[Pair, int] = {}

    def campaign_ids(self, wanted: Iterable[Pair]) -> tuple[dict[Pair, int], dict[Pair, str]]:
        """Returns the ids, and the reason for each pair without one. Raises ServerAway, which no single line causes."""
        asked = dict.fromkeys(wanted)
        refused: dict[Pair, str] = {}
        missing: dict[str, list[str]] = {}
        for brand, campaign in asked:
            if (brand, campaign) not in self._campaigns:
                missing.setdefault(brand, []).append(campaign)
        for brand, names in missing.items():
            try:
                brand_id = self._brand_id(brand)
            except (Conflict, InvalidInput, NotFound) as error:
                refused.update(dict.fromkeys(((brand, name) for name in names), str(error)))
                continue
            new = [name for name in names if (brand, name) not in self._campaigns]
            if new:
                refused.update({(brand, name): why for name, why in self._create(brand, brand_id, new).items()})
        return {pair: self._campaigns[pair] for pair in asked if pair in self._campaigns}, refused

    def _create(self, brand: str, brand_id: int, names: list[str]) -> dict[str, str]:
        """Creates campaigns of a brand. Returns the reason for each campaign that was refused."""
        try:
            self._cache(brand, self._manage.create_campaigns(brand_id, names, self._actor))
            return {}
        except (Conflict, InvalidInput, NotFound) as error:
            why, field = error, error.field if isinstance(error, Conflict) else None
        if field == "archived":
            return dict.fromkeys(names, str(why))
        if field == "room":
            return self._create_what_fits(brand, brand_id, names, why)
        # Another process created some of them since the lookup, or one name is invalid. Splitting in halves finds it in
        # few steps.
        self._look_up(brand, brand_id)
        left = [name for name in names if (brand, name) not in self._campaigns]
        if len(left) == 1 and len(names) == 1:
            return {left[0]: str(why)}
        middle = (len(left) + 1) // 2
        return {
            name: why
            for part in (left[:middle], left[middle:])
            if part
            for name, why in self._create(brand, brand_id, part).items()
        }

    def _create_what_fits(self, brand: str, brand_id: int, names: list[str], why: BudgetError) -> dict[str, str]:
        room = self._catalog.room(brand_id)
        if not 0 < room < len(names):
            return dict.fromkeys(names, str(why))
        return self._create(brand, brand_id, names[:room]) | self._create(brand, brand_id, names[room:])

    def _brand_id(self, name: str) -> int:
        if name not in self._brands:
            found = self._catalog.brand_by_name(name)
            if found is None:
                try:
                    found = self._manage.create_brand(name, None, None, None, self._actor).row
                except Conflict:
                    # Another process created it since the lookup.
                    found = self._catalog.brand_by_name(name)
                    if found is None:
                        raise
            self._brands[name] = found.id
            self._look_up(name, found.id)
        return self._brands[name]

    def _look_up(self, brand: str, brand_id: int) -> None:
        self._cache(brand, self._catalog.campaigns(brand_id, include_archived=True))

    def _cache(self, brand: str, campaigns: Iterable[CampaignRecord]) -> None:
        # Later entries win: archived ones come first, by id, so the one in use wins, else the newest archived one.
        for campaign in sorted(campaigns, key=lambda c: (c.archived_at is None, c.id)):
            self._campaigns[brand, campaign.name] = campaign.id
