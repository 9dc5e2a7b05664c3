"""Baidu Cloud: tasks."""

from __future__ import annotations

import pytest

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    JobMissing,
    ProviderFailed,
    ProviderRejected,
    ProviderUnavailable,
)
from genpulse.providers.baidu import Baidu
from genpulse.providers.base import Finished, Job, Pending
from genpulse.simulator.clouds.baidu import Baidu as Simulated
from genpulse.simulator.wire import Kind
from tests.clouds import Files, World, simulated
from tests.unit.baidu.shared import (
    ADVANCED,
    AT_ONCE,
    BASIC,
    EXTREME,
    LARGER,
    MUSE,
    OMNI,
    PICTURE,
    SPECS,
    TASKS,
    VOD,
    K,
    V,
    answering,
    least,
    started,
)


@pytest.mark.parametrize("model", TASKS)
async def test_the_states_of_a_task(files: Files, model: str) -> None:
    async with simulated(Simulated, Baidu, seconds=8) as world:
        account, asked = world.account(), least(model, files)
        job = await started(account, asked)
        for _ in range(2):
            assert isinstance(await account.poll(job, asked), Pending)
            world.clock.advance(3)
        world.clock.advance(3)
        assert isinstance(await account.poll(job, asked), Finished)


async def test_a_painting_tells_how_far_it_is(files: Files) -> None:
    async with simulated(Simulated, Baidu, seconds=8) as world:
        account, asked = world.account(), least(ADVANCED, files)
        job = await started(account, asked)
        assert await account.poll(job, asked) == Pending()
        world.clock.advance(4)
        assert await account.poll(job, asked) == Pending(fraction=0.5)


@pytest.mark.parametrize("model", [*TASKS, *AT_ONCE])
async def test_a_failure(world: World[Baidu], files: Files, model: str) -> None:
    told = {MUSE, BASIC, ADVANCED, EXTREME, PICTURE, LARGER}  # the others have no word for why
    world.fault(type="fails", code="content")
    assert type(await world.refused(least(model, files))) is (ContentBlocked if model in told else ProviderFailed)
    world.fault(type="fails")
    internal = ProviderUnavailable if model == PICTURE else ProviderFailed
    assert type(await world.refused(least(model, files))) is internal


@pytest.mark.parametrize("model", [*TASKS, *AT_ONCE])
async def test_nothing_was_made(world: World[Baidu], files: Files, model: str) -> None:
    world.fault(type="no_outputs")
    assert list((await world.made(least(model, files))).outputs) == []


@pytest.mark.parametrize("model", TASKS)
async def test_a_task_that_is_not_known(world: World[Baidu], files: Files, model: str) -> None:
    with pytest.raises(JobMissing):
        await world.account().poll(
            Job(id="404", handle={"model": str(SPECS[model].wire.get("model"))}), least(model, files)
        )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, ProviderFailed),
        ({"code": "video_genration_prompt_unsafe", "message": "no"}, ContentBlocked),
        ({"code": "invalid_image_url", "message": "no"}, ProviderRejected),
        ({"code": "video_generation_concurrency_exceeded"}, ProviderFailed),
        ({"code": 7}, ProviderFailed),
    ],
)
async def test_why_a_video_failed(files: Files, error: object, kind: type[GenPulseError]) -> None:
    told = {"id": "as-1", "task_id": "1", "status": "failed", "error": error}
    with pytest.raises(GenPulseError) as found:
        await answering(200, told).poll(Job(id="1"), least(MUSE, files))
    assert type(found.value) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [(282004, ContentBlocked), (216201, ProviderFailed), (216303, ProviderFailed), (0, ProviderFailed)],
)
async def test_why_a_painting_failed(files: Files, code: int, kind: type[GenPulseError]) -> None:
    data = {
        "task_status": "FAILED",
        "sub_task_result_list": [{"sub_task_error_code": 0}, {"sub_task_error_code": code}],
    }
    with pytest.raises(GenPulseError) as found:
        await answering(200, {"data": data}).poll(Job(id="1"), least(ADVANCED, files))
    assert type(found.value) is kind


async def test_only_pictures_that_passed_are_kept(files: Files) -> None:
    words = {"1": "pass", "2": "block", "3": "review"}
    shown = [{"img_url": f"https://x/{name}", "img_approve_conclusion": word} for name, word in words.items()]
    shown.append({"img_url": "https://x/4"})
    data = {"task_status": "SUCCESS", "sub_task_result_list": [{"final_image_list": [one]} for one in shown]}
    state = await answering(200, {"data": data}).poll(Job(id="1"), least(EXTREME, files))
    assert isinstance(state, Finished)
    assert [output.url for output in state.outputs] == ["https://x/1", "https://x/4"]


async def test_a_basic_painting_with_one_picture_alone(files: Files) -> None:
    told = {"data": {"taskId": 1, "status": 1, "img": "https://x/1", "imgUrls": None}}
    state = await answering(200, told).poll(Job(id="1"), least(BASIC, files))
    assert isinstance(state, Finished)
    assert [output.url for output in state.outputs] == ["https://x/1"]


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"status": "FINISHED", "videoGenerateTaskInfo": {"status": "success"}}, Finished),
        ({"status": "SUCCESS"}, Finished),
        ({"status": "RUNNING"}, Pending),
        ({"status": "FINISHED", "videoGenerateTaskInfo": {"status": "FAILED", "errMsg": "no"}}, ProviderFailed),
        ({"status": "FAILED"}, ProviderFailed),
    ],
)
async def test_how_vod_tells_that_a_task_has_ended(files: Files, told: object, state: type) -> None:
    try:
        found: object = await answering(200, told).poll(Job(id="1"), least(VOD, files))
    except ProviderFailed as error:
        found = error
    assert type(found) is state


async def test_only_what_waits_is_cancelled(files: Files) -> None:
    async with simulated(Simulated, Baidu, seconds=8) as world:
        account, asked = world.account(), least(MUSE, files)
        waiting, begun = await started(account, asked), await started(account, asked)
        await account.cancel(waiting)
        with pytest.raises(ProviderRejected, match="cancelled"):
            await account.poll(waiting, asked)
        world.clock.advance(4)
        await account.cancel(begun)
        world.clock.advance(5)
        assert isinstance(await account.poll(begun, asked), Finished)
        await account.cancel(begun)
        await account.cancel(Job(id="404", handle=begun.handle))


@pytest.mark.parametrize("model", [K, OMNI, V, VOD, BASIC, ADVANCED])
async def test_others_cannot_be_cancelled(world: World[Baidu], files: Files, model: str) -> None:
    account = world.account()
    await account.cancel(await started(account, least(model, files)))
    assert world.simulator.record.find(kind=Kind.CANCEL) == []


async def test_links_last_a_day(world: World[Baidu], files: Files) -> None:
    state = await world.made(least(MUSE, files))
    assert state.outputs[0].url is not None
    world.clock.advance(24 * 3600 + 60)
    assert (await world.http.get(state.outputs[0].url)).status_code == 403
