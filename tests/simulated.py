"""A simulator in process with a clock of its own, whoever calls it, and whom it calls back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from genpulse.simulator import ManualClock, Simulator, create_simulator
from genpulse.simulator.clouds import fal, replicate

FAL = {"Authorization": f"Key {fal.Fal.credentials.api_key}"}
REPLICATE = {"Authorization": f"Bearer {replicate.Replicate.credentials.api_key}"}
FLUX = "/fal/fal-ai/flux/dev"
PREDICTIONS = "/replicate/v1/predictions"
VERSION = "owner/model"


class World:
    """A simulator, its clock, and a caller of it."""

    def __init__(self, client: httpx.AsyncClient, simulator: Simulator, clock: ManualClock) -> None:
        self.client = client
        self.simulator = simulator
        self.clock = clock

    async def get(self, url: str, headers: dict[str, str] = FAL) -> httpx.Response:
        return await self.client.get(url, headers=headers)

    async def submit(self, prompt: str = "a fox", path: str = FLUX, **fields: Any) -> httpx.Response:
        return await self.client.post(path, headers=FAL, json={"prompt": prompt} | fields)

    async def predict(self, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = {"version": VERSION, "input": {"prompt": "a fox"}} | fields
        return await self.client.post(PREDICTIONS, headers=REPLICATE | (headers or {}), json=body)

    async def faults(self, *faults: dict[str, Any], cloud: str = "*") -> None:
        (await self.client.put(f"/_control/faults/{cloud}", json=list(faults))).raise_for_status()

    async def count(self, key: str) -> int:
        return (await self.client.get("/_control/jobs", params={"key": key})).json()["count"]


@asynccontextmanager
async def a_world(transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[World]:
    clock = ManualClock()
    simulator = Simulator(clock=clock, transport=transport)
    app = httpx.ASGITransport(create_simulator(simulator))
    async with httpx.AsyncClient(transport=app, base_url="http://sim") as client:
        yield World(client, simulator, clock)
    await simulator.aclose()


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not fact():  # noqa: ASYNC110 - facts have no events
            await asyncio.sleep(0.005)


class Receiver:
    """Takes callbacks, and answers with these statuses in turn."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[tuple[Request, bytes]] = []
        self._statuses = list(statuses)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.requests]

    @asynccontextmanager
    async def world(self) -> AsyncIterator[World]:
        app = Starlette(routes=[Route("/hook", self._take, methods=["POST"])])
        async with a_world(httpx.ASGITransport(app)) as made:
            yield made

    async def _take(self, request: Request) -> Response:
        self.requests.append((request, await request.body()))
        return Response(status_code=self._statuses.pop(0) if self._statuses else 204)


HOOK = "http://receiver/hook"
