"""ComfyUI: how far it is."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from websockets.http11 import Request, Response

from genpulse.providers.base import Credentials, Finished, Job, Pending
from genpulse.providers.comfyui import Comfyui
from genpulse.providers.comfyui.answers import Queue
from genpulse.providers.comfyui.progress import Progress
from genpulse.simulator import ManualClock, Settings, Simulator, create_simulator
from tests.unit.comfyui.shared import DIFFUSION, Workflow, call, node


@asynccontextmanager
async def served(simulator: Simulator) -> AsyncIterator[str]:
    """A real server: the socket of progress needs one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(create_simulator(simulator), log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with asyncio.timeout(10):
                while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                    await asyncio.sleep(0.01)
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running


@asynccontextmanager
async def running(
    workflow: Workflow, address: str, clock: ManualClock, http: httpx.AsyncClient
) -> AsyncIterator[tuple[Comfyui, Job]]:
    """A run that has begun, at a server of one's own."""
    cloud = Comfyui(f"http://{address}/comfyui", Credentials(), http)
    job = await cloud.submit(call(workflow))
    assert isinstance(job, Job)
    assert await cloud.poll(job, call()) == Pending(), "it waits"
    clock.advance(2)
    yield cloud, job


async def told(cloud: Comfyui, job: Job) -> float:
    """The next share that is told of."""
    async with asyncio.timeout(10):
        while True:
            state = await cloud.poll(job, call())
            assert isinstance(state, Pending)
            if state.fraction is not None:
                return state.fraction
            await asyncio.sleep(0.02)


async def test_progress_is_told_on_the_socket_however_rare_steps_are() -> None:
    clock = ManualClock(1_790_000_000)
    simulator = Simulator(Settings(seconds_per_job=8), clock=clock)
    async with (
        served(simulator) as address,
        httpx.AsyncClient() as http,
        running(DIFFUSION, address, clock, http) as (cloud, job),
    ):
        assert await cloud.poll(job, call()) == Pending(), "nothing has happened since we listen"
        fractions = []
        for _ in range(5):
            clock.advance(1)  # and no more until the next: whoever listens for a moment only would miss it
            fractions.append(await told(cloud, job))
            assert await cloud.poll(job, call()) == Pending(), "each is told once"
        assert fractions == sorted(fractions)
        assert 0 < fractions[0] < fractions[-1] < 1
        clock.advance(8)
        assert isinstance(await cloud.poll(job, call()), Finished)


async def test_workers_that_ask_for_one_run_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genpulse.providers.comfyui.progress._LISTEN_SECONDS", 1.2)
    clock = ManualClock(1_790_000_000)
    simulator = Simulator(Settings(seconds_per_job=8), clock=clock)
    async with (
        served(simulator) as address,
        httpx.AsyncClient() as http,
        running(DIFFUSION, address, clock, http) as (cloud, job),
    ):
        other = Comfyui(f"http://{address}/comfyui", Credentials(), http)
        for one in (cloud, other, cloud):
            await one.poll(job, call())
            clock.advance(0.9)
            assert 0 < await told(one, job) < 1


@pytest.mark.parametrize("kind", ["refused", "closed", "noise"])
async def test_a_socket_that_is_of_no_use_keeps_nothing_back(kind: str) -> None:
    async def noise(socket: websockets.ServerConnection) -> None:
        for frame in (
            "{",
            b"\0\0\0\1",
            '{"type": "progress_state"}',
            '{"type": "progress_state", "data": {"nodes": 1}}',
        ):
            await socket.send(frame if kind == "noise" else "")
        await socket.close()

    async with websockets.serve(noise, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        progress = Progress(f"http://127.0.0.1:{1 if kind == 'refused' else port}", {})
        assert await progress.of("run", nodes=3) is None
        assert await progress.of("run", nodes=3) is None


@pytest.mark.parametrize(
    ("nodes", "total", "share"),
    [
        ({"1": {"value": 1, "max": 1, "state": "finished"}}, 4, 0.25),
        ({"1": {"value": 1, "max": 1}, "2": {"value": 5, "max": 20, "state": "running"}}, 5, 0.25),
        ({"1": {"value": 0, "max": 0, "state": "finished"}, "2": {"value": 3, "max": 2}}, 0, 1.0),
        ({}, 0, 0.0),
    ],
)
async def test_a_share_is_of_all_nodes_that_run(nodes: dict[str, Any], total: int, share: float) -> None:
    async def tell(socket: websockets.ServerConnection) -> None:
        for run_id in ("another", "run"):
            data = {"prompt_id": run_id, "nodes": nodes if run_id == "run" else {"9": {"value": 1, "max": 9}}}
            await socket.send(json.dumps({"type": "progress_state", "data": data}))
        await socket.wait_closed()

    async with websockets.serve(tell, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        assert await Progress(f"http://127.0.0.1:{port}", {}).of("run", nodes=total) == share


def test_the_nodes_that_run_are_those_behind_the_outputs() -> None:
    idle = DIFFUSION | {"8": node("EmptyImage"), "9": node("SaveImage", images=["8", 0])}
    item = [0, "run", idle, {}, ["7"]]
    assert Queue(queue_running=[item], queue_pending=[]).nodes("run") == 7
    assert Queue(queue_running=[item], queue_pending=[]).nodes("another") == 0
    assert Queue(queue_running=[[0, "run"]], queue_pending=[]).nodes("run") == 0


@pytest.mark.parametrize("with_metadata", [False, True])
async def test_the_socket_tells_a_run_and_shows_previews(with_metadata: bool) -> None:
    clock = ManualClock(1_790_000_000)
    simulator = Simulator(Settings(seconds_per_job=8), clock=clock)
    async with (
        served(simulator) as address,
        httpx.AsyncClient(base_url=f"http://{address}/comfyui") as http,
        websockets.connect(f"ws://{address}/comfyui/ws?clientId=me", proxy=None) as ours,
        websockets.connect(f"ws://{address}/comfyui/ws?clientId=you", proxy=None) as theirs,
    ):
        for one in (ours, theirs):
            assert json.loads(await one.recv())["type"] == "status"
        if with_metadata:
            await ours.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
            assert json.loads(await ours.recv())["type"] == "feature_flags"
        await http.post("/prompt", json={"prompt": DIFFUSION, "client_id": "me"})
        clock.advance(4)
        kinds: list[str] = []
        preview = b""
        async with asyncio.timeout(10):
            while not kinds or kinds[-1] != "end":
                frame = await ours.recv()
                if isinstance(frame, bytes):
                    preview = frame
                    clock.advance(8)
                    continue
                message = json.loads(frame)
                kinds.append("end" if message["data"].get("node", "") is None else message["type"])
        assert kinds[:5] == ["execution_start", "execution_cached", "progress_state", "executing", "progress"]
        assert kinds[-3:] == ["executed", "execution_success", "end"]
        assert preview[:4] == (b"\0\0\0\4" if with_metadata else b"\0\0\0\1")
        assert b"\x89PNG" in preview
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(theirs.recv(), 0.2)


async def test_the_socket_is_not_led_elsewhere() -> None:
    met: list[str] = []

    async def silent(socket: websockets.ServerConnection) -> None:
        await socket.wait_closed()

    async def elsewhere(connection: websockets.ServerConnection, request: Request) -> Response:
        met.append(request.path)
        return connection.respond(200, "")

    async with websockets.serve(silent, "127.0.0.1", 0, process_request=elsewhere) as other:
        port = next(iter(other.sockets)).getsockname()[1]

        def redirect(connection: websockets.ServerConnection, _request: Request) -> Response:
            answer = connection.respond(302, "")
            answer.headers["Location"] = f"ws://127.0.0.1:{port}/ws"
            return answer

        async with websockets.serve(silent, "127.0.0.1", 0, process_request=redirect) as server:
            here = next(iter(server.sockets)).getsockname()[1]
            progress = Progress(f"http://127.0.0.1:{here}", {"X-API-Key": "secret"})
            assert await progress.of("run", nodes=1) is None
    assert met == []
