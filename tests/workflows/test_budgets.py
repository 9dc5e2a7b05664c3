"""Each budget of time ends a step with a code of its own, and what cancelling leaves behind is written down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from genpulse.schemas.states import GenerationStatus
from genpulse.simulator.faults import FAULTS
from tests.workflows.conftest import FAKE, House, until
from tests.workflows.test_dead_letters import FAL, tried, until_status
from tests.workflows.test_generation import hangs

LISTED: dict[str, Any] = {
    "model": "volcengine/seedance-2",
    "operation": "text-to-video",
    "input": {"prompt": "a red circle"},
}


def fault(house: House, cloud: str, **values: object) -> None:
    house.world.faults.put(cloud, FAULTS.validate_python([values]))


async def failed(house: House, **request: object) -> dict[str, Any]:
    """The error that a generation ends with."""
    ticket = await house.accept(**request)
    with pytest.raises(WorkflowFailureError):
        await (await house.start(ticket)).result()
    row, _ = await house.rows(ticket.generation_id)
    assert row.status == GenerationStatus.FAILED
    assert row.error is not None
    return row.error


async def test_no_worker_takes_it_within_its_time_to_start(house: House) -> None:
    ticket = await house.accept(**(FAKE | {"start_seconds": 30}))
    nobody = [ticket.steps[0].model_copy(update={"queue": f"{house.queue}-nobody"})]
    with pytest.raises(WorkflowFailureError):
        await (await house.start(ticket.model_copy(update={"steps": nobody}))).result()
    row, _ = await house.rows(ticket.generation_id)
    assert row.error is not None
    assert (row.error["code"], row.error["details"]) == ("provider_throttled", {"budget": "start"})


async def test_its_turn_at_the_cloud_does_not_come_within_its_time_to_start(house: House) -> None:
    fault(house, "fal", type="rate_limited", retry_after=20)
    error = await failed(house, **FAL, start_seconds=60)
    assert (error["code"], error["details"]) == ("provider_throttled", {"budget": "start"})
    assert house.world.find_jobs() == []


async def test_a_fallback_takes_what_does_not_start_in_time(house: House) -> None:
    fault(house, "fal", type="rate_limited", retry_after=20)
    generation_id, _ = await house.run(**FAL, start_seconds=60, fallbacks=["replicate/flux-schnell"])
    made = [(one.provider, one.status, one.billing) for one in await tried(house, generation_id)]
    assert made == [("fal", "canceled", "none"), ("replicate", "succeeded", None)]
    assert len(house.world.find_jobs()) == 1


async def test_a_job_that_is_not_done_within_its_time_to_run_is_cancelled(house: House) -> None:
    fault(house, "fal", type="stuck")
    error = await failed(house, **FAL, run_seconds=60)
    assert (error["code"], error["details"]) == ("provider_failed", {"budget": "run"})
    (job,) = house.world.find_jobs()
    assert job.state == "cancelled"


async def test_the_engine_is_stopped_when_its_time_to_run_is_over(house: House) -> None:
    house.engine.behaviour = [hangs]
    with house.environment.with_time_skipping_disabled():
        error = await failed(house, **(FAKE | {"run_seconds": 2}))
    assert (error["code"], error["details"]) == ("provider_failed", {"budget": "run"})
    assert len(house.engine.tasks) == 1, "a hung device is not tried ten times"


async def test_the_callers_deadline_is_told_from_the_budgets(house: House) -> None:
    fault(house, "fal", type="stuck")
    error = await failed(house, **FAL, deadline_seconds=60, run_seconds=3600)
    assert (error["code"], error["details"]) == ("deadline_exceeded", {"budget": "deadline"})


async def test_a_lost_call_whose_time_is_up_lets_nobody_go_ahead_beside_it(house: House) -> None:
    """fal has no list to look it up in: a second model might be paid beside the first."""
    fault(house, "fal", type="lost_answer", times=1)
    ticket = await house.accept(**FAL, start_seconds=3, fallbacks=["replicate/flux-schnell"])
    with house.environment.with_time_skipping_disabled():
        handle = await house.start(ticket)
        row = await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
        await handle.cancel()
    assert row.error is not None and row.error["code"] == "outcome_unknown"
    assert len(house.world.find_jobs()) == 1


async def canceled(house: House, cloud_jobs: int, **request: object) -> str:
    """Cancel a generation once its job is there; return the generation's id."""
    with house.environment.with_time_skipping_disabled():
        ticket = await house.accept(**request)
        handle = await house.start(ticket)
        await until(lambda: len(house.world.find_jobs()) == cloud_jobs)
        await _known(house, ticket.generation_id)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    row, _ = await house.rows(ticket.generation_id)
    assert row.status == GenerationStatus.CANCELED
    return ticket.generation_id


async def _known(house: House, generation_id: str) -> None:
    async with asyncio.timeout(30):
        while (await tried(house, generation_id))[0].sent_at is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_cancelling_at_a_cloud_that_can_leaves_what_its_terms_say(house: House) -> None:
    fault(house, "fal", type="stuck")
    generation_id = await canceled(house, 1, **FAL)
    (attempt,) = await tried(house, generation_id)
    assert (attempt.status, attempt.billing) == ("canceled", "possible")
    assert house.world.find_jobs()[0].state == "cancelled"


async def test_cancelling_at_a_cloud_that_cannot_is_billed_in_full(house: House) -> None:
    fault(house, "kling", type="stuck")
    generation_id = await canceled(house, 1, model="kling/kling-3.0", operation="text-to-video", input=FAL["input"])
    (attempt,) = await tried(house, generation_id)
    assert (attempt.status, attempt.billing) == ("canceled", "full")


async def test_a_lost_call_is_looked_for_before_it_is_given_up(house: House) -> None:
    """Its answer was lost, and then the caller cancels: the job is found in the cloud's list, and asked about."""
    faults = [{"type": "lost_answer", "times": 1}, {"type": "stuck"}]
    house.world.faults.put("volcengine", FAULTS.validate_python(faults))
    generation_id = await canceled(house, 1, **LISTED)
    (attempt,) = await tried(house, generation_id)
    assert (attempt.status, attempt.billing) == ("canceled", "possible")
    (job,) = house.world.find_jobs()
    assert any(entry.path.endswith(job.id) for entry in house.world.record.find(cloud="volcengine"))


async def test_what_was_never_sent_bills_nothing(house: House) -> None:
    fault(house, "fal", type="rate_limited", retry_after=30)
    with house.environment.with_time_skipping_disabled():
        ticket = await house.accept(**FAL)
        handle = await house.start(ticket)
        async with asyncio.timeout(30):
            while not await tried(house, ticket.generation_id):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    (attempt,) = await tried(house, ticket.generation_id)
    assert (attempt.status, attempt.billing) == ("canceled", "none")
    assert house.world.find_jobs() == []
