"""A page that runs while its database is migrated shows what it can, and changes nothing."""

from __future__ import annotations

from sqlalchemy import text

from engine.ledger import revision
from engine.wiring import System
from tests.web.conftest import Visitor


def test_a_change_is_refused_on_a_database_of_another_release_and_says_which(ready: System, visitor: Visitor) -> None:
    assert visitor.post("/brands/new", name="Before", daily_budget="10", monthly_budget="100")[0] == 200
    with ready.db.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    status, page = visitor.post("/brands/new", name="Late", daily_budget="10", monthly_budget="100")
    assert status == 503
    assert "another release" in page and "revision 9999" in page and revision.expected() in page
    assert [brand.name for brand in ready.catalog.brands()] == ["Before"]
    assert visitor.get("/status")[0] == 200
