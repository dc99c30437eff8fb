"""What an operations person does with brands and campaigns on the command line, and what scripts read from it."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from engine.wiring import System
from tests.cli.conftest import Be

pytestmark = pytest.mark.usefixtures("ready")

BRAND_FIELDS = [
    "id",
    "external_id",
    "name",
    "daily_budget",
    "monthly_budget",
    *("rollover_cap", "carried", "daily_spend", "monthly_spend", "daily_remaining", "monthly_remaining"),
    "time_zone",
    "pacing",
    "catch_up",
    "due_now",
    "pass_rate",
    "active_campaigns",
    "campaigns",
]
CAMPAIGN_FIELDS = [
    "id",
    "external_id",
    "brand_id",
    "name",
    "status",
    "reasons",
    "schedule",
    "daily_spend",
    "monthly_spend",
    "daily_budget",
    "monthly_budget",
    "lifetime_budget",
    "pacing",
    "catch_up",
    "due_now",
    "pass_rate",
    "lifetime_spend",
    "flight",
    "rate_limit",
    "breaker",
]


def test_a_new_brand_is_answered_as_the_contract_shapes_it(be: Be) -> None:
    made = be("brand", "create", "Acme", "--daily", "100", "--monthly", "2000.5", "--external-id", "acme-1", "--json")
    assert (made.status, made.err) == (0, "")
    assert list(made.document) == BRAND_FIELDS
    assert made.document == {
        "id": 1,
        "external_id": "acme-1",
        "name": "Acme",
        "daily_budget": "100.000000",
        "monthly_budget": "2000.500000",
        "rollover_cap": None,
        "carried": "0.000000",
        "daily_spend": "0.000000",
        "monthly_spend": "0.000000",
        "daily_remaining": "100.000000",
        "monthly_remaining": "2000.500000",
        "time_zone": "UTC",
        "pacing": "asap",
        "catch_up": "300",
        "due_now": None,
        "pass_rate": 1.0,
        "active_campaigns": 0,
        "campaigns": [],
    }


def test_no_limit_is_null_and_zero_is_nothing_allowed(be: Be) -> None:
    made = be("--json", "brand", "create", "Free", "--daily", "none", "--monthly", "0").document
    assert (made["daily_budget"], made["daily_remaining"]) == (None, None)
    assert (made["monthly_budget"], made["monthly_remaining"]) == ("0.000000", "0.000000")


def test_a_new_campaign_is_answered_as_the_contract_shapes_it(be: Be) -> None:
    be("brand", "create", "Acme")
    hours = {"days": ["mon", "fri"], "start_time": "09:00", "end_time": "24:00"}
    words = ("campaign", "create", "1", "Spring", "--schedule", json.dumps(hours), "--external-id", "sp/1", "--json")
    made = be(*words).document
    assert list(made) == CAMPAIGN_FIELDS
    assert (made["id"], made["brand_id"], made["external_id"], made["name"]) == (65_537, 1, "sp/1", "Spring")
    assert made["schedule"] == hours
    assert made["status"] == ("paused" if made["reasons"] else "active")
    assert (made["daily_spend"], made["monthly_spend"]) == ("0.000000", "0.000000")


def test_a_campaign_gets_budgets_of_its_own_and_none_lifts_them(be: Be) -> None:
    be("brand", "create", "Acme")
    words = ("--daily", "5", "--monthly", "none", "--lifetime", "7.5")
    made = be("campaign", "create", "1", "Spring", *words, "--json").document
    assert (made["daily_budget"], made["monthly_budget"], made["lifetime_budget"]) == ("5.000000", None, "7.500000")
    assert made["lifetime_spend"] == "0.000000"
    spent = be("spend", "65537", "5", "--try", "--json").document
    assert (spent["outcome"], spent["reasons"]) == ("accepted", ["campaign_daily_budget"])
    refused = be("spend", "65537", "3", "--try", "--json").document
    assert refused["reasons"] == ["campaign_daily_budget", "flight_budget"]
    shown = be("campaign", "show", "65537").out
    assert "own daily budget" in shown and "5.000000 of 7.500000 spent, 2.500000 left" in shown
    lifted = be("campaign", "update", "65537", "--daily", "none", "--json").document
    assert (lifted["daily_budget"], lifted["lifetime_budget"], lifted["reasons"]) == (None, "7.500000", [])
    wrong = be("campaign", "update", "65537", "--lifetime", "")
    assert (wrong.status, "lifetime_budget is empty" in wrong.complaint) == (2, True)
    assert be("campaign", "update", "65537", "--monthly", "-1").status == 2
    assert be("campaign", "show", "65537", "--json").document["lifetime_budget"] == "7.500000"


def test_a_campaign_runs_once_it_is_created_and_its_brand_counts_it(be: Be) -> None:
    be("brand", "create", "Acme", "--daily", "5")
    campaign = be("campaign", "create", "1", "Spring", "--json").document
    assert (campaign["status"], campaign["reasons"], campaign["schedule"]) == ("active", [], None)
    brand = be("brand", "show", "1", "--json").document
    assert brand.pop("forecast") is None
    assert brand["active_campaigns"] == 1
    assert brand["campaigns"] == [campaign]
    assert be("brand", "list", "--json").document == [brand]


def test_money_spent_shows_in_every_view(be: Be) -> None:
    be("brand", "create", "Acme", "--daily", "5")
    be("campaign", "create", "1", "Spring")
    assert be("spend", "65537", "7.25").status == 0
    brand = be("brand", "show", "1", "--json").document
    assert (brand["daily_spend"], brand["daily_remaining"], brand["active_campaigns"]) == ("7.250000", "-2.250000", 0)
    campaign = be("campaign", "show", "65537", "--json").document
    assert (campaign["daily_spend"], campaign["monthly_spend"]) == ("7.250000", "7.250000")
    assert campaign["reasons"] == ["daily_budget"]
    table = be("brand", "list").out
    assert "7.250000" in table
    assert "5.000000" in table
    assert "paused: daily budget used up, again at 00:00 UTC" in be("campaign", "list").out


def test_a_daily_budget_above_the_months_is_kept_and_gets_a_word_beside_the_answer(be: Be) -> None:
    made = be("brand", "create", "Acme", "--daily", "100", "--monthly", "50")
    assert (made.status, "the daily budget is above the monthly one" in made.err) == (0, True)
    assert "above the monthly" not in be("brand", "update", "1", "--daily", "50").err
    assert "above the monthly" in be("brand", "update", "1", "--daily", "50.000001").err


def test_an_id_may_be_the_persons_own(be: Be) -> None:
    be("brand", "create", "Acme", "--external-id", "acme")
    assert be("campaign", "create", "ext:acme", "Spring", "--external-id", "spring", "--json").document["brand_id"] == 1
    assert be("brand", "show", "ext:acme", "--json").document["id"] == 1
    assert be("campaign", "pause", "ext:spring", "--json").document["reasons"] == ["manual"]
    assert be("campaign", "list", "--brand", "ext:acme", "--json").document[0]["id"] == 65_537
    assert be("spend", "ext:spring", "1", "--json").document["outcome"] == "recorded"
    assert be("brand", "archive", "ext:nobody").status == 1


def test_an_update_changes_what_is_given_and_nothing_else(be: Be) -> None:
    be("brand", "create", "Acme", "--daily", "10", "--monthly", "100", "--external-id", "acme")
    changed = be(
        "brand", "update", "1", "--daily", "20.5", "--monthly", "none", "--name", "Acme Ltd", "--json"
    ).document
    assert (changed["name"], changed["daily_budget"], changed["monthly_budget"]) == ("Acme Ltd", "20.500000", None)
    assert changed["external_id"] == "acme"
    assert be("brand", "update", "1", "--external-id", "none", "--json").document["external_id"] is None
    be("campaign", "create", "1", "Spring")
    hours = {"start_time": "00:00", "end_time": "00:01"}
    update = be("campaign", "update", "65537", "--name", "Summer", "--schedule", json.dumps(hours), "--json").document
    assert (update["name"], update["schedule"]) == ("Summer", hours)
    for always in ("always", "none", "{}", "[]", "null"):
        be("campaign", "update", "65537", "--schedule", json.dumps(hours))
        assert be("campaign", "update", "65537", "--schedule", always, "--json").document["schedule"] is None


UNSET = [
    ("brand", "update", "1", "--daily", ""),
    ("brand", "update", "1", "--daily", "  "),
    ("brand", "update", "1", "--monthly", ""),
    ("brand", "update", "1", "--name", ""),
    ("brand", "update", "1", "--external-id", ""),
    ("brand", "update", "1", "--daily", "5", "--monthly", ""),
    ("brand", "create", "Other", "--daily", ""),
    ("brand", "create", "Other", "--monthly", ""),
    ("brand", "create", "Other", "--external-id", ""),
    ("campaign", "update", "65537", "--schedule", ""),
    ("campaign", "update", "65537", "--schedule", " "),
    ("campaign", "update", "65537", "--external-id", ""),
    ("campaign", "create", "1", "Other", "--schedule", ""),
    ("campaign", "create", "1", "Other", "--external-id", ""),
    ("campaign", "list", "--brand", ""),
    ("scripts", "export", ""),
    ("spend", "65537", "1", "--event-id", ""),
    ("spend", "65537", ""),
    ("replay", ""),
]


def test_a_variable_that_is_not_set_lifts_no_limit_and_changes_nothing(be: Be) -> None:
    be("brand", "create", "Acme", "--daily", "10", "--monthly", "100", "--external-id", "acme")
    be("campaign", "create", "1", "Spring", "--schedule", '{"days": ["mon"]}', "--external-id", "spring")
    before = be("brand", "list", "--json").document
    for words in UNSET:
        done = be(*words)
        assert (done.status, done.out) == (2, ""), words
        option = {"--daily": "daily_budget", "--monthly": "monthly_budget"}.get(words[-2], words[-2]).lstrip("-")
        if words[-2].startswith("--") and option != "brand":
            assert option.replace("-", "_") in done.complaint, words
        assert be("brand", "list", "--json").document == before, words


def test_archived_names_can_be_used_again_and_what_is_archived_comes_back(be: Be) -> None:
    be("brand", "create", "Acme", "--daily", "10")
    be("campaign", "create", "1", "Spring")
    be("campaign", "archive", "65537")
    assert be("campaign", "create", "1", "Spring", "--json").document["id"] == 65_538
    refused = be("campaign", "unarchive", "65537")
    assert (refused.status, refused.out) == (1, "")
    assert "'Spring' is taken by another campaign of this brand meanwhile: rename this one first" in refused.complaint
    be("campaign", "update", "65537", "--name", "Spring of old")
    assert be("campaign", "unarchive", "65537", "--json").document["status"] == "active"
    assert be("spend", "65537", "1", "--try", "--json").document["outcome"] == "accepted"
    be("brand", "archive", "1")
    assert be("brand", "create", "Acme", "--json").document["id"] == 2
    assert "'Acme' is taken by another brand meanwhile" in be("brand", "unarchive", "1").complaint
    be("brand", "archive", "2")
    back = be("brand", "unarchive", "1", "--json").document
    assert (back["name"], back["daily_budget"], back["daily_spend"]) == ("Acme", "10.000000", "1.000000")
    assert back["active_campaigns"] == 2
    assert be("spend", "65538", "9.5", "--try", "--json").document["outcome"] == "refused", "its budget is as it was"
    assert be("brand", "unarchive", "1").status == 0, "again is no change"
    be("persist")
    assert be("verify").status == 0
    assert be("brand", "unarchive", "99").status == 1


def test_each_return_from_the_archive_is_signed_and_a_status_of_its_own(be: Be, system: System) -> None:
    be("brand", "create", "Acme")
    be("campaign", "create", "1", "Spring")
    be("brand", "archive", "1")
    be("brand", "unarchive", "1")
    with system.db.connect() as conn:
        trail = conn.execute(
            text("SELECT field, old, new, actor FROM catalog_change WHERE entity = 'brand' ORDER BY id")
        )
        assert [tuple(row)[:3] for row in trail][1:] == [("archived", "false", "true"), ("archived", "true", "false")]
        rows = conn.execute(text("SELECT status, reasons FROM status_change ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [("active", []), ("paused", ["archived"]), ("active", [])]


def test_one_name_in_two_spellings_is_one_brand(be: Be) -> None:
    be("brand", "create", "Café")
    for again in ("Cafe\u0301", "Café\u00a0", " Café"):
        assert "taken" in be("brand", "create", again).complaint
    refused = be("brand", "create", "Caf\u200bé")
    assert refused.status == 2
    assert "holds ZERO WIDTH SPACE (U+200B)" in refused.complaint


def test_a_name_of_another_alphabet_is_shown_in_a_refusal_as_it_was_written(be: Be) -> None:
    be("brand", "create", "Böe 東京")
    assert "name 'Böe 東京' is taken" in be("brand", "create", "Böe 東京").complaint


def test_a_raised_budget_lets_campaigns_run_again_at_once(be: Be) -> None:
    be("brand", "create", "Acme", "--daily", "5")
    be("campaign", "create", "1", "Spring")
    be("spend", "65537", "5")
    assert be("spend", "65537", "1", "--try", "--json").document["outcome"] == "refused"
    assert be("brand", "update", "1", "--daily", "6", "--json").document["active_campaigns"] == 1
    assert be("spend", "65537", "1", "--try", "--json").document["outcome"] == "accepted"


def test_a_pause_holds_until_a_person_resumes(be: Be) -> None:
    be("brand", "create", "Acme")
    be("campaign", "create", "1", "Spring")
    assert be("campaign", "pause", "65537", "--json").document["reasons"] == ["manual"]
    assert be("check").status == 0
    assert be("campaign", "show", "65537", "--json").document["status"] == "paused"
    assert be("campaign", "resume", "65537", "--json").document["status"] == "active"


def test_archived_ones_leave_the_lists_and_stay_readable(be: Be) -> None:
    be("brand", "create", "Acme")
    be("campaign", "create", "1", "Spring")
    assert be("campaign", "archive", "65537", "--json").document["reasons"] == ["archived"]
    assert be("campaign", "list", "--json").document == []
    assert be("campaign", "list", "--archived", "--json").document[0]["id"] == 65_537
    assert be("brand", "archive", "1", "--json").document["id"] == 1
    assert be("brand", "list", "--json").document == []
    assert be("brand", "show", "1").status == 0


def test_every_change_says_who_made_it(be: Be, system: System) -> None:
    be("brand", "create", "Acme")
    with system.db.connect() as conn:
        actors = conn.execute(text("SELECT DISTINCT actor FROM catalog_change")).scalars().all()
    assert [actor.partition(":")[0] for actor in actors] == ["cli"]


def test_a_name_with_markup_or_other_alphabets_is_shown_as_it_is(be: Be) -> None:
    be("brand", "create", "[red]Böe 東京[/red]")
    assert "[red]Böe 東京[/red]" in be("brand", "list").out
    assert be("brand", "list", "--json").document[0]["name"] == "[red]Böe 東京[/red]"


def test_a_piped_table_has_no_colour_and_is_not_cut(be: Be) -> None:
    be("brand", "create", "B" * 200)
    table = be("brand", "list").out
    assert "\x1b" not in table
    assert "B" * 200 in table


REFUSALS = [
    (("brand", "create", "Acme"), 1, "taken"),
    (("brand", "create", " "), 2, "blank"),
    (("brand", "create", "A\nB"), 2, "control character"),
    (("brand", "create", "X", "--daily", "1e3"), 2, "daily_budget '1e3'"),
    (("brand", "create", "X", "--monthly", "-1"), 2, "monthly_budget '-1'"),
    (("brand", "create", "X", "--daily", "1.0000001"), 2, "more than six decimals"),
    (("brand", "create", "X", "--external-id", "a{b}"), 2, "external_id"),
    (("brand", "show", "99"), 1, "no brand '99'"),
    (("brand", "show", "x"), 2, "'x' is not the id of a brand"),
    (("brand", "update", "1"), 2, "Nothing to change"),
    (("brand", "update", "99", "--daily", "1"), 1, "99"),
    (("campaign", "create", "99", "X"), 1, "99"),
    (("campaign", "create", "1", "X", "--schedule", "{"), 2, "not JSON"),
    (("campaign", "create", "1", "X", "--schedule", '{"days": ["mo"]}'), 2, "schedule.days[0]"),
    (("campaign", "show", "65537"), 1, "65537"),
    (("campaign", "pause", "1"), 2, "not a campaign id"),
]


def test_a_refusal_is_one_line_that_names_the_value(be: Be) -> None:
    be("brand", "create", "Acme")
    for words, status, said in REFUSALS:
        done = be(*words)
        assert (done.status, done.out) == (status, ""), words
        assert said in done.complaint, words
    assert len(be("brand", "list", "--json").document) == 1, "nothing was written"


def test_days_and_hours_of_a_brand_are_sums_of_the_log(be: Be, ready: System) -> None:
    brand = ready.manage.create_brand("Acme", None, None, "acme-1", "test").row.id
    (campaign,) = ready.manage.create_campaigns(brand, ["one"], "test")
    ready.client.record_spend(campaign.id, "12.5")
    ready.client.record_spend(campaign.id, "0.000001")
    ready.persister.drain_all()
    (day,) = [one for one in be("brand", "days", "ext:acme-1", "--json").document if one["spends"]]
    assert (day["spend"], day["spends"], list(day)[:3]) == ("12.500001", 2, ["day", "spend", "spends"])
    (hour,) = be("brand", "hours", str(brand), "--day", day["day"], "--json").document
    assert (hour["spend"], hour["spends"], list(hour)) == ("12.500001", 2, ["hour", "spend", "spends"])
    assert be("brand", "hours", str(brand), "--day", "2020-01-01", "--json").document == []
    assert "12.500001" in be("brand", "hours", str(brand), "--day", day["day"]).out
    assert f"{hour['hour']:02}:00" in be("brand", "hours", str(brand), "--day", day["day"]).out
    assert day["day"] in be("brand", "days", str(brand)).out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("days", "77"), "no brand '77'"),
        (("hours", "77"), "no brand '77'"),
        (("hours", "1", "--day", "2026-02-30"), "2026-02-30"),
        (("days", "1", "--days", "0"), "days 0 is not from 1 to"),
    ],
)
def test_days_and_hours_that_cannot_be_told_are_one_clear_line(
    be: Be, ready: System, words: tuple[str, ...], says: str
) -> None:
    ready.manage.create_brand("Acme", None, None, None, "test")
    done = be("brand", *words)
    assert done.status != 0
    assert says in done.complaint


def test_tables_show_the_signs_of_old_names_that_nobody_can_see(be: Be, ready: System) -> None:
    be("brand", "create", "Acme", "--daily", "100")
    be("campaign", "create", "1", "Spring")
    with ready.db.begin() as conn:
        conn.execute(text("UPDATE brand SET name = :n"), {"n": "Ac\u202eme\u200b"})
        conn.execute(text("UPDATE campaign SET name = :n"), {"n": "Spr\u2066ing"})
    for command in (("brand", "list"), ("brand", "show", "1"), ("campaign", "list"), ("brand", "update", "1", "--daily", "7")):  # fmt: skip
        told = be(*command)
        assert not set("\u202e\u200b\u2066") & set(told.out + told.err), command
        assert r"Ac\u202eme\u200b" in told.out or r"Spr\u2066ing" in told.out, command


def test_a_brand_is_paused_with_a_reason_and_runs_again_when_it_is_resumed(be: Be) -> None:
    be("brand", "create", "Acme", "--daily", "5")
    be("campaign", "create", "1", "Spring")
    assert be("brand", "pause", "1", "--reason", "the tag is wrong").status == 0
    assert be("campaign", "show", "65537", "--json").document["reasons"] == ["brand_paused"]
    assert "paused: brand paused" in be("campaign", "list").out
    assert be("brand", "resume", "1").status == 0
    assert be("campaign", "show", "65537", "--json").document["reasons"] == []
    assert be("brand", "pause", "9").status == 1
