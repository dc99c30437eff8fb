"""Which brands have campaigns of a name: what a search in the list of budgets finds beside the names of brands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from sqlalchemy import Engine, text

from engine.views.kept import Kept

KEPT_S: Final = 5.0
SHORTEST: Final = 2
"""Fewer characters than this are in most names, so campaigns are not looked through for them."""
# lower() as well as the text in lower case: each side folds by the same rules.
_QUERY: Final = text(
    "SELECT brand_id, count(*) AS number, (array_agg(id ORDER BY name, id))[1] AS first_id, min(name) AS first FROM campaign WHERE archived_at IS NULL"
    " AND (strpos(lower(name), lower(:wanted)) > 0 OR strpos(lower(external_id), lower(:wanted)) > 0) GROUP BY brand_id"
)


class Named(NamedTuple):
    """Campaigns of a brand that match: how many, and the first one by name."""

    number: int
    first_id: int
    first: str


class CampaignNames:
    """Thread-safe. One thread reads for all who search for the same at the same time."""

    def __init__(self, db: Engine) -> None:
        self._db = db
        self._kept: Kept[str, Mapping[int, Named]] = Kept(KEPT_S)

    def brands_with(self, wanted: str) -> Mapping[int, Named]:
        """{brand: its campaigns in use whose name or external id contains this}. Upper and lower case are one. Raises ServerAway."""
        folded = wanted.strip().lower()
        if len(folded) < SHORTEST:
            return {}
        return self._kept.get(folded, lambda: self._read(folded))

    def _read(self, wanted: str) -> Mapping[int, Named]:
        with self._db.connect() as conn:
            found = conn.execute(_QUERY, {"wanted": wanted})
            return {row.brand_id: Named(row.number, row.first_id, row.first) for row in found}
