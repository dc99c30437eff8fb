"""A brand's time zone on the command line: what a change does is said before it happens, and an unknown name is refused by its value."""

from __future__ import annotations

import pytest

from engine.wiring import System
from tests.cli.conftest import Be

pytestmark = pytest.mark.usefixtures("ready")


def test_a_brand_is_given_a_zone_and_another_one_is_told_before_it_begins(be: Be, ready: System) -> None:
    made = be("brand", "create", "Acme", "--daily", "10", "--zone", "Europe/Berlin", "--json")
    assert (made.status, made.document["time_zone"]) == (0, "Europe/Berlin")
    assert be("brand", "create", "Plain", "--json").document["time_zone"] == "UTC"
    assert "Europe/Berlin" in be("brand", "show", "1").out
    changed = be("brand", "update", "1", "--zone", "America/New_York", "--json")
    assert changed.status == 0 and changed.document["time_zone"] == "America/New_York"
    assert "America/New_York takes effect on" in changed.err and "has 30 hours" in changed.err
    shown = be("brand", "show", "1").out
    assert "new zone" in shown and "has 30 hours" in shown
    back = be("brand", "update", "1", "--zone", "Europe/Berlin")
    assert "Europe/Berlin stays" in back.err
    assert len(ready.catalog.brand(1).zones.steps) == 1
    assert be("brand", "update", "1", "--zone", "UTC", "--json").document["time_zone"] == "UTC"


@pytest.mark.parametrize("command", [("brand", "create", "Acme"), ("brand", "update", "1")])
def test_a_name_that_is_no_zone_is_refused_in_one_line(be: Be, ready: System, command: tuple[str, ...]) -> None:
    be("brand", "create", "First")
    refused = be(*command, "--zone", "Berlin")
    assert refused.status == 2
    assert refused.complaint == "time_zone 'Berlin' is no time zone: use a name of the IANA list such as Europe/Berlin"
    assert [brand.time_zone for brand in ready.catalog.brands()] == [None]
