"""Nobody opens what his role or his brands do not allow: every address, method, role, scope and forged request over the real app.

The people are rows of the table with sessions of their own; nothing stands between them and PostgreSQL and Redis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from engine.domain.people import ROLES, Role
from engine.ledger import sessions, users
from engine.wiring import System
from tests.web.conftest import HERE, PASSWORD, brand_with, spend_now
from web import access, create_app

SECRET: Final = "Zwetschgenkuchen"
"""A word in every text of the brand that an operator of another one must not see."""
_TOKEN: Final = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')
NUMBERS: Final = {
    "no": 1,
    "change_id": 10**9,
    "instance_number": 0,
    "per_page": 10,
    "page": 1,
    "user_id": 10**9,
    "session_id": 10**9,
    "token_id": 10**9,
    "alert_id": 10**9,
    "webhook_id": 10**9,
    "operation_id": 10**9,
}
TEXTS: Final = {
    "queue_name": "jobs",
    "registry_name": "failed",
    "order": "asc",
    "job_id": "none",
    "filename": "app.css",
    "kind": "daily",
    "job_name": "none",
}


@dataclass(frozen=True)
class Place:
    """The app with two brands: one that scoped people see, and one that they do not."""

    app: Flask
    system: System
    mine: int
    my_campaign: int
    other: int
    other_campaign: int

    def visitor(self, name: str, role: Role, brands: list[int] | None) -> FlaskClient:
        """A browser in which this user is logged in."""
        made = users.create(self.system.db, "test", name, role, brands, None)
        client = self.app.test_client()
        with client.session_transaction(base_url=HERE) as cookie:
            cookie["token"] = sessions.begin(self.system.db, name, "127.0.0.1", made.id)
        return client

    def targets(self, entity: str) -> dict[str, int]:
        """Ids of an entity: in scope, out of scope, and of nothing."""
        if entity == "brand":
            return {"mine": self.mine, "other": self.other, "unknown": 4711}
        return {"mine": self.my_campaign, "other": self.other_campaign, "unknown": 4711 * 65536 + 1}


@pytest.fixture
def place(ready: System) -> Iterator[Place]:
    mine, (my_campaign,) = brand_with(ready, "Aurora", 10_000_000)
    other, (other_campaign,) = brand_with(ready, SECRET, 20_000_000)
    ready.manage.update_brand(other, f"actor {SECRET}", external_id=f"{SECRET}-1")
    ready.manage.update_campaign(other_campaign, "test", external_id=f"{SECRET}-2")
    spend_now(ready, my_campaign, "1")
    spend_now(ready, other_campaign, "4321.37")  # no coordinate of a chart and no token looks like it
    ready.manage.pause_campaign(other_campaign, f"pauser {SECRET}")
    plain = ready.settings
    ready.settings = replace(plain, admin_password=PASSWORD)
    yield Place(create_app(ready), ready, mine, my_campaign, other, other_campaign)
    ready.settings = plain


def addresses(place: Place, rule: Rule) -> dict[str, str]:
    """The addresses of a rule by what they lead to."""
    values = {name: NUMBERS[name] for name in rule.arguments & NUMBERS.keys()}
    texts = {name: TEXTS[name] for name in rule.arguments & TEXTS.keys()}
    entity = next((name for name in ("brand", "campaign") if f"{name}_id" in rule.arguments), None)
    ids = place.targets(entity) if entity else {"": 0}
    out = {}
    for whose, number in ids.items():
        given = {**values, **texts, **({f"{entity}_id": number} if entity else {})}
        built = rule.build({name: given[name] for name in rule.arguments})
        assert built is not None
        out[whose] = built[1]
    return out


def expected(rule: Rule, method: str, role: Role, scoped: bool, whose: str) -> str:
    """What the table says of a request that is not forged."""
    row = access.TABLE[rule.endpoint]
    if rule.endpoint == "rq_dashboard.requeue_all" and method == "GET":
        return "elsewhere"
    least = row.read if method == "GET" else row.change
    assert least is not None
    if ROLES.index(role) < ROLES.index(least):
        return "refused"
    if scoped and row.scope == "every":
        return "refused"
    return "nothing there" if scoped and row.scope in ("brand", "campaign") and whose != "mine" else "in"


def kind(status: int, page: str, place: str) -> str:
    if status == 403 and ("needs the role" in page or "sees every brand" in page):
        return "refused"
    if status == 403:
        return "forged"
    if status == 400 and "That form is out of date" in page:
        return "stale"  # any other 400 is of a value that is missing, from whoever was let in
    if status in (308, 405):
        return "elsewhere"  # an alias of another address, which is asked itself; and a link that would change something
    if status == 302 and place.startswith("/login"):
        return "login"
    if status == 404 and re.search(r"There is no (brand|campaign) \d+", page):
        return "nothing there"
    return "in" if status < 500 else f"failed {status}"


def send(client: FlaskClient, method: str, path: str, token: str, origin: str | None = HERE) -> tuple[str, str]:
    answer = client.open(
        path,
        method=method,
        base_url=HERE,
        data={"csrf_token": token} if method == "POST" else None,
        headers={"Origin": origin} if method == "POST" and origin else {},
    )
    page = answer.get_data().decode(errors="replace")  # an icon is no text
    return kind(answer.status_code, page, answer.headers.get("Location", "")), page


PEOPLE: Final[tuple[tuple[Role, bool], ...]] = (
    ("viewer", True), ("viewer", False), ("operator", True), ("operator", False), ("admin", False),
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("role", "scoped"), PEOPLE)
def test_every_address_answers_a_role_and_a_scope_as_the_table_has_it_and_no_forged_request(
    place: Place, role: Role, scoped: bool
) -> None:
    client = place.visitor(f"{role} {scoped}", role, [place.mine] if scoped else None)
    found = _TOKEN.search(client.get("/", base_url=HERE).get_data(as_text=True))
    assert found is not None
    wrong: list[str] = []
    requests = 0
    for rule in place.app.url_map.iter_rules():
        if access.is_open(rule.endpoint):
            continue
        exempt = rule.endpoint.startswith("rq_dashboard.")
        for whose, path in addresses(place, rule).items():
            for method in ("GET", "POST"):
                if method not in (rule.methods or ()):
                    continue
                due = expected(rule, method, role, scoped, whose)
                tries = [("", found[1], HERE, due)]
                if method == "POST":
                    # Refusals come before the token is looked at; what is let in by role and scope still needs one.
                    tries = [
                        ("foreign", found[1], "http://evil.example", "forged"),
                        ("no token", "", HERE, "stale" if due == "in" and not exempt else due),
                        *tries,
                    ]
                for how, token, origin, answer in tries:
                    got, _ = send(client, method, path, token, origin)
                    requests += 1
                    if got == "elsewhere" and rule.endpoint == "rq_dashboard.queues_overview":
                        continue
                    if got == "nothing there" and whose == "unknown" and answer == "in":
                        continue  # to whoever sees every brand, it is not there either
                    if got != answer:
                        wrong.append(f"{method} {path} ({whose} {how}): {got}, not {answer}")
    assert wrong == []
    assert requests > 90


def test_without_a_login_and_with_an_ended_session_every_address_leads_to_the_login(place: Place) -> None:
    stranger, ended = place.app.test_client(), place.visitor("Mia", "admin", None)
    found = _TOKEN.search(ended.get("/", base_url=HERE).get_data(as_text=True))
    assert found is not None
    users.set_disabled(place.system.db, "test", users.named(place.system.db, "Mia").id, True)
    for rule in place.app.url_map.iter_rules():
        if access.is_open(rule.endpoint):
            continue
        for path in addresses(place, rule).values():
            for method in {"GET", "POST"} & (rule.methods or set()):
                for client in (stranger, ended):
                    assert send(client, method, path, found[1])[0] in (
                        "login",
                        "elsewhere",
                    ), path


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_sees_one_brand_finds_no_other_in_any_page_list_search_trail_or_error(place: Place, role: Role) -> None:
    client = place.visitor("Mia", role, [place.mine])
    paths = [
        "/status", "/live", "/changes", "/changes?limit=5000", f"/status?q={place.other}", f"/status?q={place.other_campaign}", "/status?q=Zwetsch",
        f"/status?open={place.other}", f"/live?open={place.other}.{place.mine}&whole={place.other}", "/status?cause=manual", "/status?cause=archived",
        "/status?cause=stopped", f"/brands/{place.other}/spend", f"/brands/{place.other}/edit", f"/campaigns/{place.other_campaign}/edit",
        f"/campaigns/{place.other_campaign}/flights", f"/brands/{place.mine}/spend", f"/campaigns/{place.my_campaign}/flights",
        f"/brands/{place.mine}/edit", f"/campaigns/{place.my_campaign}/edit", "/rq/", "/rq/0/data/queues.json", "/people", "/readyz", "/nowhere",
        "/", "/budgets/live", "/budgets/poll", "/budgets.csv", f"/?q={place.other}", "/?q=Zwetsch", "/?tab=archived", "/?tab=attention",
        *(f"/campaigns/{whose}{rest}" for whose in (place.my_campaign, place.other_campaign) for rest in ("", "/live")),
        "/activity", "/activity.csv", "/catalog.csv", "/import", f"/activity?brand={place.other}", "/activity?brand=Zwetsch", "/activity?kind=status", "/activity?kind=login",
        *(f"/brands/{whose}{rest}" for whose in (place.mine, place.other) for rest in ("", "/live", "?tab=campaigns", "?tab=days", "?tab=activity", "?tab=settings")),
    ]  # fmt: skip
    for path in paths:
        page = client.get(path, base_url=HERE).get_data(as_text=True)
        shown = page.replace('value="Zwetsch"', "")
        assert SECRET not in shown and "4,321.37" not in shown and "4321.37" not in shown, path
        assert (
            str(place.other_campaign) not in shown.replace(path, "").replace(f'value="{place.other_campaign}"', "")
            or "There is no campaign" in shown
        ), path
    assert "Aurora" in client.get("/", base_url=HERE).get_data(as_text=True)
    everything = place.visitor("Lea", "viewer", None).get("/live", base_url=HERE).get_data(as_text=True)
    assert SECRET in everything and "4,321.37" in everything


def test_what_one_viewer_was_shown_is_not_shown_to_one_who_sees_less_while_postgresql_is_away(place: Place) -> None:
    kept = place.app.extensions
    place.visitor("Lea", "viewer", None).get("/live", base_url=HERE)
    place.visitor("Mia", "viewer", [place.mine]).get("/live", base_url=HERE)
    shown = kept["last_shown"]
    assert [brand.name for brand in shown.get(frozenset([place.mine])).snapshot.brands] == ["Aurora"]
    assert len(shown.get(None).snapshot.brands) == 2
    assert shown.get(frozenset([place.other])) is None


def test_an_address_out_of_scope_is_answered_word_for_word_like_one_of_nothing(place: Place) -> None:
    client = place.visitor("Mia", "operator", [place.mine])
    pages = {}
    for whose, number in place.targets("campaign").items():
        for what in ("edit", "archive", "flights"):
            answer = client.get(f"/campaigns/{number}/{what}", base_url=HERE)
            # A token has the second in which it was signed.
            text = re.sub(r'name="csrf_token" value="[^"]+"', "", answer.get_data(as_text=True))
            pages[whose, what] = (answer.status_code, text.replace(str(number), "N"))
    for what in ("edit", "archive", "flights"):
        assert pages["other", what] == pages["unknown", what]
        assert pages["other", what][0] == 404 and pages["mine", what][0] == 200


def test_a_viewer_is_shown_no_button_that_he_may_not_press(place: Place) -> None:
    mia = place.visitor("Mia", "viewer", None)
    for path in ("/", "/status"):
        page = mia.get(path, base_url=HERE).get_data(as_text=True)
        for word in (
            "New brand",
            "New campaign",
            ">Pause<",
            ">Edit<",
            'form="bulk"',
            '<button type="submit" class="small',
            "/rq/",
        ):
            assert word not in page, word
    page = place.visitor("Lea", "operator", [place.mine]).get("/status", base_url=HERE).get_data(as_text=True)
    for word, there in (
        ("New brand", False),
        ("New campaign", True),
        (">Pause", True),
        (">Edit", True),
        ("/rq/", False),
    ):
        assert (word in page) == there, word


def test_what_the_health_of_parts_has_in_detail_is_for_who_sees_every_brand(place: Place) -> None:
    mia = place.visitor("Mia", "viewer", [place.mine])
    for path in ("/", "/status"):
        page = mia.get(path, base_url=HERE).get_data(as_text=True)
        assert "127.0.0.1" not in page
