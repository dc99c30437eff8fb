"""The catalog: names and ids are unique, every change leaves a trail and a version, and what is archived changes no more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, select, text

from engine.domain.schedule import Schedule
from engine.errors import Conflict, InvalidBudget, InvalidId, InvalidName, NotFound
from engine.ledger.catalog import Catalog
from engine.ledger.models import CatalogChange

UNIT = 1_000_000
OFFICE = Schedule.parse({"days": ["mon"], "start_time": "09:00", "end_time": "17:00"})


def brand_of(catalog: Catalog, name: str = "Acme") -> int:
    return catalog.create_brand(name, 100 * UNIT, None, None, "ann").id


def trail(engine: Engine) -> list[tuple[str | None, ...]]:
    columns = (CatalogChange.actor, CatalogChange.field, CatalogChange.old, CatalogChange.new)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(CatalogChange.id))]


def test_a_new_brand_is_kept_as_given_at_version_one(catalog: Catalog) -> None:
    made = catalog.create_brand("  Acme ", 100 * UNIT, None, "crm:1", "ann")
    assert (made.name, made.daily_budget_micros, made.monthly_budget_micros) == ("Acme", 100 * UNIT, None)
    assert (made.external_id, made.version, made.published_version, made.archived) == ("crm:1", 1, None, False)
    assert catalog.brand(made.id) == made == catalog.brand_by_name("Acme")
    assert catalog.brands() == [made]


def test_a_budget_change_is_written_down_in_units_with_who_did_it(catalog: Catalog, engine: Engine) -> None:
    brand = brand_of(catalog)
    after = catalog.update_brand(brand, "bob", daily_budget_micros=12_500_000, monthly_budget_micros=9 * UNIT)
    assert (after.version, after.daily_budget_micros, after.monthly_budget_micros) == (2, 12_500_000, 9 * UNIT)
    assert trail(engine) == [
        ("ann", "created", None, "Acme"),
        ("bob", "daily_budget", "100.000000", "12.500000"),
        ("bob", "monthly_budget", None, "9.000000"),
    ]


def test_a_change_to_the_same_value_is_no_change(catalog: Catalog, engine: Engine) -> None:
    brand = brand_of(catalog)
    assert catalog.update_brand(brand, "bob", name="Acme", daily_budget_micros=100 * UNIT).version == 1
    assert len(trail(engine)) == 1


def test_a_budget_of_none_takes_the_limit_away_and_zero_allows_nothing(catalog: Catalog) -> None:
    brand = brand_of(catalog)
    assert catalog.update_brand(brand, "bob", daily_budget_micros=None).daily_budget_micros is None
    assert catalog.update_brand(brand, "bob", daily_budget_micros=0).daily_budget_micros == 0


@pytest.mark.parametrize("budget", [-1, 9 * 10**15 + 1, True, 1.5])
def test_a_budget_out_of_range_is_refused_with_its_field(catalog: Catalog, budget: int) -> None:
    with pytest.raises(InvalidBudget) as error:
        catalog.create_brand("Acme", None, budget, None, "ann")
    assert error.value.field == "monthly_budget"
    assert catalog.brands() == []


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0b", "a\x7fb", "a\u2028b", "\ud800", "x" * 201, None])
def test_a_name_that_is_blank_too_long_or_unprintable_is_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(InvalidName) as error:
        catalog.create_brand(name, None, None, None, "ann")
    assert error.value.field == "name"
    assert "\n" not in str(error.value)
    brand = brand_of(catalog)
    with pytest.raises(InvalidName):
        catalog.create_campaign(brand, name, None, None, "ann")


def test_a_name_of_two_hundred_letters_of_any_script_is_kept(catalog: Catalog) -> None:
    name = "é" * 100 + "中" * 100
    assert catalog.create_brand(name, None, None, None, "ann").name == name


def test_a_taken_name_or_external_id_is_refused_naming_the_field(catalog: Catalog) -> None:
    catalog.create_brand("Acme", None, None, "x1", "ann")
    other = catalog.create_brand("Bolt", None, None, None, "ann").id
    with pytest.raises(Conflict, match="name 'Acme' is taken") as error:
        catalog.create_brand("Acme", None, None, None, "ann")
    assert error.value.field == "name"
    with pytest.raises(Conflict, match="'x1' is taken") as error:
        catalog.update_brand(other, "ann", external_id="x1")
    assert error.value.field == "external_id"
    assert catalog.brand(other).version == 1


@pytest.mark.parametrize("external_id", ["", "a b", "a\n", "x" * 65, "é"])
def test_an_external_id_outside_its_grammar_is_refused(catalog: Catalog, external_id: str) -> None:
    with pytest.raises(InvalidId) as error:
        catalog.create_brand("Acme", None, None, external_id, "ann")
    assert error.value.field == "external_id"


def test_a_change_made_on_a_stale_page_is_refused(catalog: Catalog) -> None:
    brand = brand_of(catalog)
    catalog.update_brand(brand, "bob", daily_budget_micros=5 * UNIT, expected_version=1)
    with pytest.raises(Conflict, match="at version 2, not 1"):
        catalog.update_brand(brand, "ann", daily_budget_micros=7 * UNIT, expected_version=1)
    assert catalog.brand(brand).daily_budget_micros == 5 * UNIT


def test_a_campaign_id_carries_its_brand_and_ordinals_have_no_gaps(catalog: Catalog) -> None:
    brand = brand_of(catalog)
    first = catalog.create_campaign(brand, "Spring", OFFICE, None, "ann")
    with pytest.raises(Conflict):
        catalog.create_campaign(brand, "Spring", None, None, "ann")
    second = catalog.create_campaign(brand, "Summer", None, "c2", "ann")
    assert (first.id, second.id) == (brand * 65536 + 1, brand * 65536 + 2)
    assert (first.enabled, first.status, first.reasons, first.schedule) == (True, "paused", (), OFFICE)
    assert catalog.campaigns(brand) == [first, second]
    assert catalog.brand(brand).version == 1


def test_two_brands_may_use_the_same_campaign_name(catalog: Catalog) -> None:
    one, two = brand_of(catalog, "One"), brand_of(catalog, "Two")
    catalog.create_campaign(one, "Spring", None, None, "ann")
    assert catalog.create_campaign(two, "Spring", None, None, "ann").brand_id == two


def test_many_campaigns_are_made_all_or_none(catalog: Catalog) -> None:
    brand = brand_of(catalog)
    made = catalog.create_campaigns(brand, [f"c{i:03d}" for i in range(500)], "ann")
    assert [c.name for c in made] == [f"c{i:03d}" for i in range(500)]
    with pytest.raises(Conflict, match="'c007' is taken"):
        catalog.create_campaigns(brand, ["new", "c007"], "ann")
    with pytest.raises(Conflict, match="'new' is given twice"):
        catalog.create_campaigns(brand, ["new", "new"], "ann")
    assert len(catalog.campaigns(brand)) == 500
    assert catalog.create_campaigns(brand, [], "ann") == []


def test_callers_racing_for_a_brand_get_ordinals_without_gap_or_double(catalog: Catalog) -> None:
    brand = brand_of(catalog)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda t: catalog.create_campaigns(brand, [f"{t}-{i}" for i in range(20)], "ann"), range(8)))
    assert [c.ordinal for c in catalog.campaigns(brand)] == list(range(1, 161))


def test_a_brand_that_gave_out_its_last_ordinal_says_so(catalog: Catalog, engine: Engine) -> None:
    brand = brand_of(catalog)
    with engine.begin() as connection:
        connection.execute(text("UPDATE brand SET next_ordinal = 65535"))
    with pytest.raises(Conflict, match="room for 1 more campaigns, not 2"):
        catalog.create_campaigns(brand, ["a", "b"], "ann")
    assert catalog.create_campaign(brand, "a", None, None, "ann").ordinal == 65535
    with pytest.raises(Conflict, match="room for 0 more"):
        catalog.create_campaign(brand, "b", None, None, "ann")


def test_a_persons_pause_is_one_change_however_often_it_is_pressed(catalog: Catalog, engine: Engine) -> None:
    campaign = catalog.create_campaign(brand_of(catalog), "Spring", None, None, "ann")
    paused = catalog.pause_campaign(campaign.id, "bob")
    assert (paused.enabled, paused.version) == (False, 2)
    assert paused.switched_at > campaign.switched_at
    assert catalog.pause_campaign(campaign.id, "bob") == paused
    assert catalog.resume_campaign(campaign.id, "ann").version == 3
    assert trail(engine)[2:] == [("bob", "enabled", "true", "false"), ("ann", "enabled", "false", "true")]


def test_a_campaigns_schedule_and_name_change_with_a_trail(catalog: Catalog, engine: Engine) -> None:
    campaign = catalog.create_campaign(brand_of(catalog), "Spring", None, None, "ann")
    after = catalog.update_campaign(campaign.id, "bob", name="Autumn", schedule=OFFICE, external_id="c1")
    assert (after.name, after.schedule, after.external_id, after.version) == ("Autumn", OFFICE, "c1", 2)
    assert [row[1] for row in trail(engine)[2:]] == ["name", "schedule", "external_id"]
    assert trail(engine)[3][2:] == (None, '{"days": ["mon"], "start_time": "09:00", "end_time": "17:00"}')
    assert catalog.update_campaign(campaign.id, "bob", schedule=None).schedule.always
    with pytest.raises(Conflict, match="at version 3, not 1"):
        catalog.update_campaign(campaign.id, "ann", name="Winter", expected_version=1)


def test_an_archived_brand_archives_its_campaigns_without_touching_their_rows(catalog: Catalog) -> None:
    brand = brand_of(catalog)
    campaign = catalog.create_campaign(brand, "Spring", None, None, "ann")
    gone = catalog.archive_brand(brand, "ann")
    assert (gone.archived, gone.version) == (True, 2)
    assert catalog.archive_brand(brand, "ann") == gone
    seen = catalog.campaign(campaign.id)
    assert (seen.version, seen.archived_at, seen.archived, seen.archived_since) == (1, None, True, gone.archived_at)
    assert catalog.brands() == []
    assert catalog.campaigns() == []
    assert catalog.brands(include_archived=True) == [gone]
    assert catalog.campaigns(brand, include_archived=True) == [seen]


def test_what_is_archived_changes_no_more(catalog: Catalog) -> None:
    brand = brand_of(catalog)
    campaign = catalog.create_campaign(brand, "Spring", None, None, "ann").id
    other = catalog.create_campaign(brand, "Summer", None, None, "ann").id
    archived = catalog.archive_campaign(campaign, "ann")
    assert (archived.archived, archived.version) == (True, 2)
    assert catalog.archive_campaign(campaign, "ann") == archived
    for call in (catalog.pause_campaign, catalog.resume_campaign):
        with pytest.raises(
            Conflict, match=r"is archived since .* bring it back with `campaign unarchive .* new campaign"
        ):
            call(campaign, "ann")
    with pytest.raises(Conflict, match="is archived"):
        catalog.update_campaign(campaign, "ann", schedule=OFFICE)
    catalog.archive_brand(brand, "ann")
    with pytest.raises(Conflict, match="is archived with its brand"):
        catalog.pause_campaign(other, "ann")
    with pytest.raises(Conflict, match="is archived"):
        catalog.update_brand(brand, "ann", daily_budget_micros=UNIT)
    with pytest.raises(Conflict, match="is archived"):
        catalog.create_campaign(brand, "Autumn", None, None, "ann")


def test_people_name_rows_by_number_or_external_id(catalog: Catalog) -> None:
    brand = catalog.create_brand("Acme", None, None, "crm:1", "ann").id
    campaign = catalog.create_campaign(brand, "Spring", None, "crm:1", "ann").id
    assert catalog.resolve_brand(str(brand)) == catalog.resolve_brand("ext:crm:1") == brand
    assert catalog.resolve_campaign(str(campaign)) == catalog.resolve_campaign("ext:crm:1") == campaign
    for written in ("ext:other", "999"):
        with pytest.raises(NotFound, match=r"there is no brand .* `brand list`"):
            catalog.resolve_brand(written)
    for written in ("", "Acme", "-1", "1.0", "ext:", "ext:a b", "٣", "9" * 30, "0"):
        with pytest.raises(InvalidId):
            catalog.resolve_brand(written)


def test_a_row_that_is_not_there_is_not_found(catalog: Catalog) -> None:
    for call in (
        lambda: catalog.brand(7),
        lambda: catalog.campaign(7 * 65536 + 1),
        lambda: catalog.update_brand(7, "ann", name="x"),
        lambda: catalog.pause_campaign(7 * 65536 + 1, "ann"),
        lambda: catalog.create_campaign(7, "x", None, None, "ann"),
    ):
        with pytest.raises(NotFound):
            call()


def test_a_change_is_unpublished_until_its_own_version_is_marked(catalog: Catalog) -> None:
    one, two = brand_of(catalog, "One"), brand_of(catalog, "Two")
    campaign = catalog.create_campaign(one, "Spring", None, None, "ann").id
    assert catalog.unpublished() == [one, two]
    assert catalog.unpublished(1) == [one]
    assert catalog.unpublished(after=one) == [two]
    catalog.mark_published({one: 1}, {})
    assert catalog.unpublished() == [one, two]
    catalog.mark_published({one: 1}, {campaign: 1})
    catalog.mark_published({two: 1}, {})
    assert catalog.unpublished() == []
    catalog.pause_campaign(campaign, "ann")
    catalog.mark_published({one: 1}, {campaign: 1})
    assert catalog.unpublished() == [one]
    catalog.mark_published({}, {campaign: 2})
    catalog.mark_published({}, {campaign: 1})
    assert catalog.unpublished() == []
    assert catalog.campaign(campaign).published_version == 2


def test_a_shards_brands_are_those_whose_id_says_so(catalog: Catalog) -> None:
    brands = [brand_of(catalog, f"b{i}") for i in range(66)]
    campaign = catalog.create_campaign(brands[65], "x", None, None, "ann")
    shard = brands[65] % 64
    assert [b.id for b in catalog.brands(shards=[shard])] == [b for b in brands if b % 64 == shard]
    assert [c.id for c in catalog.campaigns(shards=[shard])] == [campaign.id]


def test_the_installation_has_a_name_of_its_own(catalog: Catalog) -> None:
    assert catalog.instance_uuid() == catalog.instance_uuid()
    assert len(catalog.instance_uuid()) == 36
