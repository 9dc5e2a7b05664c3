"""GenerationWorkflow on a real server: order, retries, deadline, cancellation, and what the database says of each."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Replayer
from temporalio.workflow import _Definition

from genpulse.dispatch import WORKFLOW_TYPE
from genpulse.errors import ContentBlocked, ProviderFailed
from genpulse.records import Records
from genpulse.repositories import assets, events, steps, tenants
from genpulse.schemas import attributes
from genpulse.schemas.engine import EngineTask, OnProgress
from genpulse.schemas.plans import StepOrder
from genpulse.schemas.states import GenerationStatus, StepStatus
from genpulse.simulator.media import Format, Media, render
from genpulse.temporal import DATA_CONVERTER
from tests.servers.files import file_server
from tests.workflows.conftest import FAKE, TENANT, Behaviour, House, until
from workflows.generation import GenerationWorkflow

MAX_EVENTS_ONE_STEP = 22
MAX_EVENTS_PER_STEP = 12

CHAIN: dict[str, object] = {
    "steps": [
        {"id": "still", "model": "local/fake", "operation": "text-to-image", "input": {"prompt": "x"}},
        {"id": "clip", "model": "local/fake", "operation": "image-to-video", "input": {}},
    ]
}


def fails(error: Exception) -> Behaviour:
    def behave(_task: EngineTask, _on_progress: OnProgress) -> None:
        raise error

    return behave


def hangs(_task: EngineTask, on_progress: OnProgress) -> None:
    """Works for ever, as far as anybody can tell, but listens."""
    import time

    while True:
        on_progress(0.5)
        time.sleep(0.02)


async def history_events(house: House, generation_id: str) -> list[str]:
    handle = house.environment.client.get_workflow_handle(generation_id)
    return [event.WhichOneof("attributes") or "" async for event in handle.fetch_history_events()]


async def test_one_step_succeeds_in_few_events(house: House) -> None:
    generation_id, result = await house.run()
    row, chain = await house.rows(generation_id)
    assert (row.status, row.progress) == (GenerationStatus.SUCCEEDED, 1.0)
    assert row.started_at and row.finished_at
    assert [step.status for step in chain] == [StepStatus.SUCCEEDED]
    async with house.database.reading() as session:
        made = await assets.output(session, generation_id, 0)
    assert [asset.id for asset in made] == result.outputs
    assert await house.storage.size(made[0].sha256) == made[0].bytes
    assert len(await history_events(house, generation_id)) <= MAX_EVENTS_ONE_STEP


async def test_a_chain_hands_the_image_on(house: House) -> None:
    generation_id, result = await house.run(**CHAIN)
    assert [task.operation for task in house.engine.tasks] == ["text-to-image", "image-to-video"]
    assert house.engine.tasks[1].image is not None
    async with house.database.reading() as session:
        [video] = await assets.output(session, generation_id, 1)
    assert result.outputs == [video.id]
    assert (video.kind, video.poster_sha256 is not None) == ("video", True)
    assert len(await history_events(house, generation_id)) <= MAX_EVENTS_ONE_STEP + MAX_EVENTS_PER_STEP


async def test_operators_see_what_is_going_on(house: House) -> None:
    generation_id, _ = await house.run()
    handle = house.environment.client.get_workflow_handle(generation_id)
    description = await handle.describe()
    assert description.typed_search_attributes[attributes.STATUS] == "succeeded"
    async for event in handle.fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            assert event.activity_task_scheduled_event_attributes.activity_type.name == "engine.run"
            assert b"main: text-to-image on local/fake" in event.user_metadata.summary.data


async def test_the_history_carries_no_prompt(house: House) -> None:
    secret = "a sentence that nobody else should read"
    generation_id, _ = await house.run(**(FAKE | {"input": {"prompt": secret}}))
    handle = house.environment.client.get_workflow_handle(generation_id)
    assert secret not in (await handle.fetch_history()).to_json()


async def test_a_failure_that_may_pass_is_tried_again(house: House) -> None:
    house.engine.behaviour = [fails(ProviderFailed("The device hiccuped.")), fails(ProviderFailed("Again."))]
    generation_id, _ = await house.run()
    row, _ = await house.rows(generation_id)
    async with house.database.reading() as session:
        tried = (await steps.attempts_of(session, [generation_id]))[generation_id]
    assert row.status == GenerationStatus.SUCCEEDED
    assert [(one.number, one.status) for one in tried] == [(1, "failed"), (2, "failed"), (3, "succeeded")]
    assert tried[0].error is not None and tried[0].error["message"] == "The device hiccuped."


async def test_a_failure_that_cannot_pass_ends_the_chain(house: House) -> None:
    house.engine.behaviour = [lambda *_: None, fails(ContentBlocked("Not this.", category="violence"))]
    ticket = await house.accept(**CHAIN)
    with pytest.raises(WorkflowFailureError) as failed:
        await (await house.start(ticket)).result()
    assert isinstance(failed.value.cause, ApplicationError) and failed.value.cause.type == "content_blocked"
    row, chain = await house.rows(ticket.generation_id)
    assert row.status == GenerationStatus.FAILED
    assert row.error is not None
    assert (row.error["code"], row.error["provider"], row.error["details"]) == (
        "content_blocked", "local", {"category": "violence"},
    )  # fmt: skip
    assert [step.status for step in chain] == [StepStatus.SUCCEEDED, StepStatus.FAILED]
    assert len(house.engine.tasks) == 2


async def test_an_unforeseen_error_is_told_as_ours_and_without_its_text(house: House) -> None:
    house.engine.behaviour = [fails(ZeroDivisionError("secret path")) for _ in range(20)]
    ticket = await house.accept()
    with pytest.raises(WorkflowFailureError):
        await (await house.start(ticket)).result()
    row, _ = await house.rows(ticket.generation_id)
    assert row.error is not None and row.error["code"] == "internal"
    assert "secret" not in row.error["message"]
    assert len(house.engine.tasks) == 10, "the policy's attempts"


async def test_the_deadline_ends_it(house: House) -> None:
    house.engine.behaviour = [fails(ProviderFailed("Not today.")) for _ in range(20)]
    ticket = await house.accept(**(FAKE | {"deadline_seconds": 5}))
    with pytest.raises(WorkflowFailureError):
        await (await house.start(ticket)).result()
    row, _ = await house.rows(ticket.generation_id)
    assert row.error is not None and row.error["code"] in ("deadline_exceeded", "provider_failed")
    assert len(house.engine.tasks) < 5


async def test_a_deadline_that_passed_before_the_start_runs_nothing(house: House) -> None:
    ticket = await house.accept()
    late = ticket.model_copy(update={"deadline_at": ticket.deadline_at - timedelta(days=1)})
    with pytest.raises(WorkflowFailureError):
        await (await house.start(late)).result()
    row, _ = await house.rows(ticket.generation_id)
    assert row.error is not None and row.error["code"] == "deadline_exceeded"
    assert house.engine.tasks == []


async def test_cancel_reaches_the_engine_and_keeps_what_was_made(house: House) -> None:
    house.engine.behaviour = [lambda *_: None, hangs]
    with house.environment.with_time_skipping_disabled():
        ticket = await house.accept(**CHAIN)
        handle = await house.start(ticket)
        await until(lambda: len(house.engine.tasks) == 2)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as ended:
            await handle.result()
    assert isinstance(ended.value.cause, CancelledError)
    row, chain = await house.rows(ticket.generation_id)
    assert row.status == GenerationStatus.CANCELED
    assert [step.status for step in chain] == [StepStatus.SUCCEEDED, StepStatus.CANCELED]


async def test_a_file_at_a_url_is_no_larger_than_its_tenant_may_send(house: House) -> None:
    async with file_server() as elsewhere:
        elsewhere.files["/given"] = render(Media(Format.PNG))
        given: dict[str, object] = {"image": {"url": f"{elsewhere.url}/given"}}
        wanted: dict[str, object] = {"model": "local/fake", "operation": "image-to-video", "input": given}
        await limit(house, len(elsewhere.files["/given"]))
        just_right, _ = await house.run(**wanted)
        await limit(house, len(elsewhere.files["/given"]) - 1)
        too_large = await house.accept(**wanted)
        with pytest.raises(WorkflowFailureError):
            await (await house.start(too_large)).result()
    assert (await house.rows(just_right))[0].status == GenerationStatus.SUCCEEDED
    row, _ = await house.rows(too_large.generation_id)
    assert row.error is not None
    assert (row.error["code"], row.error["details"]["field"]) == ("invalid_input", "input.image.url")
    assert row.error["details"]["max_bytes"] == len(elsewhere.files["/given"]) - 1


async def limit(house: House, input_bytes: int) -> None:
    async with house.database.transaction() as session:
        await tenants.change(session, TENANT, input_bytes=input_bytes)


async def test_a_finished_step_is_not_run_again(house: House) -> None:
    generation_id, result = await house.run()
    order = StepOrder(generation_id=generation_id, tenant_id=TENANT, position=0, model="local/fake", total=1)
    again = await ActivityEnvironment().run(house.activities.run, order)
    assert again.outputs == result.outputs
    assert len(house.engine.tasks) == 1


async def test_events_tell_the_whole_story_without_gaps(house: House) -> None:
    generation_id, _ = await house.run()
    async with house.database.reading() as session:
        told = await events.after(session, generation_id, 0)
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    assert [event.type for event in told] == ["status", "attempt", "output", "progress", "status", "done"]


async def test_a_recorded_history_replays(house: House) -> None:
    generation_id, _ = await house.run(**CHAIN)
    history = await house.environment.client.get_workflow_handle(generation_id).fetch_history()
    replayer = Replayer(workflows=[GenerationWorkflow], data_converter=DATA_CONVERTER)
    await replayer.replay_workflow(history)


async def test_the_dispatcher_starts_the_workflow_by_its_name() -> None:
    assert _Definition.must_from_class(GenerationWorkflow).name == WORKFLOW_TYPE


async def test_the_heart_beats_while_the_database_takes_its_time(house: House) -> None:
    """Another process writes for long: the step is not to be taken for lost, and made a second time."""
    release, beats = threading.Event(), list[object]()

    def works(_task: EngineTask, on_progress: OnProgress) -> None:
        on_progress(0.5)
        assert release.wait(60)

    house.engine.behaviour = [works]
    ticket = await house.accept()
    order = StepOrder(generation_id=ticket.generation_id, tenant_id=TENANT, position=0, model="local/fake", total=1)
    await Records(house.database).submit_step(order)
    environment = ActivityEnvironment()
    environment.on_heartbeat = beats.append
    running = asyncio.create_task(environment.run(house.activities.run, order))
    await until(lambda: bool(house.engine.tasks))
    path = house.database.engine.url.database
    assert path is not None
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await until(lambda: len(beats) >= 5, seconds=12)  # less than a writer waits for another one
        other.execute("ROLLBACK")
    release.set()
    assert (await running).outputs
