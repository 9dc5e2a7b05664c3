"""What cannot go on by itself is kept, with all that was done, until a person decides or its time is up."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from genpulse.deadletters import decide, discarding, retrying
from genpulse.dispatch import Dispatcher, ticket_of
from genpulse.errors import AlreadyFinished, InvalidInput, NotDeadLettered, OutOfMemory, ProviderFailed
from genpulse.models import AttemptRow, GenerationRow
from genpulse.repositories import events, generations
from genpulse.schemas import attributes
from genpulse.schemas.plans import GenerationTicket, Resolution
from genpulse.schemas.states import GenerationStatus, StepStatus
from genpulse.settings import BudgetSettings
from genpulse.simulator.faults import FAULTS
from tests.workflows.conftest import FAKE, TENANT, House
from tests.workflows.test_generation import fails

FAL: dict[str, Any] = {"model": "fal/flux-schnell", "input": {"prompt": "a red circle"}}
KEPT_DAYS = 7
CHAIN: dict[str, Any] = {
    "steps": [
        {"id": "still", "model": "local/fake", "operation": "text-to-image", "input": {"prompt": "x"}},
        {"id": "clip", "model": "local/fake", "operation": "image-to-video", "input": {}},
    ]
}
OUT_OF_MEMORY = OutOfMemory("The device is full.")


async def until_status(house: House, generation_id: str, status: GenerationStatus) -> GenerationRow:
    async with asyncio.timeout(60):
        while (row := (await house.rows(generation_id))[0]).status != status:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return row


@asynccontextmanager
async def delivering(house: House):
    """The product's dispatcher, as the API runs it; what was accepted just now is left to the test to start."""

    async def client():
        return house.environment.client

    dispatcher = Dispatcher(house.database, client, interval=timedelta(milliseconds=50), min_age=timedelta(hours=1))
    running = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        running.cancel()
        await asyncio.wait([running])


async def dispatched(house: House, ticket: GenerationTicket) -> WorkflowHandle:
    handle = await house.start(ticket)
    async with house.database.transaction() as session:
        await generations.mark_dispatched(session, [ticket.generation_id])
    return handle


async def decided(house: House, generation_id: str, how) -> None:
    async with house.database.transaction() as session:
        await decide(session, TENANT, generation_id, how)


async def tried(house: House, generation_id: str) -> list[AttemptRow]:
    query = select(AttemptRow).where(col(AttemptRow.generation_id) == generation_id)
    async with house.database.reading() as session:
        rows = await session.execute(query.order_by(col(AttemptRow.position), col(AttemptRow.number)))
        return list(rows.scalars())


async def test_what_is_wrong_on_our_side_is_kept_with_all_that_was_done(house: House) -> None:
    house.engine.behaviour = [lambda *_: None, fails(OUT_OF_MEMORY)]
    with house.environment.with_time_skipping_disabled():
        ticket = await house.accept(**CHAIN)
        handle = await house.start(ticket)
        row = await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
        assert row.error is not None and row.error["code"] == "engine_out_of_memory"
        assert row.kept_until is not None and row.parked_at is not None
        assert timedelta(days=KEPT_DAYS - 1) < row.kept_until - row.parked_at <= timedelta(days=KEPT_DAYS)
        _, chain = await house.rows(ticket.generation_id)
        assert [step.status for step in chain] == [StepStatus.SUCCEEDED, StepStatus.FAILED]
        seen = (await handle.describe()).typed_search_attributes
        assert (seen[attributes.STATUS], seen[attributes.ERROR]) == ("dead_lettered", "engine_out_of_memory")
        await handle.cancel()


async def test_a_retry_goes_on_from_the_step_that_failed(house: House) -> None:
    house.engine.behaviour = [lambda *_: None, fails(OUT_OF_MEMORY)]
    with house.environment.with_time_skipping_disabled():
        async with delivering(house):
            ticket = await house.accept(**CHAIN)
            handle = await dispatched(house, ticket)
            parked = await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
            await decided(house, ticket.generation_id, retrying(house.activities.catalog))
            await handle.result()
    row, chain = await house.rows(ticket.generation_id)
    assert (row.status, row.round, row.error) == (GenerationStatus.SUCCEEDED, 1, None)
    assert row.deadline_at > parked.deadline_at, "it has as long again"
    assert [step.status for step in chain] == [StepStatus.SUCCEEDED, StepStatus.SUCCEEDED]
    assert len(house.engine.tasks) == 3, "the first step is not repeated"
    assert [(one.position, one.round, one.status) for one in await tried(house, row.id)] == [
        (0, 0, "succeeded"), (1, 0, "failed"), (1, 1, "succeeded"),
    ]  # fmt: skip
    async with house.database.reading() as session:
        told = [event.data["status"] for event in await events.after(session, row.id, 0) if event.type == "status"]
    assert told == ["running", "dead_lettered", "queued", "running", "succeeded"]


async def test_it_is_kept_again_when_the_retry_fails_too_and_an_old_decision_is_none(house: House) -> None:
    house.engine.behaviour = [fails(OUT_OF_MEMORY), fails(OUT_OF_MEMORY)]
    with house.environment.with_time_skipping_disabled():
        async with delivering(house):
            ticket = await house.accept()
            handle = await dispatched(house, ticket)
            await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
            await decided(house, ticket.generation_id, retrying(house.activities.catalog))
            again = await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
            assert again.round == 1
            await handle.signal("resolve", Resolution(action="discard", round=0))
            await handle.signal("resolve", Resolution(action="retry", round=1))
            await handle.result()
    row, _ = await house.rows(ticket.generation_id)
    assert (row.status, row.round) == (GenerationStatus.SUCCEEDED, 2)


async def test_another_model_takes_the_step_with_its_own_input(house: House) -> None:
    with house.environment.with_time_skipping_disabled():
        async with delivering(house), house.worker_of("replicate"):
            house.world.faults.put("fal", FAULTS.validate_python([{"type": "lost_answer", "times": 1}]))
            ticket = await house.accept(**FAL)
            handle = await dispatched(house, ticket)
            await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
            await decided(house, ticket.generation_id, retrying(house.activities.catalog, "replicate/flux-schnell"))
            await handle.result()
    made = [(one.provider, one.status, one.billing) for one in await tried(house, ticket.generation_id)]
    assert made == [("fal", "failed", "possible"), ("replicate", "succeeded", None)]


async def test_a_model_that_cannot_take_the_step_is_refused_and_nothing_changes(house: House) -> None:
    house.engine.behaviour = [fails(OUT_OF_MEMORY)]
    with house.environment.with_time_skipping_disabled():
        ticket = await house.accept()
        handle = await house.start(ticket)
        await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
        with pytest.raises(InvalidInput, match="cannot take over") as refused:
            await decided(house, ticket.generation_id, retrying(house.activities.catalog, "local/upscale"))
        assert refused.value.field == "model"
        row, _ = await house.rows(ticket.generation_id)
        assert (row.status, row.round, row.resolution) == (GenerationStatus.DEAD_LETTERED, 0, None)
        await handle.cancel()


async def test_what_was_sent_with_an_unknown_outcome_is_sent_again_only_when_a_person_says_so(house: House) -> None:
    house.world.faults.put("fal", FAULTS.validate_python([{"type": "lost_answer", "times": 1}]))
    with house.environment.with_time_skipping_disabled():
        async with delivering(house):
            ticket = await house.accept(**FAL)
            handle = await dispatched(house, ticket)
            row = await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
            assert row.error is not None and row.error["code"] == "outcome_unknown"
            assert len(house.world.find_jobs()) == 1
            await decided(house, ticket.generation_id, retrying(house.activities.catalog))
            await handle.result()
    assert len(house.world.find_jobs()) == 2
    first, second = await tried(house, ticket.generation_id)
    assert (first.status, first.billing, first.provider_job_id) == ("failed", "possible", None)
    assert (second.status, second.round) == ("succeeded", 1)


async def test_discarding_ends_it_as_failed_at_once_and_the_run_too(house: House) -> None:
    house.engine.behaviour = [fails(OUT_OF_MEMORY)]
    with house.environment.with_time_skipping_disabled():
        async with delivering(house):
            ticket = await house.accept()
            handle = await dispatched(house, ticket)
            await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
            await decided(house, ticket.generation_id, discarding)
            row, chain = await house.rows(ticket.generation_id)
            assert row.status == GenerationStatus.FAILED
            assert row.error is not None and row.error["code"] == "engine_out_of_memory"
            assert [step.status for step in chain] == [StepStatus.FAILED]
            with pytest.raises(WorkflowFailureError) as ended:
                await handle.result()
    assert isinstance(ended.value.cause, ApplicationError) and ended.value.cause.type == "engine_out_of_memory"
    with pytest.raises(AlreadyFinished):
        await decided(house, ticket.generation_id, retrying(house.activities.catalog))


async def test_it_fails_when_nobody_comes_in_time(house: House) -> None:
    house.engine.behaviour = [fails(OUT_OF_MEMORY)]
    ticket = await house.accept()
    handle = await house.start(ticket)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    row, _ = await house.rows(ticket.generation_id)
    assert row.status == GenerationStatus.FAILED
    assert row.error is not None and row.error["code"] == "engine_out_of_memory"
    waited = (await house.environment.get_current_time(handle)) - (await handle.describe()).start_time
    assert waited >= timedelta(days=KEPT_DAYS)


async def test_a_decision_at_the_last_moment_counts(house: House) -> None:
    """It is written down, and has not reached the run when the time is up."""
    house.engine.behaviour = [fails(OUT_OF_MEMORY)]
    with house.environment.with_time_skipping_disabled():
        ticket = await house.accept(**(FAKE | {"deadline_seconds": 86400}))
        handle = await dispatched(house, ticket.model_copy(update={"kept_seconds": 3600}))
        await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
        await decided(house, ticket.generation_id, retrying(house.activities.catalog))
        await house.environment.fast_forward(handle, timedelta(hours=2))
        await until_recorded(handle, 3)  # the step submitted, the dead letter kept, its time up
        async with delivering(house):
            await handle.result()
    row, _ = await house.rows(ticket.generation_id)
    assert row.status == GenerationStatus.SUCCEEDED


async def test_a_run_that_is_gone_is_started_again_by_the_retry(house: House) -> None:
    house.engine.behaviour = [lambda *_: None, fails(OUT_OF_MEMORY)]
    with house.environment.with_time_skipping_disabled():
        ticket = await house.accept(**CHAIN)
        handle = await dispatched(house, ticket)
        await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
        await handle.terminate("an operator's mistake")
        await decided(house, ticket.generation_id, retrying(house.activities.catalog))
        async with house.workflow_worker(), delivering(house):
            row = await until_status(house, ticket.generation_id, GenerationStatus.SUCCEEDED)
    assert row.round == 1
    assert len(house.engine.tasks) == 3, "the first step is not repeated"


async def test_a_dead_letter_whose_run_is_gone_waits_on_in_a_new_one(house: House) -> None:
    house.engine.behaviour = [lambda *_: None, fails(OUT_OF_MEMORY)]
    with house.environment.with_time_skipping_disabled():
        ticket = await house.accept(**CHAIN)
        handle = await dispatched(house, ticket)
        before = await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
        await handle.terminate("an operator's mistake")
        again = ticket_of(*await house.rows(ticket.generation_id), BudgetSettings())
        assert again.parked is not None and again.parked.position == 1
        handle = await house.start(again)
        await until_recorded(handle, 1)
        row, _ = await house.rows(ticket.generation_id)
        assert (row.status, row.kept_until) == (GenerationStatus.DEAD_LETTERED, before.kept_until)
        async with delivering(house):
            await decided(house, ticket.generation_id, retrying(house.activities.catalog))
            await handle.result()
    row, _ = await house.rows(ticket.generation_id)
    assert (row.status, row.round) == (GenerationStatus.SUCCEEDED, 1)
    assert len(house.engine.tasks) == 3, "the first step is not repeated"


async def test_an_operator_may_decide_in_temporal_itself(house: House) -> None:
    house.engine.behaviour = [fails(OUT_OF_MEMORY)]
    with house.environment.with_time_skipping_disabled():
        ticket = await house.accept()
        handle = await house.start(ticket)
        await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
        await handle.signal("resolve", {"action": "retry"})
        await handle.result()
    row, _ = await house.rows(ticket.generation_id)
    assert (row.status, row.round) == (GenerationStatus.SUCCEEDED, 1)


async def test_a_provider_s_verdict_is_no_dead_letter(house: House) -> None:
    house.world.faults.put("fal", FAULTS.validate_python([{"type": "fails"}]))
    ticket = await house.accept(**FAL)
    handle = await house.start(ticket)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert await house.environment.get_current_time(handle) - (await handle.describe()).start_time < timedelta(days=1)
    row, _ = await house.rows(ticket.generation_id)
    assert row.status == GenerationStatus.FAILED


async def test_spent_tries_make_a_dead_letter_whatever_the_error(house: House) -> None:
    house.engine.behaviour = [fails(ProviderFailed("The device hiccuped.")) for _ in range(10)]
    with house.environment.with_time_skipping_disabled():
        ticket = await house.accept()
        handle = await house.start(ticket)
        await house.environment.fast_forward(handle, timedelta(minutes=20))
        row = await until_status(house, ticket.generation_id, GenerationStatus.DEAD_LETTERED)
        assert row.error is not None and row.error["code"] == "provider_failed"
        await handle.cancel()
    assert len(house.engine.tasks) == 10


async def test_only_dead_letters_are_decided_about(house: House) -> None:
    ticket = await house.accept()
    with pytest.raises(NotDeadLettered):
        await decided(house, ticket.generation_id, discarding)


async def until_recorded(handle: WorkflowHandle, count: int) -> None:
    """Wait for so many quick database steps of the run."""
    async with asyncio.timeout(60):
        while await _recorded(handle) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _recorded(handle: WorkflowHandle) -> int:
    return len(
        [1 async for event in handle.fetch_history_events() if event.HasField("marker_recorded_event_attributes")]
    )
