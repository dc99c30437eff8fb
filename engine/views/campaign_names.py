"""Which brands have campaigns of a name: what a search in the list of budgets finds beside the names of brands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine, Row, text

from engine.views.kept import Kept

KEPT_S: Final = 5.0
SHORTEST: Final = 2
"""Fewer characters than this are in most names, so campaigns are not looked through for them."""
# lower() as well as the text in lower case: each side folds by the same rules.
_MATCH: Final = "archived_at IS NULL AND (strpos(lower(name), lower(:wanted)) > 0 OR strpos(lower(external_id), lower(:wanted)) > 0)"
# A text that is in most names would have to sort them all: which campaign comes first is read of the shown brands alone.
_BRANDS: Final = text(f"SELECT DISTINCT brand_id FROM campaign WHERE {_MATCH}")
_FIRST: Final = text(
    "SELECT brand_id, count(*) AS number, (array_agg(id ORDER BY name, id))[1] AS first_id, min(name) AS first FROM campaign"
    f" WHERE brand_id = ANY(CAST(:brands AS bigint[])) AND {_MATCH} GROUP BY brand_id"
)
# One pass over the campaigns is shorter than the start of helpers, which wait for a processor where that is busy.
_ALONE: Final = text("SET LOCAL max_parallel_workers_per_gather = 0")


class Named(NamedTuple):
    """Campaigns of a brand that match: how many, and the first one by name."""

    number: int
    first_id: int
    first: str


class CampaignNames:
    """Thread-safe. One thread reads for all who search for the same at the same time."""

    def __init__(self, db: Engine) -> None:
        self._db = db
        self._kept: Kept[str, frozenset[int]] = Kept(KEPT_S)
        self._first: Kept[tuple[str, tuple[int, ...]], Mapping[int, Named]] = Kept(KEPT_S)

    def brands_with(self, wanted: str) -> frozenset[int]:
        """The brands with campaigns in use whose name or external id contains this. Upper and lower case are one. Raises ServerAway."""
        folded = _folded(wanted)
        if len(folded) < SHORTEST:
            return frozenset()
        return self._kept.get(folded, lambda: frozenset(row.brand_id for row in self._rows(_BRANDS, folded)))

    def first_of(self, wanted: str, brand_ids: Iterable[int]) -> Mapping[int, Named]:
        """{brand: its campaigns that `brands_with` found}, of these brands. Raises ServerAway."""
        folded, brands = _folded(wanted), tuple(sorted(brand_ids))
        if not brands:
            return {}
        return self._first.get((folded, brands), lambda: self._read_first(folded, brands))

    def _read_first(self, folded: str, brands: tuple[int, ...]) -> Mapping[int, Named]:
        rows = self._rows(_FIRST, folded, brands=list(brands))
        return {row.brand_id: Named(row.number, row.first_id, row.first) for row in rows}

    def _rows(self, query: Any, folded: str, **more: Any) -> list[Row[Any]]:
        with self._db.connect() as conn:
            conn.execute(_ALONE)
            return list(conn.execute(query, {"wanted": folded, **more}))


def _folded(wanted: str) -> str:
    return wanted.strip().lower()
