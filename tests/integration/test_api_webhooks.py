"""Webhooks over HTTP and in the database: who gets which event, and what a receiver's answer leads to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text, update

from api.services import Services
from genpulse.db import utc_now
from genpulse.ids import new_id
from genpulse.models import DeliveryRow, WebhookRow, metadata
from genpulse.net import http_client
from genpulse.repositories import deliveries, generations, webhooks
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.states import GenerationStatus
from genpulse.schemas.webhooks import DeliveryOrder, DeliveryOutcome
from genpulse.webhooks.deliveries import Deliveries, Try
from genpulse.webhooks.endpoints import Endpoints
from genpulse.webhooks.sending import Answer
from tests.integration.conftest import SHAPE, TENANT, Run, assert_problem, submit
from tests.servers.receiver import Receiver, Reply

URL = "https://receiver.test/hook"
FAULT = GenerationFault(
    code="provider_failed", message="The job failed." + "x" * 1000, retryable=True, provider="fal", details={}
)

Runs = Callable[[str], Run]


async def create(api: httpx.AsyncClient, **values: Any) -> dict[str, Any]:
    answer = await api.post("/v1/webhooks", json={"url": URL} | values)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def log(api: httpx.AsyncClient, webhook_id: str, **query: Any) -> list[dict[str, Any]]:
    """All that was sent there, oldest first."""
    answer = await api.get(f"/v1/webhooks/{webhook_id}/deliveries", params={"limit": 100} | query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found[::-1]


async def types(api: httpx.AsyncClient, webhook_id: str) -> list[str]:
    return [one["type"] for one in await log(api, webhook_id)]


# Endpoints ----------------------------------------------------------------------------------------------------------


async def test_a_webhook_shows_its_secret_once(api: httpx.AsyncClient, services: Services) -> None:
    answer = await api.post("/v1/webhooks", json={"url": URL, "events": ["generation.failed"], "description": "ours"})
    made = answer.json()
    assert answer.headers["location"].endswith(f"/v1/webhooks/{made['id']}")
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert (made["url"], made["events"], made["description"]) == (URL, ["generation.failed"], "ours")
    assert (made["enabled"], made["failing_since"], made["generation_id"]) == (True, None, None)
    assert (await api.get(f"/v1/webhooks/{made['id']}")).json() == made
    assert (await api.get("/v1/webhooks")).json() == {"data": [made], "has_more": False}
    assert secret not in await everything_stored(services)


async def everything_stored(services: Services) -> str:
    async with services.database.reading() as session:
        rows = [row for table in metadata.sorted_tables for row in await session.execute(select(table))]
    return repr(rows)


async def test_the_list_goes_on_where_it_ended(api: httpx.AsyncClient) -> None:
    made = [(await create(api))["id"] for _ in range(3)][::-1]
    first = (await api.get("/v1/webhooks", params={"limit": 2})).json()
    rest = (await api.get("/v1/webhooks", params={"limit": 2, "starting_after": made[1]})).json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (made[:2], True)
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (made[2:], False)


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({}, "invalid_input", "/url"),
        ({"url": "nonsense"}, "invalid_input", "/url"),
        ({"url": "http://receiver.test/hook"}, "unsafe_url", "/url"),
        ({"url": "https://192.168.0.1/"}, "unsafe_url", "/url"),
        ({"url": "https://a:b@receiver.test/"}, "unsafe_url", "/url"),
        ({"url": URL, "events": ["generation.done"]}, "invalid_input", "/events/0"),
        ({"url": URL, "events": ["webhook.ping"]}, "invalid_input", "/events/0"),
        ({"url": URL, "secret": "whsec_short"}, "invalid_input", "/secret"),
        ({"url": URL, "enabled": False}, "invalid_input", "/enabled"),
    ],
)
async def test_what_is_wrong_is_named(api: httpx.AsyncClient, body: Any, code: str, pointer: str) -> None:
    problem = assert_problem(await api.post("/v1/webhooks", json=body), 422, code, pointer)
    assert "whsec_short" not in json.dumps(problem)


async def test_there_are_at_most_twenty(api: httpx.AsyncClient) -> None:
    made = [await create(api) for _ in range(20)]
    assert_problem(await api.post("/v1/webhooks", json={"url": URL}), 409, "limit_reached")
    await api.delete(f"/v1/webhooks/{made[0]['id']}")
    await create(api)


async def test_a_webhook_can_be_changed(api: httpx.AsyncClient) -> None:
    made = await create(api, events=["generation.failed"])
    path = f"/v1/webhooks/{made['id']}"
    changed = (await api.patch(path, json={"url": f"{URL}/new", "events": []})).json()
    assert (changed["url"], changed["events"]) == (f"{URL}/new", [])
    off = (await api.patch(path, json={"enabled": False})).json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "requested")
    assert off["disabled_at"] is not None
    assert (await api.patch(path, json={})).json() == off
    on = (await api.patch(path, json={"enabled": True})).json()
    assert (on["enabled"], on["disabled_at"], on["disabled_reason"]) == (True, None, None)
    assert_problem(await api.patch(path, json={"url": "https://10.0.0.1/"}), 422, "unsafe_url", "/url")
    assert (await api.get(path)).json() == on


async def test_rotating_gives_a_new_secret_and_says_until_when_the_former_signs(api: httpx.AsyncClient) -> None:
    made = await create(api)
    path = f"/v1/webhooks/{made['id']}/rotate"
    rotated = (await api.post(path)).json()
    assert rotated["secret"] not in (None, made["secret"])
    assert rotated["previous_secret_until"] is not None
    at_once = (await api.post(path, json={"overlap_seconds": 0})).json()
    assert at_once["previous_secret_until"] is None
    assert_problem(await api.post(path, json={"overlap_seconds": -1}), 422, "invalid_input", "/overlap_seconds")


async def test_the_secret_for_requests_is_made_once_and_can_be_replaced(api: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(api.get("/v1/webhooks/secret") for _ in range(8)))
    (secret,) = {answer.json()["secret"] for answer in answers}
    rotated = (await api.post("/v1/webhooks/secret/rotate", json={"overlap_seconds": 60})).json()
    assert rotated["secret"] != secret
    assert rotated["previous_secret_until"] is not None
    assert (await api.get("/v1/webhooks/secret")).json() == rotated


async def test_a_secret_under_another_key_says_what_to_do(api: httpx.AsyncClient, services: Services) -> None:
    await api.get("/v1/webhooks/secret")
    async with services.database.transaction() as session:
        await webhooks.change_secret(session, TENANT, secret="v1.AAAA")
    assert_problem(await api.get("/v1/webhooks/secret"), 409, "secret_unreadable")
    assert (await api.post("/v1/webhooks/secret/rotate")).json()["secret"].startswith("whsec_")


async def test_what_is_anothers_or_nobodys_is_not_there(api: httpx.AsyncClient, services: Services) -> None:
    foreign = WebhookRow(id=new_id("whk"), tenant_id="other", url=URL, events=[], created_at=utc_now())
    async with services.database.transaction() as session:
        await webhooks.add(session, foreign)
    mine = (await create(api))["id"]
    for one in (foreign.id, new_id("whk"), "whk_1", "%00"):
        for method, path in [
            ("GET", ""), ("DELETE", ""), ("POST", "/ping"), ("POST", "/rotate"), ("GET", "/deliveries"),
            ("GET", f"/deliveries/{new_id('evt')}"), ("POST", f"/deliveries/{new_id('evt')}/redeliver"),
        ]:  # fmt: skip
            assert_problem(await api.request(method, f"/v1/webhooks/{one}{path}"), 404, "not_found")
        assert_problem(await api.patch(f"/v1/webhooks/{one}", json={"enabled": True}), 404, "not_found")
    for one in (new_id("evt"), "evt_1", "%00"):
        assert_problem(await api.get(f"/v1/webhooks/{mine}/deliveries/{one}"), 404, "not_found")
    assert [one["id"] for one in (await api.get("/v1/webhooks")).json()["data"]] == [mine]


# Events -------------------------------------------------------------------------------------------------------------


async def test_every_change_of_status_is_told_in_the_same_transaction(api: httpx.AsyncClient, run: Runs) -> None:
    webhook = await create(api)
    ended = (await submit(api, SHAPE | {"metadata": {"order": "42"}}))["id"]
    await run(ended).succeed()
    sent = await log(api, webhook["id"])
    assert [one["type"] for one in sent] == ["generation.queued", "generation.running", "generation.succeeded"]
    assert {one["status"] for one in sent} == {"pending"}
    assert {one["generation_id"] for one in sent} == {ended}
    bodies = [await payload(api, webhook["id"], one["id"]) for one in sent]
    versions = [body["data"]["version"] for body in bodies]
    assert versions == sorted(set(versions))
    assert bodies[-1]["data"] | {"version": 0} == {
        "id": ended, "object": "generation", "status": "succeeded", "version": 0, "operation": "text-to-image",
        "model": "local/shapes", "error": None, "metadata": {"order": "42"},
    }  # fmt: skip


async def payload(api: httpx.AsyncClient, webhook_id: str, delivery_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"/v1/webhooks/{webhook_id}/deliveries/{delivery_id}")).json()["payload"]
    return found


async def test_a_failure_is_told_in_short(api: httpx.AsyncClient, run: Runs) -> None:
    webhook = await create(api, events=["generation.failed"])
    failed = (await submit(api))["id"]
    await run(failed).begin()
    await run(failed).end("failed", FAULT)
    (sent,) = await log(api, webhook["id"])
    error = (await payload(api, webhook["id"], sent["id"]))["data"]["error"]
    assert error.keys() == {"code", "message"}
    assert (error["code"], len(error["message"])) == ("provider_failed", 500)


async def test_a_cancellation_is_told(api: httpx.AsyncClient, run: Runs) -> None:
    webhook = await create(api)
    canceled = (await submit(api))["id"]
    await api.post(f"/v1/generations/{canceled}/cancel")
    await run(canceled).end("canceled")
    assert await types(api, webhook["id"]) == ["generation.queued", "generation.canceling", "generation.canceled"]


async def test_each_webhook_gets_what_it_asked_for_under_an_id_of_its_own(api: httpx.AsyncClient, run: Runs) -> None:
    everything, some, none = await create(api), await create(api, events=["generation.succeeded"]), await create(api)
    await api.patch(f"/v1/webhooks/{none['id']}", json={"enabled": False})
    await run((await submit(api))["id"]).succeed()
    assert await types(api, some["id"]) == ["generation.succeeded"]
    assert len(await types(api, everything["id"])) == 3
    assert await types(api, none["id"]) == []
    ids = [one["id"] for webhook in (everything, some) for one in await log(api, webhook["id"])]
    assert len(set(ids)) == 4


async def test_what_did_not_happen_is_not_told(api: httpx.AsyncClient, run: Runs) -> None:
    webhook = await create(api)
    ended = (await submit(api))["id"]
    await run(ended).succeed()
    await run(ended).end("failed", FAULT)
    await run(ended).end("succeeded")
    assert_problem(await api.post(f"/v1/generations/{ended}/cancel"), 409, "already_finished")
    assert await types(api, webhook["id"]) == ["generation.queued", "generation.running", "generation.succeeded"]


async def test_what_is_rolled_back_is_not_told(api: httpx.AsyncClient, services: Services) -> None:
    webhook = await create(api)
    made = (await submit(api))["id"]

    async def break_off() -> None:
        async with services.database.transaction() as session:
            assert await generations.enter(session, made, GenerationStatus.RUNNING)
            raise RuntimeError("The worker has second thoughts.")

    with pytest.raises(RuntimeError):
        await break_off()
    assert await types(api, webhook["id"]) == ["generation.queued"]


async def test_the_webhook_of_a_request_hears_of_its_generation(
    api: httpx.AsyncClient, services: Services, run: Runs
) -> None:
    secret = "whsec_" + "QUJD" * 8
    wanted = {"url": URL, "events": ["generation.succeeded"], "secret": secret}
    mine = await submit(api, SHAPE | {"webhook": wanted}, key="once")
    again = await submit(api, SHAPE | {"webhook": wanted}, key="once")
    other = await submit(api)
    assert again["id"] == mine["id"]
    for generation in (mine, other):
        await run(generation["id"]).succeed()
    (webhook,) = (await api.get("/v1/webhooks", params={"generation": mine["id"]})).json()["data"]
    assert (webhook["generation_id"], webhook["url"]) == (mine["id"], URL)
    assert (await api.get("/v1/webhooks")).json()["data"] == [], "it is no standing one"
    assert [(one["type"], one["generation_id"]) for one in await log(api, webhook["id"])] == [
        ("generation.succeeded", mine["id"])
    ]
    async with services.database.reading() as session:
        row = await generations.get(session, TENANT, mine["id"])
    assert row is not None
    assert row.request["webhook"] == {"url": URL, "events": ["generation.succeeded"]}
    assert secret not in await everything_stored(services)


async def test_a_generation_that_is_deleted_takes_its_webhook_along(api: httpx.AsyncClient, services: Services) -> None:
    standing = await create(api)
    made = await submit(api, SHAPE | {"webhook": {"url": URL}})
    async with services.database.transaction() as session:
        await session.execute(text("DELETE FROM generation WHERE id = :id"), {"id": made["id"]})
    assert (await api.get("/v1/webhooks", params={"generation": made["id"]})).json()["data"] == []
    assert await log(api, standing["id"]) == []


async def test_looking_for_receivers_uses_the_indexes(services: Services) -> None:
    if services.database.engine.dialect.name != "sqlite":
        return
    query = (
        "EXPLAIN QUERY PLAN SELECT id, events FROM webhook WHERE "
        "(tenant_id = 'a' AND generation_id IS NULL OR generation_id = 'b') AND disabled_at IS NULL"
    )
    async with services.database.reading() as session:
        plan = [row[-1] for row in await session.execute(text(query))]
    assert not any("SCAN" in step for step in plan), plan
    assert any("generation_id=?" in step and "tenant_id=?" in step for step in plan), plan


# The log ------------------------------------------------------------------------------------------------------------


async def test_a_ping_is_on_its_way_at_once(api: httpx.AsyncClient) -> None:
    webhook = await create(api, events=["generation.failed"])
    answer = await api.post(f"/v1/webhooks/{webhook['id']}/ping")
    assert answer.status_code == 202
    sent = answer.json()
    assert (sent["type"], sent["status"], sent["attempts"]) == ("webhook.ping", "pending", [])
    assert await log(api, webhook["id"]) == [sent]
    assert (await payload(api, webhook["id"], sent["id"]))["data"]["id"] == webhook["id"]


async def test_the_log_is_paged_and_filtered(api: httpx.AsyncClient, services: Services) -> None:
    webhook = await create(api)
    sent = [(await api.post(f"/v1/webhooks/{webhook['id']}/ping")).json()["id"] for _ in range(3)]
    async with services.database.transaction() as session:
        await deliveries.finish(session, sent[0], "failed", in_round=0, at=utc_now())
    path = f"/v1/webhooks/{webhook['id']}/deliveries"
    first = (await api.get(path, params={"limit": 2})).json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (sent[:0:-1], True)
    rest = (await api.get(path, params={"starting_after": sent[1]})).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (sent[:1], False)
    assert [one["id"] for one in await log(api, webhook["id"], status="failed")] == sent[:1]
    assert_problem(await api.get(path, params={"status": "lost"}), 422, "invalid_input", "/status")


async def test_sending_again_is_written_down_for_the_dispatcher(api: httpx.AsyncClient, services: Services) -> None:
    webhook = await create(api)
    sent = (await api.post(f"/v1/webhooks/{webhook['id']}/ping")).json()
    async with services.database.transaction() as session:
        await deliveries.finish(session, sent["id"], "failed", in_round=0, at=utc_now())
        await session.execute(update(DeliveryRow).values(dispatched_at=utc_now()))
    path = f"/v1/webhooks/{webhook['id']}/deliveries/{sent['id']}/redeliver"
    answer = await api.post(path)
    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["finished_at"]) == ("pending", None)
    async with services.database.reading() as session:
        (row,) = await deliveries.undispatched(session, before=utc_now(), limit=9)
    assert (row.id, row.round) == (sent["id"], 1)
    async with services.database.transaction() as session:
        await deliveries.send_again(session, TENANT, row.id, at=utc_now())
        await deliveries.mark_dispatched(session, [row])  # of the round before
        assert len(await deliveries.undispatched(session, before=utc_now(), limit=9)) == 1


async def test_nothing_is_sent_to_a_disabled_webhook(api: httpx.AsyncClient) -> None:
    webhook = await create(api)
    path = f"/v1/webhooks/{webhook['id']}"
    sent = (await api.post(f"{path}/ping")).json()
    await api.patch(path, json={"enabled": False})
    assert [one["status"] for one in await log(api, webhook["id"])] == ["failed"]
    assert_problem(await api.post(f"{path}/ping"), 409, "webhook_disabled")
    assert_problem(await api.post(f"{path}/deliveries/{sent['id']}/redeliver"), 409, "webhook_disabled")


async def test_a_deleted_webhook_is_gone_with_its_log(api: httpx.AsyncClient, services: Services) -> None:
    webhook = await create(api)
    await api.post(f"/v1/webhooks/{webhook['id']}/ping")
    assert (await api.delete(f"/v1/webhooks/{webhook['id']}")).status_code == 204
    assert_problem(await api.get(f"/v1/webhooks/{webhook['id']}"), 404, "not_found")
    async with services.database.reading() as session:
        assert (await session.execute(select(DeliveryRow))).first() is None


# Tries --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


class Sending:
    """What a worker does, to endpoints that may be private."""

    def __init__(self, services: Services, client: httpx.AsyncClient) -> None:
        self.endpoints = Endpoints(services.endpoints.sealer, allow_private=True)
        self.deliveries = Deliveries(services.database, self.endpoints, client, utc_now)

    async def attempt(self, delivery_id: str, *, next_in: float | None = 5.0, in_round: int = 0) -> DeliveryOutcome:
        since = utc_now() - timedelta(days=3)
        order = DeliveryOrder(delivery_id=delivery_id, round=in_round, since=since, next_in=next_in)
        begun = await self.deliveries.begin(order)
        if isinstance(begun, DeliveryOutcome):
            return begun
        return await self.deliveries.conclude(order, begun, await self.deliveries.send(begun))


@pytest.fixture
async def sending(services: Services):
    async with http_client(allow_private=True) as client:
        yield Sending(services, client)


async def pending(
    api: httpx.AsyncClient, services: Services, receiver: Receiver, number: int = 1
) -> tuple[str, list[str]]:
    """A webhook at the receiver, and so many events on their way."""
    webhook = await create(api)
    async with services.database.transaction() as session:
        await webhooks.change(session, TENANT, webhook["id"], url=receiver.url)
    made = [(await submit(api))["id"] for _ in range(number)]
    sent = {one["generation_id"]: one["id"] for one in await log(api, webhook["id"])}
    return webhook["id"], [sent[one] for one in made]


async def test_a_success_and_a_failure_are_noted(
    api: httpx.AsyncClient, services: Services, receiver: Receiver, sending: Sending
) -> None:
    webhook, (one,) = await pending(api, services, receiver)
    receiver.answer = lambda _request: Reply(500, body=b"broken\0")
    outcome = await sending.attempt(one)
    assert (outcome.status, outcome.wait_seconds, outcome.note) == ("pending", 5.0, "It answered 500.")
    assert (await api.get(f"/v1/webhooks/{webhook}")).json()["failing_since"] is not None
    receiver.answer = lambda _request: Reply(200, body=b"thanks")
    assert (await sending.attempt(one)).status == "delivered"
    assert (await api.get(f"/v1/webhooks/{webhook}")).json()["failing_since"] is None
    (shown,) = await log(api, webhook)
    assert (shown["status"], shown["next_attempt_at"]) == ("delivered", None)
    assert shown["finished_at"] is not None
    told = [(one["number"], one["status_code"], one["error"], one["answer"]) for one in shown["attempts"]]
    assert told == [(1, 500, "It answered 500.", "broken�"), (2, 200, None, "thanks")]
    assert (await sending.attempt(one)).status == "delivered", "it is not sent again"
    assert len(receiver.received) == 2


async def test_a_try_whose_worker_was_lost_stays_in_the_log(
    api: httpx.AsyncClient, services: Services, receiver: Receiver, sending: Sending
) -> None:
    webhook, (one,) = await pending(api, services, receiver)
    begun = await sending.deliveries.begin(DeliveryOrder(delivery_id=one, round=0, since=utc_now(), next_in=5.0))
    assert isinstance(begun, Try)
    await sending.attempt(one)
    (shown,) = await log(api, webhook)
    assert [attempt["number"] for attempt in shown["attempts"]] == [1, 2]
    assert shown["attempts"][0]["error"].startswith("The worker that sent it was lost")


async def test_what_belongs_to_an_earlier_round_decides_nothing(
    api: httpx.AsyncClient, services: Services, receiver: Receiver, sending: Sending
) -> None:
    webhook, (one,) = await pending(api, services, receiver)
    order = DeliveryOrder(delivery_id=one, round=0, since=utc_now(), next_in=None)
    begun = await sending.deliveries.begin(order)
    assert isinstance(begun, Try)
    async with services.database.transaction() as session:
        await deliveries.send_again(session, TENANT, one, at=utc_now())
    await sending.deliveries.conclude(order, begun, Answer(status_code=500, error="It answered 500."))
    assert [shown["status"] for shown in await log(api, webhook)] == ["pending"]
    assert (await sending.attempt(one)).status == "failed", "that round is over"
    assert receiver.received == []
    assert (await sending.attempt(one, in_round=1)).status == "delivered"


async def test_many_tries_at_once_find_that_the_receiver_is_gone(
    api: httpx.AsyncClient, services: Services, receiver: Receiver, sending: Sending
) -> None:
    other = await create(api, events=["webhook.disabled"])
    webhook, on_their_way = await pending(api, services, receiver, 12)
    receiver.answer = lambda request: Reply(410 if len(receiver.received) % 2 else 500)
    outcomes = await asyncio.gather(*(sending.attempt(one) for one in on_their_way))
    assert "failed" in {one.status for one in outcomes}
    assert {shown["status"] for shown in await log(api, webhook)} == {"failed"}
    assert (await api.get(f"/v1/webhooks/{webhook}")).json()["disabled_reason"] == "gone"
    assert await types(api, other["id"]) == ["webhook.disabled"], "one notice"


async def test_a_webhook_may_be_deleted_while_events_are_made_and_sent(
    api: httpx.AsyncClient, services: Services, receiver: Receiver, sending: Sending, run: Runs
) -> None:
    for _ in range(3):
        webhook, on_their_way = await pending(api, services, receiver, 4)
        made = [one["generation_id"] for one in await log(api, webhook)]
        deleting = asyncio.create_task(api.delete(f"/v1/webhooks/{webhook}"))
        await asyncio.gather(*(sending.attempt(one) for one in on_their_way), *(run(one).begin() for one in made))
        deleted = await deleting
        assert deleted.status_code == 204
    async with services.database.reading() as session:
        assert (await session.execute(select(DeliveryRow))).first() is None
