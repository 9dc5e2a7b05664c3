"""For people: the front page, the reference, and what each error code means."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from api.problems import ERROR_PAGE, HTTP_MEANINGS
from api.routing import OpenRoute
from api.security_headers import NOTHING
from genpulse.errors import GenPulseError

_SWAGGER = Path(str(files("fastapi_offline"))) / "static"
_SCRIPT, _STYLE = "swagger-ui-bundle.js", "swagger-ui.css"
_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true});'
_START_HASH = base64.b64encode(hashlib.sha256(_START.encode()).digest()).decode()
_DOCS = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>GenPulse</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="docs/{_STYLE}">
<div id="swagger-ui"></div>
<script src="docs/{_SCRIPT}"></script>
<script>{_START}</script></html>"""
_DOCS_POLICY = (
    f"{NOTHING}; script-src 'self' 'sha256-{_START_HASH}'; style-src 'self'; img-src data:; connect-src 'self'"
)
_KEPT = {"Cache-Control": "public, max-age=86400"}

router = APIRouter(route_class=OpenRoute, include_in_schema=False)


@router.get("/")
async def front_page(request: Request) -> RedirectResponse:
    """The reference, until there is a dashboard."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/docs")


@router.get("/docs")
async def reference_page() -> HTMLResponse:
    """Every field of the API, to be tried out."""
    return HTMLResponse(_DOCS, headers={"Content-Security-Policy": _DOCS_POLICY})


@router.get(f"/docs/{_SCRIPT}")
async def reference_script() -> FileResponse:
    """What fills the page."""
    return FileResponse(_SWAGGER / _SCRIPT, media_type="text/javascript", headers=_KEPT)


@router.get(f"/docs/{_STYLE}")
async def reference_style() -> FileResponse:
    """What it looks like."""
    return FileResponse(_SWAGGER / _STYLE, media_type="text/css", headers=_KEPT)


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
