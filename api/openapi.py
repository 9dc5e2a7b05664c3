"""The OpenAPI document, made fit for client generators: problems, and method names that a person would choose."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.problems import MEDIA_TYPE
from genpulse.schemas.pages import Problem

TAGS = [
    {"name": "generations", "description": "Submit, watch, list and cancel generations."},
    {"name": "assets", "description": "Upload files, and read them and what was made."},
    {"name": "webhooks", "description": "Have events sent to you, and see what became of them."},
    {"name": "credits", "description": "What you have, what it was spent on."},
    {"name": "keys", "description": "Make, rotate and revoke your keys."},
    {"name": "tenants", "description": "Who uses the service, and within which limits; for those who run it."},
    {"name": "models", "description": "What each model does and takes."},
    {"name": "system", "description": "Is it alive, is it ready, what has it done."},
]

Responses = dict[int | str, dict[str, Any]]

_MEANINGS = {
    400: "A header or the body cannot be read",
    401: "No key, or a wrong one",
    402: "The balance does not cover what it may cost",
    403: "The key lacks the scope or may not use the model, its account is suspended, or the link is wrong or expired",
    404: "There is no such thing, or it is another tenant's",
    409: "The object's state does not allow it",
    413: "The body is larger than is accepted, or than the tenant may send",
    415: "The body's media type is not accepted",
    416: "The range lies outside the content",
    422: "A field or parameter is wrong; `errors` names it",
    429: "Too many requests, or the limit of a day is reached; `Retry-After` says when to come back",
    503: "A dependency does not answer; try again shortly",
}


def problems(*statuses: int) -> Responses:
    """Declare that a route answers these statuses with a problem."""
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses
    }


#: Of whatever takes a key.
KEY_PROBLEMS = problems(401, 403, 422, 429, 503)


def operation_id(route: APIRoute) -> str:
    """The function's name: clients get a method of that name."""
    return route.name


def document(app: FastAPI) -> dict[str, Any]:
    """The document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
            separate_input_output_schemas=False,
        )
        schemas = made["components"]["schemas"]
        schemas[Problem.__name__] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schemas[Problem.__name__].pop("$defs")
        app.openapi_schema = made
    return app.openapi_schema
