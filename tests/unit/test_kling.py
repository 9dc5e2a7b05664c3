"""Kling: its client against the simulated cloud, every model of the catalogue, every error, and what is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from genpulse.catalog import load_catalog
from genpulse.catalog.clouds import cloud_models
from genpulse.errors import (
    ContentBlocked,
    Forbidden,
    GenPulseError,
    InvalidInput,
    JobMissing,
    MediaRejected,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
    UnknownModel,
)
from genpulse.pricing import most, terms
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Pending
from genpulse.providers.kling import Kling
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator import ManualClock, Settings, Simulator, create_simulator
from genpulse.simulator.clouds import kling as simulated
from genpulse.simulator.faults import FAULTS
from tests.clouds import Files, always

SPECS = {spec.name: spec for spec in cloud_models(["kling"])}
LIVING = {name: spec for name, spec in SPECS.items() if spec.retires_at is None}
KEY = Credentials(api_key="api-key-kling-sim")
PAIR = Credentials(access_key="sim-access-key", secret_key="sim-secret")
AUTHORIZED = {"Authorization": "Bearer api-key-kling-sim"}
BOTH = pytest.mark.parametrize("model", ["kling-3.0", "kling-v3"])
SIDES = ("up", "down", "left", "right")
VALUES = {
    "prompt": "a fox",
    "negative_prompt": "blur",
    "resolution": "1080p",
    "aspect_ratio": "9:16",
    "duration": 5.0,
    "guidance": 0.5,
    "count": 2,
    "audio": True,
    "voice": "oversea_male1",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "effects": {"effect_scene": "squish"},
    "image-expand": {"left_expansion_ratio": 0.5},
    "speech": {"voice_language": "en"},
}


@dataclass
class World:
    """A simulated Kling, its clock, and an account there."""

    simulator: Simulator
    clock: ManualClock
    http: httpx.AsyncClient

    def account(self, credentials: Credentials = KEY, *, ahead: float = 0) -> Kling:
        """An account whose clock may differ from the cloud's."""
        return Kling(
            "http://sim/kling",
            credentials,
            self.http,
            now=lambda: datetime.fromtimestamp(self.clock.now() + ahead, UTC),
        )

    def fault(self, **values: object) -> None:
        self.simulator.faults.put("kling", FAULTS.validate_python([values]))

    async def get(self, path: str) -> Any:
        return (await self.http.get(f"http://sim/kling{path}", headers=AUTHORIZED)).json()

    async def post(self, path: str, body: object) -> httpx.Response:
        return await self.http.post(f"http://sim/kling{path}", headers=AUTHORIZED, json=body)

    async def made(self, call: ModelCall, account: Kling | None = None) -> Finished:
        """What comes of a call in the end."""
        account = account or self.account()
        job = await account.submit(call)
        if isinstance(job, Finished):
            return job
        self.clock.advance(3)
        state = await account.poll(job, call)
        assert isinstance(state, Finished)
        return state


async def task_of(account: Kling, call: ModelCall) -> Job:
    job = await account.submit(call)
    assert isinstance(job, Job)
    return job


@asynccontextmanager
async def a_world(callbacks: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[World]:
    clock = ManualClock()
    simulator = Simulator(clock=clock, transport=callbacks)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_simulator(simulator))) as http:
        yield World(simulator, clock, http)
    await simulator.aclose()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        yield made


def call(
    model: str,
    operation: str = "text-to-video",
    given: dict[str, Any] | None = None,
    *,
    media: dict[str, list[Media]] | None = None,
    options: dict[str, Any] | None = None,
    callback_url: str | None = None,
) -> ModelCall:
    return ModelCall(
        model=model,
        operation=Operation(operation),
        wire=SPECS[model].wire,
        input={"prompt": "a fox"} if given is None else given,
        media=media or {},
        options=options or {},
        key="gen_1-0-1",
        callback_url=callback_url,
    )


def full_call(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    media = {name: [files[MEDIA_FIELDS[name]]] for name, field in fields.items() if field.type in MEDIA_TYPES}
    if spec.name == "effects":
        media = {"reference_images": [files[MediaKind.IMAGE]] * 2} if every else {"image": [files[MediaKind.IMAGE]]}
    if spec.name in {"lip-sync", "video-sound"}:
        media["video"] = [files[MediaKind.VIDEO]]
    if spec.name in {"lip-sync", "avatar"}:
        media["audio"] = [files[MediaKind.AUDIO]]
    values = VALUES | ({"resolution": "2k"} if Operation(operation).value.endswith("image") else {})
    given = {name: values[name] for name, field in fields.items() if field.type not in MEDIA_TYPES}
    return call(spec.name, operation, given, media=media, options=OPTIONS.get(spec.name))


MEDIA_TYPES = {"image", "images", "video", "audio"}


def every_operation() -> Iterator[Any]:
    for name, spec in LIVING.items():
        for operation in spec.operations:
            yield pytest.param(spec, operation, id=f"{name}-{operation}")


async def sent_by(made: ModelCall) -> tuple[str, dict[str, Any]]:
    """The path and body of a submission."""
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.url.path.endswith("identify-face"):
            data: dict[str, Any] = {"session_id": "s", "face_data": [{"face_id": "0", "start_time": 40, "end_time": 9}]}
        else:
            data = {"id": "1", "status": "submitted", "task_id": "1", "task_status": "submitted"}
        return httpx.Response(200, json={"code": 0, "message": "SUCCEED", "data": data})

    await Kling("", KEY, httpx.AsyncClient(transport=httpx.MockTransport(serve))).submit(made)
    assert seen[-1].url.host == "api-singapore.klingai.com"
    return seen[-1].url.path, json.loads(seen[-1].content)


# Every model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True], ids=["least", "everything"])
@pytest.mark.parametrize(("spec", "operation"), list(every_operation()))
async def test_every_model_makes_what_is_asked_for(
    world: World, files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    asked = full_call(spec, operation, files, every=every)
    if spec.name == "speech":  # it is in the answer
        world.simulator.change(Settings(seconds_per_job=0))
    if spec.name == "video-extend":
        first = await world.made(call("kling-3.0"))
        asked = call(spec.name, operation, dict(asked.input), options={"video_id": first.parameters["video_id"]})
        world.simulator.jobs[next(iter(world.simulator.jobs))].key = None
    state = await world.made(asked)
    assert len(state.outputs) == asked.input.get("count", 1)
    assert state.usage == {"units": 3.0}
    fetched = await world.http.get(str(state.outputs[0].url))
    kind = fetched.headers["Content-Type"].partition("/")[0]
    assert (fetched.status_code, kind) == (200, spec.operations[operation].output)
    assert world.simulator.find_jobs(key=asked.key) or spec.name == "speech"


@pytest.mark.parametrize("name", sorted(SPECS.keys() - LIVING.keys()))
def test_retired_models_name_their_successors(name: str) -> None:
    catalog = load_catalog({}, ["kling"])
    assert SPECS[name].successor in {spec.id for spec in LIVING.values()}
    with pytest.raises(UnknownModel, match=str(SPECS[name].successor)):
        catalog.get(f"kling/{name}")


# What is sent -------------------------------------------------------------------------------------------------------


async def test_the_older_body_is_as_recorded() -> None:
    given = {"prompt": "a cat", "duration": 5.0, "resolution": "720p", "aspect_ratio": "16:9"}
    assert await sent_by(call("kling-v3", given=given)) == (
        "/v1/videos/text2video",
        {
            "model_name": "kling-v3",
            "prompt": "a cat",
            "duration": "5",
            "mode": "std",
            "aspect_ratio": "16:9",
            "external_task_id": "gen_1-0-1",
        },
    )


async def test_the_new_body_is_as_recorded() -> None:
    given = {"prompt": "a cat", "duration": 5.0, "resolution": "720p"}
    path, body = await sent_by(call("kling-3.0", given=given, callback_url="https://me.example/hook"))
    assert path == "/text-to-video/kling-3.0"
    assert body == {
        "prompt": "a cat",
        "settings": {"duration": 5, "resolution": "720p"},
        "options": {"external_task_id": "gen_1-0-1", "callback_url": "https://me.example/hook"},
    }


async def test_frames_are_contents_in_bare_base64(files: Files) -> None:
    image = files[MediaKind.IMAGE]
    media = {"image": [image], "last_image": [image]}
    path, body = await sent_by(call("kling-3.0", "image-to-video", media=media))
    assert path == "/image-to-video/kling-3.0"
    assert body["contents"] == [
        {"type": "prompt", "text": "a fox"},
        {"type": "first_frame", "url": image.base64()},
        {"type": "last_frame", "url": image.base64()},
    ]


async def test_references_and_videos_are_named_for_the_prompt(files: Files) -> None:
    video, image = files[MediaKind.VIDEO], files[MediaKind.IMAGE]
    asked = call(
        "kling-3.0-omni",
        "video-to-video",
        {"prompt": "@image_1 in @video_1", "audio": True},
        media={"video": [video], "reference_images": [image]},
    )
    path, body = await sent_by(asked)
    assert path == "/omni-video/kling-3.0-omni"
    assert body["settings"] == {"audio": "original"}
    assert body["contents"][1:] == [
        {"type": "refer_image", "id": "image_1", "url": image.base64()},
        {"type": "base_video", "id": "video_1", "url": video.url},
    ]


async def test_omni_has_a_shape_without_anything_to_take_it_from() -> None:
    _, body = await sent_by(call("kling-3.0-omni"))
    assert body["settings"] == {"aspect_ratio": "16:9"}


async def test_older_omni_lists_frames_references_and_a_video(files: Files) -> None:
    image, video = files[MediaKind.IMAGE], files[MediaKind.VIDEO]
    media = {"image": [image], "last_image": [image], "reference_images": [image]}
    _, body = await sent_by(call("kling-video-o1", "image-to-video", media=media))
    data = image.base64()
    assert body["image_list"] == [
        {"image_url": data, "type": "first_frame"},
        {"image_url": data, "type": "end_frame"},
        {"image_url": data},
    ]
    given = {"prompt": "x", "audio": False}
    _, body = await sent_by(call("kling-video-o1", "video-to-video", given, media={"video": [video]}))
    assert body["video_list"] == [{"video_url": video.url, "refer_type": "base", "keep_original_sound": "no"}]


async def test_pictures_and_older_sound_have_names_of_their_own(files: Files) -> None:
    given = {"prompt": "x", "count": 3, "resolution": "2k", "aspect_ratio": "21:9"}
    path, body = await sent_by(call("kling-v3-image", "text-to-image", given))
    assert path == "/v1/images/generations"
    assert body | {"external_task_id": ""} == {
        "model_name": "kling-v3",
        "prompt": "x",
        "n": 3,
        "resolution": "2k",
        "aspect_ratio": "21:9",
        "external_task_id": "",
    }
    image = files[MediaKind.IMAGE]
    media = {"image": [image], "reference_images": [image]}
    path, body = await sent_by(call("kling-image-o1", "image-to-image", media=media))
    assert (path, body["image_list"]) == ("/v1/images/omni-image", [{"image": image.base64()}] * 2)
    _, body = await sent_by(call("kling-v3", given={"prompt": "x", "audio": False, "guidance": 0.7}))
    assert (body["sound"], body["cfg_scale"]) == ("off", 0.7)


@pytest.mark.parametrize(
    ("model", "name", "value"), [("kling-2.6", "resolution", "1080p"), ("kling-v2-6", "mode", "pro")]
)
async def test_what_needs_1080p_gets_it(model: str, name: str, value: str) -> None:
    _, body = await sent_by(call(model, given={"prompt": "x", "audio": True}))
    assert (body.get("settings") or body)[name] == value
    with pytest.raises(InvalidInput) as refused:
        await sent_by(call(model, given={"prompt": "x", "audio": True, "resolution": "720p"}))
    assert refused.value.field == "input.resolution"
    _, body = await sent_by(call(model, given={"prompt": "x", "audio": False, "resolution": "720p"}))
    assert (body.get("settings") or body)[name] in ("720p", "std")


async def test_options_join_what_is_sent_but_not_what_we_find_the_task_by() -> None:
    options = {
        "settings": {"multi_shot": False},
        "contents": [{"type": "element", "element_id": 7, "id": "Fox"}],
        "options": {"watermark_info": {"enabled": True}, "external_task_id": "theirs"},
    }
    _, body = await sent_by(call("kling-3.0-omni", given={"prompt": "x", "duration": 7}, options=options))
    assert body == {
        "contents": [{"type": "prompt", "text": "x"}, {"type": "element", "element_id": 7, "id": "Fox"}],
        "settings": {"duration": 7, "aspect_ratio": "16:9", "multi_shot": False},
        "options": {"watermark_info": {"enabled": True}, "external_task_id": "gen_1-0-1"},
    }
    _, body = await sent_by(call("kling-v3", options={"shot_type": "intelligence", "external_task_id": "theirs"}))
    assert (body["shot_type"], body["external_task_id"]) == ("intelligence", "gen_1-0-1")


async def test_a_figure_moves_as_somebody_in_a_video(files: Files) -> None:
    image, video = files[MediaKind.IMAGE], files[MediaKind.VIDEO]
    media = {"image": [image], "video": [video]}
    given = {"prompt": "in the rain", "audio": False, "resolution": "1080p"}
    path, body = await sent_by(call("kling-3.0-motion-control", "video-to-video", given, media=media))
    assert path == "/motion-control/kling-3.0"
    assert body["contents"] == [
        {"type": "prompt", "text": "in the rain"},
        {"type": "image", "url": image.base64()},
        {"type": "video", "url": video.url},
    ]
    assert body["settings"] == {"audio": "off", "resolution": "1080p", "character_orientation": "video"}
    options = {"character_orientation": "image"}
    path, body = await sent_by(call("kling-v3-motion-control", "video-to-video", given, media=media, options=options))
    assert path == "/v1/videos/motion-control"
    assert body == {
        "model_name": "kling-v3",
        "prompt": "in the rain",
        "image_url": image.base64(),
        "video_url": video.url,
        "mode": "pro",
        "keep_original_sound": "no",
        "character_orientation": "image",
        "external_task_id": "gen_1-0-1",
    }


async def test_a_video_may_be_gone_by_instead_of_changed(files: Files) -> None:
    media = {"video": [files[MediaKind.VIDEO]]}
    asked = call("kling-3.0-omni-reference", "video-to-video", {"prompt": "x", "duration": 7.0}, media=media)
    _, body = await sent_by(asked)
    assert (body["contents"][1]["type"], body["settings"]) == ("feature_video", {"duration": 7})
    _, body = await sent_by(call("kling-video-o1-reference", "video-to-video", media=media))
    assert body["video_list"] == [{"video_url": files[MediaKind.VIDEO].url, "refer_type": "feature"}]


async def test_what_is_worn_shown_and_grown(files: Files) -> None:
    image, data = files[MediaKind.IMAGE], files[MediaKind.IMAGE].base64()
    media = {"image": [image], "reference_images": [image]}
    path, body = await sent_by(call("kolors-virtual-try-on-v1-5", "image-to-image", {}, media=media))
    assert path == "/v1/images/kolors-virtual-try-on"
    assert body == {
        "model_name": "kolors-virtual-try-on-v1-5",
        "human_image": data,
        "cloth_image": data,
        "external_task_id": "gen_1-0-1",
    }
    media = {"reference_images": [image] * 2}
    options = {"scene_image": "https://a/b.png"}
    path, body = await sent_by(call("kling-v2-1-references", "text-to-image", media=media, options=options))
    assert path == "/v1/images/multi-image2image"
    assert (body["subject_image_list"], body["scene_image"]) == ([{"subject_image": data}] * 2, "https://a/b.png")
    grown = {"up_expansion_ratio": 0.5}
    path, body = await sent_by(call("image-expand", "image-to-image", media={"image": [image]}, options=grown))
    assert path == "/v1/images/editing/expand"
    ratios = {name: value for name, value in body.items() if name.endswith("_ratio")}
    assert ratios == grown | dict.fromkeys(("down_expansion_ratio", "left_expansion_ratio", "right_expansion_ratio"), 0)


async def test_what_is_heard(files: Files) -> None:
    sound, video = files[MediaKind.AUDIO], files[MediaKind.VIDEO]
    media = {"image": [files[MediaKind.IMAGE]], "audio": [sound]}
    path, body = await sent_by(call("avatar", "image-to-video", {"resolution": "1080p"}, media=media))
    assert (path, body["sound_file"], body["mode"]) == ("/v1/videos/avatar/image2video", sound.base64(), "pro")
    media = {"image": [files[MediaKind.IMAGE]]}
    _, body = await sent_by(call("avatar", "image-to-video", {}, media=media, options={"audio_id": "8"}))
    assert body["audio_id"] == "8"
    assert "sound_file" not in body
    options = {"bgm_prompt": "a waltz"}
    asked = call("video-sound", "video-to-video", {"prompt": "rain"}, media={"video": [video]}, options=options)
    path, body = await sent_by(asked)
    assert path == "/v1/audio/video-to-audio"
    assert body == {"video_url": video.url, "sound_effect_prompt": "rain", "external_task_id": "gen_1-0-1"} | options
    path, body = await sent_by(call("sound-effect", "text-to-speech", {"prompt": "rain"}))
    assert (path, body["duration"]) == ("/v1/audio/text-to-audio", 5.0)


def spoken(answer: dict[str, Any]) -> Kling:
    return answering(200, {"code": 0, "message": "SUCCEED", "data": {"task_id": "1", **answer}})


async def test_speech_is_in_the_answer_and_nowhere_else() -> None:
    said = call("speech", "text-to-speech", {"prompt": "hello", "voice": "v"}, options={"voice_language": "en"})
    sound = {"id": "8", "url": "https://k/8.mp3", "duration": "1.5"}
    made = await spoken({"task_status": "succeed", "task_result": {"audios": [sound]}}).submit(said)
    assert isinstance(made, Finished)
    assert [output.url for output in made.outputs] == ["https://k/8.mp3"]
    assert made.parameters == {"audio_id": "8", "duration": 1.5}
    with pytest.raises(ContentBlocked):
        await spoken({"task_status": "failed", "task_status_msg": "risk control"}).submit(said)
    with pytest.raises(OutcomeUnknown):
        await spoken({"task_status": "processing"}).submit(said)
    assert not answering(200, {}).can_find(said)


async def test_a_series_is_as_many_pictures_as_it_has(world: World) -> None:
    options = {"result_type": "series", "series_amount": 3}
    state = await world.made(call("kling-image-o1", "text-to-image", options=options))
    assert len(state.outputs) == 3


@pytest.mark.parametrize(
    ("model", "given", "cost"),
    [
        ("kling-3.0", {}, 84),
        ("kling-3.0", {"audio": True}, 126),
        ("kling-3.0", {"audio": True, "resolution": "1080p"}, 168),
        ("kling-3.0", {"audio": True, "resolution": "4k"}, 420),
        ("kling-2.6", {"audio": True}, 140),
        ("kling-2.6", {"resolution": "1080p"}, 70),
        ("kling-video-o1", {}, 112),
        ("kling-video-o1", {"resolution": "720p"}, 84),
    ],
)
def test_a_second_costs_what_is_asked_of_it(model: str, given: dict[str, Any], cost: int) -> None:
    operation = Operation.TEXT_TO_VIDEO
    price = SPECS[model].price_of(operation)
    assert price is not None
    asked = {"duration": 5, **given}
    assert most(terms(price, SPECS[model].operations[operation], asked, {})) == 5 * cost


async def test_a_lip_sync_lets_the_first_face_speak(files: Files) -> None:
    media = {"audio": [files[MediaKind.AUDIO]]}
    options = {"video_id": "7", "sound_volume": 2, "watermark_info": {"enabled": True}}
    path, body = await sent_by(call("lip-sync", "video-to-video", {}, media=media, options=options))
    assert path == "/v1/videos/advanced-lip-sync"
    (face,) = body.pop("face_choose")
    assert body == {
        "session_id": "s",
        "watermark_info": {"enabled": True},
        "external_task_id": "gen_1-0-1",
    }
    assert face == {
        "face_id": "0",
        "sound_file": files[MediaKind.AUDIO].base64(),
        "sound_start_time": 0,
        "sound_end_time": 1000,
        "sound_insert_time": 40,
        "sound_volume": 2,
    }


@pytest.mark.parametrize(
    ("model", "operation", "field"),
    [
        ("lip-sync", "video-to-video", "input.video"),
        ("video-sound", "video-to-video", "input.video"),
        ("avatar", "image-to-video", "input.audio"),
        ("image-expand", "image-to-image", "provider_options.up_expansion_ratio"),
        ("speech", "text-to-speech", "provider_options.voice_language"),
        ("video-extend", "video-to-video", "provider_options.video_id"),
        ("effects", "image-to-video", "provider_options.effect_scene"),
    ],
)
async def test_what_a_call_is_nothing_without(model: str, operation: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await sent_by(call(model, operation, {}))
    assert refused.value.field == field


async def test_a_video_has_to_be_open_to_the_cloud(files: Files) -> None:
    closed = Media(path=files[MediaKind.VIDEO].path, media_type="video/mp4")
    for model in ("kling-3.0-omni", "kling-video-o1", "lip-sync"):
        with pytest.raises(InvalidInput) as refused:
            await sent_by(call(model, "video-to-video", media={"video": [closed]}))
        assert refused.value.field == "input.video"


async def test_a_sound_is_no_video(files: Files) -> None:
    media = {"audio": [files[MediaKind.VIDEO]]}
    with pytest.raises(MediaRejected):
        await sent_by(call("lip-sync", "video-to-video", {}, media=media, options={"video_id": "7"}))


async def test_a_video_without_a_face_is_refused(files: Files) -> None:
    body = {"code": 0, "message": "SUCCEED", "data": {"session_id": "s", "face_data": []}}
    account = answering(200, body)
    with pytest.raises(InvalidInput, match="no face"):
        await account.submit(call("lip-sync", "video-to-video", {}, options={"video_id": "7", "audio_id": "8"}))


# Errors -------------------------------------------------------------------------------------------------------------


def answering(status: int, body: object) -> Kling:
    return Kling("http://kling", KEY, always(status, body))


@pytest.mark.parametrize(
    ("status", "code", "paid", "free"),
    [
        (401, 1000, ProviderAuthFailed, ProviderAuthFailed),
        (401, 1001, ProviderAuthFailed, ProviderAuthFailed),
        (401, 1002, ProviderAuthFailed, ProviderAuthFailed),
        (401, 1003, ProviderAuthFailed, ProviderAuthFailed),
        (401, 1004, ProviderAuthFailed, ProviderAuthFailed),
        (429, 1100, ProviderAuthFailed, ProviderAuthFailed),
        (429, 1101, ProviderQuotaSpent, ProviderQuotaSpent),
        (429, 1102, ProviderQuotaSpent, ProviderQuotaSpent),
        (403, 1103, ProviderAuthFailed, ProviderAuthFailed),
        (400, 1200, ProviderRejected, ProviderRejected),
        (400, 1201, ProviderRejected, ProviderRejected),
        (404, 1202, ProviderRejected, JobMissing),
        (404, 1203, ProviderRejected, JobMissing),
        (400, 1300, ContentBlocked, ContentBlocked),
        (400, 1301, ContentBlocked, ContentBlocked),
        (429, 1302, ProviderThrottled, ProviderThrottled),
        (429, 1303, ProviderThrottled, ProviderThrottled),
        (429, 1304, ProviderAuthFailed, ProviderAuthFailed),
        (500, 5000, OutcomeUnknown, ProviderUnavailable),
        (503, 5001, ProviderUnavailable, ProviderUnavailable),
        (504, 5002, OutcomeUnknown, ProviderUnavailable),
        (200, 1303, ProviderThrottled, ProviderThrottled),
        (200, 5000, OutcomeUnknown, ProviderUnavailable),
        (200, 1999, OutcomeUnknown, ProviderUnavailable),
        (400, 1999, ProviderRejected, ProviderRejected),
        (200, [], OutcomeUnknown, ProviderUnavailable),
    ],
)
@BOTH
async def test_what_an_error_code_means(
    status: int, code: object, paid: type[GenPulseError], free: type[GenPulseError], model: str
) -> None:
    account = answering(status, {"code": code, "message": "no", "request_id": "r"})
    handle = {"path": "/v1/videos/text2video"} if model == "kling-v3" else {}
    with pytest.raises(GenPulseError) as sent:
        await account.submit(call(model))
    with pytest.raises(GenPulseError) as asked:
        await account.poll(Job(id="1", handle=handle), call(model))
    assert (type(sent.value), type(asked.value)) == (paid, free)


@BOTH
@pytest.mark.parametrize(("code", "error"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_a_task_may_fail_after_it_was_accepted(
    world: World, model: str, code: str, error: type[GenPulseError]
) -> None:
    world.fault(type="fails", code=code)
    with pytest.raises(error):
        await world.made(call(model))


@BOTH
async def test_a_task_is_queued_runs_and_has_results(world: World, model: str) -> None:
    account = world.account()
    job = await task_of(account, call(model))
    for _ in range(2):
        assert await account.poll(job, call(model)) == Pending()
        world.clock.advance(1)
    state = await account.poll(job, call(model))
    assert isinstance(state, Finished)
    assert state.parameters == {"duration": 5.0, "video_id": str(int(job.id) + 1)}


@BOTH
async def test_a_success_may_have_no_files_yet(world: World, model: str) -> None:
    world.fault(type="no_outputs")
    assert (await world.made(call(model))).outputs == []


@BOTH
async def test_a_task_may_be_hidden_at_first(world: World, model: str) -> None:
    world.fault(type="hidden_at_first")
    account = world.account()
    job = await task_of(account, call(model))
    with pytest.raises(JobMissing):
        await account.poll(job, call(model))
    assert await account.poll(job, call(model)) == Pending()


async def test_bills_are_read_as_far_as_they_can_be() -> None:
    billing = [
        {"charge_type": "cash", "currency": "USD", "amount": "0.42"},
        {"charge_type": "unit", "amount": "3"},
        {"charge_type": "unit", "amount": ""},
    ]
    outputs = [
        {"type": "audio", "id": "9", "wav_url": "https://k/1.wav", "mp3_url": "https://k/1.mp3"},
        {"type": "element", "id": "8"},
    ]
    task = {"id": "1", "status": "succeeded", "outputs": outputs, "billing": billing, "new": 1}
    state = await answering(200, {"code": 0, "data": [task]}).poll(Job(id="1"), call("kling-3.0"))
    assert isinstance(state, Finished)
    assert state.usage == {"usd": 0.42, "units": 3.0}
    assert [output.url for output in state.outputs] == ["https://k/1.wav"]
    assert state.parameters == {}


# Lost answers -------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("kind", ["lost_answer", "malformed"])
async def test_a_call_whose_answer_was_lost_is_found(world: World, model: str, kind: str) -> None:
    world.fault(type=kind, kinds=["submit"], times=1)
    account, asked = world.account(), call(model)
    with pytest.raises(OutcomeUnknown):
        await account.submit(asked)
    job = await account.find(asked, sent_at=datetime.now(UTC))
    assert job is not None
    world.clock.advance(3)
    assert isinstance(await account.poll(job, asked), Finished)
    assert len(world.simulator.find_jobs(key=asked.key)) == 1


@BOTH
async def test_a_call_that_was_not_accepted_is_not_found(world: World, model: str) -> None:
    world.fault(type="connection_reset", kinds=["submit"])
    with pytest.raises(OutcomeUnknown):
        await world.account().submit(call(model))
    assert await world.account().find(call(model), sent_at=datetime.now(UTC)) is None


@pytest.mark.parametrize(("status", "code"), [(404, 1203), (400, 1201)])
async def test_an_unknown_id_is_no_job_however_it_is_said(status: int, code: int) -> None:
    account = answering(status, {"code": code, "message": "no", "request_id": "r"})
    assert await account.find(call("kling-v3"), sent_at=datetime.now(UTC)) is None


# Who asks -----------------------------------------------------------------------------------------------------------


@BOTH
async def test_a_pair_of_keys_is_good_for_half_an_hour_from_now(world: World, model: str) -> None:
    await world.made(call(model), world.account(PAIR))
    for ahead, code in ((60, 1003), (-3600, 1004)):
        with pytest.raises(ProviderAuthFailed, match=str(code)):
            await world.account(PAIR, ahead=ahead).submit(call(model))


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(api_key="other"),
        Credentials(),
        Credentials(access_key="sim-access-key", secret_key="other"),
        Credentials(access_key="other", secret_key="sim-secret"),
        Credentials(api_key="e30.e30.e30"),
    ],
)
async def test_others_are_refused(world: World, credentials: Credentials) -> None:
    with pytest.raises(ProviderAuthFailed):
        await world.account(credentials).submit(call("kling-3.0"))
    assert world.simulator.jobs == {}


@pytest.mark.parametrize(("header", "code"), [(None, 1001), ("Key x", 1002), ("Bearer a.b.c", 1002)])
async def test_headers_are_looked_at_first(world: World, header: str | None, code: int) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await world.http.post("http://sim/kling/text-to-video/none", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, code)


async def test_the_new_generation_may_refuse_tokens(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated.Kling, "tokens_everywhere", False)
    await world.account(PAIR).submit(call("kling-v3"))
    with pytest.raises(ProviderAuthFailed):
        await world.account(PAIR).submit(call("kling-3.0"))


# Callbacks ----------------------------------------------------------------------------------------------------------


@BOTH
async def test_callbacks_name_the_task_and_are_signed(model: str) -> None:
    told: list[tuple[dict[str, str], bytes]] = []

    async def take(request: Request) -> Response:
        told.append((dict(request.headers), await request.body()))
        return Response()

    receiver = httpx.ASGITransport(Starlette(routes=[Route("/hook", take, methods=["POST"])]))
    async with a_world(receiver) as world:
        account = world.account()
        await account.submit(call(model, callback_url="http://receiver/hook"))
        for count in (1, 2):
            world.clock.advance(1.5)
            async with asyncio.timeout(5):
                while len(told) < count:  # noqa: ASYNC110 - facts have no events
                    await asyncio.sleep(0.005)
        now = datetime.fromtimestamp(world.clock.now(), UTC)
    knowing = Kling("", replace(KEY, webhook_secret=simulated.Kling.credentials.webhook_secret), world.http)
    for headers, body in told:
        await account.verify_callback(headers, body + b" ", now=now)  # without a secret there is nothing to check
        await knowing.verify_callback(headers, body, now=now)
        with pytest.raises(Forbidden):
            await knowing.verify_callback(headers, body + b" ", now=now)
    bodies = [json.loads(body) for _, body in told]
    done = ["processing", "succeed"] if model == "kling-v3" else ["processing", "succeeded"]
    assert [body.get("task_status") or body.get("status") for body in bodies] == done


# The simulated cloud ------------------------------------------------------------------------------------------------


async def test_an_external_id_is_good_once(world: World) -> None:
    await world.account().submit(call("kling-3.0"))
    with pytest.raises(ProviderRejected, match="1201"):
        await world.account().submit(call("kling-v3"))


async def test_an_account_has_slots_for_each_model(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated.Kling, "slots", 1)
    body = {"prompt": "x"}
    assert (await world.post("/text-to-video/kling-3.0", body)).status_code == 200
    full = await world.post("/text-to-video/kling-3.0", body)
    assert (full.status_code, full.json()["code"]) == (429, 1303)
    assert full.json()["message"] == "parallel task over resource pack limit"
    assert (await world.post("/text-to-video/kling-2.6", body)).status_code == 200
    two = {"model_name": "kling-v3", "prompt": "x", "n": 2}
    assert (await world.post("/v1/images/generations", two)).json()["code"] == 1303
    world.clock.advance(3)
    assert (await world.post("/text-to-video/kling-3.0", body)).status_code == 200


async def test_tasks_are_asked_for_in_batches_and_listed(world: World) -> None:
    made = [(await world.post("/text-to-video/kling-3.0", {"prompt": "x"})).json()["data"]["id"] for _ in range(3)]
    older = (await world.post("/v1/videos/text2video", {"model_name": "kling-v3", "prompt": "x"})).json()["data"]
    assert [one["id"] for one in (await world.get(f"/tasks?task_ids={made[0]},none,{made[1]}"))["data"]] == made[:2]
    assert (await world.get("/tasks?external_task_ids=none"))["data"] == []
    assert (await world.get("/tasks"))["message"] == "task_ids or external_task_ids is required"
    page = (await world.post("/tasks", {"limit": 2})).json()["data"]
    assert (page["count"], page["has_more"], [one["id"] for one in page["result"]]) == (2, True, made[:0:-1])
    rest = (await world.post("/tasks", {"limit": 2, "cursor": page["next_cursor"]})).json()["data"]
    assert (rest["count"], rest["has_more"]) == (1, False)
    filters = [{"key": "status", "values": ["failed"]}]
    assert (await world.post("/tasks", {"filters": filters})).json()["data"] == {"count": 0, "has_more": False}
    assert (await world.post("/tasks", {"end_time": "1"})).json()["data"]["count"] == 0
    assert (await world.post("/tasks", {"limit": 501})).json()["code"] == 1201
    listed = (await world.get("/v1/videos/text2video?pageNum=1&pageSize=30"))["data"]
    assert [one["task_id"] for one in listed] == [older["task_id"]]
    assert (await world.get("/v1/videos/image2video"))["data"] == []
    assert (await world.get("/v1/videos/text2video?pageSize=501"))["code"] == 1201
    assert (await world.get(f"/v1/videos/image2video/{older['task_id']}"))["code"] == 1203


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/text-to-video/kling-9", {"prompt": "x"}, 1203),
        ("/text-to-sound/kling-3.0", {"prompt": "x"}, 1203),
        ("/v1/videos/none", {}, 1203),
        ("/v1/videos/text2video", {"model_name": "kling-v1", "prompt": "x"}, 1203),
        ("/text-to-video/kling-3.0", {}, 1201),
        ("/text-to-video/kling-3.0", {"prompt": "x" * 3073}, 1201),
        ("/text-to-video/kling-3.0", {"prompt": "x", "settings": {"duration": "5"}}, 1201),
        ("/image-to-video/kling-3.0", {"contents": [{"type": "prompt", "text": "x"}]}, 1201),
        ("/image-to-video/kling-3.0", {"contents": [{"type": "last_frame", "url": "AAAA"}]}, 1201),
        ("/image-to-video/kling-3.0", {"contents": [{"type": "first_frame"}]}, 1201),
        ("/image-to-video/kling-3.0", {"contents": [{"type": "first_frame", "url": "data:image/png;base64,A"}]}, 1201),
        ("/omni-video/kling-3.0-omni", {"contents": [{"type": "prompt", "text": "x"}]}, 1201),
        ("/omni-video/kling-3.0-omni", {"contents": [{"type": "base_video", "url": "AAAA"}]}, 1201),
        (
            "/omni-video/kling-3.0-omni",
            {"contents": [{"type": "base_video", "url": "https://v"}], "settings": {"audio": "native"}},
            1201,
        ),
        (
            "/omni-video/kling-3.0-omni",
            {"contents": [{"type": "refer_image", "url": "AAAA"}] * 8, "settings": {"aspect_ratio": "1:1"}},
            1201,
        ),
        (
            "/omni-video/kling-3.0-omni",
            {"contents": [{"type": "first_frame", "url": "AAAA"}] + [{"type": "element"}] * 4},
            1201,
        ),
        (
            "/omni-video/kling-3.0-omni",
            {"contents": [{"type": "feature_video", "url": "https://v"}], "settings": {"audio": "original"}},
            1201,
        ),
        ("/image-to-video/kling-3.0", {"contents": [{"type": "video", "url": "https://v"}]}, 1201),
        ("/motion-control/kling-3.0", {"contents": [{"type": "image", "url": "AAAA"}]}, 1201),
        (
            "/motion-control/kling-3.0",
            {
                "contents": [{"type": "image", "url": "AAAA"}, {"type": "video", "url": "AAAA"}],
                "settings": {"character_orientation": "image"},
            },
            1201,
        ),
        ("/v1/videos/motion-control", {"model_name": "kling-v3", "image_url": "AAAA", "video_url": "https://v"}, 1201),
        ("/v1/videos/avatar/image2video", {"image": "AAAA"}, 1201),
        ("/v1/audio/video-to-audio", {"sound_effect_prompt": "rain"}, 1201),
        ("/v1/audio/text-to-audio", {"prompt": "rain", "duration": 2}, 1201),
        ("/v1/audio/tts", {"text": "x" * 1001, "voice_id": "v", "voice_language": "en"}, 1201),
        ("/v1/images/multi-image2image", {"model_name": "kling-v2-1", "subject_image_list": []}, 1201),
        (
            "/v1/images/editing/expand",
            {"image": "AAAA", "prompt": "x"} | dict.fromkeys([f"{s}_expansion_ratio" for s in SIDES], 0.5),
            1201,
        ),
        ("/v1/images/kolors-virtual-try-on", {"model_name": "kolors-virtual-try-on-v1", "human_image": "AAAA"}, 1201),
        ("/v1/videos/text2video", {"model_name": "kling-v3", "prompt": "x", "duration": 5}, 1201),
        ("/v1/videos/image2video", {"model_name": "kling-v3"}, 1201),
        ("/v1/videos/video-extend", {"video_id": "none"}, 1201),
        ("/v1/videos/effects", {"effect_scene": "squish", "input": {}}, 1201),
        ("/v1/videos/identify-face", {}, 1201),
        ("/v1/videos/identify-face", {"video_id": "none"}, 1201),
        ("/v1/videos/advanced-lip-sync", {"session_id": "s", "face_choose": [{"face_id": "0"}]}, 1201),
        (
            "/v1/videos/advanced-lip-sync",
            {"session_id": "s", "face_choose": [{"face_id": "0", "audio_id": "1"}]},
            1201,
        ),
        (
            "/v1/images/generations",
            {"model_name": "kling-v3", "prompt": "x", "image": "AAAA", "negative_prompt": "y"},
            1201,
        ),
        ("/v1/images/generations", {"model_name": "kling-v3", "prompt": "x", "resolution": "4k"}, 1201),
        ("/v1/images/generations", {"model_name": "kling-v3", "prompt": "x", "n": 10}, 1201),
    ],
)
async def test_wrong_calls_are_refused(world: World, path: str, body: dict[str, Any], code: int) -> None:
    answer = await world.post(path, body)
    assert (answer.status_code, answer.json()["code"]) == (404 if code == 1203 else 400, code)
    assert world.simulator.jobs == {}


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"type": "rate_limited"}, 429, 1302),
        ({"type": "server_error", "status": 500}, 500, 5000),
        ({"type": "server_error", "status": 503}, 503, 5001),
        ({"type": "server_error", "status": 504}, 504, 5002),
    ],
)
async def test_faults_are_in_the_cloud_s_words(world: World, fault: dict[str, Any], status: int, code: int) -> None:
    world.fault(**fault)
    answer = await world.post("/text-to-video/kling-3.0", {"prompt": "x"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_files_are_kept_for_thirty_days(world: World) -> None:
    state = await world.made(call("kling-3.0"))
    world.clock.advance(30 * 24 * 3600)
    assert (await world.http.get(str(state.outputs[0].url))).status_code == 403


async def test_an_account_without_packs_has_no_list_of_them(world: World) -> None:
    assert (await world.get("/account/costs?start_time=1&end_time=2"))["data"] == {"code": 0, "msg": "success"}
    assert (await world.get("/account/costs"))["code"] == 1201
