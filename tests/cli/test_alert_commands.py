"""Alerts and webhooks on the command line: listed, acknowledged, muted; a secret printed once."""

from __future__ import annotations

import pytest

from engine.ledger import webhooks
from engine.wiring import System
from tests.cli.conftest import Be
from tests.flows.test_alerts import brand, decide, spend


def test_an_open_alert_is_listed_acknowledged_and_muted(be: Be, ready: System) -> None:
    id_, campaign = brand(ready, "Aurora")
    spend(ready, campaign, "96")
    decide(ready)
    (found,) = be("alert", "list", "--brand", str(id_), "--json").document
    assert (found["level"], found["spent"], found["budget"], found["brand"]) == (
        95,
        "96.000000",
        "100.000000",
        "Aurora",
    )
    assert "95 % reached" in be("alert", "list").out
    assert be("alert", "ack", str(found["id"]), "--json").document["acknowledged_by"].startswith("cli:")
    assert be("alert", "mute", str(found["id"]), "--hours", "24", "--json").document["muted_until"] is not None
    assert "not muted any more" in be("alert", "mute", str(found["id"]), "--hours", "0").out
    assert [e["level"] for e in be("alert", "list", "--all", "--json").document] == [95, 80, 50]
    refused = be("alert", "ack", "77")
    assert refused.status == 1 and refused.complaint.startswith("there is no alert 77")
    assert be("alert", "mute", str(found["id"]), "--hours", "5").complaint.startswith(
        "hours 5 is none of 1, 8, 24, 168"
    )


def test_the_secret_of_a_webhook_is_printed_when_it_is_made_and_never_listed(be: Be, ready: System) -> None:
    made = be("webhook", "create", "Duty", "https://hooks.example.com/x", "--json").document
    other = be("webhook", "rotate", str(made["id"]), "--json").document
    assert made["secret"].startswith("whsec_") and other["secret"] != made["secret"]
    for shown in (be("webhook", "list"), be("webhook", "list", "--json")):
        assert "whsec_" not in shown.out and "https://hooks.example.com/x" in shown.out
    tested = be("webhook", "test", str(made["id"]), "--json").document
    assert tested["webhook"] == made["id"] and tested["message"].startswith("test-1-")
    assert be("webhook", "disable", str(made["id"]), "--json").document["disabled"]
    assert be("webhook", "test", str(made["id"])).complaint.startswith(f"webhook {made['id']} is disabled")
    assert [line.state for line in webhooks.log(ready.db, 9)] == ["failed"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "Duty", "ftp://x.example"], "url 'ftp://x.example' is no address"),
        (["create", "Duty", "https://x.example", "--least", "all"], "least 'all' is none of note, warning, critical"),
        (["rotate", "77"], "there is no webhook 77"),
    ],
)
def test_what_is_wrong_makes_no_webhook_and_gets_one_line(be: Be, ready: System, words: list[str], said: str) -> None:
    assert be("webhook", *words).complaint.startswith(said)
    assert webhooks.all_webhooks(ready.db) == []
