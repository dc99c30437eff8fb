"""Names in the catalog: one name is one brand, an archived name is free again, and the migration that brought this loses none."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from engine.errors import Conflict
from engine.ledger import migrate, names
from engine.ledger.catalog import Catalog
from engine.ledger.database import make_engine

NFC, NFD = "Café", unicodedata.normalize("NFD", "Café")


def doubtful(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(names.doubtful(connection))


@pytest.mark.parametrize("again", [NFD, "Café ", "\u00a0Café"], ids=ascii)
def test_one_name_in_two_spellings_is_one_brand_and_one_campaign(catalog: Catalog, again: str) -> None:
    brand = catalog.create_brand(NFC, None, None, None, "ann").id
    catalog.create_campaign(brand, NFC, None, None, "ann")
    with pytest.raises(Conflict, match="is taken by another brand"):
        catalog.create_brand(again, None, None, None, "ann")
    with pytest.raises(Conflict, match="is taken by another campaign"):
        catalog.create_campaign(brand, again, None, None, "ann")
    found = catalog.brand_by_name(again)
    assert found is not None
    assert found.id == brand


def test_the_name_of_an_archived_brand_can_be_used_again_and_its_id_cannot(catalog: Catalog) -> None:
    old = catalog.create_brand("Acme", None, None, None, "ann").id
    catalog.archive_brand(old, "ann")
    assert catalog.brand_by_name("Acme") == catalog.brand(old), "the only one of that name"
    new = catalog.create_brand("Acme", None, None, None, "ann").id
    assert new > old
    assert catalog.brand_by_name("Acme") == catalog.brand(new)
    with pytest.raises(Conflict, match=f"meanwhile: rename this one first, with `brand update {old} --name NEW`"):
        catalog.unarchive_brand(old, "ann")
    assert catalog.brand(old).archived
    assert catalog.update_brand(old, "ann", name="Acme of old").archived
    assert not catalog.unarchive_brand(old, "ann").archived


def test_the_name_of_an_archived_campaign_can_be_used_again_and_its_ordinal_cannot(catalog: Catalog) -> None:
    brand = catalog.create_brand("Acme", None, None, None, "ann").id
    old = catalog.create_campaign(brand, "Spring", None, None, "ann").id
    catalog.archive_campaign(old, "ann")
    new = catalog.create_campaign(brand, "Spring", None, None, "ann").id
    assert new == old + 1
    with pytest.raises(Conflict, match=f"rename this one first, with `campaign update {old} --name NEW`"):
        catalog.unarchive_campaign(old, "ann")
    back = catalog.unarchive_campaign(old, "ann", name="Spring of old")
    assert (back.name, back.archived) == ("Spring of old", False)


def test_two_who_bring_one_name_back_at_once_get_one_of_them_in(catalog: Catalog) -> None:
    ids = []
    for _ in range(2):
        ids.append(catalog.create_brand("Acme", None, None, None, "ann").id)
        catalog.archive_brand(ids[-1], "ann")

    def back(brand_id: int) -> bool:
        try:
            return not catalog.unarchive_brand(brand_id, "ann").archived
        except Conflict:
            return False

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(back, ids)) == [False, True]


def test_a_brand_comes_back_with_its_campaigns_as_they_were_signed_and_with_a_new_version(catalog: Catalog) -> None:
    brand = catalog.create_brand("Acme", 5, None, None, "ann").id
    off = catalog.create_campaign(brand, "Off", None, None, "ann").id
    gone = catalog.create_campaign(brand, "Gone", None, None, "ann").id
    catalog.pause_campaign(off, "ann")
    catalog.archive_campaign(gone, "ann")
    before = catalog.archive_brand(brand, "ann")
    with pytest.raises(Conflict, match=f"bring that back first, with `brand unarchive {brand}`"):
        catalog.unarchive_campaign(gone, "ann")
    after = catalog.unarchive_brand(brand, "bob")
    assert (after.archived, after.version, after.daily_budget_micros) == (False, before.version + 1, 5)
    assert catalog.unarchive_brand(brand, "bob") == after, "again is no change"
    assert not catalog.campaign(off).archived
    assert not catalog.campaign(off).enabled
    assert catalog.campaign(gone).archived
    assert [c.id for c in catalog.archived_campaigns(brand)] == [gone]


def test_an_archived_row_may_be_renamed_and_nothing_else_of_it_changes(catalog: Catalog) -> None:
    brand = catalog.create_brand("Acme", None, None, "a1", "ann").id
    campaign = catalog.create_campaign(brand, "Spring", None, "c1", "ann").id
    catalog.archive_campaign(campaign, "ann")
    assert catalog.update_campaign(campaign, "ann", name="Autumn", external_id=None).name == "Autumn"
    with pytest.raises(Conflict, match="bring it back with `campaign unarchive"):
        catalog.update_campaign(campaign, "ann", name="Winter", schedule=None)
    catalog.archive_brand(brand, "ann")
    assert catalog.update_brand(brand, "ann", external_id=None).external_id is None
    with pytest.raises(Conflict, match="bring it back with `brand unarchive"):
        catalog.update_brand(brand, "ann", daily_budget_micros=5)


@pytest.fixture
def before(empty_url: str) -> Iterator[Engine]:
    """A database as it was before names had one spelling."""
    engine = make_engine(empty_url)
    migrate.upgrade(engine, "0004")
    yield engine
    engine.dispose()


def insert(engine: Engine, *rows: str) -> None:
    with engine.begin() as connection:
        for name in rows:
            connection.execute(text("INSERT INTO brand (name) VALUES (:name)"), {"name": name})


def test_the_migration_respells_what_is_alone_and_names_the_pairs_that_are_there(before: Engine) -> None:
    insert(before, "Plain", "SingleRequest\u00a0 Co", NFC, NFD, "Ac\u200bme", "e\u0301", "e\u0301\u00a0x", "e\u0301 x")
    migrate.upgrade(before)
    catalog = Catalog(before)
    assert [brand.name for brand in catalog.brands()] == [
        "Plain",
        "SingleRequest Co",
        NFC,
        NFD,
        "Ac\u200bme",
        "é",
        "é x",
        "e\u0301 x",
    ]
    told = doubtful(before)
    assert len(told) == 3
    assert "brand 5" in told[0]
    assert "ZERO WIDTH SPACE (U+200B)" in told[0]
    assert "brands 3 and 4 are both called 'Café' to the eye: rename with `brand update 4 --name NEW`" in told
    assert "brands 7 and 8 are both called 'é x' to the eye: rename with `brand update 8 --name NEW`" in told
    with before.connect() as connection:
        trail = connection.execute(text("SELECT actor, entity_id, old, new FROM catalog_change ORDER BY id")).all()
    assert next(tuple(row) for row in trail) == ("migration 0006", 2, "SingleRequest\u00a0 Co", "SingleRequest Co")
    found = catalog.brand_by_name(NFD)
    assert found is not None
    assert found.id == 3, "whoever types it means the one in its right spelling"
    catalog.update_brand(4, "ann", name="Café Nord")
    catalog.update_brand(8, "ann", name="é y")
    catalog.update_brand(5, "ann", name="Acme")
    assert doubtful(before) == []


def test_going_back_to_the_old_law_keeps_every_row_under_a_name_of_its_own(engine: Engine, catalog: Catalog) -> None:
    old = catalog.create_brand("Acme", None, None, None, "ann").id
    catalog.archive_brand(old, "ann")
    new = catalog.create_brand("Acme", None, None, None, "ann").id
    migrate.downgrade(engine, "0004")
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id, name FROM brand ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [(old, f"Acme (archived, {old})"), (new, "Acme")]
