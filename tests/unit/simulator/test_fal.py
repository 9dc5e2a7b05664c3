"""The simulated fal, as its documentation has it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from genpulse.simulator.clouds import fal
from tests.simulated import FAL, FLUX, HOOK, Receiver, World, until


async def test_fal_request_is_queued_runs_and_has_results(world: World) -> None:
    job = (await world.submit(num_images=2)).json()
    assert job["status"] == "IN_QUEUE"
    assert job["status_url"] == f"http://sim/fal/fal-ai/flux/requests/{job['request_id']}/status"
    seen = []
    for _ in range(3):
        answer = await world.get(job["status_url"])
        seen.append((answer.status_code, answer.json()["status"]))
        world.clock.advance(1)
    assert seen == [(202, "IN_QUEUE"), (202, "IN_PROGRESS"), (200, "COMPLETED")]
    result = await world.get(job["response_url"])
    assert result.headers["x-fal-request-id"] == job["request_id"]
    images = result.json()["images"]
    assert len(images) == 2
    media = await world.client.get(images[0]["url"])
    assert media.headers["Content-Type"] == images[0]["content_type"] == "image/jpeg"
    assert len(media.content) == images[0]["file_size"]


@pytest.mark.parametrize(
    ("endpoint", "kind"), [("fal-ai/veo3", "video"), ("fal-ai/some-tts", "audio"), ("workflows/me/flow", "images")]
)
async def test_fal_models_make_what_their_names_say(world: World, endpoint: str, kind: str) -> None:
    job = (await world.submit(path=f"/fal/{endpoint}")).json()
    world.clock.advance(3)
    assert kind in (await world.get(job["response_url"])).json()


async def test_fal_result_that_is_asked_too_early_is_refused(world: World) -> None:
    job = (await world.submit()).json()
    assert (await world.get(job["response_url"])).status_code == 400


async def test_fal_serves_a_request_under_its_owner_and_alias_only(world: World) -> None:
    job = (await world.submit()).json()
    assert (await world.get(job["status_url"].replace("flux/", "flux/dev/"))).status_code == 404


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        ({}, "missing"),
        ({"prompt": "x", "num_images": 9}, "less_than_equal"),
        ({"prompt": "x", "output_format": "bmp"}, "literal_error"),
    ],
)
async def test_fal_refuses_wrong_input(world: World, body: dict[str, Any], type_: str) -> None:
    answer = await world.client.post(FLUX, headers=FAL, json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == type_
    assert world.simulator.jobs == {}


async def test_fal_cancels_what_has_not_ended(world: World) -> None:
    job = (await world.submit()).json()
    answers = [await world.client.put(job["cancel_url"], headers=FAL) for _ in range(2)]
    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [
        (202, "CANCELLATION_REQUESTED"),
        (400, "ALREADY_COMPLETED"),
    ]
    assert (await world.get(job["status_url"])).json()["error_type"] == "client_cancelled"
    assert (await world.get(job["response_url"])).status_code == 499
    unknown = await world.client.put("/fal/fal-ai/flux/requests/none/cancel", headers=FAL)
    assert (unknown.status_code, unknown.json()) == (404, {"status": "NOT_FOUND"})


async def test_fal_streams_states(world: World) -> None:
    job = (await world.submit()).json()
    world.clock.advance(3)
    stream = await world.get(f"{job['status_url']}/stream?logs=1")
    assert json.loads(stream.text.removeprefix("data: "))["status"] == "COMPLETED"


async def test_fal_stores_files(world: World) -> None:
    token = (await world.client.post("/fal/storage/auth/token", headers=FAL, json={})).json()
    headers = {"Authorization": f"{token['token_type']} {token['token']}", "X-Fal-File-Name": "a.txt"}
    stored = (await world.client.post(f"{token['base_url']}/files/upload", headers=headers, content=b"hello")).json()
    assert (await world.client.get(stored["access_url"])).content == b"hello"


def test_fal_signs_like_the_documented_vector() -> None:
    body = b'{"request_id":"req-1","gateway_request_id":"req-1","status":"OK","payload":{"images":[]}}'
    assert hashlib.sha256(body).hexdigest().startswith("c0cef0fc98de")
    assert fal.Fal._keys["keys"][0]["x"] == "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"
    assert fal.webhook_signature("req-1", "user-1", "1700000000", body) == (
        "43f36802717fd0e4fffa066b226ecaea60ab9f5c53a27a450a733d0c47e04c20"
        "75824e61e0b2f3d839e5d4d151f900deb359f0a31aff241576d091efce28ca0a"
    )


async def test_fal_calls_back_signed() -> None:
    receiver = Receiver()
    async with receiver.world() as world:
        job = (await world.submit(path=f"{FLUX}?fal_webhook={HOOK}")).json()
        world.clock.advance(3)
        await until(lambda: bool(receiver.requests))
    [(request, body)] = receiver.requests
    assert (receiver.bodies[0]["request_id"], receiver.bodies[0]["status"]) == (job["request_id"], "OK")
    headers = request.headers
    assert headers["X-Fal-Webhook-Signature"] == fal.webhook_signature(
        job["request_id"], headers["X-Fal-Webhook-User-Id"], headers["X-Fal-Webhook-Timestamp"], body
    )


async def test_fal_calls_back_with_errors() -> None:
    receiver = Receiver()
    async with receiver.world() as world:
        await world.faults({"type": "fails", "code": "content"})
        await world.submit(path=f"{FLUX}?fal_webhook={HOOK}")
        world.clock.advance(3)
        await until(lambda: bool(receiver.requests))
    [body] = receiver.bodies
    assert (body["status"], body["payload"]["detail"][0]["type"]) == ("ERROR", "content_policy_violation")


@pytest.mark.parametrize("headers", [{"X-Fal-Request-Timeout": "1"}, {"X-Fal-Request-Timeout": "soon"}])
async def test_fal_refuses_a_short_start_timeout(world: World, headers: dict[str, str]) -> None:
    answer = await world.client.post(FLUX, headers=FAL | headers, json={"prompt": "x"})
    assert (answer.status_code, answer.headers["X-Fal-Error-Type"]) == (400, "bad_request")
