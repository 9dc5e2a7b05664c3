"""One exchange: a request is recorded, struck by faults, and answered by its cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.routing import Route as StarletteRoute

from genpulse.simulator.core import Cloud
from genpulse.simulator.faults import (
    CallFault,
    ConnectionReset,
    ExpiredMedia,
    Hung,
    LostAnswer,
    Malformed,
    RateLimited,
    ServerError,
    SlowAnswer,
)
from genpulse.simulator.wire import Call, Ending, HangUp, Kind, Refusal, Route

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PROXY_PAGE = (
    "<html>\n<head><title>{0}</title></head>\n<body>\n<center><h1>{0}</h1></center>\n<hr><center>nginx</center>"
)


def mount(cloud: Cloud, path: str) -> Mount:
    """A cloud under a path: its routes, its media, and its own way to say that there is nothing else."""
    exchange = Exchange(cloud)
    every = [
        Route("GET", "/media/uploads/{id}/{name}", exchange.serve_upload, Kind.MEDIA, public=True),
        Route("GET", "/media/{id}/{file}", exchange.serve_output, Kind.MEDIA, public=True),
        *cloud.routes(),
        *(Route(method, "/{path:path}", exchange.serve_nothing) for method in _METHODS),
    ]
    return Mount(path, routes=exchange.bind(every))


class Exchange:
    """What stands before every handler of a cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def bind(self, routes: Sequence[Route | BaseRoute]) -> list[BaseRoute]:
        return [self._bind(route) if isinstance(route, Route) else route for route in routes]

    def _bind(self, route: Route) -> BaseRoute:
        async def endpoint(request: Request) -> Response:
            return await self._answer(route, Call(request, await request.body()))

        return StarletteRoute(route.path, endpoint, methods=[route.method])

    async def _answer(self, route: Route, call: Call) -> Response:
        world, cloud = self._cloud.world, self._cloud
        kind = route.kind if isinstance(route.kind, Kind) else route.kind(call)
        entry = world.record.add(call, cloud=cloud.name, kind=kind, time=world.clock.now())
        delay, fault = world.faults.of_call(cloud.name, kind)
        await asyncio.sleep(delay)
        if isinstance(fault, Hung) and fault.seconds is not None:
            await asyncio.sleep(fault.seconds)
        response = self._instead(call, kind, fault) or _spoiled(await self._handle(route, call), fault)
        if isinstance(fault, SlowAnswer):
            await asyncio.sleep(fault.seconds)
        if not isinstance(response, HangUp):
            entry.status = response.status_code
        return response

    def _instead(self, call: Call, kind: Kind, fault: CallFault | None) -> Response | None:
        """What a fault answers in place of the cloud."""
        match fault:
            case ConnectionReset():
                return HangUp(Ending.RESET)
            case Hung(seconds=seconds):
                return HangUp(Ending.SILENT if seconds is None else Ending.CLOSED)
            case RateLimited(retry_after=seconds):
                response = self._cloud.throttled(call).response
                if seconds is not None:
                    response.headers["Retry-After"] = f"{seconds:g}"
                return response
            case ServerError(status=status, html=True):
                return HTMLResponse(_PROXY_PAGE.format(f"{status} Server Error"), status)
            case ServerError(status=status) if kind is Kind.MEDIA:
                return _gone(status)
            case ServerError(status=status):
                return self._cloud.broken(call, status).response
            case ExpiredMedia(status=status):
                return _gone(status)
        return None

    async def _handle(self, route: Route, call: Call) -> Response:
        try:
            if not route.public:
                self._cloud.authenticate(call)
            return await route.handler(call)
        except ValidationError as error:
            return self._cloud.invalid(call, error).response
        except Refusal as refusal:
            return refusal.response

    async def serve_output(self, call: Call) -> Response:
        job = self._cloud.world.jobs.get((self._cloud.name, call.path["id"]))
        if job is None or job.ended_at is None:
            return _gone(404)
        lifetime = self._cloud.media_lifetime
        if lifetime is not None and self._cloud.world.clock.now() > job.ended_at + lifetime:
            return _gone(403)
        for file in job.files:
            if file.name == call.path["file"]:
                return Response(await asyncio.to_thread(file.read), media_type=file.content_type)
        return _gone(404)

    async def serve_upload(self, call: Call) -> Response:
        upload = self._cloud.world.uploads.get((self._cloud.name, call.path["id"]))
        return Response(upload.content, media_type=upload.content_type) if upload else _gone(404)

    async def serve_nothing(self, call: Call) -> Response:
        raise self._cloud.not_found(call)


def _spoiled(response: Response, fault: CallFault | None) -> Response:
    """What is left of the cloud's answer."""
    match fault:
        case LostAnswer():
            return HangUp(Ending.CLOSED)
        case Malformed():
            body = bytes(response.body)
            return Response(body[: len(body) // 2], response.status_code, media_type=response.headers["Content-Type"])
    return response


def _gone(status: int) -> Response:
    return PlainTextResponse("This file is not here, or not any more.", status)
