"""/operations: one kind of change to many brands and campaigns. A dry run is a draft, which can be applied; what was applied can be undone."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from flask import Response, g
from pydantic import Field
from redis.exceptions import RedisError

from api import access
from api.keyed import keyed
from api.lists import PageQuery, packed, page, place_of
from api.reading import Answer, Body, KeyHeader, Path, reads
from api.results import answer
from api.routes import routes
from engine.domain.ids import MAX_BRAND_ID, MAX_CAMPAIGN_ID, MIN_CAMPAIGN_ID
from engine.domain.operations import Wanted, wanted_of
from engine.doorbell import enqueue_now
from engine.errors import InvalidInput, NotFound, shown
from engine.job_table import BY_NAME
from engine.ledger import operations as ledger
from engine.ledger.operations import OperationRecord
from engine.views.control_documents import operation_document, row_document
from web.budget_list import State, filtered, seen_lines
from web.services import services

MOST_IDS: Final = 10_000
FIRST_ROWS: Final = 20
"""Rows that come with the answer to a new operation."""
blueprint = routes("operations", __name__)

BrandIds = Annotated[list[Annotated[int, Field(ge=1, le=MAX_BRAND_ID)]], Field(max_length=MOST_IDS)]
CampaignIds = Annotated[list[Annotated[int, Field(ge=MIN_CAMPAIGN_ID, le=MAX_CAMPAIGN_ID)]], Field(max_length=MOST_IDS)]


class Ids(Body):
    """The rows that are changed."""

    brands: BrandIds = []
    campaigns: CampaignIds = []


class Filter(Body):
    """All brands that this leaves in the list of brands."""

    q: str = Field("", max_length=100)
    state: str = Field("", max_length=20)
    only: str = Field("", max_length=60)


class ChangeIn(Body):
    """What changes. Of a budget: which one, and how; of a schedule: the new one."""

    period: Literal["daily", "monthly", "lifetime"] = "daily"
    budget: Annotated[
        str | None, Field(max_length=60, description="set:200.00, set:none, add:50.00, add:-50.00 or percent:150")
    ] = None
    schedule: Annotated[Any, Field(description="A window, a list of windows, or null for always")] = None


class OperationIn(Body):
    """One kind of change to many rows: those of `ids`, or all that `filter` leaves."""

    action: Literal["pause", "resume", "budget", "schedule", "archive"]
    ids: Ids | None = None
    filter: Filter | None = None
    change: ChangeIn | None = Field(None, description="For budget and schedule")
    note: str | None = Field(None, max_length=500, description="Why, for the history")
    dry_run: bool = Field(False, description="Make a draft that shows what would change, and change nothing")


class UndoIn(Body):
    """dry_run: make a draft that shows what would be taken back."""

    dry_run: bool = False


class OperationPath(Path):
    """The address of an operation."""

    operation_id: Annotated[int, Field(ge=1, le=2**62)]


class OperationsQuery(PageQuery):
    """Operations that were begun, the newest first."""


class RowsQuery(PageQuery):
    """The rows of an operation in their order: those that change, or those that are left out."""

    skipped: bool = False


class OperationRowOut(Answer):
    """A row of an operation. state: ready, done or skipped; why: it is left out. changes: {field: [old, new]}."""

    entity: str
    id: int
    name: str | None
    state: str
    why: str | None
    changes: dict[str, Any]


class OperationRowsOut(Answer):
    """A page of rows."""

    items: list[OperationRowOut]
    next: str | None


class OperationOut(Answer):
    """An operation and its progress. ready, done, skipped: rows. starts, stops: campaigns, null where that is not known."""

    id: int
    kind: str
    words: str
    note: str | None
    actor: str
    state: str = Field(description="draft, applying or done")
    begun_at: str | None
    ended_at: str | None
    undo_of: int | None
    undone_by: int | None
    starts: int | None
    stops: int | None
    ready: int
    done: int
    skipped: int
    behind: int = Field(description="Changed rows that bidders do not have yet")
    rows: list[OperationRowOut] = Field([], description="The first rows; GET /operations/{operation_id}/rows has all")


class OperationsOut(Answer):
    """A page of operations."""

    items: list[OperationOut]
    next: str | None


@blueprint.get("/operations", responses={200: OperationsOut})
@reads
def operations(query: OperationsQuery) -> Response:
    """List operations that were begun, the newest first; of brands that the token sees."""
    place = place_of(query.cursor, [], (int,))
    before = None if place is None else place[0]
    found = ledger.latest(services().db, query.limit + 1, before, access.token().brands)
    shown_ = found[: query.limit]
    cursor = packed([], [shown_[-1].id]) if len(found) > query.limit else None
    return answer(page([_head(one) for one in shown_], cursor))


@blueprint.post("/operations", responses={202: OperationOut})
@reads
@keyed
def create_operation(body: OperationIn, header: KeyHeader) -> Response:
    """Change many rows at once: here where they are few, else by a worker. With dry_run nothing changes."""
    brands, campaigns = _selected(body)
    made = services().operations.preview(_wanted(body), brands, campaigns, g.actor)
    return _told(made if body.dry_run else _begin(made.id, body.note), 202)


@blueprint.get("/operations/<int:operation_id>", responses={200: OperationOut})
@reads
def operation(path: OperationPath) -> Response:
    """Read an operation: a draft, its progress, or its result."""
    return _told(_seen(path.operation_id))


@blueprint.get("/operations/<int:operation_id>/rows", responses={200: OperationRowsOut})
@reads
def operation_rows(path: OperationPath, query: RowsQuery) -> Response:
    """Read the rows of an operation."""
    found = _seen(path.operation_id)
    place = place_of(query.cursor, [found.id, query.skipped], (int,))
    after = 0 if place is None else place[0]
    if not 0 <= after < 2**31:
        raise InvalidInput("cursor is not of this list: take `next` of its page before", "cursor")
    rows = ledger.items(services().db, found.id, skipped=query.skipped, after=after, limit=query.limit + 1)
    cursor = packed([found.id, query.skipped], [rows[query.limit - 1].no]) if len(rows) > query.limit else None
    return answer(page([row_document(row) for row in rows[: query.limit]], cursor))


@blueprint.post("/operations/<int:operation_id>/apply", responses={202: OperationOut})
@reads
@keyed
def apply_operation(path: OperationPath, header: KeyHeader) -> Response:
    """Apply a draft. Rows that somebody changed since are left out. Again changes nothing."""
    return _told(_begin(_seen(path.operation_id).id), 202)


@blueprint.post("/operations/<int:operation_id>/undo", responses={202: OperationOut})
@reads
@keyed
def undo_operation(path: OperationPath, body: UndoIn, header: KeyHeader) -> Response:
    """Take an operation back, as an operation of its own. Rows that somebody changed since are left out, never overwritten."""
    made = services().operations.undo(_seen(path.operation_id).id, g.actor)
    return _told(made if body.dry_run else _begin(made.id), 202)


def _wanted(body: OperationIn) -> Wanted:
    """What is to be done. Raises InvalidInput."""
    given = body.change or ChangeIn()
    if body.action not in ("budget", "schedule"):
        if body.change is not None:
            raise InvalidInput(f"change is given, and {body.action} takes none: leave it out", "change")
        return wanted_of(body.action)
    wrong = given.model_fields_set - ({"period", "budget"} if body.action == "budget" else {"schedule"})
    if wrong:
        name = min(wrong)
        raise InvalidInput(f"change.{name} is not of the action {body.action}: leave it out", f"change.{name}")
    if body.action == "schedule":
        if "schedule" not in given.model_fields_set:
            raise InvalidInput("change.schedule is missing: give windows, or null for always", "change.schedule")
        return wanted_of("schedule", schedule=given.schedule)
    if given.budget is None:
        raise InvalidInput("change.budget is missing: give set:200.00, add:50.00 or percent:150", "change.budget")
    return wanted_of("budget", period=given.period, change=given.budget)


def _selected(body: OperationIn) -> tuple[frozenset[int], frozenset[int]]:
    """The brands and campaigns that are changed. Raises InvalidInput; NotFound for one out of sight."""
    if (body.ids is None) == (body.filter is None):
        raise InvalidInput("give either ids or filter: the rows that are changed", "ids")
    if body.ids is not None:
        for brand_id in sorted(set(body.ids.brands)):
            access.check_brand(brand_id)
        for campaign_id in sorted(set(body.ids.campaigns)):
            access.check_campaign(campaign_id)
        return frozenset(body.ids.brands), frozenset(body.ids.campaigns)
    assert body.filter is not None
    state = State.of({"q": body.filter.q, "tab": body.filter.state, "only": body.filter.only})
    lines = seen_lines(services().budget_board.look().lines, access.token().brands)
    return frozenset(line.id for line in filtered(lines, state)), frozenset()


def _begin(operation_id: int, note: str | None = None) -> OperationRecord:
    """Lets a draft be applied: at once where it is small, else by a worker, which is called."""
    found = services().operations.begin(operation_id, g.actor, note)
    if found.state != "done":
        try:
            enqueue_now(services().jobs_redis, BY_NAME["operations"])
        except RedisError:
            pass  # the next run of the job begins it
    return found


def _seen(operation_id: int) -> OperationRecord:
    """An operation, for a token that sees all brands that it is about. Raises NotFound."""
    found, brands = services().operations.one(operation_id), access.token().brands
    about = ledger.brands_of(services().db, operation_id)
    if not ledger.within(about, brands) or not (about or brands is None or found.actor == g.actor):
        raise NotFound(f"there is no operation {shown(operation_id)}: `operation list` shows all")
    return found


def _head(found: OperationRecord) -> dict[str, Any]:
    behind = ledger.behind(services().db, found.id) if found.state == "done" else 0
    return {**operation_document(found), "behind": behind}


def _told(found: OperationRecord, status: int = 200) -> Response:
    rows = ledger.items(services().db, found.id, limit=FIRST_ROWS)
    rows += ledger.items(services().db, found.id, skipped=True, limit=FIRST_ROWS)
    return answer({**_head(found), "rows": [row_document(row) for row in rows[:FIRST_ROWS]]}, status)
