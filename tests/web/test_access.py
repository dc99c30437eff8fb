"""One table says who may open what: it has a row for each address of the app, and each row keeps to the brands that a person sees."""

from __future__ import annotations

from typing import Final

import pytest
from flask import Flask
from werkzeug.exceptions import Forbidden
from werkzeug.routing import Rule

from engine.domain.people import ROLES, Person, check_role
from engine.errors import InvalidInput, NotFound
from web import access

WITHOUT_A_LOGIN: Final = {
    "static",
    "health.healthz",
    "health.readyz",
    "metrics.metrics",
    "login.login",
    "login.logout",
    "oidc.begin",
    "oidc.back",
}


def rules(app: Flask) -> list[Rule]:
    return list(app.url_map.iter_rules())


def test_every_address_has_a_row_in_the_table_and_every_row_an_address(app: Flask) -> None:
    assert {rule.endpoint for rule in rules(app)} == set(access.TABLE)


def test_nothing_is_open_without_a_login_but_health_assets_and_the_login_itself() -> None:
    assert {endpoint for endpoint, rule in access.TABLE.items() if rule.read is None} == WITHOUT_A_LOGIN
    assert all((rule.read is None) == (rule.change is None) for rule in access.TABLE.values())


def test_an_address_with_a_brand_or_campaign_is_held_to_the_brands_that_a_person_sees(app: Flask) -> None:
    for rule in rules(app):
        row = access.TABLE[rule.endpoint]
        for entity in ("brand", "campaign"):
            assert (f"{entity}_id" in rule.arguments) == (row.scope == entity), rule.rule


def test_who_may_change_may_read_and_nothing_but_oneself_is_changed_by_less_than_an_operator() -> None:
    for endpoint, rule in access.TABLE.items():
        if rule.read is not None and rule.change is not None and not endpoint.startswith("me."):
            assert ROLES.index(rule.change) >= max(ROLES.index(rule.read), ROLES.index("operator")), endpoint


def test_an_address_that_is_new_is_for_admins_until_it_has_a_row() -> None:
    assert access.rule_of("reports.all") == access.ADMIN
    with pytest.raises(Forbidden, match="needs the role admin"):
        access.check(Person("Mia", "operator"), "reports.all", "GET", {})


def test_a_role_may_do_what_lower_ones_may_and_no_more() -> None:
    for endpoint, rule in access.TABLE.items():
        for method, least in (("GET", rule.read), ("POST", rule.change)):
            for role in ROLES:
                try:
                    access.check(Person("Mia", role), endpoint, method, {"brand_id": 1, "campaign_id": 65537})
                    came_in = True
                except Forbidden:
                    came_in = False
                assert came_in == (least is None or ROLES.index(role) >= ROLES.index(least)), (endpoint, method, role)


def test_a_brand_out_of_sight_is_answered_like_one_that_does_not_exist() -> None:
    mia = Person("Mia", "operator", frozenset({1}))
    access.check(mia, "catalog.edit_brand", "POST", {"brand_id": 1})
    access.check(mia, "catalog.pause", "POST", {"campaign_id": 65537})
    for endpoint, args in (
        ("catalog.edit_brand", {"brand_id": 2}),
        ("catalog.edit_brand", {"brand_id": 10**18}),
        ("catalog.pause", {"campaign_id": 2 * 65536 + 1}),
        ("spending.spending", {"brand_id": 2}),
        ("flights.edit", {"campaign_id": 10**18, "no": 1}),
    ):
        with pytest.raises(NotFound, match=r"there is no (brand|campaign) \d+: "):
            access.check(mia, endpoint, "GET", args)
    with pytest.raises(Forbidden, match="sees every brand"):
        access.check(mia, "catalog.new_brand", "POST", {})


@pytest.mark.parametrize("role", ["", "Admin", "root", None, 1])
def test_a_role_that_is_none_is_refused_by_name(role: object) -> None:
    with pytest.raises(InvalidInput, match="is none of viewer, operator, admin"):
        check_role(role)
