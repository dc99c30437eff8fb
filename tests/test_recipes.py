"""The recipes of docs/architecture.md, "Where to add things": one more row in the one table, and every reader has it."""

from __future__ import annotations

from tests.added_row import Row, run_with_rows

A_CAUSE = """    Cause(65536, "rehearsal", "clock", "standing", "in rehearsal", "rehearsal", "unknown"),
    Cause(131072, "trickle", "clock", "passing", "a trickle", "trickle", "unknown"),
"""
END_OF_CAUSES = """)
\"\"\"Append only: a bit"""
CAUSE_SEEN = """
from engine.domain.causes import in_order, mask_of, reasons_of, sentence, status_of
from engine.domain.schedule import Schedule
from engine.flows.catalog.status import _written_as
from engine.live.plans import read_campaign_line
from engine.live.replies import spend_results
from engine.views.metrics import _counts
from web.view import CAUSE_WORDS, FILTERS, State

assert mask_of(("rehearsal", "manual")) == 65537
assert reasons_of(65536 | 32768) == ("rehearsal", "other")
assert sentence(("rehearsal",), Schedule(), 0) == "paused: in rehearsal"
refused = spend_results([b"ok", b"x196608*1", b"81:0:0::", b""], [81 * 65536 + 1], "accepted")[0]
assert refused.reasons == ("rehearsal", "trickle"), refused
assert read_campaign_line(81 * 65536 + 1, "1:1:65536:0:0").reasons == ("rehearsal",)
assert _counts([{b"count:x65536": b"1", b"count:hx131072": b"2"}])["refused", "rehearsal"] == 1
assert FILTERS["rehearsal"] == "In rehearsal" and CAUSE_WORDS["rehearsal"] == "rehearsal"
assert State.of({"cause": "rehearsal"}).cause == "rehearsal"
# The passing one refuses, and is neither status nor row.
assert _written_as(131072) == ("active", "") and _written_as(196608) == ("paused", "rehearsal")
assert status_of(("trickle",)) == "active" and sentence(("trickle",), Schedule(), 0) == "active"
assert "trickle" not in FILTERS
print("seen")
"""


def test_a_cause_added_to_the_table_is_read_written_shown_and_counted() -> None:
    assert run_with_rows([Row("engine.domain.causes", A_CAUSE, END_OF_CAUSES)], CAUSE_SEEN) == "seen\n"


A_MONEY_CAUSE = """    Cause(65536, "team_budget", "money", "standing", "team budget used up", "team budget", "budget", "day"),
"""
A_BUDGET = """    BudgetKind("team_budget", "day", "team", "team budget", "The team's day"),
"""
END_OF_BUDGETS = """)
\"\"\"Append only: replies"""
BUDGET_SEEN = """
from types import SimpleNamespace
from engine.client.watch.eligibility import EligibilityView
from engine.client.watch.wanted import WatchFilter
from engine.client.watch.messages import read_brand, read_campaign, read_message
from engine.domain.periods import DAY_MS
from engine.flows.catalog.plans import _OF_BRAND
from engine.flows.catalog.status import began
from engine.flows.rebuild.contents import plan_hashes
from engine.flows.verify.limits import _above, _of_brand
from engine.live.keys import keys_of_brand
from engine.live.plans import read_brand_line
from engine.live.replies import Figures, SpendResult
from engine.views.models import BrandView
from engine.views.figures import budgets_of

campaign, now = 81 * 65536 + 1, 20_780 * DAY_MS + 5
# Figures, and the causes of a result that follow from later figures.
late = Figures(b"81:5:5:10::7:7")
assert [(b.cause, b.limit, b.spent) for b in late.budgets][2] == ("team_budget", 7, 7), late.budgets
result = SpendResult(campaign, "recorded", ("manual",), Figures(b"81:1:1:10::1:7"))
result.see(late)
assert result.reasons == ("manual", "team_budget")
# A shard that does not tell of it yet.
assert len(Figures(b"81:5:5:10:").budgets) == 2

# Live plan, verify, status, page.
live = read_brand_line(81, [b"ok", str(now).encode(), b"9", b"3:0:10::5:5:::7:7:%d" % (now - 2)], {})
assert live.daily_limit == 10 and live.budget("team_budget").limit == 7
assert [(p.field, p.spent, p.limit) for p in _above(_of_brand(live), 1)] == [("team_budget", 7, 7)]
assert began("team_budget", None, live) == now - 2
row = SimpleNamespace(id=81, version=1, archived_at=None, stops="0",
    daily_budget_micros=10, monthly_budget_micros=None, team_budget_micros=7, pace=(), steps=(), zone="", rollover_cap_micros=None)
view = BrandView(81, None, "A", False, budgets_of(row, live, (0, 0), now), 1, now, True)
assert view.used_up == ("team_budget",) and view.meters[2][0].title == "The team's day"
assert _OF_BRAND["team"] == "team budget"

# A rebuild writes its limit.
fields = dict(plan_hashes(keys_of_brand(81), [row], [], {}, []))[keys_of_brand(81).brand(81)]
assert fields[fields.index("team") + 1] == "7"

# A watcher stops at it, and goes on the next day.
picture = EligibilityView(False, WatchFilter(None, None))
picture.restart(now)
picture.load(17, [(81, read_brand(1, now, "1:0:10::0:0:7:0"), [read_campaign(campaign, "1:1:0:")])])
assert campaign in picture.running
picture.apply_budget(read_message(b"81 team_budget exhausted %d 2" % now))
assert picture.mask(campaign) == 65536
picture.advance(21_000 * DAY_MS)
assert campaign in picture.running
print("seen")
"""


def test_a_third_budget_added_to_the_list_is_shown_verified_rebuilt_and_watched() -> None:
    cause = Row("engine.domain.causes", A_MONEY_CAUSE, END_OF_CAUSES)
    assert run_with_rows([cause, Row("engine.domain.budget", A_BUDGET, END_OF_BUDGETS)], BUDGET_SEEN) == "seen\n"


A_JOB = """    Job("shine", JOBS_QUEUE, 3600, 60, 7_200_000, "polishes"),
"""
ITS_FUNCTION = """def shine() -> str:
    return "shone"


"""
JOB_SEEN = """
from datetime import UTC, datetime
from types import SimpleNamespace
import engine.jobs
from engine.doorbell import schedule_id
from engine.job_table import BY_NAME
from engine.rq_gate import function_of
from engine.views.health import _job
from engine.ledger.user_names import RESERVED

row = BY_NAME["shine"]
assert function_of("engine.jobs.shine")() == "shone" and schedule_id(row) == "schedule-shine"
assert (row.due, row.due_after(1), row.result_ttl_s) == ("every 60 minutes", 3600, 7200)
begun = SimpleNamespace(started_at=datetime(1970, 1, 1, tzinfo=UTC), finished_at=None, outcome="running", detail="")
assert not _job("shine", begun, None, 7_200_000).overdue and _job("shine", begun, None, 7_200_001).overdue
assert "shine" in RESERVED
print("seen")
"""


def test_a_job_added_to_the_table_is_rung_allowed_watched_and_reserved() -> None:
    rows = [
        Row("engine.job_table", A_JOB, ")  # fmt: skip\nBY_NAME"),
        Row("engine.jobs", ITS_FUNCTION, "FUNCTIONS: Final"),
    ]
    assert run_with_rows(rows, JOB_SEEN) == "seen\n"


def test_a_setting_added_to_the_table_is_read_checked_and_given_on() -> None:
    row = Row(
        "engine.settings",
        """    Setting("BUDGET_COLOUR", "blue", "the page's colour", "green", "metrics_token", _text),
""",
        ")\n# fmt: on",
    )
    code = """
from engine.settings import Settings
assert Settings.load({"BUDGET_COLOUR": "red"}, None).as_environment()["BUDGET_COLOUR"] == "red"
print("seen")
"""
    assert run_with_rows([row], code) == "seen\n"
