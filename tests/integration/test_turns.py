"""Turns among tenants on the queues of a real Temporal server, and what the dispatcher asks of them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.common import Priority as Turn
from temporalio.worker import Worker

from api.services import Services
from genpulse.db import utc_now
from genpulse.dispatch import Dispatcher, turn_of
from genpulse.models import TenantRow
from genpulse.repositories import tenants
from genpulse.schemas.plans import GenerationTicket
from genpulse.schemas.shares import Share
from genpulse.schemas.states import Priority
from genpulse.temporal import DATA_CONVERTER
from tests.integration.conftest import SHAPE, submit
from tests.load.bare_workflow import BareWorkflow, note
from tests.servers.backlog import until_waiting
from tests.servers.temporal import TemporalServer, temporal_server

HEAVY, LIGHT = Share(tenant="heavy"), Share(tenant="light")


@pytest.fixture(scope="module")
def temporal() -> Iterator[TemporalServer]:
    with temporal_server() as running:
        yield running


@pytest.fixture
async def client(temporal: TemporalServer) -> Client:
    return await Client.connect(temporal.address, data_converter=DATA_CONVERTER)


async def served(client: Client, waiting: Sequence[Share]) -> list[Share]:
    """The order in which a queue with one slot serves what was put there in that order, all of it before the first."""
    queue = f"turns-{uuid.uuid4()}"
    order: list[Share] = []

    @activity.defn(name="work")
    async def work(_text: str) -> str:
        order.append(waiting[int(str(activity.info().workflow_id).rpartition("-")[2])])
        return ""

    flows = Worker(client, task_queue=queue, workflows=[BareWorkflow], activities=[note], no_remote_activities=True)
    async with flows, asyncio.timeout(120):
        handles = [
            await client.start_workflow(
                BareWorkflow.run, f"{queue}-work", id=f"{queue}-{n}", task_queue=queue, priority=turn_of(share)
            )
            for n, share in enumerate(waiting)
        ]
        await until_waiting(client, f"{queue}-work", len(waiting))
        async with Worker(client, task_queue=f"{queue}-work", activities=[work], max_concurrent_activities=1):
            for handle in handles:
                await handle.result()
    return order


def places(order: Sequence[Share], share: Share) -> list[int]:
    """When its own are served, from 0."""
    return [n for n, one in enumerate(order) if one == share]


async def test_five_of_one_tenant_are_not_behind_sixty_of_another(client):
    order = await served(client, [HEAVY] * 60 + [LIGHT] * 5)
    assert places(order, LIGHT)[-1] <= 10, "every second one, until there are no more"


async def test_what_is_urgent_does_not_stand_behind_the_tenants_other_work_and_what_is_not_stands_back(client):
    high, low = replace(HEAVY, priority=Priority.HIGH), replace(HEAVY, priority=Priority.LOW)
    order = await served(client, [low] * 20 + [HEAVY] * 25 + [high] * 5)
    assert places(order, high)[-1] <= 8, "two of three"
    assert len([n for n in places(order, low) if n < places(order, HEAVY)[-1]]) <= 4, "one for ten"


async def test_nobody_holds_other_tenants_up_by_calling_everything_urgent(client):
    order = await served(client, [replace(HEAVY, priority=Priority.HIGH)] * 40 + [LIGHT] * 5)
    assert places(order, LIGHT)[-1] <= 15, "every third one, until there are no more"


@pytest.mark.parametrize(
    ("priority", "weight", "turn"),
    [
        (Priority.NORMAL, 2.5, Turn(fairness_key="default", fairness_weight=2.5)),
        (Priority.HIGH, 2.5, Turn(fairness_key="default/high", fairness_weight=5)),
        (Priority.HIGH, 1000, Turn(fairness_key="default/high", fairness_weight=1000)),
        (Priority.LOW, 2.5, Turn(fairness_key="default/low", fairness_weight=0.25)),
        (Priority.LOW, 0.001, Turn(fairness_key="default/low", fairness_weight=0.001)),
    ],
)
def test_a_share_is_a_turn(priority, weight, turn):
    assert turn_of(Share(tenant="default", weight=weight, priority=priority)) == turn


@pytest.mark.parametrize(("weight", "told"), [(2.5, 2.5), (5000, 1000), (0.0001, 0.001)])
async def test_a_generation_starts_with_its_tenants_weight(api, services: Services, client: Client, weight, told):
    async with services.database.transaction() as session:
        await tenants.change(session, "default", weight=weight)

    async def connected() -> Client:
        return client

    generation_id = (await submit(api, SHAPE | {"priority": "low"}))["id"]
    await Dispatcher(services.database, connected).deliver()
    handle = client.get_workflow_handle(generation_id)
    turn = (await handle.describe()).raw_description.workflow_execution_info.priority
    assert (turn.priority_key, turn.fairness_key) == (0, "default/low")
    assert turn.fairness_weight == pytest.approx(max(told / 10, 0.001))
    started = (await anext(handle.fetch_history_events())).workflow_execution_started_event_attributes
    (ticket,) = await DATA_CONVERTER.decode(started.input.payloads, [GenerationTicket])
    assert (ticket.weight, ticket.priority) == (told, "low")


async def test_weights_are_those_of_the_tenants_that_there_are(services: Services) -> None:
    async with services.database.transaction() as session:
        await tenants.add(session, TenantRow(id="ten_1", name="one", weight=3, created_at=utc_now()))
        assert await tenants.weights(session, {"ten_1", "default", "ten_2"}) == {"ten_1": 3, "default": 1}
