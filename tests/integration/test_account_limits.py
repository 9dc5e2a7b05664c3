"""More work than an account may send at once, through the whole stack: it all comes to pass, and never too fast."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client as TemporalClient
from temporalio.service import RPCError

from genpulse.client import Client
from genpulse.schemas.states import GenerationStatus
from genpulse.stack import embedded_stack
from tests.servers.valkey import ValkeyServer, valkey_server

JOBS = 40
#: Seconds by which a busy machine may hold one call up on its way to the cloud, and not the next.
JITTER = 3


FAL = {"model": "fal/flux-schnell", "input": {"prompt": "a red circle"}}


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


async def test_forty_jobs_at_once_on_an_account_of_one_a_second(valkey: ValkeyServer, tmp_path: Path) -> None:
    environment = {"GENPULSE_REDIS__URL": valkey.url}
    environment |= {"GENPULSE_PROVIDERS__FAL__RATE": "1", "GENPULSE_PROVIDERS__FAL__BURST": "1"}
    async with (
        embedded_stack(tmp_path / "data", environment=environment, simulate=True) as stack,
        Client(stack.api_url, stack.admin_key) as client,
        httpx.AsyncClient(base_url=f"{stack.simulator_url}/_control") as world,
    ):
        await stack.stop("worker-gpu")
        accepted = await asyncio.gather(*(client.submit(FAL) for _ in range(JOBS)))
        for one in accepted:
            await _succeeded(client, one.id)
        times = sorted(one["time"] for one in await _sent(world))
    assert len(times) == JOBS
    for first in range(JOBS):
        for last in range(first, JOBS):
            allowed = 1 + times[last] - times[first] + JITTER
            assert last - first + 1 <= allowed, f"{last - first + 1} calls within {times[last] - times[first]:.2f} s"


async def test_while_redis_is_away_nothing_is_sent_and_nothing_is_lost(valkey: ValkeyServer, tmp_path: Path) -> None:
    async with (
        embedded_stack(tmp_path / "data", environment={"GENPULSE_REDIS__URL": valkey.url}, simulate=True) as stack,
        Client(stack.api_url, stack.admin_key) as client,
        httpx.AsyncClient(base_url=f"{stack.simulator_url}/_control") as world,
    ):
        await stack.stop("worker-gpu")
        temporal = await TemporalClient.connect(stack.temporal_address)
        valkey.stop()
        accepted = [await client.submit(FAL) for _ in range(3)]
        for one in accepted:
            while "nothing is sent until it does" not in await _why_it_waits(temporal, one.id):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert await _sent(world) == []
        valkey.start()
        for one in accepted:
            await _succeeded(client, one.id)
        assert len(await _sent(world)) == len(accepted)


async def test_a_worker_that_is_to_stop_takes_nothing_new_on_any_queue(tmp_path: Path) -> None:
    """Also while it waits for a call on another queue, whose answer takes its time."""
    async with (
        embedded_stack(tmp_path / "data", simulate=True) as stack,
        Client(stack.api_url, stack.admin_key) as client,
        httpx.AsyncClient(base_url=f"{stack.simulator_url}/_control") as world,
    ):
        await stack.stop("worker-gpu")
        slow = [{"type": "slow_answer", "seconds": 5, "times": 1}]
        assert (await world.put("/faults/replicate", json=slow)).is_success
        first = await client.submit({**FAL, "model": "replicate/flux-schnell"})
        while not await _sent(world, "replicate"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        stopping = asyncio.create_task(stack.stop("worker"))
        await asyncio.sleep(0.5)
        second = await client.submit(FAL)
        await stopping
        assert await _sent(world) == []
        await stack.start("worker")
        for one in (first, second):
            await _succeeded(client, one.id)
        assert len(await _sent(world, "replicate")) == 1


async def _why_it_waits(temporal: TemporalClient, generation_id: str) -> str:
    """The last failure of the activity that a generation waits for."""
    with suppress(RPCError):  # not dispatched yet
        described = await temporal.get_workflow_handle(generation_id).describe()
        return "".join(one.last_failure.message for one in described.raw_description.pending_activities)
    return ""


async def _succeeded(client: Client, generation_id: str) -> None:
    generation = await client.get(generation_id)
    while not generation.status.is_final:
        await asyncio.sleep(0.2)
        generation = await client.get(generation_id)
    assert generation.status is GenerationStatus.SUCCEEDED


async def _sent(world: httpx.AsyncClient, cloud: str = "fal") -> list[dict[str, Any]]:
    """The paid calls that the cloud has got."""
    answer = await world.get("/requests", params={"cloud": cloud, "kind": "submit"})
    requests: list[dict[str, Any]] = answer.json()["requests"]
    return requests
