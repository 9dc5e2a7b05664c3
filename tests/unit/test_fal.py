"""fal: its client against the simulated cloud, every model of the catalogue, every error, and what is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from genpulse.errors import (
    ContentBlocked,
    Forbidden,
    GenPulseError,
    InvalidInput,
    JobMissing,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Pending
from genpulse.providers.fal import Fal
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.clouds.fal import Fal as Simulated
from genpulse.simulator.jobs import State
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, always, operations_of, simulated, world_of

world = world_of(Simulated, Fal)
call = Calls("fal", "flux-schnell", Operation.TEXT_TO_IMAGE, prompt="a fox")
SPECS = call.specs
ALL = operations_of(SPECS.values())
LINKS = {"status": "http://fal/s", "result": "http://fal/r", "cancel": "http://fal/c"}
JOB = Job(id="1", handle=LINKS)


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Fal], files: Files, spec: ModelSpec, operation: Operation
) -> None:
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required}
    media = {name: [files[MEDIA_FIELDS[name]]] for name in fields if name in MEDIA_FIELDS}
    state = await world.made(call(spec.name, operation, media))
    assert len(state.outputs) == 1
    assert state.outputs[0].url is not None
    answer = await world.http.get(state.outputs[0].url)
    assert answer.headers["Content-Type"].startswith(str(spec.operations[operation].output))


# What is sent ---------------------------------------------------------------------------------------------------------


async def test_a_picture(world: World[Fal]) -> None:
    asked = call(width=512, height=256, count=3, steps=4, seed=7, options={"output_format": "png"})
    state = await world.made(asked)
    entry = world.simulator.record.find(kind=Kind.SUBMIT)[-1]
    assert entry.path == "/fal/fal-ai/flux/schnell"
    assert entry.body == {
        "prompt": "a fox",
        "image_size": {"width": 512, "height": 256},
        "num_images": 3,
        "num_inference_steps": 4,
        "seed": 7,
        "output_format": "png",
    }
    assert (len(state.outputs), state.parameters) == (3, {"seed": 7})


async def test_a_picture_is_set_in_motion(world: World[Fal], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    await world.made(call("kling-2-1", Operation.IMAGE_TO_VIDEO, {"image": [picture]}, duration=10.0))
    assert world.sent() == {"prompt": "a fox", "image_url": picture.data_url(), "duration": "10"}


def named(files: Files, *names: str) -> list[Media]:
    return [replace(files[MediaKind.IMAGE], url=f"https://files.example/{name}.png") for name in names]


EDIT, FRAMES, TEXT = Operation.IMAGE_TO_IMAGE, Operation.IMAGE_TO_VIDEO, Operation.TEXT_TO_VIDEO
A, B, C = (f"https://files.example/{name}.png" for name in "abc")
CLIP = "https://files.example/input.mp4"


@pytest.mark.parametrize(
    ("asked", "endpoint", "body"),
    [
        (
            call("flux-2", EDIT, width=1024, height=768, guidance=3.0),
            "fal-ai/flux-2/edit",
            {"image_urls": [A, B, C], "image_size": {"width": 1024, "height": 768}, "guidance_scale": 3},
        ),
        (
            call("kling-3-pro", FRAMES, duration=15.0, audio=False),
            "fal-ai/kling-video/v3/pro/image-to-video",
            {"start_image_url": A, "end_image_url": B, "duration": "15", "generate_audio": False},
        ),
        (
            call("veo-3-1", TEXT, duration=6.0, resolution="1080p"),
            "fal-ai/veo3.1",
            {"duration": "6s", "resolution": "1080p"},
        ),
        (
            call("veo-3-1-fast-frames", FRAMES, duration=4.0),
            "fal-ai/veo3.1/fast/first-last-frame-to-video",
            {"first_frame_url": A, "last_frame_url": B, "duration": "4s"},
        ),
        (
            call("kling-o3-pro", Operation.VIDEO_TO_VIDEO),
            "fal-ai/kling-video/o3/pro/video-to-video/edit",
            {"video_url": CLIP, "image_urls": [B, C]},
        ),
        (
            call("topaz-video", Operation.VIDEO_INTERPOLATE, fps=60.0),
            "fal-ai/topaz/upscale/video",
            {"video_url": CLIP, "upscale_factor": 1, "target_fps": 60},
        ),
        (
            call("seedvr-image", Operation.IMAGE_UPSCALE, scale=2.5),
            "fal-ai/seedvr/upscale/image",
            {"image_url": A, "upscale_factor": 2.5},
        ),
    ],
    ids=lambda one: getattr(one, "model", None),
)
async def test_models_want_their_input_in_their_own_words(
    world: World[Fal], files: Files, asked: ModelCall, endpoint: str, body: dict[str, Any]
) -> None:
    given = {"image": named(files, "a"), "last_image": named(files, "b"), "reference_images": named(files, "b", "c")}
    given["video"] = [files[MediaKind.VIDEO]]
    fields = SPECS[asked.model].operations[asked.operation].fields
    await world.made(replace(asked, media={name: given[name] for name in given if name in fields}))
    entry = world.simulator.record.find(kind=Kind.SUBMIT)[-1]
    assert (entry.path, entry.body) == (f"/fal/{endpoint}", {"prompt": "a fox"} | body)


async def test_a_number_that_the_model_does_not_list_is_refused(world: World[Fal]) -> None:
    error = await world.refused(call("hailuo-2-3-standard", TEXT, duration=8.0))
    assert (type(error), error.field) == (InvalidInput, "input.duration")
    assert world.simulator.record.find() == []


# Errors ---------------------------------------------------------------------------------------------------------------


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> Fal:
    return Fal("http://fal", Credentials(api_key="x"), always(status, body, headers))


def platform(kind: str) -> dict[str, str]:
    return {"detail": "no", "error_type": kind}


def model(kind: str) -> dict[str, Any]:
    return {"detail": [{"loc": ["body", "prompt"], "msg": "no", "type": kind}]}


REFUSALS: list[tuple[int, object, type[GenPulseError]]] = [
    (400, platform("bad_request"), ProviderRejected),
    (401, {"detail": "no"}, ProviderAuthFailed),
    (403, {"detail": "no"}, ProviderAuthFailed),
    (403, {"detail": "User is locked. Reason: Exhausted balance."}, ProviderQuotaSpent),
    (404, {"detail": "no"}, ProviderRejected),
    (422, model("missing"), ProviderRejected),
    (422, model("image_too_small"), ProviderRejected),
    (422, model("something_new"), ProviderRejected),
    (422, model("content_policy_violation"), ContentBlocked),
    (429, {"detail": "no"}, ProviderThrottled),
    (499, platform("client_disconnected"), ProviderRejected),
    (500, model("internal_server_error"), ProviderUnavailable),
    (500, platform("internal_error"), ProviderUnavailable),
    (502, platform("runner_incomplete_response"), ProviderUnavailable),
    (503, platform("runner_scheduling_failure"), ProviderUnavailable),
    (504, platform("startup_timeout"), ProviderUnavailable),
    (502, "<html>", OutcomeUnknown),
    (500, {"detail": "no"}, OutcomeUnknown),
]


@pytest.mark.parametrize(("status", "body", "kind"), REFUSALS)
async def test_a_refusal(status: int, body: object, kind: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError) as error:
        await answering(status, body).submit(call())
    assert type(error.value) is kind


async def test_a_refusal_says_where(world: World[Fal]) -> None:
    error = await world.refused(call(count=9))
    assert (type(error), "num_images" in error.message) == (ProviderRejected, True)


async def test_the_type_may_stand_in_a_header_alone() -> None:
    with pytest.raises(ProviderUnavailable):
        await answering(503, {"detail": "no"}, {"X-Fal-Error-Type": "runner_disconnected"}).submit(call())


async def test_when_to_come_back() -> None:
    with pytest.raises(ProviderThrottled) as error:
        await answering(429, {"detail": "no"}, {"Retry-After": "17"}).submit(call())
    assert error.value.details["retry_after"] == 17


@pytest.mark.parametrize("body", [{}, {"request_id": "1"}, {"request_id": "", **LINKS}, [], None])
async def test_an_answer_without_a_request_is_no_answer(body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(200, body).submit(call())


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("content_policy_violation", ContentBlocked),
        ("runner_server_error", ProviderFailed),
        ("request_timeout", ProviderFailed),
        ("client_cancelled", ProviderRejected),
        ("something_new", ProviderRejected),
    ],
)
async def test_completed_may_mean_failed(kind: str, error: type[GenPulseError]) -> None:
    told = {"status": "COMPLETED", "logs": None, "error": "no", "error_type": kind}
    with pytest.raises(GenPulseError) as raised:
        await answering(200, told).poll(JOB, call())
    assert type(raised.value) is error


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_a_request_that_fails(world: World[Fal], code: str, kind: type[GenPulseError]) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(call())) is kind


async def test_a_result_that_cannot_be_asked_for_now_is_asked_for_again(world: World[Fal]) -> None:
    job = await world.account().submit(call())
    world.fault(type="server_error", kinds=["result"], times=1)
    with pytest.raises(ProviderUnavailable):
        await world.account().poll(job, call())
    assert isinstance(await world.account().poll(job, call()), Finished)


@pytest.mark.parametrize(
    ("flags", "blocked"), [([True, True], True), ([True, False], False), ([], False), (None, False)]
)
async def test_pictures_that_are_all_flagged_are_no_pictures(flags: list[bool] | None, blocked: bool) -> None:
    result = {"images": [{"url": "http://x/a"}, {"url": "http://x/b"}], "has_nsfw_concepts": flags}
    cloud = answering(200, {"status": "COMPLETED", "logs": None} | result)
    if blocked:
        with pytest.raises(ContentBlocked):
            await cloud.poll(JOB, call())
    else:
        state = await cloud.poll(JOB, call())
        assert isinstance(state, Finished)
        assert len(state.outputs) == 2


async def test_a_wrong_key_is_refused(world: World[Fal]) -> None:
    with pytest.raises(ProviderAuthFailed):
        await world.account(api_key="wrong:wrong").submit(call())


# Requests -------------------------------------------------------------------------------------------------------------


async def test_a_request_goes_through_its_states() -> None:
    async with simulated(Simulated, Fal, seconds=8) as world:
        cloud = world.account()
        job = await cloud.submit(call())
        for seconds in (0, 4):
            world.clock.advance(seconds)
            assert await cloud.poll(job, call()) == Pending()
        world.clock.advance(4)
        assert isinstance(await cloud.poll(job, call()), Finished)


async def test_a_request_may_be_missing_at_first(world: World[Fal]) -> None:
    world.fault(type="hidden_at_first")
    job = await world.account().submit(call())
    with pytest.raises(JobMissing):
        await world.account().poll(job, call())
    assert isinstance(await world.account().poll(job, call()), Finished)


@pytest.mark.parametrize("fault", ["lost_answer", "malformed", "hung", "connection_reset"])
async def test_a_lost_answer_stays_unknown(world: World[Fal], fault: str) -> None:
    world.fault(type=fault, times=1)
    cloud = world.account()
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(call())
    assert not (cloud.can_find(call()) or cloud.remembers_key(call()))


async def test_a_request_is_cancelled_and_too_late_is_no_error() -> None:
    async with simulated(Simulated, Fal, seconds=8) as world:
        cloud = world.account()
        early, late = [await cloud.submit(call()) for _ in range(2)]
        await cloud.cancel(early)
        assert world.simulator.jobs["fal", early.id].state is State.CANCELLED
        with pytest.raises(ProviderRejected):
            await cloud.poll(early, call())
        world.clock.advance(8)
        await cloud.cancel(late)
        assert isinstance(await cloud.poll(late, call()), Finished)
        world.simulator.jobs.clear()
        await cloud.cancel(late)


# Callbacks ------------------------------------------------------------------------------------------------------------


async def test_a_callback_is_held_against_the_published_keys() -> None:
    told: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        told.append(request)
        return httpx.Response(200)

    async with simulated(Simulated, Fal, callbacks=httpx.MockTransport(receive)) as world:
        cloud = world.account()
        await cloud.submit(call(callback_url="https://us.example/x"))
        while not told:
            await world.http.get("http://sim/fal/")
        headers, body = dict(told[0].headers), told[0].content
        now = datetime.fromtimestamp(world.clock.now(), UTC)
        await cloud.verify_callback(headers, body, now=now)
        with pytest.raises(Forbidden):
            await cloud.verify_callback(headers, body + b" ", now=now)
        assert str(told[0].url) == "https://us.example/x"
