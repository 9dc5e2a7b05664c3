"""Paid calls on both databases: whatever dies in between, none is sent twice and no end is forgotten."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from api.services import Services
from genpulse.calls import Calls
from genpulse.errors import AlreadyFinished
from genpulse.providers.base import Job
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.plans import StepOrder
from tests.integration.conftest import Run, submit

FAILED = GenerationFault(code="provider_failed", message="It broke.", retryable=False, provider="fal", details={})


@pytest.fixture
def calls(services: Services) -> Calls:
    return Calls(services.database, Run(services.database, "").records)


@pytest.fixture
async def order(api: httpx.AsyncClient, run: Callable[[str], Run]) -> StepOrder:
    """A step that was handed over to the workers of a cloud."""
    given = await run((await submit(api))["id"]).order()
    order = given.model_copy(update={"model": "fal/flux-schnell"})
    await run(order.generation_id).records.submit_step(order)
    return order


async def sent(calls: Calls, order: StepOrder) -> None:
    await calls.sending(order, await calls.open(order), account="fal", endpoint="https://fal.example")


async def test_a_call_is_gone_on_with(calls: Calls, order: StepOrder) -> None:
    await sent(calls, order)
    await calls.accepted(order, await calls.open(order), Job(id="job-1"))
    for call in (await calls.open(order), await calls.resume(order)):
        assert (call.number, call.job_id, call.failed) == (1, "job-1", None)


async def test_two_workers_do_not_both_send(calls: Calls, order: StepOrder) -> None:
    """One that was taken for lost comes back."""
    late = await calls.open(order)
    await sent(calls, order)
    with pytest.raises(AlreadyFinished):
        await calls.sending(order, late, account="fal", endpoint="https://fal.example")


async def test_a_call_that_was_withdrawn_may_be_sent_again(calls: Calls, order: StepOrder) -> None:
    await sent(calls, order)
    await calls.withdrawn(order, await calls.open(order))
    await sent(calls, order)
    assert (await calls.open(order)).number == 1


async def test_the_end_of_a_job_is_told_again_and_never_followed_by_another(
    calls: Calls, order: StepOrder, run: Callable[[str], Run]
) -> None:
    """The worker died, or was overtaken, between writing it down and telling Temporal."""
    await sent(calls, order)
    await calls.accepted(order, await calls.open(order), Job(id="job-1"))
    assert await run(order.generation_id).records.fail_attempt(order, FAILED) == 1
    for call in (await calls.open(order), await calls.resume(order)):
        assert (call.number, call.failed) == (1, FAILED)


async def test_a_call_that_never_got_out_is_followed_by_another(
    calls: Calls, order: StepOrder, run: Callable[[str], Run]
) -> None:
    await calls.open(order)
    await run(order.generation_id).records.fail_attempt(order, FAILED)
    with pytest.raises(AlreadyFinished):
        await calls.resume(order)
    assert (await calls.open(order)).number == 2


async def test_a_poll_of_the_first_model_leaves_the_fallback_s_call_alone(
    calls: Calls, order: StepOrder, run: Callable[[str], Run]
) -> None:
    await sent(calls, order)
    await run(order.generation_id).records.fail_attempt(order, FAILED)
    fallback = order.model_copy(update={"model": "replicate/flux-schnell"})
    await sent(calls, fallback)
    assert (await calls.resume(order)).failed == FAILED
    assert (await calls.resume(fallback)).number == 2
