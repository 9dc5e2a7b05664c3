"""Volcengine: waiting, lost answers, cancelling."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from genpulse.errors import (
    JobMissing,
    OutcomeUnknown,
    ProviderFailed,
    ProviderUnavailable,
)
from genpulse.providers.base import Finished, Job, ModelCall, Pending
from genpulse.providers.volcengine import Volcengine, ark
from genpulse.simulator.clouds.volcengine import Volcengine as Simulated
from genpulse.simulator.jobs import State
from genpulse.simulator.wire import Kind
from tests.clouds import World, simulated
from tests.unit.volcengine.shared import (
    FULL,
    JIMENG,
    SEEDREAM,
    answering,
    call_of,
    video,
)


@pytest.mark.parametrize("call", [video(), call_of(JIMENG)], ids=["video", "visual"])
async def test_a_job_is_waited_for(call: ModelCall) -> None:
    async with simulated(Simulated, Volcengine, seconds=4) as world:
        account = world.account()
        job = await account.submit(call)
        assert isinstance(job, Job)
        for _ in range(2):
            assert await account.poll(job, call) == Pending()
            world.clock.advance(2)
        state = await account.poll(job, call)
    assert isinstance(state, Finished)
    assert state.outputs


@pytest.mark.parametrize("call", [video(), call_of(JIMENG)], ids=["video", "visual"])
async def test_a_job_may_be_missing_or_empty(world: World[Volcengine], call: ModelCall) -> None:
    world.fault(type="hidden_at_first")
    job = await world.account().submit(call)
    assert isinstance(job, Job)
    with pytest.raises(JobMissing):
        await world.account().poll(job, call)
    assert isinstance(await world.account().poll(job, call), Finished)
    world.fault(type="no_outputs")
    assert not (await world.made(call)).outputs


async def test_a_task_of_jimeng_expires(world: World[Volcengine]) -> None:
    job = await world.account().submit(call_of(JIMENG))
    assert isinstance(job, Job)
    async with answering(200, {"code": 10000, "data": {"status": "expired"}}) as account:
        with pytest.raises(ProviderFailed, match="expired"):
            await account.poll(job, call_of(JIMENG))


async def test_a_task_of_jimeng_without_a_state_is_asked_for_again() -> None:
    async with answering(200, {"code": 10000, "data": {"image_urls": []}}) as account:
        with pytest.raises(ProviderUnavailable, match="do not know"):
            await account.poll(Job(id="1", handle={"req_key": "jimeng_t2i_v40"}), call_of(JIMENG))


async def test_images_of_jimeng_may_come_as_they_are() -> None:
    data = {"status": "done", "image_urls": None, "binary_data_base64": ["aGVsbG8="], "video_url": ""}
    async with answering(200, {"code": 10000, "data": data}) as account:
        state = await account.poll(Job(id="1", handle={"req_key": "jimeng_t2i_v40"}), call_of(JIMENG))
    assert isinstance(state, Finished)
    assert state.outputs[0].content == b"hello"


async def test_a_lost_task_is_found_in_the_list(world: World[Volcengine]) -> None:
    sent_at = datetime.now(UTC)
    assert await world.account().find(video(), sent_at=sent_at) is None
    world.fault(type="lost_answer")
    with pytest.raises(OutcomeUnknown):
        await world.account().submit(video())
    found = await world.account().find(video(), sent_at=sent_at)
    (job,) = world.simulator.find_jobs()
    assert found == Job(id=job.id)
    assert await world.account().find(video(), sent_at=sent_at + timedelta(hours=1)) is None
    for call in (call_of(SEEDREAM), call_of(JIMENG)):
        assert not world.account().can_find(call)


async def test_no_task_is_taken_for_a_lost_one_by_anything_but_its_mark(
    world: World[Volcengine], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_at = datetime.now(UTC)
    await world.account().submit(video())
    monkeypatch.setattr(Simulated, "shows_marks", False)
    assert await world.account().find(video(), sent_at=sent_at) is None
    theirs = video(options={"safety_identifier": "user-7"})
    await world.account().submit(theirs)
    assert world.sent()["safety_identifier"] == "user-7"
    assert not world.account().can_find(theirs)
    assert world.account().can_find(video(options={"seed": 7}))


async def test_tasks_of_an_endpoint_are_looked_for_among_all(world: World[Volcengine]) -> None:
    sent_at = datetime.now(UTC)
    asked = video(options={"model": "ep-20260101-x"})
    await world.account().submit(asked)
    assert await world.account().find(asked, sent_at=sent_at) is not None
    listed = world.simulator.record.find(cloud="volcengine", kind=Kind.OTHER)[-1]
    assert listed.query == {"page_num": "1", "page_size": "500"}


async def test_the_list_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ark, "_PAGES_APART", 0)

    def serve(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page_num"])
        mine = {"id": f"cgt-{page}", "status": "running", "safety_identifier": "gen_1-0-1", "created_at": 2**31}
        return httpx.Response(
            200, json={"total": 700, "items": [mine if page == 2 else mine | {"safety_identifier": ""}]}
        )

    async with httpx.AsyncClient(transport=httpx.MockTransport(serve)) as client:
        found = await Volcengine("", FULL, client).find(video(), sent_at=datetime.now(UTC))
    assert found == Job(id="cgt-2")


@pytest.mark.parametrize(("after", "state"), [(0, State.CANCELLED), (2, State.RUNNING), (5, State.SUCCEEDED)])
async def test_only_what_waits_can_be_cancelled(after: float, state: State) -> None:
    async with simulated(Simulated, Volcengine, seconds=4) as world:
        job = await world.account().submit(video())
        assert isinstance(job, Job)
        world.clock.advance(after)
        await world.account().cancel(job)
        assert world.simulator.find_jobs()[0].state is state
        await world.account().cancel(Job(id="cgt-unknown"))
        await world.account().cancel(Job(id="1", handle={"req_key": "jimeng_t2i_v40"}))


async def test_the_task_calls_back() -> None:
    bodies: list[bytes] = []

    async def take(request: Request) -> Response:
        bodies.append(await request.body())
        return Response(status_code=204)

    app = Starlette(routes=[Route("/hook", take, methods=["POST"])])
    async with simulated(Simulated, Volcengine, callbacks=httpx.ASGITransport(app), seconds=2) as world:
        job = await world.account().submit(video(callback_url="http://receiver/hook"))
        assert isinstance(job, Job)
        world.clock.advance(3)
        async with asyncio.timeout(5):
            while len(bodies) < 2:  # noqa: ASYNC110 - facts have no events
                await asyncio.sleep(0.005)
        assert [json.loads(body)["id"] for body in bodies] == [job.id, job.id]
        assert [json.loads(body)["status"] for body in bodies] == ["running", "succeeded"]
