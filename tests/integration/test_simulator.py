"""The simulated clouds behind a real server: what only shows on a real connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from genpulse.simulator import Settings, Simulator, create_simulator
from genpulse.simulator.clouds.fal import Fal

HEADERS = {"Authorization": f"Key {Fal.credentials.api_key}"}
PATH = "/fal/fal-ai/flux/dev"


@asynccontextmanager
async def serving(app: ASGIApp, http: str = "auto") -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, http=http, log_config=None, access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with asyncio.timeout(10):
                while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                    await asyncio.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


@pytest.mark.parametrize("http", ["httptools", "h11"])
@pytest.mark.parametrize(
    ("fault", "error", "jobs"),
    [
        ("lost_answer", httpx.RemoteProtocolError, 1),
        ("connection_reset", httpx.ReadError, 0),
        ("hung", httpx.ReadTimeout, 0),
    ],
)
async def test_connection_ends_without_an_answer(http: str, fault: str, error: type[Exception], jobs: int) -> None:
    app = create_simulator()
    async with serving(app, http) as url, httpx.AsyncClient(base_url=url, timeout=0.5, trust_env=False) as client:
        await client.put("/_control/faults/fal", json=[{"type": fault, "times": 1}])
        with pytest.raises(error):
            await client.post(PATH, headers=HEADERS, json={"prompt": "lost"})
        assert (await client.get("/_control/jobs?key=lost")).json()["count"] == jobs
        assert (await client.post(PATH, headers=HEADERS, json={"prompt": "found"})).status_code == 200


async def test_callback_arrives() -> None:
    arrived: asyncio.Queue[str] = asyncio.Queue()

    async def take(request: Request) -> Response:
        arrived.put_nowait((await request.json())["request_id"])
        return Response(status_code=204)

    receiver = Starlette(routes=[Route("/hook", take, methods=["POST"])])
    clouds = create_simulator(Simulator(Settings(seconds_per_job=0.1)))
    async with (
        serving(receiver) as hook,
        serving(clouds) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        job = await client.post(PATH, headers=HEADERS, params={"fal_webhook": f"{hook}/hook"}, json={"prompt": "a fox"})
        assert await asyncio.wait_for(arrived.get(), 5) == job.json()["request_id"]
        media = (await client.get(job.json()["response_url"], headers=HEADERS)).json()["images"][0]
        assert (await client.get(media["url"])).headers["Content-Type"] == "image/jpeg"
