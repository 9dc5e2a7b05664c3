"""Events on their way to a receiver whose workflow is gone: they are found, and told after all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.delivery import DeliveryActivities
from genpulse.db import Database, utc_now
from genpulse.dispatch import Dispatcher
from genpulse.doctor.running import check_running
from genpulse.models import DeliveryRow
from genpulse.net import http_client
from genpulse.repositories import deliveries
from genpulse.runs import open_deliveries
from genpulse.sealing import Sealer
from genpulse.settings import DatabaseSettings, Settings, TemporalSettings
from genpulse.temporal import DATA_CONVERTER
from genpulse.upkeep import Reconciler
from genpulse.webhooks.deliveries import Deliveries
from genpulse.webhooks.endpoints import Endpoints
from tests.integration.conftest import database_url
from tests.servers.receiver import Receiver, Reply
from tests.servers.temporal import TemporalServer, temporal_server
from tests.tables import create_tables
from tests.workflows.test_webhooks import Post
from workflows.delivery import DeliveryWorkflow

pytestmark = pytest.mark.timeout(120)


@dataclass
class Office:
    """A post office on a real Temporal, and the upkeep that looks after it."""

    post: Post
    reconciler: Reconciler
    settings: Settings
    client: Client

    async def untold(self) -> tuple[str, ...]:
        """Whose workflow the doctor misses."""
        findings = {finding.id: finding async for finding in check_running(self.settings, lately=timedelta(0))}
        return findings["T06"].examples

    async def only(self) -> DeliveryRow:
        (row,) = await self.post.rows()
        return row


@pytest.fixture(scope="module")
def temporal() -> Iterator[TemporalServer]:
    with temporal_server() as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
async def office(request: pytest.FixtureRequest, temporal: TemporalServer, tmp_path: Path) -> AsyncIterator[Office]:
    url = await database_url(request, tmp_path)
    database = Database(url)
    await create_tables(database)
    client = await Client.connect(temporal.address, data_converter=DATA_CONVERTER)

    async def connect() -> Client:
        return client

    endpoints = Endpoints(Sealer(b"k" * 32), allow_private=True)
    settings = Settings(
        data_dir=tmp_path, database=DatabaseSettings(url=url), temporal=TemporalSettings(address=temporal.address)
    )
    async with http_client(allow_private=True) as http:
        activities = DeliveryActivities(Deliveries(database, endpoints, http, utc_now))
        async with (
            Worker(client, task_queue="gp-workflows", workflows=[DeliveryWorkflow]),
            Worker(client, task_queue="gp-webhooks", activities=[activities.attempt]),
        ):
            post = Post(WorkflowEnvironment.from_client(client), database, endpoints, Dispatcher(database, connect))
            reconciler = Reconciler(database, connect, kept_for=timedelta(days=7), quiet_for=timedelta(0))
            yield Office(post, reconciler, settings, client)
            for one in await open_deliveries(client):
                await client.get_workflow_handle(one).terminate()
    await database.dispose()


async def eventually(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await look():  # noqa: ASYNC110 - neither the database nor Temporal tells
            await asyncio.sleep(0.05)


async def was_refused(office: Office, receiver: Receiver) -> str:
    """The id of an event that the receiver has refused, and that waits for its next try."""
    receiver.answer = lambda _request: Reply(503, {"retry-after": "3600"})
    await office.post.endpoint(receiver, events=["generation.succeeded"])
    await office.post.generation()
    await office.post.dispatch()

    async def look() -> bool:
        row = await office.only()
        return row.next_attempt_at is not None and row.next_attempt_at > utc_now() + timedelta(minutes=50)

    await eventually(look)
    return (await office.only()).id


async def is_listed(office: Office, delivery_id: str) -> bool:
    return delivery_id in await open_deliveries(office.client)


async def test_one_that_waits_for_its_next_try_is_left_alone(office: Office, receiver: Receiver) -> None:
    delivery_id = await was_refused(office, receiver)
    report = await office.reconciler.deliveries()  # whether or not Temporal lists it yet
    assert report.counts in ({"looked_at": 1}, {"looked_at": 1, "has_a_workflow": 1})
    await eventually(lambda: is_listed(office, delivery_id))
    assert (await office.reconciler.deliveries()).counts == {"looked_at": 1}
    assert await office.untold() == ()
    assert (await office.only()).round == 0


async def test_one_whose_workflow_was_terminated_is_told_after_all(office: Office, receiver: Receiver) -> None:
    delivery_id = await was_refused(office, receiver)
    await eventually(lambda: is_listed(office, delivery_id))
    await office.client.get_workflow_handle(delivery_id).terminate()

    async def is_gone() -> bool:
        return not await is_listed(office, delivery_id)

    await eventually(is_gone)
    assert await office.untold() == (delivery_id,)
    assert (await office.reconciler.deliveries()).counts == {"looked_at": 1, "started_again": 1}
    receiver.answer = lambda _request: Reply()
    await office.post.deliver()
    row = await office.only()
    assert (row.status, row.id) == ("delivered", delivery_id)
    assert [one.id for one in receiver.received] == [delivery_id] * 2
    assert await office.untold() == ()
    assert (await office.reconciler.deliveries()).counts == {}


async def test_one_of_which_temporal_knows_nothing_is_told(office: Office, receiver: Receiver) -> None:
    await office.post.endpoint(receiver, events=["generation.succeeded"])
    await office.post.generation()
    async with office.post.database.transaction() as session:
        await deliveries.mark_dispatched(session, [await office.only()])
    assert (await office.reconciler.deliveries()).counts == {"looked_at": 1, "started_again": 1}
    await office.post.deliver()
    assert (await office.only()).status == "delivered"
    assert len(receiver.received) == 1


async def test_what_a_person_has_asked_for_meanwhile_counts(office: Office, receiver: Receiver) -> None:
    await was_refused(office, receiver)
    seen = await office.only()
    await office.post.again(seen)
    async with office.post.database.transaction() as session:
        assert not await deliveries.begin_anew(session, seen.id, in_round=seen.round, at=utc_now())
    assert (await office.only()).round == 1
