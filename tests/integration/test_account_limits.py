"""More work than an account may send at once, through the whole stack: it all comes to pass, and never too fast."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from genpulse.client import Client
from genpulse.schemas.states import GenerationStatus
from genpulse.stack import embedded_stack
from tests.servers.valkey import ValkeyServer, valkey_server

JOBS = 40
#: What the way to the cloud may take more for one call than for the next, in seconds.
JITTER = 0.5


@pytest.fixture(scope="module")
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
        request = {"model": "fal/flux-schnell", "input": {"prompt": "a red circle"}}
        accepted = await asyncio.gather(*(client.submit(request) for _ in range(JOBS)))
        for one in accepted:
            generation = await client.get(one.id)
            while not generation.status.is_final:
                await asyncio.sleep(0.2)
                generation = await client.get(one.id)
            assert generation.status is GenerationStatus.SUCCEEDED
        asked = (await world.get("/requests", params={"cloud": "fal", "kind": "submit"})).json()["requests"]
    times = sorted(one["time"] for one in asked)
    assert len(times) == JOBS
    for first in range(JOBS):
        for last in range(first, JOBS):
            allowed = 1 + times[last] - times[first] + JITTER
            assert last - first + 1 <= allowed, f"{last - first + 1} calls within {times[last] - times[first]:.2f} s"
