"""Reads what a request says into models: body, query, path and headers. What is wrong is told by field; the models are also what
/api/openapi.json shows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar, get_type_hints

from flask import request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.problems import Malformed, WrongType
from engine.domain.ids import TEXT_ID, check_text_id
from engine.errors import InvalidInput, NotFound, shown

View = TypeVar("View", bound=Callable[..., ResponseReturnValue])
ModelT = TypeVar("ModelT", bound=BaseModel)
KEY: Final = "Idempotency-Key"


class Body(BaseModel):
    """A JSON object. Unknown fields are refused, and no value is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """The parameters of an address. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid")


class Path(BaseModel):
    """The parts of an address."""


class KeyHeader(BaseModel):
    """The header of every POST."""

    key: str | None = Field(
        None,
        alias=KEY,
        pattern=f"^{TEXT_ID}$",
        description="Names the request, so that a repeat does nothing twice: 1 to 64 letters, digits or . _ : / + = @ ~ -",
    )


class MatchHeader(BaseModel):
    """The header of every PATCH."""

    match: str = Field(alias="If-Match", description="The ETag of the version that is to be changed, or *")


class Answer(BaseModel):
    """A JSON object of an answer."""


def reads(func: View) -> View:
    """A view that gets `body`, `query`, `path` and `header` as its annotations say."""
    hints = get_type_hints(func)
    body, query, path = hints.get("body"), hints.get("query"), hints.get("path")

    @wraps(func)
    def view(**parts: Any) -> ResponseReturnValue:
        given: dict[str, Any] = {}
        if path is not None:
            given["path"] = path_as(path, parts)
        if query is not None:
            given["query"] = query_as(query)
        if "header" in hints:
            given["header"] = hints["header"].model_construct(**{KEY: key()})
        if body is not None:
            given["body"] = body_as(body)
        return func(**given)

    # flask-openapi makes the document from the annotations, and leaves reading to this.
    view.__delay_validate_request__ = True  # type: ignore[attr-defined]  # flask-openapi's own name
    return view  # type: ignore[return-value]  # `wraps` keeps the signature, which mypy cannot see


def body_as(model: type[ModelT]) -> ModelT:
    """The body of this request. Raises WrongType, Malformed, pydantic's ValidationError."""
    data = request.get_data()
    if not data and not any(field.is_required() for field in model.model_fields.values()):
        return model()
    kind = request.mimetype
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if kind != "application/json" or charset not in ("utf-8", "utf8"):
        raise WrongType("The body is to be application/json in UTF-8: send it with Content-Type: application/json.")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise WrongType("The body has a Content-Encoding, which is not read here: send it as it is.")
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Malformed(f"The body is not JSON: {first['ctx']['error']}.") from None
        raise


def query_as(model: type[ModelT]) -> ModelT:
    """The query of this request. Raises InvalidInput, pydantic's ValidationError."""
    for name, values in request.args.lists():
        if len(values) > 1:
            raise InvalidInput(f"{name[:40]} is given {len(values)} times: give it once", name[:40])
        if "\0" in values[0]:
            raise InvalidInput(f"{name[:40]} {shown(values[0])} has a NUL: take it out", name[:40])
    return model.model_validate(request.args.to_dict())


def path_as(model: type[ModelT], parts: dict[str, Any]) -> ModelT:
    """The parts of this address. Raises NotFound: at an address that is none, nothing is there."""
    try:
        return model.model_validate(parts)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise NotFound(f"nothing is there: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def key() -> str | None:
    """The Idempotency-Key of this request. Raises InvalidId."""
    given = request.headers.get(KEY)
    return None if given is None else check_text_id(given, KEY)
