"""Generations at clouds, simulated at the wire: sent once, waited for, fetched, and what can go wrong there."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col
from temporalio.client import WorkflowFailureError, WorkflowHistory
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.providers import ProviderActivities
from genpulse.assets import Staged
from genpulse.circuits import FAILURES_TO_OPEN
from genpulse.db import utc_now
from genpulse.errors import AlreadyFinished
from genpulse.limits import MemoryLimiter, Share
from genpulse.models import AttemptRow, GenerationRow
from genpulse.providers.registry import Accounts
from genpulse.records import StepWork
from genpulse.repositories import assets, circuits, steps
from genpulse.schemas.catalog import ImageRules
from genpulse.schemas.plans import GenerationTicket, StepOrder
from genpulse.schemas.states import Billing, GenerationStatus, MediaKind, Operation
from genpulse.simulator.clouds.volcengine import Volcengine
from genpulse.simulator.faults import FAULTS
from genpulse.simulator.jobs import State
from genpulse.simulator.media import Format, Media, render
from genpulse.simulator.wire import Kind
from tests.workflows.conftest import CLOUDS, TENANT, House, until

FAL: dict[str, Any] = {"model": "fal/flux-schnell", "input": {"prompt": "a red circle"}}
MODELS = [
    FAL,
    {"model": "fal/flux-dev", "input": {"prompt": "a red circle", "width": 512, "height": 512, "seed": 7}},
    {"model": "replicate/flux-schnell", "input": {"prompt": "a red circle", "aspect_ratio": "1:1"}},
    {"model": "kling/kling-v3-image", "operation": "text-to-image", "input": {"prompt": "a red circle"}},
    {"model": "dashscope/wan2.6-t2i", "input": {"prompt": "a red circle", "aspect_ratio": "16:9"}},
    {"model": "dashscope/qwen-image-max", "input": {"prompt": "a red circle"}},
    {"model": "volcengine/seedream-4", "operation": "text-to-image", "input": {"prompt": "a red circle"}},
    {"model": "volcengine/jimeng-4", "operation": "text-to-image", "input": {"prompt": "a red circle", "seed": 7}},
]


def fault(house: House, cloud: str, **values: object) -> None:
    house.world.faults.put(cloud, FAULTS.validate_python([values]))


def order_of(ticket: GenerationTicket, model: str) -> StepOrder:
    return StepOrder(generation_id=ticket.generation_id, tenant_id=TENANT, position=0, model=model, total=1)


async def attempts(house: House, generation_id: str) -> list[AttemptRow]:
    async with house.database.reading() as session:
        return (await steps.attempts_of(session, [generation_id]))[generation_id]


@pytest.mark.parametrize("request_", MODELS, ids=lambda one: one["model"])
async def test_a_cloud_makes_what_is_asked_for(house: House, request_: dict[str, object]) -> None:
    generation_id, result = await house.run(**request_)
    row, _ = await house.rows(generation_id)
    async with house.database.reading() as session:
        (asset,) = await assets.outputs_of(session, [generation_id])
    assert row.status == GenerationStatus.SUCCEEDED
    assert [asset.id] == result.outputs
    assert asset.kind == MediaKind.IMAGE
    (attempt,) = await attempts(house, generation_id)
    assert attempt.status == "succeeded"
    assert (attempt.account, attempt.endpoint) == (attempt.provider, CLOUDS[attempt.provider].base_url)
    assert attempt.provider_job_id in {None, house.world.find_jobs()[0].id}  # none: it answered at once


@pytest.mark.parametrize(("made", "told"), [(3, None), (2, 2)])
async def test_who_gets_fewer_than_asked_for_is_told(house: House, made: int, told: int | None) -> None:
    generation_id, result = await house.run(
        model="kling/kling-v3-image",
        operation="text-to-image",
        input={"prompt": "a red circle", "count": 3},
        provider_options={"n": made},
    )
    _, (step,) = await house.rows(generation_id)
    assert (len(result.outputs), (step.parameters or {}).get("count")) == (made, told)


async def test_a_cloud_s_picture_is_set_in_motion_at_another(house: House) -> None:
    generation_id, _ = await house.run(
        steps=[
            {"id": "picture", "model": "fal/flux-schnell", "input": {"prompt": "a red circle"}},
            {"id": "clip", "model": "replicate/kling-2-1", "input": {"prompt": "it moves"}},
        ]
    )
    async with house.database.reading() as session:
        made = await assets.outputs_of(session, [generation_id])
    assert [asset.kind for asset in made] == [MediaKind.IMAGE, MediaKind.VIDEO]


async def test_references_and_plain_values_reach_the_cloud(house: House) -> None:
    picture = {"step": "picture", "output": 0}
    given = {"prompt": "@image_1 beside @image_2", "reference_images": [picture, picture], "audio": True}
    await house.run(
        steps=[
            {"id": "picture", "model": "fal/flux-schnell", "input": {"prompt": "a red circle"}},
            {"id": "clip", "model": "kling/kling-3.0-omni", "operation": "text-to-video", "input": given},
        ]
    )
    (job,) = house.world.find_jobs(cloud="kling")
    assert [content["type"] for content in job.body["contents"]] == ["prompt", "refer_image", "refer_image"]
    assert job.body["settings"]["audio"] == "native"


@pytest.mark.parametrize(
    ("field", "rules", "fitted", "starts"),
    [
        ("video", ImageRules(), False, "https://files.example/given"),
        ("image", ImageRules(), False, "None"),
        ("image", ImageRules(encodings=("url",)), False, "https://files.example/given"),
        ("image", ImageRules(encodings=("url",)), True, "http://public/v1/assets/ast_"),
    ],
    ids=["video", "picture", "picture by address only", "fitted picture by address only"],
)
async def test_what_a_cloud_fetches_itself_has_an_address(
    house: House, tmp_path: Path, *, field: str, rules: ImageRules, fitted: bool, starts: str
) -> None:
    file = tmp_path / "given"
    file.write_bytes(render(Media(Format.MP4 if field == "video" else Format.PNG)))
    work = StepWork(
        step_id="main",
        operation=Operation.IMAGE_TO_VIDEO,
        model="luma/ray-2",
        input={field: {"url": "https://files.example/given"}},
        options={},
        sources={},
    )
    order = StepOrder(generation_id="gen_1", tenant_id=TENANT, position=0, model="luma/ray-2", total=1)
    staged = Staged(files={field: file}, fitted={field} if fitted else set())
    assert str(await house.clouds._url(order, work, staged, field, {field: rules})).startswith(starts)


async def test_a_video_of_ours_is_fetched_by_the_cloud_from_a_signed_address(house: House) -> None:
    await house.run(
        steps=[
            {"id": "clip", "model": "kling/kling-3.0", "operation": "text-to-video", "input": {"prompt": "a circle"}},
            {
                "id": "edit",
                "model": "kling/kling-3.0-omni",
                "operation": "video-to-video",
                "input": {"prompt": "make it red", "video": {"step": "clip", "output": 0}},
            },
        ]
    )
    clip, edit = house.world.find_jobs(cloud="kling")
    assert "http://public/v1/assets/ast_" in json.dumps(edit.body)
    assert "signature=" in json.dumps(edit.body)
    assert clip.id != edit.id


@pytest.mark.parametrize("model", ["kling/kling-3.0", "volcengine/seedance-2"])
async def test_a_call_whose_answer_was_lost_is_found_by_its_id(house: House, model: str) -> None:
    cloud = model.partition("/")[0]
    fault(house, cloud, type="lost_answer", times=1)
    generation_id, _ = await house.run(model=model, operation="text-to-video", input={"prompt": "a red circle"})
    assert (await house.rows(generation_id))[0].status == GenerationStatus.SUCCEEDED
    assert len(house.world.find_jobs(cloud=cloud)) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"type": "rate_limited", "retry_after": 3, "times": 2},
        {"type": "rate_limited", "times": 2},
        {"type": "connection_reset", "kinds": ["poll", "result"], "times": 3},
        {"type": "server_error", "kinds": ["poll", "result"], "html": True, "times": 3},
        {"type": "malformed", "kinds": ["poll"], "times": 2},
        {"type": "expired_media", "times": 1},
    ],
    ids=lambda one: f"{one['type']}-{'-'.join(one.get('kinds', []))}",
)
async def test_what_passes_costs_nothing(house: House, values: dict[str, object]) -> None:
    fault(house, "fal", **values)
    generation_id, _ = await house.run(**FAL)
    assert (await house.rows(generation_id))[0].status == GenerationStatus.SUCCEEDED
    assert len(house.world.find_jobs()) == 1


@pytest.mark.parametrize("cloud", ["fal", "replicate"])
@pytest.mark.parametrize("kind", ["lost_answer", "malformed"])
async def test_a_call_whose_answer_was_lost_is_not_sent_again(house: House, cloud: str, kind: str) -> None:
    fault(house, cloud, type=kind, kinds=["submit"], times=1)
    with pytest.raises(WorkflowFailureError):  # after a week as a dead letter, which takes no time here
        await house.run(model=f"{cloud}/flux-schnell", input={"prompt": "a red circle"})
    (job,) = house.world.find_jobs()
    row = await only_row(house)
    assert job.prompt == "a red circle"
    assert row.error is not None
    assert row.error["code"] == "outcome_unknown"


async def test_a_call_whose_answer_was_lost_is_found_in_the_cloud_s_list(house: House) -> None:
    fault(house, "dashscope", type="lost_answer", times=1)
    generation_id, _ = await house.run(model="dashscope/wan2.7-t2v", input={"prompt": "a red circle"})
    (attempt,) = await attempts(house, generation_id)
    (job,) = house.world.find_jobs()
    assert (attempt.status, attempt.provider_job_id) == ("succeeded", job.id)


async def test_a_lost_call_without_its_mark_in_the_list_is_nobody_else_s(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Volcengine, "shows_marks", False)
    asked = {"model": "volcengine/seedance-2", "operation": "text-to-video", "input": {"prompt": "a red circle"}}
    await house.run(**asked)
    fault(house, "volcengine", type="lost_answer", times=1)
    ticket = await house.accept(**asked)
    with pytest.raises(WorkflowFailureError):  # after a week as a dead letter
        await (await house.start(ticket)).result()
    row, _ = await house.rows(ticket.generation_id)
    assert row.error is not None
    assert row.error["code"] == "outcome_unknown"
    assert [one.provider_job_id for one in await attempts(house, ticket.generation_id)] == [None]
    assert len(house.world.find_jobs(cloud="volcengine")) == 2


@pytest.mark.parametrize("model", ["kling/kling-3.0", "volcengine/seedance-2", "dashscope/wan2.7-t2v"])
@pytest.mark.parametrize("trouble", ["rate_limited", "server_error", "connection_reset"])
async def test_a_cloud_that_cannot_be_asked_for_a_lost_call_gets_no_second_one(
    house: House, model: str, trouble: str
) -> None:
    cloud = model.partition("/")[0]
    lost, silent = {"type": "lost_answer", "times": 1}, {"type": trouble, "kinds": ["other", "poll"], "times": 2}
    house.world.faults.put(cloud, FAULTS.validate_python([lost, silent]))
    generation_id, _ = await house.run(model=model, operation="text-to-video", input={"prompt": "a red circle"})
    assert len(house.world.find_jobs(cloud=cloud)) == 1
    assert [one.status for one in await attempts(house, generation_id)] == ["succeeded"]


async def test_a_job_that_has_failed_takes_no_place_any_more(house: House) -> None:
    fault(house, "replicate", type="fails")
    with pytest.raises(WorkflowFailureError):
        await house.run(model="replicate/flux-schnell", input={"prompt": "a red circle"})
    state = await house.clouds.limiter.state("replicate", house.clouds.accounts.of("replicate/flux-schnell").limits)
    assert state.in_flight == 0


async def places(clouds: ProviderActivities, account: str) -> int:
    return (await clouds.limiter.state(account, clouds.accounts.of(f"{account}/any").limits)).in_flight


async def test_a_poll_that_is_on_its_way_takes_no_place_for_a_call_that_was_given_up(house: House) -> None:
    slow = {"type": "slow_answer", "kinds": ["poll"], "seconds": 1, "times": 1}
    house.world.faults.put("kling", FAULTS.validate_python([{"type": "stuck"}, slow]))
    clouds = replace(house.clouds, limiter=MemoryLimiter())
    ticket = await house.accept(model="kling/kling-v3-image", operation="text-to-image", input={"prompt": "x"})
    order = order_of(ticket, "kling/kling-v3-image")
    await clouds.records.submit_step(order)
    await ActivityEnvironment().run(clouds.submit, order)
    assert await places(clouds, "kling") == 1
    polling = asyncio.create_task(ActivityEnvironment().run(clouds.poll, order))
    await until(lambda: bool(house.world.record.find(cloud="kling", kind=Kind.POLL)))
    await ActivityEnvironment().run(clouds.cancel, order)
    assert not polling.done()
    with pytest.raises(ApplicationError) as ended:
        await polling
    assert ended.value.non_retryable
    assert await places(clouds, "kling") == 0


@pytest.mark.parametrize("activity", ["submit", "poll"])
async def test_a_place_that_nobody_came_to_give_back_is_free_when_the_step_is_looked_at_again(
    house: House, activity: str
) -> None:
    clouds = replace(house.clouds, limiter=MemoryLimiter())
    ticket = await house.accept(**FAL)
    await (await house.start(ticket)).result()
    order = order_of(ticket, FAL["model"])
    key = await clouds.calls.key_of(order)
    assert key is not None
    await clouds.limiter.keep("fal", key)  # as if whoever finished it had died then
    await ActivityEnvironment().run(getattr(clouds, activity), order)
    assert await places(clouds, "fal") == 0


async def test_a_refused_content_ends_it_without_a_fallback(house: House) -> None:
    fault(house, "fal", type="fails", code="content")
    with pytest.raises(WorkflowFailureError):
        await house.run(**FAL, fallbacks=["replicate/flux-schnell"])
    row = await only_row(house)
    assert row.error is not None
    assert row.error["code"] == "content_blocked"
    assert not house.world.find_jobs(cloud="replicate")


@pytest.mark.parametrize("type_", ["hidden_at_first", "backwards"])
async def test_a_job_may_look_odd_for_a_while(house: House, type_: str) -> None:
    fault(house, "replicate", type=type_)
    generation_id, _ = await house.run(model="replicate/flux-schnell", input={"prompt": "a red circle"})
    assert (await house.rows(generation_id))[0].status == GenerationStatus.SUCCEEDED


async def test_a_cancelled_generation_is_cancelled_at_the_cloud(house: House) -> None:
    fault(house, "replicate", type="stuck")
    ticket = await house.accept(model="replicate/flux-schnell", input={"prompt": "a red circle"})
    with house.environment.with_time_skipping_disabled():
        handle = await house.start(ticket)
        await until(lambda: bool(house.world.find_jobs()))
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    (job,) = house.world.find_jobs()
    assert job.state == State.CANCELLED
    row, (step,) = await house.rows(ticket.generation_id)
    assert (row.status, step.status) == (GenerationStatus.CANCELED, "canceled")


async def test_a_call_that_is_being_sent_is_cancelled_once_it_is_known(house: House) -> None:
    fault(house, "replicate", type="slow_answer", seconds=2)
    ticket = await house.accept(model="replicate/flux-schnell", input={"prompt": "a red circle"})
    with house.environment.with_time_skipping_disabled():
        house.world.change(house.world.settings.model_copy(update={"seconds_per_job": 60}))
        handle = await house.start(ticket)
        await until(lambda: bool(house.world.find_jobs()))
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    (job,) = house.world.find_jobs()
    assert job.state == State.CANCELLED
    (attempt,) = await attempts(house, ticket.generation_id)
    assert (attempt.status, attempt.provider_job_id) == ("canceled", job.id)


async def test_a_call_that_is_cancelled_while_it_waits_keeps_nobody_waiting(house: House) -> None:
    """The next one gets its turn at the provider, not the one behind."""
    wire = house.clouds.accounts.of(FAL["model"]).http
    accounts = Accounts({"fal": CLOUDS["fal"].model_copy(update={"rate": 0.001})}, {"fal": wire})
    clouds, turns = replace(house.clouds, accounts=accounts, limiter=MemoryLimiter()), []
    await clouds.limiter.acquire("fal", "somebody", accounts.of(FAL["model"]).limits, share=Share(tenant=TENANT))
    for _ in range(2):
        ticket = await house.accept(**FAL)
        order = StepOrder(generation_id=ticket.generation_id, tenant_id=TENANT, position=0, model=FAL["model"], total=1)
        await clouds.records.submit_step(order)
        with pytest.raises(ApplicationError) as waits:
            await ActivityEnvironment().run(clouds.submit, order)
        turns.append(waits.value.next_retry_delay)
        assert (await ActivityEnvironment().run(clouds.cancel, order)).billing == Billing.NONE
    first, second = turns
    assert first is not None and second is not None
    assert second <= first
    assert house.world.find_jobs() == []


async def test_a_callback_wakes_the_workflow(house: House) -> None:
    """Or it would wait for its next poll: of a job that is stuck, for ever."""
    fault(house, "replicate", type="stuck")
    ticket = await house.accept(model="replicate/flux-schnell", input={"prompt": "a red circle"})
    with house.environment.with_time_skipping_disabled():
        handle = await house.start(ticket)
        await until(lambda: bool(house.world.record.find(cloud="replicate", kind=Kind.POLL)))
        await handle.signal("called_back")
        async with asyncio.timeout(30):
            while not _polls_after_callback(await handle.fetch_history()):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()


def _polls_after_callback(history: WorkflowHistory) -> int:
    polls = [event.HasField("activity_task_scheduled_event_attributes") for event in history.events]
    called = [event.HasField("workflow_execution_signaled_event_attributes") for event in history.events]
    return sum(polls[called.index(True) :]) if True in called else 0


async def test_a_poll_that_another_has_overtaken_brings_what_that_one_made(house: House) -> None:
    """A callback starts a second poll while the first may be storing the files."""
    generation_id, result = await house.run(**FAL)
    order = StepOrder(generation_id=generation_id, tenant_id=TENANT, position=0, model="fal/flux-schnell", total=1)
    assert list((await house.clouds.records.step_work(order)).outputs) == result.outputs
    house.world.faults.put("replicate", FAULTS.validate_python([{"type": "fails"}]))
    with pytest.raises(WorkflowFailureError):
        await house.run(model="replicate/flux-schnell", input={"prompt": "x"})
    failed = await only_row(house, GenerationStatus.FAILED)
    order = StepOrder(generation_id=failed.id, tenant_id=TENANT, position=0, model="replicate/flux-schnell", total=1)
    with pytest.raises(AlreadyFinished):
        await house.clouds.records.step_work(order)


async def test_a_poll_that_another_has_overtaken_tells_what_that_one_was_told(house: House) -> None:
    """A callback starts a second poll while the first may be telling that the job has failed."""
    fault(house, "replicate", type="fails", code="content")
    ticket = await house.accept(model="replicate/flux-schnell", input={"prompt": "x"})
    order = StepOrder(
        generation_id=ticket.generation_id, tenant_id=TENANT, position=0, model="replicate/flux-schnell", total=1
    )
    await house.clouds.records.submit_step(order)
    await ActivityEnvironment().run(house.clouds.submit, order)
    await until(lambda: all(job.state.ended for job in house.world.find_jobs()))
    for _ in range(2):
        with pytest.raises(ApplicationError) as error:
            await ActivityEnvironment().run(house.clouds.poll, order)
        assert (error.value.type, error.value.non_retryable) == ("content_blocked", True)
    assert len(await attempts(house, ticket.generation_id)) == 1


async def open_circuit(house: House, account: str) -> None:
    for _ in range(FAILURES_TO_OPEN):
        await house.clouds.circuits.failed(account, "down")


async def test_failures_open_the_circuit_and_what_comes_next_goes_elsewhere_at_once(house: House) -> None:
    fault(house, "fal", type="server_error", status=503)
    with pytest.raises(WorkflowFailureError):
        await house.run(**FAL)
    # One more would do, and whoever has nowhere else to go would wait until it is closed again, by the real clock.
    await house.run(**FAL, fallbacks=["replicate/flux-schnell"])
    assert (await house.clouds.circuits.of("fal")).state == "open"
    asked = len(house.world.record.find(cloud="fal", kind=Kind.SUBMIT))
    generation_id, _ = await house.run(**FAL, fallbacks=["replicate/flux-schnell"])
    assert [one.provider for one in await attempts(house, generation_id)] == ["fal", "replicate"]
    assert len(house.world.record.find(cloud="fal", kind=Kind.SUBMIT)) == asked, "fal was not asked again"


async def test_without_a_fallback_a_call_waits_until_the_circuit_is_closed(house: House) -> None:
    await open_circuit(house, "fal")
    async with house.database.transaction() as session:
        await circuits.change(session, "fal", opened_until=utc_now() + timedelta(seconds=3))
    generation_id, _ = await house.run(**FAL)
    (attempt,) = await attempts(house, generation_id)
    assert attempt.status == "succeeded"
    assert (await house.clouds.circuits.of("fal")).state == "closed"


async def test_a_refusal_says_that_the_account_works(house: House) -> None:
    await house.clouds.circuits.failed("fal", "down")
    fault(house, "fal", type="fails", code="content", times=1)
    with pytest.raises(WorkflowFailureError):
        await house.run(**FAL)
    assert (await house.clouds.circuits.of("fal")).failures == 0


async def test_an_outage_goes_to_the_fallback_and_keeps_what_was_made(house: House) -> None:
    fault(house, "fal", type="server_error", status=503, kinds=["submit"])
    generation_id, _ = await house.run(
        steps=[
            {"id": "first", "model": "replicate/flux-schnell", "input": {"prompt": "one"}},
            {"id": "second", "model": "fal/flux-dev", "fallbacks": ["replicate/flux-dev"], "input": {"prompt": "two"}},
        ]
    )
    row, _ = await house.rows(generation_id)
    assert row.status == GenerationStatus.SUCCEEDED
    assert [job.prompt for job in house.world.find_jobs(cloud="replicate")] == ["one", "two"]


async def only_row(house: House, status: GenerationStatus | None = None) -> GenerationRow:
    query = select(GenerationRow).where(col(GenerationRow.status) == status) if status else select(GenerationRow)
    async with house.database.reading() as session:
        return (await session.execute(query)).scalar_one()


async def test_a_dead_letter_can_be_cancelled(house: House) -> None:
    fault(house, "fal", type="lost_answer", times=1)
    ticket = await house.accept(**FAL)
    with house.environment.with_time_skipping_disabled():
        handle = await house.start(ticket)
        async with asyncio.timeout(30):
            while (await house.rows(ticket.generation_id))[0].status != "dead_lettered":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    row, _ = await house.rows(ticket.generation_id)
    assert row.status == GenerationStatus.CANCELED
    (attempt,) = await attempts(house, ticket.generation_id)
    assert (attempt.status, attempt.billing) == ("failed", "possible")
