"""For people: the front page, and what each error code means."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from api.problems import ERROR_PAGE, HTTP_MEANINGS
from api.routing import OpenRoute
from genpulse.errors import GenPulseError

router = APIRouter(route_class=OpenRoute, include_in_schema=False)


@router.get("/")
async def front_page(request: Request) -> RedirectResponse:
    """The reference, until there is a dashboard."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")


@router.get(ERROR_PAGE)
async def error_page() -> HTMLResponse:
    """What the `type` of every problem points to; docs/errors.md says more."""
    meanings = {error.code: (error.status, error.__doc__ or "") for error in _errors(GenPulseError)} | HTTP_MEANINGS
    entries = "".join(
        f'<dt id="{code}"><code>{code}</code> {status}</dt><dd>{escape(meaning)}</dd>'
        for code, (status, meaning) in sorted(meanings.items())
    )
    return HTMLResponse(f'<!doctype html><html lang="en"><title>Errors</title><h1>Errors</h1><dl>{entries}</dl></html>')


def _errors(branch: type[GenPulseError]) -> Iterator[type[GenPulseError]]:
    for error in branch.__subclasses__():
        if "code" in vars(error) and error.__module__ == GenPulseError.__module__:
            yield error
        yield from _errors(error)
