"""Errors as RFC 9457 problem details: the only place where an error becomes an HTTP answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from genpulse.errors import (
    DependencyDown,
    GenPulseError,
    InvalidInput,
    InvariantBroken,
    MalformedRequest,
    NotFound,
    RangeNotSatisfiable,
    RateLimited,
    SpendLimitReached,
    Unauthenticated,
)
from genpulse.schemas.pages import FieldProblem, Problem
from genpulse.schemas.states import MEDIA_FIELDS

MEDIA_TYPE = "application/problem+json"
ERROR_PAGE = "/docs/errors"

_MAX_FIELDS = 20
#: Of what callers have written, names above all, an answer repeats no more than helps to find it.
_MAX_NAME = 100
_MAX_DETAIL = 2000
_MAX_PATH = 500
_RETRY_SECONDS = 2
#: Codes of errors that are HTTP's own and have no class: status and meaning.
HTTP_MEANINGS = {
    "headers_too_large": (431, "The request's headers are larger than is accepted."),
    "method_not_allowed": (405, "The address does not take this method; the Allow header lists what it takes."),
    "unsupported_media_type": (415, "The body is of a media type that is not accepted here."),
    "uri_too_long": (414, "The address with its query is longer than is accepted."),
}
_HTTP_CODES = {status: code for code, (status, _) in HTTP_MEANINGS.items()} | {404: NotFound.code}
_HTTP_DETAILS = {
    404: "There is nothing at this address; /docs lists what there is.",
    405: HTTP_MEANINGS["method_not_allowed"][1],
}
_MEDIA_FORMS = frozenset({"asset", "url", "data", "step"})
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")

#: Sentences for Pydantic's error types, completed with the error's context: each says what would be right.
_SENTENCES = {
    "missing": "is required; add it",
    "extra_forbidden": "is not known here; remove it or check its spelling",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode text",
    "string_too_long": "has at most {max_length} characters; shorten it",
    "string_too_short": "has at least {min_length} characters",
    "string_pattern_mismatch": "must have the form {pattern}",
    "int_type": "must be a whole number, without quotes or a fraction",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number, without a fraction",
    "int_parsing_size": "is too large a number",
    "float_type": "must be a number, without quotes",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_long": "has at most {max_length} entries; this has {actual_length}",
    "too_short": "needs at least {min_length} entries",
    "enum": "must be one of {expected}",
    "literal_error": "must be {expected}",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "url_type": "must be a URL",
    "url_parsing": "must be a complete URL, for example https://example.com/picture.png",
    "url_scheme": "must be a URL that begins with http:// or https://",
    "url_too_long": "is too long a URL: at most {max_length} characters",
    "datetime_type": "must be an instant, for example 2026-01-31T12:00:00Z",
    "datetime_parsing": "must be an instant, for example 2026-01-31T12:00:00Z",
    "datetime_from_date_parsing": "must be an instant, for example 2026-01-31T12:00:00Z",
    "timezone_aware": "needs a time zone, for example 2026-01-31T12:00:00Z",
}


def install(app: FastAPI) -> None:
    """Answer every expected error of the application as a problem."""
    app.add_exception_handler(GenPulseError, _on_own)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


class Occurrence(NamedTuple):
    """Where it happened: the path, and the request's id."""

    instance: str
    request_id: str


def problem_of(error: GenPulseError, where: Occurrence) -> Problem:
    """Word an error of ours."""
    fields = []
    if error.field:
        path = [_cut(part, _MAX_NAME) for part in error.field.split(".")]
        fields = [FieldProblem(pointer=_pointer(path), detail=_cut(error.message, _MAX_DETAIL))]
    return _problem(type(error), error.message, where, fields=fields, details=error.details)


def invalid(errors: Sequence[Mapping[str, Any]], where: Occurrence) -> Problem:
    """Word the errors of a validation by Pydantic: a sentence for each field, for twenty fields at most."""
    sentences: dict[str, str] = {}
    for error in errors:
        if error["loc"][-1:] != ("bool",):  # the other half of a union, whose first half says it better
            path = _path(error["loc"])
            sentences.setdefault(_pointer(path), _sentence(error, path))
    fields = [FieldProblem(pointer=pointer, detail=detail) for pointer, detail in sentences.items()][:_MAX_FIELDS]
    more = f" And {len(sentences) - 1} more, see `errors`." if len(sentences) > 1 else ""
    return _problem(InvalidInput, fields[0].detail + more, where, fields=fields)


def internal(where: Occurrence) -> Problem:
    """The answer to an unexpected exception: nothing of it but where to find it in the log."""
    detail = "Something went wrong here, not in your request. Quote the request id when you report it."
    return _problem(InvariantBroken, detail, where)


def response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an HTTP answer."""
    return Response(
        problem.model_dump_json(), status_code=problem.status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


async def _on_own(request: Request, error: Exception) -> Response:
    assert isinstance(error, GenPulseError)
    return response(problem_of(error, _occurrence(request)), _headers(error))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [{**one, "loc": one["loc"][1:]} for one in error.errors()]  # without `body`, `query`, `path`, `header`
    return response(invalid(errors, _occurrence(request)))


async def _on_http(request: Request, error: Exception) -> Response:
    """An error of the framework, or of HTTP itself, for which the core has no class."""
    assert isinstance(error, HTTPException)
    problem = of_status(error.status_code, _occurrence(request), error.detail)
    allow = {"Allow": ", ".join(_allowed(request))} if problem.status == HTTPStatus.METHOD_NOT_ALLOWED else {}
    return response(problem, {**(error.headers or {}), **allow})


def of_status(number: int, where: Occurrence, detail: str = "") -> Problem:
    """What HTTP itself has a status for."""
    status = HTTPStatus(number)
    code = _HTTP_CODES.get(status, MalformedRequest.code)
    return Problem(
        type=f"{ERROR_PAGE}#{code}",
        title=status.phrase.capitalize(),
        status=status,
        detail=_HTTP_DETAILS.get(status) or detail or HTTP_MEANINGS[code][1],
        code=code,
        errors=[],
        details={},
        **where._asdict(),
    )


def _allowed(request: Request) -> list[str]:
    """The methods of an address. The framework knows only those of the first function that is there.

    `/v1/webhooks/secret` is an address of its own, although it has the form of a webhook's.
    """
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    found = [route for route in iter_route_contexts(request.app.routes) if route.path_regex.match(path)]
    methods = {method for route in found if route.path == found[0].path for method in route.methods or ()}
    return [method for method in _METHODS if method in methods]


def _occurrence(request: Request) -> Occurrence:
    return Occurrence(_cut(request.scope["path"], _MAX_PATH), request.state.request_id)


def _problem(
    kind: type[GenPulseError],
    detail: str,
    where: Occurrence,
    *,
    fields: Sequence[FieldProblem] = (),
    details: Mapping[str, Any] = MappingProxyType({}),
) -> Problem:
    return Problem(
        type=f"{ERROR_PAGE}#{kind.code}",
        title=_CAPITAL.sub(" ", kind.__name__).capitalize(),
        status=kind.status,
        detail=_cut(detail, _MAX_DETAIL),
        code=kind.code,
        errors=list(fields),
        details=dict(details),
        **where._asdict(),
    )


def _headers(error: GenPulseError) -> dict[str, str]:
    match error:
        case Unauthenticated():
            return {"WWW-Authenticate": 'Bearer realm="genpulse"'}
        case RangeNotSatisfiable():
            return {"Content-Range": f"bytes */{error.details['size']}"}
        case DependencyDown() | RateLimited() | SpendLimitReached():
            return {"Retry-After": str(error.details.get("retry_after", _RETRY_SECONDS))}
        case _:
            return {}


def _sentence(error: Mapping[str, Any], path: Sequence[str]) -> str:
    name = f"`{'.'.join(path)}`" if path else "The body"
    if error["type"] in ("value_error", "media_input"):
        return f"{name}: {error['msg'].removeprefix('Value error, ')}."
    form = _SENTENCES.get(error["type"])
    if form is None:
        return f"{name}: {error['msg']}."
    return f"{name} {form.format_map(error.get('ctx') or {})}."


def _path(location: Sequence[str | int]) -> list[str]:
    """Pydantic's location without the names of union members, which are not in the request."""
    path: list[str] = []
    for index, part in enumerate(location):
        if isinstance(part, str) and (part.startswith("tagged-union[") or part == "[key]"):
            continue
        if part in _MEDIA_FORMS and index + 1 < len(location) and _holds_media(path):
            continue
        path.append(_cut(str(part), _MAX_NAME))
    return path


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _holds_media(path: Sequence[str]) -> bool:
    return bool(path) and (path[-1] in MEDIA_FIELDS or (path[-1].isdigit() and path[-2] in MEDIA_FIELDS))


def _pointer(path: Sequence[str]) -> str:
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in path)
