"""The simulated clouds, in process: how they answer, and what the controls make go wrong."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import av
import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from genpulse.simulator import Clock, ManualClock, Settings, Simulator, create_simulator
from genpulse.simulator.accounts import all_variables, variables
from genpulse.simulator.clouds import CLOUDS, fal, replicate
from genpulse.simulator.core import Cloud
from genpulse.simulator.jobs import State
from genpulse.simulator.media import Format, Media, render
from genpulse.simulator.record import _REDACTED
from genpulse.simulator.wire import Refusal

FAL = {"Authorization": f"Key {fal.Fal.credentials.api_key}"}
REPLICATE = {"Authorization": f"Bearer {replicate.Replicate.credentials.api_key}"}
FLUX = "/fal/fal-ai/flux/dev"
PREDICTIONS = "/replicate/v1/predictions"
VERSION = "owner/model"


class World:
    """A simulator, its clock, and a caller of it."""

    def __init__(self, client: httpx.AsyncClient, simulator: Simulator, clock: ManualClock) -> None:
        self.client = client
        self.simulator = simulator
        self.clock = clock

    async def get(self, url: str, headers: dict[str, str] = FAL) -> httpx.Response:
        return await self.client.get(url, headers=headers)

    async def submit(self, prompt: str = "a fox", path: str = FLUX, **fields: Any) -> httpx.Response:
        return await self.client.post(path, headers=FAL, json={"prompt": prompt} | fields)

    async def predict(self, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        body = {"version": VERSION, "input": {"prompt": "a fox"}} | fields
        return await self.client.post(PREDICTIONS, headers=REPLICATE | (headers or {}), json=body)

    async def faults(self, *faults: dict[str, Any], cloud: str = "*") -> None:
        (await self.client.put(f"/_control/faults/{cloud}", json=list(faults))).raise_for_status()

    async def count(self, key: str) -> int:
        return (await self.client.get("/_control/jobs", params={"key": key})).json()["count"]


@asynccontextmanager
async def a_world(transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[World]:
    clock = ManualClock()
    simulator = Simulator(clock=clock, transport=transport)
    app = httpx.ASGITransport(create_simulator(simulator))
    async with httpx.AsyncClient(transport=app, base_url="http://sim") as client:
        yield World(client, simulator, clock)
    await simulator.aclose()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        yield made


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not fact():  # noqa: ASYNC110 - facts have no events
            await asyncio.sleep(0.005)


# Media --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", list(Format))
def test_media_are_real_and_small(form: Format) -> None:
    content = render(Media(form, 1024, 512, 5.0).small())
    if form.is_image:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            assert image.size == (256, 128)
            return
    with av.open(io.BytesIO(content), "r") as container:
        frames = list(container.decode(container.streams[0]))
    assert frames
    if form is Format.MP4:
        assert isinstance(frames[0], av.VideoFrame)
        assert (frames[0].width, frames[0].height, len(frames)) == (256, 128, 8)


def test_media_are_reproducible() -> None:
    render.cache_clear()
    first = render(Media(Format.MP4))
    render.cache_clear()
    assert render(Media(Format.MP4)) == first
    assert render(Media(Format.MP4, variant=1)) != first


async def test_exact_media_have_the_size_that_was_asked_for(world: World) -> None:
    await world.client.put("/_control/settings", json={"exact_media": True, "seconds_per_job": 0})
    job = (await world.submit(image_size={"width": 400, "height": 300}, output_format="png")).json()
    url = (await world.get(job["response_url"])).json()["images"][0]["url"]
    with Image.open(io.BytesIO((await world.get(url)).content)) as image:
        assert image.size == (400, 300)


# fal ----------------------------------------------------------------------------------------------------------------


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


# Replicate ----------------------------------------------------------------------------------------------------------


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


# Credentials --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authorization", [None, "Key other:key", "Bearer other"])
@pytest.mark.parametrize("path", [FLUX, PREDICTIONS])
async def test_others_are_refused(world: World, path: str, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = await world.client.post(path, headers=headers, json={"prompt": "x"})
    assert answer.status_code == 401
    assert "detail" in answer.json()
    assert world.simulator.jobs == {}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_cloud_has_credentials(cloud: type[Cloud]) -> None:
    assert cloud.credentials.api_key or cloud.credentials.secret_key or cloud.name == "comfyui"


def test_command_says_what_to_set() -> None:
    assert variables(replicate.Replicate, "http://127.0.0.1:8900") == {
        "GENPULSE_PROVIDERS__REPLICATE__BASE_URL": "http://127.0.0.1:8900/replicate/v1",
        "GENPULSE_PROVIDERS__REPLICATE__API_KEY": "r8_sim-key",
        "GENPULSE_PROVIDERS__REPLICATE__WEBHOOK_SECRET": replicate.Replicate.credentials.webhook_secret,
    }


# Faults of calls ----------------------------------------------------------------------------------------------------


async def test_rate_limit_strikes_so_often(world: World) -> None:
    await world.faults({"type": "rate_limited", "retry_after": 2, "times": 1}, cloud="fal")
    first, second = await world.submit(), await world.submit()
    assert (first.status_code, first.headers["Retry-After"]) == (429, "2")
    assert second.status_code == 200


async def test_rate_limit_without_retry_after(world: World) -> None:
    await world.faults({"type": "rate_limited"})
    answer = await world.predict()
    assert answer.status_code == 429
    assert "Retry-After" not in answer.headers
    assert answer.json()["detail"].startswith("Request was throttled")


async def test_server_errors_are_the_cloud_s_or_a_proxy_s(world: World) -> None:
    await world.faults({"type": "server_error", "status": 503, "times": 1}, {"type": "server_error", "html": True})
    own, proxy = await world.submit(), await world.submit()
    assert own.headers["X-Fal-Error-Type"] == own.json()["error_type"] == "runner_scheduling_failure"
    assert (proxy.status_code, proxy.headers["Content-Type"]) == (503, "text/html; charset=utf-8")


async def test_fault_can_be_limited_to_a_kind_of_call(world: World) -> None:
    await world.faults({"type": "server_error", "kinds": ["poll"]})
    job = await world.submit()
    assert job.status_code == 200
    assert (await world.get(job.json()["status_url"])).status_code == 503


async def test_faults_of_one_cloud_spare_another(world: World) -> None:
    await world.faults({"type": "server_error"}, cloud="fal")
    assert (await world.predict()).status_code == 201


async def test_a_slow_answer_comes_after_the_job_was_made(world: World) -> None:
    await world.faults({"type": "slow_answer", "seconds": 0.3, "times": 1})
    answer = asyncio.create_task(world.submit("slow"))
    await asyncio.sleep(0.1)
    assert (await world.count("slow"), answer.done()) == (1, False)
    assert (await answer).status_code == 200


def test_a_cloud_with_an_account_is_left_alone() -> None:
    every = all_variables("http://sim")
    given = {
        "GENPULSE_PROVIDERS__FAL__API_KEY": "mine",
        "GENPULSE_PROVIDERS__KLING__RATE": "1",
        "GENPULSE_PROVIDERS__REPLICATE__API_KEY": "",
    }
    left = all_variables("http://sim", given)
    assert every.keys() - left.keys() == {f"GENPULSE_PROVIDERS__FAL__{what}" for what in ("BASE_URL", "API_KEY")}


async def test_one_cloud_may_answer_at_the_root() -> None:
    app = create_simulator(root="comfyui")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sim") as client:
        for path in ("/queue", "/comfyui/queue"):
            assert (await client.get(path)).json() == {"queue_running": [], "queue_pending": []}
        assert (await client.get("/_control/jobs")).json()["count"] == 0


async def test_lost_answer_leaves_a_job(world: World) -> None:
    await world.faults({"type": "lost_answer", "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        await world.submit("lost")
    assert await world.count("lost") == 1


@pytest.mark.parametrize(("fault", "error"), [("connection_reset", httpx.ReadError), ("hung", httpx.ReadTimeout)])
async def test_broken_connection_leaves_no_job(world: World, fault: str, error: type[Exception]) -> None:
    await world.faults({"type": fault})
    with pytest.raises(error):
        await world.submit("lost")
    assert await world.count("lost") == 0


async def test_a_hung_call_may_be_cut_off(world: World) -> None:
    await world.faults({"type": "hung", "seconds": 0.01})
    with pytest.raises(httpx.RemoteProtocolError):
        await world.submit("lost")
    assert await world.count("lost") == 0


async def test_a_share_of_the_calls_is_struck_and_the_same_one_again(world: World) -> None:
    runs = []
    for seed in (1, 1, 2):
        await world.faults({"type": "rate_limited", "share": 0.25, "seed": seed})
        runs.append([(await world.submit()).status_code for _ in range(200)])
        struck = (await world.client.get("/_control/faults")).json()["*"][0]["struck"]
        assert struck == runs[-1].count(429)
        assert 20 < struck < 80
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


async def test_a_share_of_the_jobs_is_struck(world: World) -> None:
    await world.faults({"type": "stuck", "share": 0.5})
    for _ in range(40):
        await world.submit()
    stuck = [job.stuck for job in world.simulator.jobs.values()].count(True)
    assert 5 < stuck < 35
    assert (await world.client.get("/_control/faults")).json()["*"][0]["struck"] == stuck


async def test_malformed_body(world: World) -> None:
    await world.faults({"type": "malformed"})
    answer = await world.submit("cut")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        answer.json()
    assert await world.count("cut") == 1


async def test_latency(world: World) -> None:
    await world.faults({"type": "latency", "seconds": 0.05})
    before = asyncio.get_running_loop().time()
    await world.submit()
    assert asyncio.get_running_loop().time() - before >= 0.04


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_expired_media(world: World, status: int) -> None:
    job = (await world.submit()).json()
    world.clock.advance(3)
    url = (await world.get(job["response_url"])).json()["images"][0]["url"]
    await world.faults({"type": "expired_media", "status": status, "times": 1})
    assert (await world.client.get(url)).status_code == status
    assert (await world.client.get(url)).status_code == 200


async def test_media_of_an_unfinished_job_are_not_there(world: World) -> None:
    job = (await world.submit()).json()
    assert (await world.client.get(f"/fal/media/{job['request_id']}/0.jpg")).status_code == 404
    assert (await world.client.get("/fal/media/uploads/none/a.txt")).status_code == 404


# Faults of jobs -----------------------------------------------------------------------------------------------------


async def states(world: World, url: str, polls: int = 5) -> list[str]:
    seen = []
    for _ in range(polls):
        seen.append((await world.get(url)).json().get("status", "none"))
        world.clock.advance(1)
    return seen


async def test_stuck_job_runs_for_ever(world: World) -> None:
    await world.faults({"type": "stuck"})
    job = (await world.submit()).json()
    world.clock.advance(10**6)
    assert await states(world, job["status_url"], 2) == ["IN_PROGRESS"] * 2


@pytest.mark.parametrize(("code", "status"), [("content", 422), ("internal", 500)])
async def test_failed_job(world: World, code: str, status: int) -> None:
    await world.faults({"type": "fails", "code": code})
    job, prediction = (await world.submit()).json(), (await world.predict()).json()
    world.clock.advance(3)
    assert (await world.get(job["status_url"])).json()["status"] == "COMPLETED"
    assert (await world.get(job["response_url"])).status_code == status
    failed = (await world.get(prediction["urls"]["get"], REPLICATE)).json()
    assert (failed["status"], failed["output"]) == ("failed", None)
    assert failed["error"]


async def test_success_without_outputs(world: World) -> None:
    await world.faults({"type": "no_outputs"})
    job, prediction = (await world.submit()).json(), (await world.predict()).json()
    world.clock.advance(3)
    assert (await world.get(job["response_url"])).json()["images"] == []
    succeeded = (await world.get(prediction["urls"]["get"], REPLICATE)).json()
    assert (succeeded["status"], succeeded["output"]) == ("succeeded", [])


async def test_job_is_hidden_at_first(world: World) -> None:
    await world.faults({"type": "hidden_at_first"})
    job = (await world.submit()).json()
    assert [(await world.get(job["status_url"])).status_code for _ in range(2)] == [404, 202]


async def test_job_goes_backwards_once(world: World) -> None:
    await world.faults({"type": "backwards"})
    job = (await world.submit()).json()
    assert await states(world, job["status_url"]) == ["IN_QUEUE", "IN_PROGRESS", "IN_QUEUE", "COMPLETED", "COMPLETED"]


# The clock ----------------------------------------------------------------------------------------------------------


async def test_real_clock_never_wakes_early() -> None:
    clock = Clock()
    for _ in range(20):
        moment = clock.now() + 0.002
        await clock.sleep_until(moment)
        assert clock.now() >= moment


# What clouds build on -----------------------------------------------------------------------------------------------


async def test_cloud_that_answers_with_the_result_waits_for_it(world: World) -> None:
    cloud = fal.Fal(world.simulator)
    await world.submit()
    [job] = cloud.jobs()
    finishing = asyncio.create_task(cloud.finish(job))
    await asyncio.sleep(0)
    assert not finishing.done()
    world.clock.advance(2)
    assert await finishing is State.SUCCEEDED
    job.stuck = True
    with pytest.raises(Refusal):
        await cloud.finish(job)


async def test_job_is_found_by_its_caller_s_key(world: World) -> None:
    cloud = fal.Fal(world.simulator)
    await world.submit()
    [job] = cloud.jobs()
    assert cloud.created_with("mine") is None
    job.key = "mine"
    assert cloud.created_with("mine") is job
    assert await world.count("mine") == 1


async def test_media_are_gone_that_were_never_made(world: World) -> None:
    job = (await world.submit()).json()
    world.clock.advance(3)
    assert (await world.client.get(f"/fal/media/{job['request_id']}/7.jpg")).status_code == 404


@pytest.mark.parametrize("headers", [{"X-Fal-Request-Timeout": "1"}, {"X-Fal-Request-Timeout": "soon"}])
async def test_fal_refuses_a_short_start_timeout(world: World, headers: dict[str, str]) -> None:
    answer = await world.client.post(FLUX, headers=FAL | headers, json={"prompt": "x"})
    assert (answer.status_code, answer.headers["X-Fal-Error-Type"]) == (400, "bad_request")


# Callbacks ----------------------------------------------------------------------------------------------------------


class Receiver:
    """Takes callbacks, and answers with these statuses in turn."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[tuple[Request, bytes]] = []
        self._statuses = list(statuses)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.requests]

    @asynccontextmanager
    async def world(self) -> AsyncIterator[World]:
        app = Starlette(routes=[Route("/hook", self._take, methods=["POST"])])
        async with a_world(httpx.ASGITransport(app)) as made:
            yield made

    async def _take(self, request: Request) -> Response:
        self.requests.append((request, await request.body()))
        return Response(status_code=self._statuses.pop(0) if self._statuses else 204)


HOOK = "http://receiver/hook"


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


async def test_callback_is_tried_again() -> None:
    receiver = Receiver(500)
    async with receiver.world() as world:
        job = (await world.submit(path=f"{FLUX}?fal_webhook={HOOK}")).json()
        world.clock.advance(3)
        await until(lambda: len(receiver.requests) == 2)
        await until(lambda: len(world.simulator.find_jobs(key=job["request_id"])[0].deliveries) == 2)
        [shown] = (await world.client.get("/_control/jobs")).json()["jobs"]
    assert [delivery["status"] for delivery in shown["deliveries"]] == [500, 204]


# Controls -----------------------------------------------------------------------------------------------------------


async def test_requests_are_recorded_without_secrets(world: World) -> None:
    await world.submit("seen")
    await world.get("/fal/nothing/here")
    await world.faults({"type": "hung"})
    with pytest.raises(httpx.ReadTimeout):
        await world.submit("hung")
    found = (await world.client.get("/_control/requests", params={"cloud": "fal"})).json()
    assert found["count"] == 3
    first, unknown, hung = found["requests"]
    assert (first["method"], first["path"], first["kind"], first["status"]) == ("POST", FLUX, "submit", 200)
    assert first["body"] == {"prompt": "seen"}
    assert first["headers"]["authorization"] == _REDACTED
    assert (unknown["kind"], unknown["status"], hung["status"]) == ("other", 404, None)
    assert (await world.client.get("/_control/requests?kind=poll")).json()["count"] == 0


async def test_bodies_are_recorded_as_far_as_they_can_be_read(world: World) -> None:
    for body in (b"", b"text", b"\xff", b"x" * 1_000_001):
        await world.client.post(FLUX, headers=FAL, content=body)
    assert [entry.body for entry in world.simulator.record.find()] == [None, "text", "[1 bytes]", "[1000001 bytes]"]


async def test_jobs_are_counted_by_prompt_and_cloud(world: World) -> None:
    await world.submit("one")
    await world.submit("one")
    await world.submit("two")
    assert (await world.count("one"), await world.count("two"), await world.count("three")) == (2, 1, 0)
    assert (await world.client.get("/_control/jobs?cloud=replicate")).json()["count"] == 0


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        ("faults/fal", [{"type": "nonsense"}], [0]),
        ("faults/fal", [{"type": "stuck", "kinds": ["poll"]}], [0, "stuck", "kinds"]),
        ("faults/fal", [{"type": "server_error", "status": 99}], [0, "server_error", "status"]),
        ("faults/fal", [{"type": "stuck", "share": 0}], [0, "stuck", "share"]),
        ("faults/fal", {}, []),
        ("settings", {"speed": 0}, ["speed"]),
        ("settings", {"colour": "red"}, ["colour"]),
    ],
)
async def test_wrong_controls_are_refused(world: World, path: str, body: Any, place: list[Any]) -> None:
    answer = await world.client.put(f"/_control/{path}", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == place


async def test_faults_of_an_unknown_cloud_are_refused(world: World) -> None:
    answer = await world.client.put("/_control/faults/cirrus", json=[])
    assert answer.status_code == 404
    assert ", ".join(cloud.name for cloud in CLOUDS) in answer.json()["detail"]


async def test_settings_change_one_by_one(world: World) -> None:
    await world.client.put("/_control/settings", json={"seconds_per_job": 8})
    settings = (await world.client.put("/_control/settings", json={"speed": 4})).json()
    assert settings == {"seconds_per_job": 8, "speed": 4, "exact_media": False}
    job = (await world.submit()).json()
    world.clock.advance(2)
    assert (await world.get(job["status_url"])).json()["status"] == "COMPLETED"


async def test_faults_are_cleared_and_everything_is_reset(world: World) -> None:
    await world.faults({"type": "rate_limited"})
    assert (await world.client.delete("/_control/faults")).status_code == 204
    assert (await world.submit()).status_code == 200
    await world.client.put("/_control/settings", json={"speed": 4})
    assert (await world.client.post("/_control/reset")).status_code == 204
    assert world.simulator.settings == Settings()
    assert (world.simulator.jobs, world.simulator.record.find()) == ({}, [])
