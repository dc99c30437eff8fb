"""Blueprints of the API, whose operations are named like their endpoints."""

from __future__ import annotations

from typing import Any, Final

from flask_openapi.blueprint import APIBlueprint

PREFIX: Final = "/api/v1"


def routes(name: str, module: str) -> APIBlueprint:
    """A blueprint under PREFIX."""
    return APIBlueprint(name, module, url_prefix=PREFIX, operation_id_callback=endpoint)


def endpoint(*, bp_name: str = "", name: str = "", **_: Any) -> str:
    """The endpoint of a view, which `api/docs.py` turns into its operation id."""
    return f"{bp_name}.{name}"
