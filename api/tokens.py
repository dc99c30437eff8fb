"""/tokens, for the scope admin: programs that may use this API. A token itself is in one answer only."""

from __future__ import annotations

from typing import Annotated

from flask import Response, g
from pydantic import Field

from api.keyed import keyed, once
from api.lists import PageQuery, packed, page, place_of
from api.reading import Answer, Body, KeyHeader, Path, reads
from api.results import answer
from api.routes import routes
from engine.domain.ids import MAX_BRAND_ID
from engine.domain.tokens import check_scopes
from engine.ledger import tokens as ledger
from engine.views.control_documents import token_document
from web.services import services

blueprint = routes("tokens", __name__)
Brands = Annotated[
    list[Annotated[int, Field(ge=1, le=MAX_BRAND_ID)]] | None,
    Field(max_length=10_000, description="The brands that it sees; null is every brand"),
]


class TokenIn(Body):
    """A new token."""

    name: str = Field(min_length=1, max_length=400, description="What the program is called; it signs its changes")
    scopes: Annotated[list[Annotated[str, Field(max_length=20)]], Field(max_length=10, description="spend, read, write, admin")]  # fmt: skip
    brands: Brands = None


class TokenPath(Path):
    """The address of a token."""

    token_id: Annotated[int, Field(ge=1, le=2**63 - 1)]


class TokensQuery(PageQuery):
    """Tokens, revoked ones last."""


class TokenOut(Answer):
    """A token, without what the program sends."""

    id: int
    name: str
    scopes: list[str]
    brands: list[int] | None
    created_at: str
    created_by: str
    last_use: str | None
    revoked: bool


class TokenMadeOut(TokenOut):
    """A new token."""

    token: str | None = Field(
        description="What the program sends. Nothing shows it again: null where the same request is repeated"
    )


class TokensOut(Answer):
    """A page of tokens."""

    items: list[TokenOut]
    next: str | None


@blueprint.get("/tokens", responses={200: TokensOut})
@reads
def tokens(query: TokensQuery) -> Response:
    """List the tokens."""
    place = place_of(query.cursor, [], (int, int))
    found = ledger.all_tokens(services().db)
    first = 0
    if place is not None:
        first = next((at + 1 for at, one in enumerate(found) if one.id == place[1]), max(place[0], 0))
    shown = found[first : first + query.limit]
    cursor = packed([], (first + len(shown), shown[-1].id)) if first + query.limit < len(found) else None
    return answer(page([token_document(one) for one in shown], cursor))


@blueprint.post("/tokens", responses={201: TokenMadeOut})
@reads
@keyed
def create_token(body: TokenIn, header: KeyHeader) -> Response:
    """Create a token. The answer has what the program sends, which nothing shows again."""
    scopes = check_scopes(body.scopes, "scopes")
    made = ledger.create(services().db, g.actor, body.name, scopes, body.brands)
    return once({**token_document(made.token), "token": made.secret}, "token", 201)


@blueprint.get("/tokens/<int:token_id>", responses={200: TokenOut})
@reads
def token(path: TokenPath) -> Response:
    """Read a token, without what the program sends."""
    return answer(token_document(ledger.one(services().db, path.token_id)))


@blueprint.post("/tokens/<int:token_id>/revoke", responses={200: TokenOut})
@reads
@keyed
def revoke_token(path: TokenPath, header: KeyHeader) -> Response:
    """End a token for good. Processes refuse it within two seconds."""
    return answer(token_document(ledger.revoke(services().db, g.actor, path.token_id)))
