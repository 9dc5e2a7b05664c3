"""The simulated Replicate, as its documentation has it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from genpulse.simulator.clouds import replicate
from tests.simulated import HOOK, PREDICTIONS, REPLICATE, VERSION, Receiver, World, until


async def test_replicate_prediction_succeeds(world: World) -> None:
    created = await world.predict()
    assert created.status_code == 201
    prediction, seen = created.json(), []
    for _ in range(3):
        prediction = (await world.get(prediction["urls"]["get"], REPLICATE)).json()
        seen.append(prediction["status"])
        world.clock.advance(1)
    assert seen == ["starting", "processing", "succeeded"]
    assert (await world.client.get(prediction["output"][0])).headers["Content-Type"] == "image/webp"
    world.clock.advance(3601)
    forgotten = (await world.get(prediction["urls"]["get"], REPLICATE)).json()
    assert (forgotten["output"], forgotten["data_removed"]) == (None, True)
    assert (await world.client.get(prediction["output"][0])).status_code == 403


async def test_replicate_video_is_one_address(world: World) -> None:
    path = "/replicate/v1/models/google/veo-3/predictions"
    created = await world.client.post(path, headers=REPLICATE, json={"input": {"prompt": "x"}})
    world.clock.advance(3)
    output = (await world.get(created.json()["urls"]["get"], REPLICATE)).json()["output"]
    assert output.endswith(".mp4")


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ({"input": {}}, "Input validation failed"),
        ({"version": "nonsense", "input": {}}, "Invalid version or not permitted"),
        ({"version": VERSION, "input": {}, "webhook_events_filter": ["end"]}, "Input validation failed"),
    ],
)
async def test_replicate_refuses_wrong_bodies(world: World, body: dict[str, Any], title: str) -> None:
    answer = await world.client.post(PREDICTIONS, headers=REPLICATE, json=body)
    assert (answer.status_code, answer.json()["title"]) == (422, title)


async def test_replicate_waits_as_preferred(world: World) -> None:
    waiting = asyncio.create_task(world.predict(headers={"Prefer": "wait"}))
    await until(lambda: bool(world.simulator.jobs))
    world.clock.advance(3)
    assert ((answer := await waiting).status_code, answer.json()["status"]) == (201, "succeeded")


async def test_replicate_waits_no_longer_than_preferred(world: World) -> None:
    waiting = asyncio.create_task(world.predict(headers={"Prefer": "wait=1"}))
    await until(lambda: bool(world.simulator.jobs))
    world.clock.advance(1)
    assert ((answer := await waiting).status_code, answer.json()["status"]) == (202, "processing")


async def test_replicate_cancels_and_lists(world: World) -> None:
    ids = [(await world.predict()).json()["id"] for _ in range(2)]
    for _ in range(2):
        cancelled = await world.client.post(f"{PREDICTIONS}/{ids[0]}/cancel", headers=REPLICATE)
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "canceled")
    page = (await world.get(PREDICTIONS, REPLICATE)).json()
    assert [(one["id"], one["status"]) for one in page["results"]] == [(ids[1], "starting"), (ids[0], "canceled")]
    assert page["next"] is None


async def test_replicate_lists_in_pages(world: World) -> None:
    for _ in range(101):
        await world.predict()
    first = (await world.get(PREDICTIONS, REPLICATE)).json()
    second = (await world.get(first["next"], REPLICATE)).json()
    assert (len(first["results"]), len(second["results"]), second["next"]) == (100, 1, None)
    assert second["previous"] is not None


@pytest.mark.parametrize(("seconds", "status"), [(100, "aborted"), (10, "canceled"), (3, "succeeded")])
async def test_replicate_keeps_deadlines(world: World, seconds: float, status: str) -> None:
    await world.client.put("/_control/settings", json={"seconds_per_job": seconds})
    prediction = (await world.predict(headers={"Cancel-After": "5s"})).json()
    world.clock.advance(6)
    assert (await world.get(prediction["urls"]["get"], REPLICATE)).json()["status"] == status


async def test_replicate_refuses_a_short_deadline(world: World) -> None:
    assert (await world.predict(headers={"Cancel-After": "4s"})).status_code == 422


async def test_replicate_keeps_files(world: World) -> None:
    parts: dict[str, Any] = {
        "content": ("a.png", b"png", "image/png"),
        "metadata": (None, '{"a": 1}', "application/json"),
    }
    created = await world.client.post("/replicate/v1/files", headers=REPLICATE, files=parts)
    assert created.status_code == 201
    file = created.json()
    assert (file["name"], file["size"], file["metadata"]) == ("a.png", 3, {"a": 1})
    assert (await world.get(file["urls"]["get"], REPLICATE)).json()["id"] == file["id"]
    assert (await world.client.delete(file["urls"]["get"], headers=REPLICATE)).status_code == 204
    assert (await world.get(file["urls"]["get"], REPLICATE)).status_code == 404


async def test_replicate_tells_of_versions_and_the_account(world: World) -> None:
    version = (await world.get(f"/replicate/v1/models/owner/model/versions/{'a' * 64}", REPLICATE)).json()
    assert (version["id"], "openapi_schema" in version) == ("a" * 64, True)
    assert (await world.get("/replicate/v1/account", REPLICATE)).json()["username"] == "sim"


async def test_replicate_tells_its_webhook_secret(world: World) -> None:
    answer = await world.get("/replicate/v1/webhooks/default/secret", REPLICATE)
    assert answer.json() == {"key": replicate.Replicate.credentials.webhook_secret}


def test_replicate_signs_like_the_documented_vector() -> None:
    body = b'{"type":"job.completed","timestamp":"2025-01-01T00:00:00Z","data":{"id":"job_1"}}'
    signature = replicate.webhook_signature(
        "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "1735689600", body, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )
    assert signature == "v1,ntey/nCoFO7qSd8ns7CRZZlk5v3nNExx0xj7ryns2Ps="


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        (None, ["processing", "succeeded"]),
        ("duplicated_callbacks", ["processing", "processing", "succeeded", "succeeded"]),
        ("reordered_callbacks", ["succeeded", "processing"]),
    ],
)
async def test_replicate_calls_back(fault: str | None, statuses: list[str]) -> None:
    receiver = Receiver()
    async with receiver.world() as world:
        await world.faults(*([{"type": fault}] if fault else []))
        await world.predict(webhook=HOOK)
        await asyncio.sleep(0)
        world.clock.advance(1)
        await until(lambda: len(receiver.requests) >= statuses.index("succeeded"))
        world.clock.advance(2)
        await until(lambda: len(receiver.requests) == len(statuses))
    assert [body["status"] for body in receiver.bodies] == statuses


async def test_replicate_heeds_the_filter_and_calls_back_on_cancellation() -> None:
    receiver = Receiver()
    async with receiver.world() as world:
        created = await world.predict(webhook=HOOK, webhook_events_filter=["completed"])
        await world.client.post(created.json()["urls"]["cancel"], headers=REPLICATE)
        await until(lambda: bool(receiver.requests))
        world.clock.advance(3)
        await asyncio.sleep(0.01)
    [(request, body)] = receiver.requests
    assert receiver.bodies[0]["status"] == "canceled"
    assert request.headers["webhook-signature"] == replicate.webhook_signature(
        request.headers["webhook-id"], request.headers["webhook-timestamp"], body
    )
