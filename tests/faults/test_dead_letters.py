"""A provider's outage, with everything of ours killed meanwhile: one command has all of it go on."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from genpulse.client import Client
from genpulse.schemas.states import GenerationStatus
from genpulse.stack import EmbeddedStack, embedded_stack
from tests.faults.conftest import ended, eventually, kill

pytestmark = pytest.mark.timeout(400)

ROOT = Path(__file__).parents[2]
#: Of each, fewer than open a circuit: calls would then wait, and not fail.
EACH = 4
CLOUDS = ("fal", "replicate")
MODELS = {"fal": "fal/flux-schnell", "replicate": "replicate/flux-schnell"}
REQUEST = {"operation": "text-to-image", "input": {"prompt": "a red circle"}}
COUNT = EACH * len(CLOUDS)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[EmbeddedStack]:
    async with embedded_stack(tmp_path / "data", simulate=True) as running:
        await running.stop("worker-gpu")
        yield running


async def command(stack: EmbeddedStack, *arguments: str) -> tuple[int, str]:
    """Run `genpulse` as an operator does; return its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "genpulse.cli", *arguments, "--url", stack.api_url, "--key", stack.admin_key),
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_one_command_has_all_of_it_go_on(stack: EmbeddedStack, client: Client) -> None:
    async with httpx.AsyncClient(base_url=f"{stack.simulator_url}/_control") as world:
        for cloud in CLOUDS:
            (await world.put(f"/faults/{cloud}", json=[{"type": "lost_answer"}])).raise_for_status()
        made = [(await client.submit(REQUEST | {"model": MODELS[cloud]})).id for cloud in CLOUDS for _ in range(EACH)]

        async def all_wait() -> bool:
            waiting = await client.generations(limit=100, status=GenerationStatus.DEAD_LETTERED)
            return {one.id for one in waiting} == set(made)

        await eventually(all_wait)
        (await world.delete("/faults")).raise_for_status()
        for name in ("worker", "api", "temporal"):
            kill(stack, name)
        await stack.wait_until_ready()
        status, printed = await command(stack, "jobs", "dead-letters")
        assert status == 0
        for cloud in CLOUDS:
            assert f"{EACH}  {MODELS[cloud]}  outcome_unknown  {cloud}" in printed
        status, printed = await command(stack, "jobs", "retry", "--code", "outcome_unknown", "--yes")
        assert (status, printed.splitlines()[-1]) == (0, f"{COUNT} go on, 0 refused.")
        for generation_id in made:
            generation = await ended(client, generation_id)
            assert generation.status is GenerationStatus.SUCCEEDED, generation.error
            assert [attempt.billing for attempt in generation.steps[0].attempts] == ["possible", None]
        jobs = (await world.get("/jobs")).json()
        assert jobs["count"] == 2 * COUNT, "sent again once, because a person said so"
