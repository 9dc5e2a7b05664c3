"""How a request reaches its function: who calls, which query parameters there are, and only then the body."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from api.admission import caller_of, count
from api.bodies import read_json
from api.services import Services
from genpulse.errors import InvalidInput
from genpulse.security import Caller

Handle = Callable[[Request], Awaitable[Response]]


class OpenRoute(APIRoute):
    """A route for everybody. A query parameter that it does not know is an error, not ignored."""

    def get_route_handler(self) -> Any:
        handle = super().get_route_handler()
        needs_body = self.body_field is not None and self.body_field.field_info.is_required()
        known = {one.alias for one in get_flat_params(self.dependant) if isinstance(one.field_info, params.Query)}

        async def answer(request: Request) -> Response:
            await self._admit(request)
            _refuse_nul(request)
            _refuse_unknown(request, known)
            if needs_body or (self.body_field is not None and _has_body(request)):
                services: Services = request.app.state.services
                request = JsonRequest(request, await read_json(request, services.settings.server.max_body_bytes))
            return await handle(request)

        return answer

    async def _admit(self, request: Request) -> None:
        """Nobody is refused."""


class KeyRoute(OpenRoute):
    """A route that takes a key: a stranger is refused before anything of the request is read."""

    async def _admit(self, request: Request) -> None:
        request.state.caller = await self._identify(request)
        await count(request, request.state.caller)

    async def _identify(self, request: Request) -> Caller:
        return await caller_of(request)


class JsonRequest(Request):
    """A request whose JSON has been read, by stricter rules than the framework's."""

    def __init__(self, request: Request, value: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._value = value

    async def body(self) -> bytes:
        """Something, so that the framework asks for the JSON."""
        return b"-"

    async def json(self) -> Any:
        return self._value


def _has_body(request: Request) -> bool:
    """Whether one comes, by what the headers say (RFC 9112, section 6)."""
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


def _refuse_nul(request: Request) -> None:
    """No id and no value has that character, and one of the databases cannot even be asked for it."""
    if "\0" in request.scope["path"]:
        raise HTTPException(404)
    for name, value in request.query_params.multi_items():
        if "\0" in value:
            raise InvalidInput(f"`{name}` holds the character \\u0000; remove it.", field=name)


def _refuse_unknown(request: Request, known: set[str]) -> None:
    for name in request.query_params:
        if name not in known:
            takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
            raise InvalidInput(f"`{name}` is no query parameter of this address; {takes}.", field=name)
