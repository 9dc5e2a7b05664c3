"""Tencent Cloud: tasks."""

from __future__ import annotations

import httpx
import pytest

from genpulse.errors import (
    InvalidInput,
    JobMissing,
    OutcomeUnknown,
    ProviderFailed,
    ProviderThrottled,
)
from genpulse.providers.base import Finished, Job, Output, Pending
from genpulse.providers.tencent import Tencent
from genpulse.simulator.clouds.tencent import Tencent as Simulated
from genpulse.simulator.wire import Kind
from tests.clouds import Files, World, simulated
from tests.unit.tencent.shared import (
    HUB,
    HUB_PICTURE_TASK,
    HUB_TASK,
    JOB,
    MPS,
    PRO,
    TASKS,
    TEXT,
    VOD,
    VOD_PICTURE,
    account,
    answering,
    api_error,
    call,
    least,
)


@pytest.mark.parametrize("model", TASKS)
async def test_a_task_goes_through_its_states(files: Files, model: str) -> None:
    async with simulated(Simulated, Tencent, seconds=8) as world:
        cloud, asked = world.account(), least(model, files)
        job = await cloud.submit(asked)
        assert isinstance(job, Job)
        for seconds in (0, 4):
            world.clock.advance(seconds)
            assert isinstance(await cloud.poll(job, asked), Pending)
        world.clock.advance(4)
        assert isinstance(await cloud.poll(job, asked), Finished)


@pytest.mark.parametrize(("model", "fraction"), [(VOD, 0.4), (HUB_TASK, 0.5), (MPS, 0.5), (JOB, None)])
async def test_how_far_it_is(files: Files, model: str, fraction: float | None) -> None:
    async with simulated(Simulated, Tencent, seconds=8) as world:
        asked = least(model, files)
        job = await world.account().submit(asked)
        assert isinstance(job, Job)
        world.clock.advance(4)
        assert await world.account().poll(job, asked) == Pending(fraction=fraction)


@pytest.mark.parametrize("model", TASKS)
async def test_a_task_may_be_missing_at_first(world: World[Tencent], files: Files, model: str) -> None:
    world.fault(type="hidden_at_first")
    asked = least(model, files)
    job = await world.account().submit(asked)
    assert isinstance(job, Job)
    with pytest.raises(JobMissing):
        await world.account().poll(job, asked)
    assert isinstance(await world.account().poll(job, asked), Finished)


@pytest.mark.parametrize("model", [*TASKS, "refine-image", "enhance-image", "hy-image-3.0"])
async def test_done_without_a_file_is_passed_on(world: World[Tencent], files: Files, model: str) -> None:
    world.fault(type="no_outputs")
    assert (await world.made(least(model, files))).outputs == []


LOSSES = [
    (model, fault)
    for model in (JOB, PRO, HUB, HUB_TASK, HUB_PICTURE_TASK, MPS, "refine-image", "hy-image-3.0", "ci-super-resolution")
    for fault in ("lost_answer", "malformed", "hung", "connection_reset")
    if (model, fault) != ("ci-super-resolution", "malformed")  # half a file shows only when it is read
]


@pytest.mark.parametrize(("model", "fault"), LOSSES)
async def test_a_lost_answer_stays_unknown(world: World[Tencent], files: Files, model: str, fault: str) -> None:
    world.fault(type=fault, times=1, kinds=["submit"])
    asked = least(model, files)
    with pytest.raises(OutcomeUnknown):
        await world.account().submit(asked)
    assert not world.account().can_find(asked)
    assert not world.account().remembers_key(asked)


@pytest.mark.parametrize("model", [VOD, VOD_PICTURE])
@pytest.mark.parametrize(
    ("fault", "jobs"), [("lost_answer", 1), ("malformed", 1), ("hung", 1), ("connection_reset", 1)]
)
async def test_vod_does_not_make_a_call_twice(
    world: World[Tencent], files: Files, model: str, fault: str, jobs: int
) -> None:
    world.fault(type=fault, times=1)
    asked, cloud = least(model, files), world.account()
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(asked)
    assert cloud.remembers_key(asked)
    job = await cloud.submit(asked)
    assert isinstance(job, Job)
    assert [one.id for one in world.simulator.find_jobs()] == [job.id]
    assert len(world.simulator.find_jobs()) == jobs


async def test_a_task_is_looked_up_through_all_pages(world: World[Tencent], files: Files) -> None:
    asked, cloud = least(VOD, files), world.account()
    first = await cloud.submit(asked)
    for number in range(120):
        world.clock.advance(1)
        await cloud.submit(call(VOD, TEXT, prompt="a hen", key=f"gen_2-{number}"))
    assert await cloud.submit(asked) == first
    listed = [
        one for one in world.simulator.record.find(kind=Kind.OTHER) if one.headers["x-tc-action"] == "DescribeTasks"
    ]
    assert len(listed) == 2


async def test_what_was_accepted_and_is_not_listed_stays_unknown(files: Files) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["X-TC-Action"] == "DescribeTasks":
            other = {"TaskId": "1", "SessionId": "another"}
            return httpx.Response(200, json={"Response": {"TaskSet": [other], "ScrollToken": ""}})
        return httpx.Response(200, json=api_error("FailedOperation.TaskDuplicate"))

    with pytest.raises(OutcomeUnknown, match="TaskDuplicate"):
        await account(httpx.MockTransport(answer)).submit(least(VOD, files))


async def test_a_long_key_is_shortened_to_the_same(world: World[Tencent], files: Files) -> None:
    long = least(VOD, files, key="k" * 80)
    first = await world.account().submit(long)
    assert len(world.sent()["SessionId"]) == 50
    assert await world.account().submit(long) == first
    assert await world.account().submit(least(VOD, files, key="k" * 81)) != first


@pytest.mark.parametrize("name", ["SessionId", "SubAppId"])
async def test_what_settles_a_lost_answer_is_not_the_callers(world: World[Tencent], files: Files, name: str) -> None:
    error = await world.refused(least(VOD, files, options={name: "mine"}))
    assert (type(error), getattr(error, "field", "")) == (InvalidInput, f"provider_options.{name}")
    assert world.simulator.find_jobs() == []


async def test_a_lookup_that_fails_is_no_refusal(world: World[Tencent], files: Files) -> None:
    asked, cloud = least(VOD, files), world.account()
    first = await cloud.submit(asked)
    world.fault(type="rate_limited", kinds=["other"], times=1)
    with pytest.raises(ProviderThrottled):
        await cloud.submit(asked)
    assert await cloud.submit(asked) == first


async def test_too_many_jobs_of_one_kind(files: Files) -> None:
    async with simulated(Simulated, Tencent, seconds=8) as world:
        for _ in range(20):
            await world.account().submit(least(JOB, files))
        with pytest.raises(ProviderThrottled, match="JobNumExceed"):
            await world.account().submit(least(JOB, files))
        await world.account().submit(least("vclm-vidu-q2", files))


@pytest.mark.parametrize(("told", "usage"), [("2.5", {"credits": 2.5}), (3, {"credits": 3}), ("", {}), ("two", {})])
async def test_what_vclm_has_spent_is_told_as_far_as_it_is_a_number(told: object, usage: dict[str, float]) -> None:
    done = {"Status": "DONE", "ResultVideoUrl": "https://x/1", "FinalUnitDeduction": told, "Duration": "?"}
    cloud = answering(200, {"Response": done})
    state = await cloud.poll(Job(id="1", handle={"action": "TextToVideoJob"}), call(JOB))
    assert state == Finished(outputs=[Output(url="https://x/1")], usage=usage)


@pytest.mark.parametrize("state", ["cancelled", "expired"])
async def test_other_words_for_a_failure_at_tokenhub(state: str) -> None:
    with pytest.raises(ProviderFailed, match=state):
        await answering(200, {"status": state}).poll(Job(id="1"), call(HUB_TASK, None))
    cloud = answering(200, {"Response": {"StatusCode": "STOP"}})
    with pytest.raises(ProviderFailed, match="STOP"):
        await cloud.poll(Job(id="1", handle={"action": "PortraitSingJob"}), call("vclm-portrait-sing", None))


async def test_nothing_can_be_cancelled(world: World[Tencent], files: Files) -> None:
    job = await world.account().submit(least(VOD, files))
    assert isinstance(job, Job)
    before = len(world.simulator.record.find(cloud="tencent"))
    await world.account().cancel(job)
    assert len(world.simulator.record.find(cloud="tencent")) == before
    assert not Tencent.can_cancel
