"""/curves: which part of a daily budget is due by a time of the day. `custom:NAME` as pacing uses one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from flask import Response, g, request
from pydantic import Field

from api import access
from api.brands import refusing_stale
from api.keyed import keyed
from api.lists import PageQuery, packed, page, place_of
from api.problems import NoMatch, Stale
from api.reading import Answer, Body, KeyHeader, MatchHeader, Path, reads
from api.results import answer
from api.routes import routes
from engine.domain.curves import MAX_POINTS, PPM, Points, read_csv
from engine.domain.pacing import check_curve_name
from engine.errors import InvalidInput
from engine.views.control_documents import curve_document
from web.services import services

blueprint = routes("curves", __name__)


class PointIn(Body):
    """A point: the part of the budget that is due by a time."""

    time: str = Field(pattern=r"^[0-9:]{5,8}$", description="HH:MM or HH:MM:SS; 24:00 is the end")
    share: Annotated[int, Field(ge=0, le=PPM, description="In ppm: 250000 is a quarter of the budget")]


Listed = Annotated[list[PointIn], Field(min_length=1, max_length=MAX_POINTS)]


class CurveIn(Body):
    """A new curve, the same for every day."""

    name: str = Field(max_length=40, description="1 to 40 of A-Z a-z 0-9 . _ -")
    points: Listed


class CurveChange(Body):
    """Other points in place of a curve's."""

    points: Listed


class CurvePath(Path):
    """The address of a curve."""

    name: Annotated[str, Field(min_length=1, max_length=60)]


class CurvesQuery(PageQuery):
    """Curves by name."""


class PointOut(Answer):
    """A point of a curve."""

    time: str
    share: int


class DayOfCurve(Answer):
    """The points of a weekday; day: null is every day."""

    day: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"] | None
    points: list[PointOut]


class CurveOut(Answer):
    """A curve, and the brands and campaigns that it paces, of those that the token sees."""

    name: str
    curves: list[DayOfCurve]
    used_by: list[str]


class CurvesOut(Answer):
    """A page of curves."""

    items: list[CurveOut]
    next: str | None


@blueprint.get("/curves", responses={200: CurvesOut})
@reads
def curves(query: CurvesQuery) -> Response:
    """List the curves."""
    place = place_of(query.cursor, [], (str,))
    names = [name for name in services().catalog.curves.names() if place is None or name > place[0]]
    shown = names[: query.limit]
    cursor = packed([], [shown[-1]]) if len(names) > query.limit else None
    return answer(page([_document(name) for name in shown], cursor))


@blueprint.post("/curves", responses={201: CurveOut})
@reads
@keyed
def create_curve(body: CurveIn, header: KeyHeader) -> Response:
    """Create a curve. One that a token of some brands makes, all may use."""
    _check_sees_all()
    name = check_curve_name(body.name)
    return _put(name, _points(body.points), 201)


@blueprint.get("/curves/<string:name>", responses={200: CurveOut})
@reads
def curve(path: CurvePath) -> Response:
    """Read a curve. ETag is of its points."""
    return _told(path.name)


@blueprint.patch("/curves/<string:name>", responses={200: CurveOut})
@reads
def change_curve(path: CurvePath, body: CurveChange, header: MatchHeader) -> Response:
    """Give a curve other points, if it still has those of If-Match. What it paces follows at once."""
    _check_sees_all()
    given = request.headers.get("If-Match", "").strip()
    if not given:
        raise NoMatch("A change needs If-Match with the ETag of the version that it was made from, or *.")
    name = check_curve_name(path.name)
    seen = services().catalog.curves.points(name)
    if given not in ("*", _tag(seen)):
        raise Stale(f"curve {name} was changed since: read it again")
    with refusing_stale():
        return _put(name, _points(body.points), seen=None if given == "*" else seen)


@blueprint.delete("/curves/<string:name>", responses={200: CurvesOut})
@reads
def remove_curve(path: CurvePath) -> Response:
    """Remove a curve that paces nothing. The answer has those that are left."""
    _check_sees_all()
    services().catalog.curves.remove(path.name, g.actor)
    return answer(page([_document(name) for name in services().catalog.curves.names()], None))


def _check_sees_all() -> None:
    """Curves are everybody's: who sees some brands only changes none. Raises OutOfScope."""
    if access.token().brands is not None:
        raise access.OutOfScope("this token sees some brands only, and curves are for every brand")


def _points(given: list[PointIn]) -> Points:
    """The points of a curve. Raises InvalidCurve."""
    try:
        return read_csv("\n".join(["time,share", *(f"{point.time},{point.share}" for point in given)]))
    except InvalidInput as error:
        error.field = "points"
        raise


def _put(name: str, points: Points, status: int = 200, seen: Mapping[int, Points] | None = None) -> Response:
    why_not = services().manage.put_curve(name, {0: points}, g.actor, new=status == 201, seen=seen)
    told = _told(name, status)
    if why_not:
        told.headers["Published-Later"] = "true"
    return told


def _told(name: str, status: int = 200) -> Response:
    return answer(_document(name), status, {"ETag": _tag(services().catalog.curves.points(name))})


def _tag(found: Mapping[int, Points]) -> str:
    """The ETag of a curve's points."""
    points = sorted(found.items())
    return f'"{hashlib.sha256(json.dumps(points).encode()).hexdigest()[:16]}"'


def _document(name: str) -> dict[str, Any]:
    found = services().catalog.curves
    told, brands = curve_document(found, name, found.points(name)), access.token().brands
    if brands is not None:
        told["used_by"] = [f"{user.entity} {user.id}" for user in found.users(name) if user.brand_id in brands]
    return told
