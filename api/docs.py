"""/api/openapi.json, made from the models of the views, and /api/docs, the same as a page without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from flask import Blueprint, Response, current_app, render_template
from flask_openapi.openapi import OpenAPI
from markupsafe import Markup, escape
from pydantic import BaseModel, Field

from api.access import OPEN, needs
from api.problems import TYPE
from api.results import answer

VERSION: Final = "1"
METHODS: Final = ("get", "post", "patch", "delete")
blueprint = Blueprint("docs", __name__)
_ERRORS: Final = {
    "400": "Not JSON, or a header that does not read",
    "401": "No token, or one that is unknown or revoked",
    "403": "The token lacks a scope, or does not see the brand",
    "404": "Nothing is there, or the token does not see it",
    "409": "In conflict with what is there, or a key that was used for another request",
    "412": "Changed since the version of If-Match",
    "413": "Too large",
    "415": "Not application/json in UTF-8",
    "422": "A value is wrong; `field` names it",
    "428": "If-Match is missing",
    "429": "Too many requests of this token; Retry-After says when to go on",
    "503": "Not now; Retry-After says when to repeat it",
}


class Problem(BaseModel):
    """What was wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = Field(None, description="The path of the field that is wrong, as in spends[3].amount")
    request_id: str | None = Field(None, description="The id under which the same request can be repeated")


@blueprint.get("/api/openapi.json")
def openapi() -> Response:
    """The document."""
    return answer(document())


@blueprint.app_template_filter("coded")
def coded(words: str | None) -> Markup:
    """A text of the document in HTML: what stands between backticks is code."""
    parts = (words or "").split("`")
    if len(parts) % 2 == 0:
        return escape(words)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


@blueprint.get("/api/docs")
def page() -> str:
    """The document as a page."""
    told = document()
    return render_template("docs.html", info=told["info"], groups=list(_groups(told)), schemas=told["components"]["schemas"])  # fmt: skip


def document() -> dict[str, Any]:
    """The OpenAPI document of this app, made once."""
    app = current_app
    assert isinstance(app, OpenAPI)
    found: dict[str, Any] | None = app.extensions.get("api_document")
    if found is None:
        found = app.extensions["api_document"] = _completed(app)
    return found


def _completed(app: OpenAPI) -> dict[str, Any]:
    """The library's document, with the scope and the errors of each operation."""
    told = app.api_doc
    scopes = {
        (method.lower(), app.url_map._rules_by_endpoint[rule.endpoint][0].endpoint): needs(rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    names = {operation["operationId"]: operation for _, _, operation in operations(told)}
    assert len(names) == len(list(operations(told)))
    for path, method, operation in operations(told):
        endpoint = operation["operationId"]
        scope = scopes[method, endpoint]
        operation["operationId"] = endpoint.replace(".", "_")
        if "description" in operation:
            operation["description"] = operation["description"].replace("<br/>", " ").strip()
        _may_be_empty(told, operation)
        operation["tags"] = [endpoint.partition(".")[0]]
        operation["security"] = [] if scope == OPEN else [{"token": []}]
        operation["x-scope"] = scope
        wanted = ["400", "401", "403", "413", "415", "422", "429", "503"]
        wanted += ["404"] if "{" in path else []
        wanted += ["404", "409", "428", "412"] if not endpoint.startswith("spending.") else []
        for status in sorted(set(wanted)):
            operation["responses"][status] = _error(_ERRORS[status])
    return told


def _may_be_empty(told: dict[str, Any], operation: dict[str, Any]) -> None:
    """A body without a field that must be there may be left out."""
    body = operation.get("requestBody")
    if body is not None:
        name = _name(body["content"]["application/json"])
        body["required"] = bool(told["components"]["schemas"][name].get("required"))


def _error(said: str) -> dict[str, Any]:
    return {"description": said, "content": {TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def operations(told: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation) of each."""
    for path, item in told["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


class _Operation(NamedTuple):
    """An operation as the page shows it."""

    method: str
    path: str
    scope: str
    told: dict[str, Any]
    body: str | None
    answer: str | None


def _groups(told: dict[str, Any]) -> Iterator[tuple[str, list[_Operation]]]:
    groups: dict[str, list[_Operation]] = {}
    for path, method, operation in operations(told):
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        good: dict[str, Any] = next((one for status, one in operation["responses"].items() if status[0] == "2"), {})
        shown = good.get("content", {}).get("application/json", {})
        groups.setdefault(operation["tags"][0], []).append(
            _Operation(method.upper(), path, operation["x-scope"], operation, _name(body), _name(shown))
        )
    yield from groups.items()


def _name(content: dict[str, Any]) -> str | None:
    return content.get("schema", {}).get("$ref", "").rpartition("/")[2] or None
