"""Any process may die at any moment: accepted work goes on where it stood, and finished steps are not run again."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from genpulse.client import Client
from genpulse.schemas.generations import Generation
from genpulse.schemas.states import GenerationStatus, StepStatus
from genpulse.stack import EmbeddedStack
from tests.faults.conftest import ended, eventually, kill, running_step, step_of

pytestmark = pytest.mark.timeout(400)

FAKE: dict[str, Any] = {"model": "local/fake", "operation": "text-to-image", "input": {"prompt": "x"}}

CHAIN: dict[str, Any] = {
    "steps": [
        {
            "id": "still",
            "model": "local/shapes",
            "operation": "text-to-image",
            "input": {"prompt": "a red circle on a blue background", "steps": 50},
        },
        {"id": "clip", "model": "local/motion", "input": {"prompt": "moving right", "duration": 2, "steps": 50}},
        {"id": "hd", "operation": "video-upscale", "input": {"scale": 4}},
    ]
}


def assert_each_step_succeeded_once(generation: Generation) -> None:
    assert generation.status == GenerationStatus.SUCCEEDED, generation.error
    for step in generation.steps:
        assert step.status == StepStatus.SUCCEEDED
        assert [attempt.status for attempt in step.attempts].count("succeeded") == 1
        assert step.attempts[-1].status == "succeeded", "nothing was tried after the success"
        assert len(step.outputs) == 1


async def test_the_engine_worker_is_killed_in_every_step(stack: EmbeddedStack, client: Client) -> None:
    generation_id = (await client.submit(CHAIN)).id
    for step_id in ("still", "clip", "hd"):
        await running_step(client, generation_id, step_id)
        kill(stack, "worker-gpu")
    generation = await ended(client, generation_id)
    assert_each_step_succeeded_once(generation)
    tries = {step.id: len(step.attempts) for step in generation.steps}
    assert sum(tries.values()) > len(tries), "at least one kill hit a running step"
    assert [one.status for one in step_of(generation, "still").attempts[:-1]] == ["failed"] * (tries["still"] - 1)


async def test_the_workflow_worker_is_killed_in_every_step(stack: EmbeddedStack, client: Client) -> None:
    generation_id = (await client.submit(CHAIN)).id
    for step_id in ("still", "clip", "hd"):
        await running_step(client, generation_id, step_id)
        kill(stack, "worker")
    generation = await ended(client, generation_id)
    assert_each_step_succeeded_once(generation)
    assert [len(step.attempts) for step in generation.steps] == [1, 1, 1], "its death is none of the engine's business"


async def test_what_is_accepted_while_temporal_is_down_runs_when_it_is_back(
    stack: EmbeddedStack, client: Client
) -> None:
    await stack.stop("temporal")
    accepted = await client.submit(FAKE)
    assert accepted.status == GenerationStatus.QUEUED
    canceled = await client.submit(FAKE)
    await client.cancel(canceled.id)
    assert (await ended(client, canceled.id)).status == GenerationStatus.CANCELED, "this needs no Temporal"
    async with httpx.AsyncClient() as plain:
        ready = await plain.get(f"{stack.api_url}/readyz")
    assert ready.status_code == 503
    assert "temporal" in ready.text.lower()
    await stack.start("temporal")
    assert (await ended(client, accepted.id)).status == GenerationStatus.SUCCEEDED


async def test_the_api_is_killed_right_after_accepting(stack: EmbeddedStack, client: Client) -> None:
    await stack.stop("temporal")  # so that the dispatcher cannot have delivered them already
    accepted = [await client.submit(FAKE) for _ in range(5)]
    kill(stack, "api")
    await stack.start("temporal")
    for one in accepted:
        assert (await ended(client, one.id)).status == GenerationStatus.SUCCEEDED


async def test_everything_is_found_again_after_a_restart(stack: EmbeddedStack, client: Client) -> None:
    first = await client.submit(FAKE, idempotency_key="order-42")
    finished = await ended(client, first.id)
    for name in ("worker", "api", "temporal"):
        await stack.stop(name)
    for name in ("temporal", "api", "worker"):
        await stack.start(name)

    async def answers() -> bool:
        return (await client.get(first.id)).status == GenerationStatus.SUCCEEDED

    await eventually(answers)
    again = await client.submit(FAKE, idempotency_key="order-42")
    assert again.id == first.id
    assert (await client.get(first.id)).outputs[0].sha256 == finished.outputs[0].sha256
    assert first.id in [one.id for one in await client.generations(status="succeeded")]
    assert (await ended(client, (await client.submit(FAKE)).id)).status == GenerationStatus.SUCCEEDED
