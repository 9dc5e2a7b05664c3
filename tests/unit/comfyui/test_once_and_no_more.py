"""ComfyUI: once, and no more."""

from __future__ import annotations

import httpx
import pytest

from genpulse.errors import (
    JobMissing,
    OutcomeUnknown,
    ProviderUnavailable,
)
from genpulse.providers.base import Job, Pending
from genpulse.providers.comfyui import Comfyui
from genpulse.simulator import create_simulator
from genpulse.simulator.clouds.comfyui import Comfyui as Simulated
from genpulse.simulator.jobs import State
from tests.clouds import World, simulated
from tests.unit.comfyui.shared import PICTURE, call


@pytest.mark.parametrize("seconds", [0, 8], ids=["ended", "waiting"])
async def test_a_repeated_call_finds_its_run(seconds: float) -> None:
    async with simulated(Simulated, Comfyui, seconds=seconds) as world:
        world.fault(type="lost_answer", times=1)
        with pytest.raises(OutcomeUnknown):
            await world.account().submit(call())
        job = await world.account().submit(call())
        (made,) = world.simulator.find_jobs()
        assert isinstance(job, Job)
        assert job.id == made.id
        assert world.account().remembers_key(call())
        assert (await world.account().submit(call(key="another"))) != job


async def test_a_run_that_a_restart_has_lost_is_missing() -> None:
    async with simulated(Simulated, Comfyui, seconds=8) as world:
        job = await world.account().submit(call())
        assert isinstance(job, Job)
        assert await world.account().poll(job, call()) == Pending()
        world.simulator.jobs.clear()
        with pytest.raises(JobMissing, match="restarted"):
            await world.account().poll(job, call())


async def test_the_server_runs_an_id_twice_if_it_is_told_to(world: World[Comfyui]) -> None:
    body = {"prompt": PICTURE, "prompt_id": "00000000-0000-4000-8000-000000000000"}
    for _ in range(3):
        assert (await world.http.post(f"{world.base_url}/prompt", json=body)).is_success
    assert len(world.simulator.find_jobs()) == 3, "a call that is sent again is a second run"


async def test_a_server_that_is_down(world: World[Comfyui]) -> None:
    world.fault(type="server_error", times=1)
    with pytest.raises(ProviderUnavailable):
        await world.account().submit(call())
    assert world.simulator.find_jobs() == []


@pytest.mark.parametrize("seconds_gone", [0, 4], ids=["queued", "running"])
@pytest.mark.parametrize("newer", [True, False], ids=["by id", "by queue and interrupt"])
async def test_a_run_is_cancelled(seconds_gone: float, newer: bool) -> None:
    async with simulated(Simulated, Comfyui, seconds=8) as world:
        if not newer:
            app = _without_jobs(world)
            world.http = httpx.AsyncClient(transport=app)
        job = await world.account().submit(call())
        assert isinstance(job, Job)
        world.clock.advance(seconds_gone)
        await world.account().cancel(job)
        assert world.simulator.jobs["comfyui", job.id].state is State.CANCELLED
        await world.account().cancel(job)


def _without_jobs(world: World[Comfyui]) -> httpx.AsyncBaseTransport:
    """An older server: it has no `/api/jobs`."""
    inner = httpx.ASGITransport(create_simulator(world.simulator))

    class Older(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if "/api/jobs" in request.url.path:
                return httpx.Response(405)
            return await inner.handle_async_request(request)

    return Older()
