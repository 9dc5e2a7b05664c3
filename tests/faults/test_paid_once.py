"""The worker is killed between sending a paid call and writing down its answer: never are two jobs made for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from genpulse.client import Client
from genpulse.schemas.generations import Generation
from genpulse.schemas.states import GenerationStatus
from genpulse.simulator.clouds import CLOUDS
from genpulse.stack import EmbeddedStack, embedded_stack
from tests.faults.conftest import eventually, kill
from tests.matrix import FAMILIES, hold

pytestmark = pytest.mark.timeout(400)

#: Longer than it takes to see that every job has been made, and to kill.
SECONDS_TO_ANSWER = 20


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[EmbeddedStack]:
    async with embedded_stack(tmp_path / "data", simulate=True) as running:
        await running.stop("worker-gpu")
        yield running


@pytest.fixture
async def world(stack: EmbeddedStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{stack.simulator_url}/_control") as controls:
        yield controls


async def test_a_kill_between_sending_and_recording(
    stack: EmbeddedStack, client: Client, world: httpx.AsyncClient
) -> None:
    late = {"type": "slow_answer", "seconds": SECONDS_TO_ANSWER}
    for cloud in CLOUDS:
        (await world.put(f"/faults/{cloud.name}", json=[late])).raise_for_status()
    sent = {family: (await client.submit(request)).id for family, request in FAMILIES.items()}
    await eventually(lambda: _all_made(world))
    kill(stack, "worker")
    (await world.delete("/faults")).raise_for_status()
    ended = {family: await _ended(client, generation_id) for family, generation_id in sent.items()}
    outcomes = {family: _outcome(generation) for family, generation in ended.items()}
    assert set(outcomes.values()) <= {"✓", "?"}, outcomes
    jobs = (await world.get("/jobs")).json()
    assert jobs["count"] == len(FAMILIES), "one job for each, whatever became of it"
    hold("faults", ["", *FAMILIES], {"worker killed": [outcomes[family] for family in FAMILIES]})


async def _all_made(world: httpx.AsyncClient) -> bool:
    count: int = (await world.get("/jobs")).json()["count"]
    return count == len(FAMILIES)


async def _ended(client: Client, generation_id: str) -> Generation:
    async def look() -> bool:
        status = (await client.get(generation_id)).status
        return status.is_final or status is GenerationStatus.DEAD_LETTERED

    await eventually(look)
    return await client.get(generation_id)


def _outcome(generation: Generation) -> str:
    if generation.status is GenerationStatus.SUCCEEDED:
        return "✓"
    error: Any = generation.error
    return "?" if error.code == "outcome_unknown" else f"✗ `{error.code}`"
