"""Google: jobs."""

from __future__ import annotations

import httpx
import pytest

from genpulse.errors import (
    JobMissing,
    OutcomeUnknown,
    ProviderFailed,
    ProviderUnavailable,
)
from genpulse.providers.base import Finished, Job, Pending
from genpulse.providers.google import Google
from genpulse.simulator.clouds.google import Google as Simulated
from genpulse.simulator.jobs import State
from genpulse.simulator.wire import Kind
from tests.clouds import World, simulated
from tests.unit.google.shared import (
    IMAGEN,
    KEY,
    PICTURE,
    VEO,
    VIDEO,
    call,
)


@pytest.mark.parametrize("model", [VIDEO, VEO])
async def test_a_job_goes_through_its_states(model: str) -> None:
    async with simulated(Simulated, Google, seconds=8) as world:
        cloud, asked = world.account(), call(model)
        job = await cloud.submit(asked)
        assert isinstance(job, Job)
        for seconds in (0, 4):
            world.clock.advance(seconds)
            assert await cloud.poll(job, asked) == Pending()
        world.clock.advance(4)
        assert isinstance(await cloud.poll(job, asked), Finished)


@pytest.mark.parametrize("model", [VIDEO, VEO])
async def test_a_job_may_be_missing_at_first(model: str) -> None:
    async with simulated(Simulated, Google, seconds=1) as world:
        world.fault(type="hidden_at_first")
        job = await world.account().submit(call(model))
        assert isinstance(job, Job)
        world.clock.advance(2)
        with pytest.raises(JobMissing):
            await world.account().poll(job, call(model))
        assert isinstance(await world.account().poll(job, call(model)), Finished)


@pytest.mark.parametrize("model", [VIDEO, VEO])
async def test_done_without_a_file_is_passed_on(world: World[Google], model: str) -> None:
    world.fault(type="no_outputs")
    assert (await world.made(call(model))).outputs == []


@pytest.mark.parametrize("fault", ["lost_answer", "malformed", "hung", "connection_reset"])
@pytest.mark.parametrize("model", [PICTURE, VIDEO, VEO, IMAGEN])
async def test_a_lost_answer_stays_unknown(world: World[Google], model: str, fault: str) -> None:
    world.fault(type=fault, times=1)
    with pytest.raises(OutcomeUnknown):
        await world.account().submit(call(model))
    assert not world.account().can_find(call(model))
    assert not world.account().remembers_key(call(model))


@pytest.mark.parametrize("model", [VIDEO, VEO])
async def test_a_lost_poll_is_asked_again(model: str) -> None:
    async with simulated(Simulated, Google, seconds=8) as world:
        job = await world.account().submit(call(model))
        assert isinstance(job, Job)
        world.fault(type="malformed", times=1, kinds=["poll"])
        with pytest.raises(ProviderUnavailable):
            await world.account().poll(job, call(model))
        assert await world.account().poll(job, call(model)) == Pending()


async def test_an_interaction_is_cancelled() -> None:
    async with simulated(Simulated, Google, seconds=8) as world:
        cloud = world.account()
        job, late = [await cloud.submit(call(VIDEO)) for _ in range(2)]
        assert isinstance(job, Job)
        assert isinstance(late, Job)
        world.clock.advance(4)
        await cloud.cancel(job)
        assert world.simulator.jobs["google", job.id].state is State.CANCELLED
        with pytest.raises(ProviderFailed, match="cancelled"):
            await cloud.poll(job, call(VIDEO))
        world.clock.advance(8)
        await cloud.cancel(late)
        assert isinstance(await cloud.poll(late, call(VIDEO)), Finished), "too late does no harm"
        await cloud.cancel(Job(id="v1_unknown"))


async def test_veo_cannot_be_cancelled(world: World[Google]) -> None:
    job = await world.account().submit(call(VEO))
    assert isinstance(job, Job)
    await world.account().cancel(job)
    assert world.simulator.record.find(kind=Kind.CANCEL) == []


async def test_a_file_is_opened_with_the_key_for_two_days() -> None:
    async with simulated(Simulated, Google, seconds=1) as world:
        [output] = (await world.made(call(VIDEO))).outputs
        assert output.url is not None
        assert (await world.http.get(output.url)).status_code == 403
        assert (await world.http.get(output.url, headers=KEY)).status_code == 200
        world.clock.advance(3 * 24 * 3600)
        assert (await world.http.get(output.url, headers=KEY)).status_code == 404


async def test_a_callback_is_asked_for() -> None:
    told: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        told.append(request.content)
        return httpx.Response(200)

    async with simulated(Simulated, Google, callbacks=httpx.MockTransport(answer), seconds=1) as world:
        job = await world.account().submit(call(VIDEO, callback_url="https://us.example/x"))
        assert isinstance(job, Job)
        assert world.sent()["webhook_config"] == {"uris": ["https://us.example/x"]}
        world.clock.advance(2)
        while not told:
            await world.http.get("http://sim/google/")
    assert job.id.encode() in told[0]
