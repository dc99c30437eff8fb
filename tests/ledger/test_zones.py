"""Time zones in the catalog: another zone begins at the brand's next midnight, with a row of the trail, and its text stays right for months."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from engine.domain.periods import DAY_MS, ms_of
from engine.domain.zones import RENEW_MS, InvalidZone
from engine.errors import Conflict
from engine.ledger import reports, zones
from engine.ledger.catalog import Catalog

NOW = ms_of(datetime(2026, 11, 29, 10, tzinfo=UTC))
MIDNIGHT_IN_BERLIN = ms_of(datetime(2026, 11, 29, 23, tzinfo=UTC))


def brand(catalog: Catalog, zone: str | None = "Europe/Berlin") -> int:
    return catalog.create_brand("Aurora", None, None, None, "anna", time_zone=zone, at_ms=NOW).id


def test_a_brand_begins_in_its_zone_and_the_trail_says_so(catalog: Catalog, engine: Engine) -> None:
    made = catalog.brand(brand(catalog))
    assert (made.time_zone, made.zones.steps) == ("Europe/Berlin", ((0, "Europe/Berlin"),))
    assert made.zone.startswith("3600000,1806")
    assert "time_zone Europe/Berlin" in str(reports.catalog_changes(engine)[0].note)
    plain = catalog.create_brand("Plain", None, None, None, "anna", time_zone="UTC", at_ms=NOW)
    assert (plain.time_zone, plain.zones.stored, plain.zone) == (None, [], "")


def test_another_zone_begins_at_the_next_midnight_and_the_way_back_takes_it_off(
    catalog: Catalog, engine: Engine
) -> None:
    id_ = brand(catalog)
    changed = catalog.update_brand(id_, "ben", time_zone="America/New_York", at_ms=NOW)
    assert changed.zones.steps == ((0, "Europe/Berlin"), (MIDNIGHT_IN_BERLIN, "America/New_York"))
    assert (changed.version, changed.zones.pending(NOW)) == (2, True)
    assert changed.zone.startswith(f"3600000,{MIDNIGHT_IN_BERLIN},-18000000,")
    line = reports.catalog_changes(engine)[0]
    assert (line.field, line.old, line.new, line.actor) == ("time_zone", "Europe/Berlin", "America/New_York", "ben")
    assert catalog.update_brand(id_, "ben", time_zone="America/New_York", at_ms=NOW).version == 2
    back = catalog.update_brand(id_, "ben", time_zone="Europe/Berlin", at_ms=NOW)
    assert back.zones.steps == ((0, "Europe/Berlin"),)
    none = catalog.update_brand(id_, "ben", time_zone="UTC", at_ms=NOW)
    assert (none.time_zone, none.zones.name) == (None, None)


def test_a_zone_that_is_none_is_refused_and_nothing_is_written(catalog: Catalog) -> None:
    with pytest.raises(InvalidZone, match="'Berlin' is no time zone: use a name of the IANA list such as Europe/Berl"):
        brand(catalog, "Berlin")
    assert catalog.brands() == []
    id_ = brand(catalog)
    with pytest.raises(InvalidZone, match="'' is no time zone"):
        catalog.update_brand(id_, "ben", time_zone="", name="Other")
    assert catalog.brand(id_).name == "Aurora"
    catalog.archive_brand(id_, "ben")
    with pytest.raises(Conflict, match="is archived"):
        catalog.update_brand(id_, "ben", time_zone="Asia/Kolkata")


def test_a_text_is_written_anew_while_it_is_still_right_for_months_and_only_then(catalog: Catalog) -> None:
    id_ = brand(catalog)
    brand_of_kolkata = catalog.create_brand("K", None, None, None, "anna", time_zone="Asia/Kolkata", at_ms=NOW)
    assert catalog.zones.renew(NOW + 30 * DAY_MS) == []
    later = NOW + 330 * DAY_MS
    assert catalog.zones.renew(later) == [id_]
    renewed = catalog.brand(id_)
    assert renewed.version == 2 and catalog.brand(brand_of_kolkata.id).version == 1
    wrong_ms = renewed.zones.right_until_ms(renewed.zone, later)
    assert wrong_ms is not None and wrong_ms > later + RENEW_MS
    assert catalog.zones.renew(later) == []


def test_a_zone_that_came_too_late_is_moved_with_the_reason(catalog: Catalog, engine: Engine) -> None:
    id_ = brand(catalog)
    catalog.update_brand(id_, "ben", time_zone="America/New_York", at_ms=NOW)
    catalog.zones.move(id_, MIDNIGHT_IN_BERLIN + DAY_MS, NOW + DAY_MS)
    moved = catalog.brand(id_)
    assert moved.zones.steps[-1] == (MIDNIGHT_IN_BERLIN + DAY_MS, "America/New_York")
    assert moved.zone.startswith(f"3600000,{MIDNIGHT_IN_BERLIN + DAY_MS},-18000000,")
    assert "takes effect on 1 Dec 2026 00:00 Europe/Berlin" in str(reports.catalog_changes(engine)[0].note)


def test_the_law_takes_rows_of_a_day_beside_that_of_utc_and_none_farther(catalog: Catalog, engine: Engine) -> None:
    id_ = brand(catalog)
    insert = text(
        "INSERT INTO spend_log (recorded_at, day, brand_id, campaign_id, amount_micros, request_id, kind, shard, generation, n, position, occurred_at)"
        " VALUES ('2026-11-29T23:30Z', CAST(:day AS date), :brand, :campaign, 1, 'r', 'spend', :shard, 1, 1, 0, :occurred)"
    )
    given = {"brand": id_, "campaign": id_ * 65536 + 1, "shard": id_ % 64, "occurred": None}
    with engine.begin() as connection:
        for on in ("2026-11-27", "2026-11-28", "2026-11-29", "2026-11-30", "2026-12-01"):
            connection.execute(
                text(f"CREATE TABLE log_{on[8:]} (LIKE spend_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
            )
            connection.execute(
                text(
                    f"ALTER TABLE spend_log ATTACH PARTITION log_{on[8:]} FOR VALUES FROM ('{on}') TO (date '{on}' + 1)"
                )
            )
    with engine.begin() as connection:
        for on in ("2026-11-28", "2026-11-29", "2026-11-30"):
            connection.execute(insert, {**given, "day": on})
        connection.execute(insert, {**given, "day": "2026-11-27", "occurred": "2026-11-28T23:00Z"})
    for on, occurred in (("2026-12-01", None), ("2026-11-27", None), ("2026-11-27", "2026-11-29T00:30Z")):
        with pytest.raises(Exception, match="ck_spend_log_kind"), engine.begin() as connection:
            connection.execute(insert, {**given, "day": on, "occurred": occurred})


def test_brands_without_a_zone_are_not_among_the_zoned(catalog: Catalog, engine: Engine) -> None:
    brand(catalog, None)
    id_ = catalog.create_brand("B", None, None, None, "anna", time_zone="Asia/Kolkata", at_ms=NOW).id
    assert [row.id for row in catalog.zones.zoned()] == [id_]
    catalog.update_brand(id_, "ben", time_zone="UTC", at_ms=NOW)
    with engine.connect() as connection:
        assert [row.id for row in zones.zoned(connection, [id_])] == [id_]
