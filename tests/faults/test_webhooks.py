"""A worker is killed while it tells a receiver: the event arrives at least once, always under one id."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from genpulse.client import Client
from genpulse.schemas.states import GenerationStatus
from genpulse.schemas.webhooks import Delivery
from genpulse.stack import EmbeddedStack, embedded_stack
from tests.faults.conftest import ended, eventually, kill
from tests.faults.test_crashes import FAKE
from tests.servers.receiver import Received, Receiver, Reply

pytestmark = pytest.mark.timeout(400)

EVENTS = ["generation.queued", "generation.running", "generation.succeeded"]


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[EmbeddedStack]:
    private = {"GENPULSE_NETWORK__ALLOW_PRIVATE": "true"}
    async with embedded_stack(tmp_path / "data", environment=private) as running:
        await running.stop("worker-gpu")
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


async def delivered(client: Client, webhook_id: str, number: int) -> list[Delivery]:
    """All that was sent there, once so many events have arrived."""

    async def look() -> bool:
        found = await client.deliveries(webhook_id)
        return [one.status for one in found] == ["delivered"] * number

    await eventually(look)
    return await client.deliveries(webhook_id)


async def test_the_worker_is_killed_in_the_middle_of_a_delivery(
    stack: EmbeddedStack, client: Client, receiver: Receiver
) -> None:
    answers = threading.Event()

    def held(_request: Received) -> Reply:
        answers.wait(timeout=60)
        return Reply()

    receiver.answer = held
    webhook = await client.add_webhook(receiver.url)
    generation = await client.submit(FAKE)

    async def under_way() -> bool:
        return len(receiver.received) == len(EVENTS)

    await eventually(under_way)
    kill(stack, "worker")
    answers.set()
    sent = await delivered(client, webhook.id, len(EVENTS))
    assert sorted(one.type for one in sent) == EVENTS
    assert {one.generation_id for one in sent} == {generation.id}
    for one in sent:
        came = [request for request in receiver.received if request.id == one.id]
        assert len(came) > 1, "once before the kill, whose answer nobody heard, and after it"
        assert {request.body for request in came} == {came[0].body}
        assert len(one.attempts) == len(came)
        assert one.attempts[0].error is not None
        assert one.attempts[0].error.startswith("The worker that sent it was lost")
        assert one.attempts[-1].status_code == 204
    assert {request.id for request in receiver.received} == {one.id for one in sent}


async def test_events_outlive_all_that_carries_them(stack: EmbeddedStack, client: Client, receiver: Receiver) -> None:
    webhook = await client.add_webhook(receiver.url)
    generation = await client.submit(FAKE)
    assert (await ended(client, generation.id)).status == GenerationStatus.SUCCEEDED
    await delivered(client, webhook.id, len(EVENTS))
    await stack.stop("temporal")
    canceled = await client.submit(FAKE)
    await client.cancel(canceled.id)
    kill(stack, "api")
    await ended(client, canceled.id)
    assert len(receiver.received) == len(EVENTS), "Temporal is down"
    await stack.start("temporal")
    sent = await delivered(client, webhook.id, len(EVENTS) + 3)
    told = [one.type for one in sent if one.generation_id == canceled.id]
    assert sorted(told) == ["generation.canceled", "generation.canceling", "generation.queued"]
    assert {request.id for request in receiver.received} == {one.id for one in sent}
