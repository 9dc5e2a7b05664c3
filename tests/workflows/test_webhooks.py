"""Events on their way to receivers that are down, gone, slow or moved, over days of virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlmodel import col
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.delivery import DeliveryActivities
from genpulse.catalog import engine_models, load_catalog
from genpulse.db import Database, utc_now
from genpulse.dispatch import Dispatcher
from genpulse.models import DeliveryAttemptRow, DeliveryRow, WebhookRow
from genpulse.net import http_client
from genpulse.planning import plan_generation
from genpulse.records import Records
from genpulse.repositories import deliveries, generations, webhooks
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.plans import Ending, StepOrder
from genpulse.schemas.queues import WEBHOOK_QUEUE, WORKFLOW_QUEUE
from genpulse.schemas.states import GenerationStatus
from genpulse.schemas.webhooks import SecretRotation, WebhookCreate, WebhookUpdate, signing_key
from genpulse.sealing import Sealer
from genpulse.submissions import Submission, accept
from genpulse.webhooks.deliveries import Deliveries
from genpulse.webhooks.endpoints import Endpoints, find_webhook, ping, redeliver
from genpulse.webhooks.signing import signed_headers
from tests.servers.receiver import Received, Receiver, Reply
from tests.tables import create_tables
from tests.workflows.conftest import FAKE, TENANT, virtual_now
from workflows.delivery import DeliveryWorkflow
from workflows.policies import DELIVERY_DELAYS, DELIVERY_JITTER

DAY = timedelta(days=1)


@dataclass
class Post:
    """Endpoints, generations that make events, and the workers and the dispatcher that carry them."""

    environment: WorkflowEnvironment
    database: Database
    endpoints: Endpoints
    dispatcher: Dispatcher

    async def endpoint(self, receiver: Receiver, *, events: Sequence[str] = (), path: str = "") -> tuple[str, str]:
        """A new endpoint and its secret."""
        wanted = WebhookCreate.model_validate({"url": receiver.url + path, "events": list(events)})
        async with self.database.transaction() as session:
            row, secret = await self.endpoints.create(session, TENANT, wanted)
        return row.id, secret

    async def generation(self, **request: Any) -> str:
        """A generation that is accepted, runs and succeeds: three events."""
        create = GenerationCreate.model_validate(FAKE | request)
        plan = plan_generation(create, load_catalog(engine_models({}), {}))
        secret = self.endpoints.accept(create.webhook, TENANT) if create.webhook else None
        made = Submission(tenant_id=TENANT, request=create, plan=plan, request_id="req", webhook_secret=secret)
        generation_id = await accept(self.database, made)
        records = Records(self.database)
        order = StepOrder(generation_id=generation_id, tenant_id=TENANT, position=0, model="local/fake", total=1)
        await records.submit_step(order)
        await records.begin_step(order)
        await records.finish(Ending(generation_id=generation_id, status=GenerationStatus.SUCCEEDED))
        async with self.database.transaction() as session:
            await generations.mark_dispatched(session, [generation_id])
        return generation_id

    async def dispatch(self) -> list[WorkflowHandle[DeliveryWorkflow, Any]]:
        """Start what is to be sent, as the API does."""
        async with self.database.reading() as session:
            waiting = [row.id for row in await deliveries.undispatched(session, before=utc_now(), limit=99)]
        while await self.dispatcher.deliver():
            pass
        return [self.environment.client.get_workflow_handle(one) for one in waiting]

    async def deliver(self) -> None:
        """Start what is to be sent, and wait for the end of it, however long that takes."""
        while started := await self.dispatch():
            for handle in started:
                await handle.result()

    async def rows(self) -> list[DeliveryRow]:
        async with self.database.reading() as session:
            return list((await session.execute(select(DeliveryRow).order_by(col(DeliveryRow.id)))).scalars())

    async def tries(self, delivery_id: str) -> list[DeliveryAttemptRow]:
        async with self.database.reading() as session:
            return (await deliveries.attempts_of(session, [delivery_id]))[delivery_id]

    async def webhook(self, webhook_id: str) -> WebhookRow:
        async with self.database.reading() as session:
            return await find_webhook(session, TENANT, webhook_id)

    async def change(self, webhook_id: str, **values: Any) -> None:
        async with self.database.transaction() as session:
            await self.endpoints.change(session, TENANT, webhook_id, WebhookUpdate.model_validate(values))

    async def again(self, delivery: DeliveryRow) -> None:
        async with self.database.transaction() as session:
            await redeliver(session, TENANT, delivery.webhook_id, delivery.id)

    async def until(self, look: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await look():  # noqa: ASYNC110 - the database tells nobody
                await asyncio.sleep(0.05)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
async def post(temporal: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Post]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'genpulse.db'}")
    await create_tables(database)

    async def client():
        return temporal.client

    endpoints = Endpoints(Sealer(b"k" * 32), allow_private=True)
    async with http_client(allow_private=True) as http:
        activities = DeliveryActivities(Deliveries(database, endpoints, http, virtual_now))
        async with (
            Worker(temporal.client, task_queue=WORKFLOW_QUEUE, workflows=[DeliveryWorkflow]),
            Worker(temporal.client, task_queue=WEBHOOK_QUEUE, activities=[activities.attempt]),
        ):
            yield Post(temporal, database, endpoints, Dispatcher(database, client))
    await database.dispose()


def assert_in_schedule(tries: Sequence[DeliveryAttemptRow]) -> None:
    """Each try follows the one before by the documented delay, and up to a tenth of it more."""
    slack = timedelta(seconds=5)  # sending takes time, on a busy machine too
    for delay, (before, after) in zip(DELIVERY_DELAYS, pairwise(tries), strict=False):
        assert delay <= after.started_at - before.started_at <= delay * (1 + DELIVERY_JITTER) + slack


def assert_signed(request: Received, *secrets: str) -> None:
    """The signature is that of the bytes that came, by all these secrets and no other."""
    at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"])).astimezone()
    expected = signed_headers(request.id, request.body, secrets, at=at)
    assert request.headers["webhook-signature"] == expected["webhook-signature"]
    assert all(signing_key(secret) for secret in secrets)


async def test_events_arrive_signed_each_with_an_id_of_its_own(post: Post, receiver: Receiver) -> None:
    _, secret = await post.endpoint(receiver)
    generation_id = await post.generation(metadata={"order": "42"})
    await post.deliver()
    assert sorted(receiver.types) == ["generation.queued", "generation.running", "generation.succeeded"]
    assert len({one.id for one in receiver.received}) == 3
    by_version = sorted(receiver.received, key=lambda one: one.event["data"]["version"])
    assert [one.event["type"] for one in by_version] == receiver_order(receiver)
    for request in receiver.received:
        assert_signed(request, secret)
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"] == "GenPulse"
        data = request.event["data"]
        assert (data["id"], data["object"], data["model"]) == (generation_id, "generation", "local/fake")
        assert (data["operation"], data["error"], data["metadata"]) == ("text-to-image", None, {"order": "42"})


def receiver_order(receiver: Receiver) -> list[str]:
    return sorted(receiver.types, key=["generation.queued", "generation.running", "generation.succeeded"].index)


async def test_a_receiver_that_is_down_for_a_day_gets_every_event_once_it_is_back(
    post: Post, receiver: Receiver
) -> None:
    receiver.stop()
    webhook_id, secret = await post.endpoint(receiver)
    with post.environment.with_time_skipping_disabled():
        made = [await post.generation() for _ in range(4)]
        started = await post.dispatch()
    await asyncio.gather(*(post.environment.fast_forward(handle, DAY) for handle in started))
    assert (await post.webhook(webhook_id)).failing_since is not None
    assert {row.status for row in await post.rows()} == {"pending"}
    receiver.start()
    await asyncio.gather(*(post.environment.fast_forward(handle) for handle in started))

    rows = await post.rows()
    assert len(rows) == len(started) == 3 * len(made)
    assert {row.status for row in rows} == {"delivered"}
    assert {one.id for one in receiver.received} == {row.id for row in rows}, "one id for each"
    assert len(receiver.received) == len(rows), "and none twice"
    told = {(one.event["data"]["id"], one.event["type"]) for one in receiver.received}
    kinds = ["generation.queued", "generation.running", "generation.succeeded"]
    assert told == {(one, kind) for one in made for kind in kinds}
    for row in rows:
        tries = await post.tries(row.id)
        assert_in_schedule(tries)
        assert {one.error for one in tries[:-1]} == {"No connection could be made."}
        assert (tries[-1].status_code, tries[-1].error) == (204, None)
        assert tries[-1].started_at - tries[0].started_at > DAY, "it was down for a day"
    for request in receiver.received:
        assert_signed(request, secret)
        row = next(row for row in rows if row.id == request.id)
        first = (await post.tries(row.id))[0].started_at
        assert int(request.headers["webhook-timestamp"]) >= (first + DAY).timestamp(), "signed at the time of the try"
    assert (await post.webhook(webhook_id)).failing_since is None


async def test_every_try_has_the_same_id_and_bytes_and_a_time_of_its_own(post: Post, receiver: Receiver) -> None:
    receiver.answer = lambda _request: Reply(500 if len(receiver.received) < 4 else 200, body=b"not yet")
    await post.endpoint(receiver, events=["generation.succeeded"])
    await post.generation()
    await post.deliver()
    assert len(receiver.received) == 4
    assert len({one.id for one in receiver.received}) == 1
    assert len({one.body for one in receiver.received}) == 1
    assert len({one.headers["webhook-timestamp"] for one in receiver.received}) == 4
    assert len({one.headers["webhook-signature"] for one in receiver.received}) == 4
    (row,) = await post.rows()
    tries = await post.tries(row.id)
    assert [(one.number, one.status_code, one.error, one.answer) for one in tries[:2]] == [
        (1, 500, "It answered 500.", "not yet"), (2, 500, "It answered 500.", "not yet"),
    ]  # fmt: skip
    assert row.attempts == 4


async def test_an_endpoint_that_fails_for_days_is_disabled_and_the_others_are_told(
    post: Post, receiver: Receiver
) -> None:
    bad, _ = await post.endpoint(receiver, events=["generation.succeeded"], path="/bad")
    _, secret = await post.endpoint(receiver, events=["webhook.disabled"], path="/other")
    receiver.answer = lambda request: Reply(503 if request.path.endswith("/bad") else 204)
    await post.generation()
    await post.deliver()
    failed = next(row for row in await post.rows() if row.type == "generation.succeeded")
    assert (failed.status, failed.next_attempt_at) == ("failed", None)
    tries = await post.tries(failed.id)
    assert len(tries) == len(DELIVERY_DELAYS) + 1
    assert_in_schedule(tries)
    disabled = await post.webhook(bad)
    assert (disabled.disabled_reason, disabled.disabled_at is not None) == ("failing", True)
    notice = receiver.received[-1]
    assert notice.path.endswith("/other")
    assert notice.event["type"] == "webhook.disabled"
    assert (notice.event["data"]["id"], notice.event["data"]["disabled_reason"]) == (bad, "failing")
    assert_signed(notice, secret)
    before = len(receiver.received)
    await post.generation()
    await post.deliver()
    assert len(receiver.received) == before, "nothing is sent there any more"
    await post.change(bad, enabled=True)
    receiver.answer = lambda _request: Reply()
    await post.generation()
    await post.deliver()
    assert len(receiver.received) == before + 1, "until it is enabled"
    await post.again(failed)
    await post.deliver()
    assert receiver.received[-1].id == failed.id, "and what was missed can be sent again"


async def test_an_event_that_alone_is_refused_does_not_disable_the_endpoint(post: Post, receiver: Receiver) -> None:
    webhook_id, _ = await post.endpoint(receiver, events=["generation.queued", "generation.succeeded"])
    receiver.answer = lambda request: Reply(500 if request.event["type"] == "generation.queued" else 204)
    await post.generation()
    await post.deliver()
    assert {row.type: row.status for row in await post.rows()} == {
        "generation.queued": "failed", "generation.succeeded": "delivered",
    }  # fmt: skip
    assert (await post.webhook(webhook_id)).disabled_at is None


async def test_a_receiver_that_is_gone_ends_all_that_was_on_its_way(post: Post, receiver: Receiver) -> None:
    webhook_id, _ = await post.endpoint(receiver)
    receiver.answer = lambda _request: Reply(500)
    with post.environment.with_time_skipping_disabled():
        await post.generation()
        started = await post.dispatch()
        await post.until(lambda: _has_tried(post, 3))
    receiver.answer = lambda _request: Reply(410)
    seen = len(receiver.received)
    await asyncio.gather(*(post.environment.fast_forward(handle) for handle in started))
    assert {row.status for row in await post.rows()} == {"failed"}
    assert seen < len(receiver.received) <= seen + 3, "after one says so, the others hardly ask"
    assert (await post.webhook(webhook_id)).disabled_reason == "gone"


async def _has_tried(post: Post, number: int) -> bool:
    return sum(row.attempts for row in await post.rows()) >= number


async def test_redirects_are_not_followed(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver, events=["generation.succeeded"])
    elsewhere = Reply(307, {"location": f"{receiver.url}/elsewhere"})
    receiver.answer = lambda _request: elsewhere if len(receiver.received) < 3 else Reply()
    await post.generation()
    await post.deliver()
    assert [one.path for one in receiver.received] == ["/hook"] * 3
    (row,) = await post.rows()
    assert (await post.tries(row.id))[0].error == "It answered 307, a redirect, which is not followed."


@pytest.mark.parametrize(("asked", "least", "most"), [("3600", 3600, 3700), ("999999999", 86400, 86500), ("1", 5, 60)])
async def test_a_receiver_may_ask_for_time_within_bounds(
    post: Post, receiver: Receiver, asked: str, least: int, most: int
) -> None:
    receiver.answer = lambda _request: Reply(429, {"retry-after": asked}) if len(receiver.received) < 2 else Reply()
    await post.endpoint(receiver, events=["generation.succeeded"])
    await post.generation()
    await post.deliver()
    (row,) = await post.rows()
    first, second = await post.tries(row.id)
    assert least <= (second.started_at - first.started_at).total_seconds() <= most


@pytest.mark.parametrize("how", ["disabled", "deleted"])
async def test_an_endpoint_that_is_disabled_or_deleted_is_left_alone(post: Post, receiver: Receiver, how: str) -> None:
    receiver.answer = lambda _request: Reply(500)
    webhook_id, _ = await post.endpoint(receiver, events=["generation.succeeded"])
    with post.environment.with_time_skipping_disabled():
        await post.generation()
        (handle,) = await post.dispatch()
        await post.until(lambda: _has_tried(post, 1))
    if how == "disabled":
        await post.change(webhook_id, enabled=False)
        assert [(row.status, row.attempts) for row in await post.rows()] == [("failed", 1)]
    else:
        async with post.database.transaction() as session:
            await webhooks.remove(session, TENANT, webhook_id)
        assert await post.rows() == []
    await post.environment.fast_forward(handle)
    assert await handle.result() == {"status": "failed"}
    assert len(receiver.received) == 1


async def test_a_secret_is_replaced_with_an_overlap(post: Post, receiver: Receiver) -> None:
    webhook_id, old = await post.endpoint(receiver, events=["generation.succeeded"])
    receiver.answer = lambda _request: Reply(500 if len(receiver.received) < 7 else 204)
    async with post.database.transaction() as session:
        _, new = await post.endpoints.rotate(session, TENANT, webhook_id, SecretRotation(overlap_seconds=3600))
    await post.generation()
    await post.deliver()
    (row,) = await post.rows()
    for request, one in zip(receiver.received, await post.tries(row.id), strict=True):
        in_overlap = one.started_at - row.created_at < timedelta(minutes=58)
        assert_signed(request, *([new, old] if in_overlap else [new]))
    assert len(receiver.received[0].headers["webhook-signature"].split()) == 2
    assert len(receiver.received[-1].headers["webhook-signature"].split()) == 1


async def test_an_event_is_sent_again_when_a_person_asks(post: Post, receiver: Receiver) -> None:
    await post.endpoint(receiver, events=["generation.succeeded"])
    await post.generation()
    await post.deliver()
    (row,) = await post.rows()
    await post.again(row)
    await post.deliver()
    first, second = receiver.received
    assert (first.id, first.body) == (second.id, second.body)
    (row,) = await post.rows()
    assert (row.status, row.round, row.attempts) == ("delivered", 1, 2)


async def test_a_person_who_asks_need_not_wait_for_the_next_try(post: Post, receiver: Receiver) -> None:
    receiver.answer = lambda _request: Reply(500)
    await post.endpoint(receiver, events=["generation.succeeded"])
    with post.environment.with_time_skipping_disabled():
        await post.generation()
        (handle,) = await post.dispatch()
        await post.until(lambda: _has_tried(post, 2))  # the third is five minutes away
        receiver.answer = lambda _request: Reply()
        (row,) = await post.rows()
        await post.again(row)
        assert [one.id for one in await post.dispatch()] == [handle.id]
        await post.dispatcher.deliver()
        result = await handle.result()
    assert result == {"status": "delivered"}
    assert len(receiver.received) == 3
    assert len({one.id for one in receiver.received}) == 1


@pytest.mark.parametrize("asked_again", [0, 1])
async def test_what_temporal_is_told_twice_is_sent_once(post: Post, receiver: Receiver, asked_again: int) -> None:
    await post.endpoint(receiver, events=["generation.succeeded"])
    await post.generation()
    await post.deliver()
    for _ in range(asked_again):
        await post.again((await post.rows())[0])
        await post.deliver()
    async with post.database.transaction() as session:  # the dispatcher died before it could note that it was told
        await session.execute(update(DeliveryRow).values(dispatched_at=None))
    await post.deliver()
    assert len(receiver.received) == 1 + asked_again


async def test_a_ping_is_tried_once(post: Post, receiver: Receiver) -> None:
    webhook_id, secret = await post.endpoint(receiver, events=["generation.failed"])
    receiver.answer = lambda _request: Reply(500)
    async with post.database.transaction() as session:
        made = await ping(session, TENANT, webhook_id)
    await post.deliver()
    (request,) = receiver.received
    assert (request.id, request.event["type"], request.event["data"]["id"]) == (made.id, "webhook.ping", webhook_id)
    assert_signed(request, secret)
    (row,) = await post.rows()
    assert row.status == "failed"
    assert (await post.webhook(webhook_id)).disabled_at is None


async def test_a_webhook_of_a_request_hears_of_that_generation_alone(post: Post, receiver: Receiver) -> None:
    own = "whsec_" + "QUJD" * 8
    wanted = {"url": f"{receiver.url}/mine", "events": ["generation.succeeded"]}
    mine = await post.generation(webhook=wanted)
    sealed = await post.generation(webhook=wanted | {"secret": own})
    await post.generation()
    await post.deliver()
    assert sorted(one.event["data"]["id"] for one in receiver.received) == sorted([mine, sealed])
    common = post.endpoints.shown(await post.endpoints.request_secret(post.database, TENANT))
    for request in receiver.received:
        assert_signed(request, common if request.event["data"]["id"] == mine else own)


async def test_what_cannot_be_signed_is_not_sent_and_says_why(post: Post, receiver: Receiver) -> None:
    webhook_id, _ = await post.endpoint(receiver, events=["generation.succeeded"])
    async with post.database.transaction() as session:
        other = Endpoints(Sealer(b"x" * 32), allow_private=True)
        await other.rotate(session, TENANT, webhook_id, SecretRotation())
    with post.environment.with_time_skipping_disabled():
        await post.generation()
        (handle,) = await post.dispatch()
        await post.until(lambda: _has_tried(post, 1))
        (row,) = await post.rows()
        await post.until(lambda: _is_noted(post, row.id))
        await handle.terminate()
    (first, *_) = await post.tries(row.id)
    assert first.error is not None
    assert first.error.startswith("It was not sent: The secret was stored under another signing key")
    assert receiver.received == []


async def _is_noted(post: Post, delivery_id: str) -> bool:
    return (await post.tries(delivery_id))[0].duration_ms is not None
