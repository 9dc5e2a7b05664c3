"""DashScope: its client against the simulated cloud, every model of the catalogue, and what its answers mean."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from genpulse.catalog.clouds import cloud_models
from genpulse.errors import (
    ContentBlocked,
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
from genpulse.providers.dashscope import Dashscope
from genpulse.providers.dashscope.requests import SHAPES, ModelWire, creation
from genpulse.schemas.catalog import FieldSpec, ModelSpec, OperationSpec, Size, SizeRules
from genpulse.schemas.states import MEDIA_FIELDS, Operation
from genpulse.simulator import ManualClock, Settings, Simulator, create_simulator
from genpulse.simulator.faults import FAULTS
from genpulse.simulator.jobs import State
from genpulse.simulator.media import Format, render
from genpulse.simulator.media import Media as Made
from tests.clouds import always

BASE = "http://sim/dashscope/api/v1"
KEY = "sk-sim-key"
MODELS = {spec.name: spec for spec in cloud_models(["dashscope"])}
CASES = [(name, operation) for name, spec in MODELS.items() for operation in spec.operations]
MEDIA_TYPES = {"image", "images", "video", "audio"}
FILES = {"image": (Format.PNG, "image/png"), "video": (Format.MP4, "video/mp4"), "audio": (Format.WAV, "audio/wav")}
ASKED: dict[str, Any] = {
    "prompt": "a red circle",
    "negative_prompt": "blue",
    "count": 1,
    "seed": 7,
    "strength": 0.5,
    "scale": 2.0,
    "audio": True,
    "voice": "Cherry",
    "fps": 15.0,
}
NEEDED = {
    "qwen-mt-image": {"source_lang": "en", "target_lang": "zh"},
    "wanx-style-repaint-v1": {"style_index": 3},
}


class SteppingClock(ManualClock):
    """Whoever sleeps is there at once: models that answer directly take their time in no time."""

    async def sleep_until(self, moment: float) -> None:
        self.advance(max(0.0, moment - self.now()))


@dataclass
class World:
    simulator: Simulator
    clock: ManualClock
    transport: httpx.AsyncBaseTransport
    folder: Path
    files: dict[str, Media] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = httpx.AsyncClient(transport=self.transport)
        self.cloud = Dashscope(BASE, Credentials(api_key=KEY), self.http)

    def fault(self, **values: Any) -> None:
        self.simulator.faults.put("dashscope", FAULTS.validate_python([values]))

    def file(self, kind: str) -> Media:
        if kind not in self.files:
            form, media_type = FILES[kind]
            path = self.folder / kind
            path.write_bytes(render(Made(form, 640, 640)))
            self.files[kind] = Media(path=path, media_type=media_type)
        return self.files[kind]

    def call(self, name: str, operation: Operation | None = None, **given: Any) -> ModelCall:
        """A call of a model with what it needs; `files` are fields, `options` the caller's own."""
        spec = MODELS[name]
        operation = operation or next(iter(spec.operations))
        options, files = given.pop("options", {}), given.pop("files", ())
        return ModelCall(
            model=name,
            operation=operation,
            wire=spec.wire_of(operation),
            input=given,
            media={one: [self.file(MEDIA_FIELDS[one].value)] for one in files},
            options=options,
            key="gen_1-0-1",
        )

    async def done(self, call: ModelCall) -> Finished:
        answer = await self.cloud.submit(call)
        if isinstance(answer, Finished):
            return answer
        self.clock.advance(10)
        state = await self.cloud.poll(answer, call)
        assert isinstance(state, Finished)
        return state

    def sent(self) -> Any:
        """The body of the last submission."""
        return self.simulator.record.find(cloud="dashscope", kind="submit")[-1].body


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = SteppingClock()
    simulator = Simulator(Settings(), clock=clock)
    made = World(simulator, clock, httpx.ASGITransport(create_simulator(simulator)), tmp_path)
    yield made
    await made.http.aclose()
    await simulator.aclose()


def answering(status: int, body: Any, headers: dict[str, str] | None = None) -> Dashscope:
    """The client of a cloud that answers everything so."""
    return Dashscope(BASE, Credentials(api_key=KEY), always(status, body, headers))


# ------------------------------------------------------------------------------------------------------- every model


def every_field(spec: OperationSpec) -> dict[str, Any]:
    """A value for each field that the operation takes, files aside."""
    given: dict[str, Any] = {}
    for name, one in spec.fields.items():
        if (
            one.type in MEDIA_TYPES
            or name in {"width", "height"}
            or (spec.sizes and name in {"aspect_ratio", "resolution"})
        ):
            continue
        given[name] = _value(name, one)
    if spec.sizes:
        size = spec.sizes.sizes[0] if spec.sizes.sizes else spec.sizes.native
        given |= {"width": size.width, "height": size.height}
    return given


def _value(name: str, spec: FieldSpec) -> Any:
    if name == "duration":
        return float(spec.minimum or 5)
    return spec.enum[0] if spec.enum else ASKED[name]


@pytest.mark.parametrize(("name", "operation"), CASES)
async def test_every_model_takes_what_its_entry_says(world: World, name: str, operation: Operation) -> None:
    spec = MODELS[name].operations[operation]
    files = [one for one, field in spec.fields.items() if field.type in MEDIA_TYPES]
    given = every_field(spec)
    made = await world.done(world.call(name, operation, files=files, options=NEEDED.get(name, {}), **given))
    (output,) = made.outputs
    assert output.url is not None
    content = (await world.http.get(output.url)).raise_for_status()
    assert (
        content.headers["Content-Type"]
        == {"image": "image/png", "video": "video/mp4", "audio": "audio/wav"}[str(spec.output)]
    )
    (job,) = world.simulator.find_jobs(cloud="dashscope")
    assert job.model == MODELS[name].wire.get("model", name)


@pytest.mark.parametrize(("name", "operation"), CASES)
async def test_every_model_does_with_the_least(world: World, name: str, operation: Operation) -> None:
    spec = MODELS[name].operations[operation]
    needed = {one: ASKED[one] for one, field in spec.fields.items() if field.required and one not in MEDIA_FIELDS}
    files = [one for one, field in spec.fields.items() if field.required and one in MEDIA_FIELDS]
    call = world.call(name, operation, files=files, options=NEEDED.get(name, {}), **needed)
    assert len((await world.done(call)).outputs) == 1


def _sized(spec: ModelSpec) -> list[tuple[str, Operation, Size]]:
    return [
        (spec.name, operation, size)
        for operation, one in spec.operations.items()
        if one.sizes
        for size in one.sizes.sizes or _corners(one.sizes)
    ]


def _corners(rules: SizeRules) -> list[Size]:
    """The extremes of a range."""
    sides = {rules.min_side, rules.max_side, math.isqrt(rules.min_pixels), math.isqrt(rules.max_pixels)}
    every = [Size(width, height) for width in sides for height in sides if width and height]
    short = math.isqrt(int(rules.max_pixels / rules.max_aspect))
    long = int(short * rules.max_aspect)
    return [size for size in sorted({*every, Size(long, short), Size(short, long)}) if rules.allows(size)]


@pytest.mark.parametrize(("name", "operation", "size"), [case for spec in MODELS.values() for case in _sized(spec)])
async def test_every_size_of_the_catalogue_is_one_of_the_model(
    world: World, name: str, operation: Operation, size: Size
) -> None:
    spec = MODELS[name].operations[operation]
    files = [one for one, field in spec.fields.items() if field.required and one in MEDIA_FIELDS]
    call = world.call(name, operation, files=files, prompt="x", width=size.width, height=size.height)
    await world.done(call)
    wire = ModelWire.model_validate(call.wire)
    parameters = world.sent()["parameters"]
    if wire.size == "resolution":
        assert (parameters["resolution"], parameters["ratio"]) == SHAPES[size]
    else:
        assert parameters["size"] == f"{size.width}*{size.height}"


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.name)
def test_every_entry_is_one_that_the_client_understands(spec: ModelSpec) -> None:
    for name, operation in spec.operations.items():
        wire = ModelWire.model_validate(spec.wire_of(name))
        files = {name for name, field in operation.fields.items() if field.type in MEDIA_TYPES}
        assert wire.form == "messages" or files <= wire.media.keys()
        assert operation.output is not None


# ---------------------------------------------------------------------------------------------------------- requests


def body_of(call: ModelCall, **links: list[str]) -> Any:
    return creation(call, ModelWire.model_validate(call.wire), links).body()


def test_a_prompt_is_sent_by_itself(world: World) -> None:
    call = world.call(
        "wan2.5-t2i-preview", prompt="...", negative_prompt="...", width=1280, height=1280, count=1, seed=7,
        options={"prompt_extend": True},
    )  # fmt: skip
    assert body_of(call) == {
        "model": "wan2.5-t2i-preview",
        "input": {"prompt": "...", "negative_prompt": "..."},
        "parameters": {"size": "1280*1280", "n": 1, "seed": 7, "prompt_extend": True, "watermark": False},
    }


def test_a_message_holds_text_and_pictures(world: World) -> None:
    call = world.call(
        "wan2.6-image", prompt="...", negative_prompt="", width=1280, height=1280, count=1, seed=7,
        options={"prompt_extend": True},
    )  # fmt: skip
    assert body_of(call, image=["https://a"], reference_images=["https://b"]) == {
        "model": "wan2.6-image",
        "input": {
            "messages": [{"role": "user", "content": [{"text": "..."}, {"image": "https://a"}, {"image": "https://b"}]}]
        },
        "parameters": {
            "size": "1280*1280", "n": 1, "negative_prompt": "", "prompt_extend": True, "watermark": False, "seed": 7,
        },
    }  # fmt: skip


def test_a_video_of_wan_2_7_starts_from_a_list_of_media(world: World) -> None:
    call = world.call(
        "wan2.7-i2v", Operation.IMAGE_TO_VIDEO, prompt="...", negative_prompt="...", resolution="720p", duration=5.0,
        seed=7, options={"prompt_extend": True},
    )  # fmt: skip
    assert body_of(call, image=["https://a"], audio=["oss://b"]) == {
        "model": "wan2.7-i2v",
        "input": {
            "prompt": "...",
            "negative_prompt": "...",
            "media": [{"type": "first_frame", "url": "https://a"}, {"type": "driving_audio", "url": "oss://b"}],
        },
        "parameters": {"resolution": "720P", "duration": 5, "prompt_extend": True, "watermark": False, "seed": 7},
    }


def test_an_upscaler_is_a_function_of_the_editor(world: World) -> None:
    call = world.call("wanx2.1-imageedit-upscale", prompt="...", scale=2.0, seed=7)
    assert body_of(call, image=["https://a"]) == {
        "model": "wanx2.1-imageedit",
        "input": {"function": "super_resolution", "prompt": "...", "base_image_url": "https://a"},
        "parameters": {"n": 1, "upscale_factor": 2, "watermark": False, "seed": 7},
    }


@pytest.mark.parametrize(
    ("links", "options", "function"),
    [
        ({}, {}, "description_edit"),
        ({"mask": ["https://m"]}, {}, "description_edit_with_mask"),
        ({}, {"function": "expand", "top_scale": 1.5}, "expand"),
    ],
)
def test_the_editor_s_function_follows_from_the_mask_unless_it_is_asked_for(
    world: World, links: dict[str, list[str]], options: dict[str, Any], function: str
) -> None:
    body = body_of(world.call("wanx2.1-imageedit", prompt="x", options=options), image=["https://a"], **links)
    assert body["input"]["function"] == function
    assert body["input"].get("mask_image_url") == links.get("mask", [None])[0]
    assert body["parameters"].get("top_scale") == options.get("top_scale")


def test_older_dialects_have_names_of_their_own(world: World) -> None:
    older = world.call("wan2.6-t2v", prompt="x", width=1280, height=720, duration=5.0, options={"shot_type": "multi"})
    assert body_of(older)["parameters"] == {"size": "1280*720", "duration": 5, "watermark": False, "shot_type": "multi"}
    frames = world.call("wan2.2-kf2v-flash", prompt="x", resolution="480p")
    assert body_of(frames, image=["https://a"], last_image=["https://b"]) == {
        "model": "wan2.2-kf2v-flash",
        "input": {"prompt": "x", "first_frame_url": "https://a", "last_frame_url": "https://b"},
        "parameters": {"resolution": "480P"},
    }
    references = world.call("wan2.6-r2v", Operation.VIDEO_TO_VIDEO, prompt="x")
    body = body_of(references, video=["oss://v"], reference_images=["oss://a", "oss://b"])
    assert body["input"]["reference_urls"] == ["oss://a", "oss://b", "oss://v"]


@pytest.mark.parametrize(
    ("name", "given", "links", "sent"),
    [
        (
            "wan2.2-s2v",
            {"resolution": "720p"},
            {"image": ["oss://i"], "audio": ["oss://a"]},
            {"input": {"image_url": "oss://i", "audio_url": "oss://a"}, "parameters": {"resolution": "720P"}},
        ),
        (
            "wan2.2-animate-mix",
            {},
            {"image": ["oss://i"], "video": ["oss://v"]},
            {
                "input": {"watermark": False, "image_url": "oss://i", "video_url": "oss://v"},
                "parameters": {"mode": "wan-std"},
            },
        ),
        (
            "videoretalk",
            {},
            {"reference_images": ["oss://f"], "video": ["oss://v"], "audio": ["oss://a"]},
            {"input": {"ref_image_url": "oss://f", "video_url": "oss://v", "audio_url": "oss://a"}},
        ),
        (
            "video-style-transform",
            {"fps": 20.0},
            {"video": ["oss://v"]},
            {"input": {"video_url": "oss://v"}, "parameters": {"style": 0, "video_fps": 20}},
        ),
        (
            "wanx2.1-vace-plus-extend",
            {"prompt": "x"},
            {"video": ["oss://v"], "last_image": ["oss://l"]},
            {
                "input": {
                    "function": "video_extension",
                    "prompt": "x",
                    "first_clip_url": "oss://v",
                    "last_frame_url": "oss://l",
                }
            },
        ),
        (
            "wanx2.1-vace-plus-outpaint",
            {"prompt": "x"},
            {"video": ["oss://v"]},
            {"input": {"function": "video_outpainting", "prompt": "x", "video_url": "oss://v"}},
        ),
        ("qwen3-tts-flash", {"prompt": "x", "voice": "Cherry"}, {}, {"input": {"text": "x", "voice": "Cherry"}}),
    ],
)
def test_services_that_do_one_thing(
    world: World, name: str, given: dict[str, Any], links: dict[str, list[str]], sent: dict[str, Any]
) -> None:
    body = body_of(world.call(name, **given), **links)
    assert body == {"model": MODELS[name].wire.get("model", name)} | sent


@pytest.mark.parametrize(
    ("operation", "links", "options", "function"),
    [
        (Operation.IMAGE_TO_VIDEO, {"reference_images": ["https://a"]}, {}, "image_reference"),
        (Operation.VIDEO_TO_VIDEO, {"video": ["https://v"]}, {}, "video_repainting"),
        (Operation.VIDEO_TO_VIDEO, {"video": ["https://v"], "mask": ["https://m"]}, {}, "video_edit"),
        (Operation.VIDEO_TO_VIDEO, {"video": ["https://v"]}, {"function": "video_edit"}, "video_edit"),
    ],
)
def test_the_video_editor_s_function_follows_from_what_is_given(
    world: World, operation: Operation, links: dict[str, list[str]], options: dict[str, Any], function: str
) -> None:
    body = body_of(world.call("wanx2.1-vace-plus", operation, prompt="x", options=options), **links)
    assert body["input"]["function"] == function
    assert body["input"].get("ref_images_url") == links.get("reference_images")
    assert body.get("parameters", {}).get("control_condition") == ("depth" if "video" in links else None)


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://dashscope.aliyuncs.com/api/v1", "wanx2.1-t2v-plus"),
        ("https://ws-1.cn-beijing.maas.aliyuncs.com/api/v1", "wanx2.1-t2v-plus"),
        ("https://dashscope-intl.aliyuncs.com/api/v1", "wan2.1-t2v-plus"),
        ("https://ws-1.ap-southeast-1.maas.aliyuncs.com/api/v1", "wan2.1-t2v-plus"),
        ("http://sim/dashscope/api/v1", "wanx2.1-t2v-plus"),
    ],
)
async def test_models_are_called_as_their_region_calls_them(world: World, base_url: str, name: str) -> None:
    sent: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"output": {"task_id": "1"}, "data": [], "total_page": 1})

    http = httpx.AsyncClient(transport=httpx.MockTransport(serve))
    cloud = Dashscope(base_url, Credentials(api_key=KEY, options={"workspace": "ws-2"}), http)
    call = world.call("wanx2.1-t2v-plus", prompt="x")
    await cloud.submit(call)
    await cloud.find(call, sent_at=datetime.now(UTC))
    assert json.loads(sent[0].content)["model"] == name
    assert sent[1].url.params["model_name"] == name
    assert {request.headers["X-DashScope-WorkSpace"] for request in sent} == {"ws-2"}


@pytest.mark.parametrize("name", ["wanx2.1-t2i-turbo", "wanx2.1-t2v-plus"])
async def test_the_simulated_cloud_knows_both_names(world: World, name: str) -> None:
    abroad = world.call(name, prompt="x")
    wire = dict(abroad.wire) | {"model": name.replace("wanx", "wan")}
    assert len((await world.done(replace(abroad, wire=wire))).outputs) == 1


def test_a_service_without_parameters_gets_none(world: World) -> None:
    call = world.call("wanx-style-repaint-v1", options={"style_index": -1, "style_ref_url": "https://s"})
    assert body_of(call, image=["https://a"]) == {
        "model": "wanx-style-repaint-v1",
        "input": {"style_index": -1, "style_ref_url": "https://s", "image_url": "https://a"},
    }


def test_options_may_have_any_form(world: World) -> None:
    body = body_of(world.call("wan2.7-t2v", prompt="x", options={"duration": "9", "audio": False}))
    assert body["parameters"] == {"duration": "9", "audio": False, "watermark": False}


def test_a_size_that_has_no_name_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput, match="640x480"):
        body_of(world.call("wan2.7-t2v", prompt="x", width=640, height=480))


async def test_a_video_is_uploaded_and_a_picture_travels_along(world: World) -> None:
    await world.done(world.call("wan2.7-videoedit", prompt="x", files=["video", "reference_images"]))
    picture, video = world.sent()["input"]["media"]
    assert (picture["type"], video["type"]) == ("reference_image", "video")
    assert picture["url"].startswith("data:image/png;base64,")
    assert video["url"].startswith("oss://dashscope-instant/")
    (upload,) = world.simulator.uploads.values()
    assert upload.content == world.file("video").path.read_bytes()
    (post,) = [one for one in world.simulator.record.find(cloud="dashscope") if one.path.endswith("/oss")]
    assert "authorization" not in post.headers  # the storage is none of the key's business


async def test_a_file_that_has_an_address_is_not_sent(world: World) -> None:
    call = world.call("wan2.6-i2v", prompt="x")
    file = Media(path=Path("none"), media_type="image/png", url="https://ours/a.png")
    await world.cloud.submit(replace(call, media={"image": [file]}))
    assert world.sent()["input"]["img_url"] == "https://ours/a.png"


# ------------------------------------------------------------------------------------------------------------- tasks


async def test_a_task_waits_runs_and_is_done(world: World) -> None:
    call = world.call("wan2.5-t2i-preview", prompt="a fox", count=2)
    job = await world.cloud.submit(call)
    assert isinstance(job, Job)
    assert await world.cloud.poll(job, call) == Pending()
    world.clock.advance(1)
    assert await world.cloud.poll(job, call) == Pending()
    world.clock.advance(1)
    done = await world.cloud.poll(job, call)
    assert isinstance(done, Finished)
    assert len(done.outputs) == 2
    assert done.usage == {"image_count": 2}
    assert done.parameters == {"actual_prompt": "a fox, in fine detail"}


async def test_some_of_the_pictures_are_better_than_none(world: World) -> None:
    results = [{"code": "DataInspectionFailed", "message": "no"}, {"url": "https://a"}]
    output = {"task_id": "1", "task_status": "SUCCEEDED", "results": results, "new": 1}
    done = await answering(200, {"output": output, "usage": {"image_count": 1, "size": "1*1"}}).poll(
        Job(id="1"), world.call("wan2.5-t2i-preview", prompt="x")
    )
    assert isinstance(done, Finished)
    assert [one.url for one in done.outputs] == ["https://a"]
    assert done.usage == {"image_count": 1}


async def test_an_error_code_of_zero_is_none(world: World) -> None:
    done = await world.done(world.call("wanx-style-repaint-v1", files=["image"]))
    assert len(done.outputs) == 1


async def test_a_waiting_task_can_be_cancelled_and_a_running_one_not(world: World) -> None:
    call = world.call("wan2.7-t2v", prompt="x")
    waiting, running = await world.cloud.submit(call), await world.cloud.submit(call)
    assert isinstance(waiting, Job)
    assert isinstance(running, Job)
    await world.cloud.cancel(waiting)
    world.clock.advance(1)
    await world.cloud.cancel(running)
    with pytest.raises(ProviderRejected, match="cancelled"):
        await world.cloud.poll(waiting, call)
    assert world.simulator.jobs["dashscope", running.id].state is State.RUNNING
    await world.cloud.cancel(Job(id="nobody's"))


async def test_a_forgotten_task_is_missing_and_its_files_are_gone(world: World) -> None:
    call = world.call("wan2.7-t2v", prompt="x")
    job = await world.cloud.submit(call)
    assert isinstance(job, Job)
    world.clock.advance(10)
    done = await world.cloud.poll(job, call)
    assert isinstance(done, Finished)
    world.clock.advance(25 * 3600)
    assert (await world.http.get(str(done.outputs[0].url))).status_code == 403
    with pytest.raises(JobMissing):
        await world.cloud.poll(job, call)


async def test_what_succeeds_with_nothing_is_passed_on(world: World) -> None:
    world.fault(type="no_outputs")
    assert (await world.done(world.call("wan2.7-t2v", prompt="x"))).outputs == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("DataInspectionFailed", ContentBlocked),
        ("InternalError.Algo", ProviderFailed),
        ("InternalError.Timeout", ProviderFailed),
        ("Throttling.RateQuota", ProviderFailed),
        ("ModelServingError", ProviderFailed),
        ("InvalidParameter", ProviderRejected),
        ("InvalidURL.Timeout", ProviderRejected),
        ("", ProviderFailed),
    ],
)
async def test_why_a_task_failed(world: World, code: str, error: type[GenPulseError]) -> None:
    body = {"output": {"task_id": "1", "task_status": "FAILED", "code": code, "message": "because"}}
    with pytest.raises(error) as failed:
        await answering(200, body).poll(Job(id="1"), world.call("wan2.7-t2v", prompt="x"))
    assert type(failed.value) is error
    assert failed.value.retryable == (error is ProviderFailed and code != "InternalError.Timeout")


@pytest.mark.parametrize(("code", "error"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_a_failed_task_says_why(world: World, code: str, error: type[GenPulseError]) -> None:
    world.fault(type="fails", code=code)
    with pytest.raises(error):
        await world.done(world.call("wan2.7-t2v", prompt="x"))


@pytest.mark.parametrize(("code", "error"), [("content", ContentBlocked), ("internal", ProviderUnavailable)])
async def test_a_model_that_answers_at_once_says_why_at_once(
    world: World, code: str, error: type[GenPulseError]
) -> None:
    world.fault(type="fails", code=code)
    with pytest.raises(error):
        await world.cloud.submit(world.call("qwen-image-max", prompt="x"))


# ------------------------------------------------------------------------------------------------------------ errors

ERRORS: list[tuple[int, str, type[GenPulseError]]] = [
    (400, "InvalidParameter", ProviderRejected),
    (400, "InvalidParameter.DataInspection", ProviderRejected),
    (400, "BadRequest.TooLarge", ProviderRejected),
    (400, "InvalidURL.Timeout", ProviderRejected),
    (400, "InvalidFile.Format", ProviderRejected),
    (400, "InvalidPerson", ProviderRejected),
    (400, "UnsupportedOperation", ProviderRejected),
    (400, "InvalidImageResolution", ProviderRejected),
    (400, "DataInspectionFailed", ContentBlocked),
    (400, "IPInfringementSuspect", ContentBlocked),
    (400, "CustomRoleBlocked", ContentBlocked),
    (400, "FaqRuleBlocked", ContentBlocked),
    (400, "Arrearage", ProviderQuotaSpent),
    (401, "InvalidApiKey", ProviderAuthFailed),
    (401, "NOT AUTHORIZED", ProviderAuthFailed),
    (403, "AccessDenied", ProviderAuthFailed),
    (403, "AccessDenied.Unpurchased", ProviderAuthFailed),
    (403, "Model.AccessDenied", ProviderAuthFailed),
    (403, "Workspace.AccessDenied", ProviderAuthFailed),
    (403, "AllocationQuota.FreeTierOnly", ProviderQuotaSpent),
    (404, "ModelNotFound", ProviderRejected),
    (404, "Model.NotExist", ProviderRejected),
    (404, "WorkSpaceNotFound", ProviderRejected),
    (404, "NotFound", ProviderRejected),
    (429, "Throttling", ProviderThrottled),
    (429, "Throttling.RateQuota", ProviderThrottled),
    (429, "Throttling.BurstRate", ProviderThrottled),
    (429, "Throttling.AllocationQuota", ProviderThrottled),
    (429, "CommodityNotPurchased", ProviderQuotaSpent),
    (429, "PrepaidBillOverdue", ProviderQuotaSpent),
    (429, "PostpaidBillOverdue", ProviderQuotaSpent),
    (500, "ModelServingError", ProviderUnavailable),
    (503, "ModelUnavailable", ProviderUnavailable),
    (503, "ServiceUnavailable", ProviderUnavailable),
]
#: With these the cloud does not say whether a task came of the request.
UNSETTLED = ["InternalError", "InternalError.Algo", "InternalError.Upload", "SystemError", "ModelServiceFailed"]


def error(code: str) -> dict[str, str]:
    return {"code": code, "message": "because", "request_id": "r"}


@pytest.mark.parametrize(("status", "code", "expected"), ERRORS)
@pytest.mark.parametrize("name", ["wan2.7-t2v", "qwen-image-max"])
async def test_what_an_error_means(
    world: World, name: str, status: int, code: str, expected: type[GenPulseError]
) -> None:
    for answered in (status, 200) if code != "NotFound" else (status,):  # a code is an error with any status
        with pytest.raises(GenPulseError) as refused:
            await answering(answered, error(code)).submit(world.call(name, prompt="x"))
        assert type(refused.value) is expected


@pytest.mark.parametrize("code", UNSETTLED)
async def test_a_task_of_a_broken_cloud_is_unknown_and_a_broken_call_is_over(world: World, code: str) -> None:
    cloud = answering(500, error(code))
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(world.call("wan2.7-t2v", prompt="x"))
    with pytest.raises(ProviderUnavailable):
        await cloud.submit(world.call("qwen-image-max", prompt="x"))
    with pytest.raises(ProviderUnavailable):
        await cloud.poll(Job(id="1"), world.call("wan2.7-t2v", prompt="x"))


@pytest.mark.parametrize(("status", "code"), [(500, "RequestTimeOut"), (504, "GatewayTimeout")])
@pytest.mark.parametrize("name", ["wan2.7-t2v", "qwen-image-max"])
async def test_what_was_lost_inside_the_cloud_is_unknown(world: World, name: str, status: int, code: str) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(status, error(code)).submit(world.call(name, prompt="x"))


@pytest.mark.parametrize(
    ("code", "headers", "seconds"),
    [
        ("Throttling.RateQuota", {"Retry-After": "3"}, 3),
        ("Throttling.RateQuota", {}, None),
        ("Throttling.AllocationQuota", {}, 60),
    ],
)
async def test_how_long_to_stay_away(world: World, code: str, headers: dict[str, str], seconds: float | None) -> None:
    with pytest.raises(ProviderThrottled) as throttled:
        await answering(429, error(code), headers).submit(world.call("wan2.7-t2v", prompt="x"))
    assert throttled.value.details["retry_after"] == seconds


async def test_a_body_too_large_is_refused_by_its_status(world: World) -> None:
    with pytest.raises(ProviderRejected):
        await answering(413, None).submit(world.call("wan2.7-t2v", prompt="x"))


@pytest.mark.parametrize("key", [None, "sk-other"])
async def test_a_wrong_key_is_told(world: World, key: str | None) -> None:
    cloud = Dashscope(BASE, Credentials(api_key=key), world.http)
    with pytest.raises(ProviderAuthFailed, match="Invalid API-key provided"):
        await cloud.submit(world.call("wan2.7-t2v", prompt="x"))


# ------------------------------------------------------------------------------------------------------ lost answers


async def lost(world: World, call: ModelCall) -> datetime:
    """Send a call whose answer is lost; return when."""
    world.fault(type="lost_answer", times=1)
    sent_at = datetime.fromtimestamp(world.clock.now(), UTC)
    with pytest.raises(OutcomeUnknown):
        await world.cloud.submit(call)
    return sent_at


async def test_a_task_whose_answer_was_lost_is_found(world: World) -> None:
    call = world.call("wan2.7-t2v", prompt="a fox")
    await world.cloud.submit(world.call("wan2.7-t2v", prompt="a dog"))
    await world.cloud.submit(world.call("wan2.6-t2v", prompt="a fox"))
    world.clock.advance(3600)
    sent_at = await lost(world, call)
    job = await world.cloud.find(call, sent_at=sent_at)
    assert job is not None
    await world.cloud.cancel(job)  # not before it is known to be ours
    world.clock.advance(10)
    assert isinstance(await world.cloud.poll(job, call), Finished)
    assert len(world.simulator.find_jobs(cloud="dashscope", key="a fox")) == 2


async def test_another_s_task_is_not_taken_for_ours(world: World) -> None:
    call = world.call("wan2.7-t2v", prompt="a fox")
    sent_at = datetime.fromtimestamp(world.clock.now(), UTC)
    await world.cloud.submit(world.call("wan2.7-t2v", prompt="a dog"))
    job = await world.cloud.find(call, sent_at=sent_at)
    assert job is not None
    world.clock.advance(10)
    with pytest.raises(OutcomeUnknown):
        await world.cloud.poll(job, call)


@pytest.mark.parametrize(
    ("name", "others", "later"),
    [("wan2.7-t2v", 1, 0), ("wan2.7-t2v", 0, 90)],
)
async def test_what_cannot_be_told_stays_unknown(world: World, name: str, others: int, later: float) -> None:
    call = world.call(name, prompt="a fox")
    for _ in range(others):
        await world.cloud.submit(call)
    sent_at = await lost(world, call)
    assert await world.cloud.find(call, sent_at=sent_at - timedelta(seconds=later)) is None


@pytest.mark.parametrize("name", ["wan2.6-t2i", "qwen-image-max"])
async def test_results_that_do_not_repeat_the_prompt_are_not_looked_for(world: World, name: str) -> None:
    assert not world.cloud.can_find(world.call(name, prompt="a fox"))


async def test_the_list_is_read_to_its_end(world: World) -> None:
    call = world.call("wan2.7-t2v", prompt="a fox")
    sent_at = await lost(world, call)
    world.clock.advance(100)
    for _ in range(120):
        await world.cloud.submit(world.call("wan2.7-t2v", prompt="a dog"))
    assert await world.cloud.find(call, sent_at=sent_at) is not None


async def test_too_long_a_list_tells_nothing(world: World) -> None:
    task = {"task_id": "1", "model_name": "wan2.7-t2v", "gmt_create": 0}
    cloud = answering(200, {"data": [task], "total_page": 1000})
    call = world.call("wan2.7-t2v", prompt="x")
    assert await cloud.find(call, sent_at=datetime.fromtimestamp(0, UTC)) is None


@pytest.mark.parametrize("type_", ["malformed", "hung", "connection_reset"])
async def test_whatever_ends_a_submission_early_is_unknown(world: World, type_: str) -> None:
    world.fault(type=type_, kinds=["submit"], times=1)
    with pytest.raises(OutcomeUnknown):
        await world.cloud.submit(world.call("wan2.7-t2v", prompt="x"))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_proxy_s_page_tells_nothing(world: World, status: int) -> None:
    world.fault(type="server_error", status=status, html=True)
    with pytest.raises(OutcomeUnknown):
        await world.cloud.submit(world.call("wan2.7-t2v", prompt="x"))


async def test_what_the_cloud_says_of_itself_is_believed(world: World) -> None:
    call = world.call("wan2.7-t2v", prompt="x")
    world.fault(type="server_error", status=503)
    with pytest.raises(ProviderUnavailable):
        await world.cloud.submit(call)
    world.fault(type="rate_limited", retry_after=7)
    with pytest.raises(ProviderThrottled):
        await world.cloud.submit(call)


# --------------------------------------------------------------------------------------------------- simulated cloud

CREATE = "/services/aigc/video-generation/video-synthesis"
ASYNC = {"Authorization": f"Bearer {KEY}", "X-DashScope-Async": "enable"}
SYNC = {"Authorization": f"Bearer {KEY}"}


async def raw(world: World, path: str, body: Any, headers: dict[str, str] = ASYNC) -> tuple[int, str]:
    answer = await world.http.post(f"{BASE}{path}", json=body, headers=headers)
    return answer.status_code, answer.json().get("code", "")


@pytest.mark.parametrize(
    ("change", "headers", "expected"),
    [
        ({}, SYNC, (403, "AccessDenied")),
        ({}, {}, (401, "InvalidApiKey")),
        ({"model": "wan9"}, ASYNC, (404, "ModelNotFound")),
        ({"model": "qwen-image-max"}, ASYNC, (403, "AccessDenied")),
        ({"model": "wan2.6-t2i"}, ASYNC, (400, "InvalidParameter")),
        ({"input": {}}, ASYNC, (400, "InvalidParameter")),
        ({"parameters": {"seed": -1}}, ASYNC, (400, "InvalidParameter")),
        ({"parameters": {"n": 5}}, ASYNC, (400, "InvalidParameter")),
        ({"parameters": {"duration": 99}}, ASYNC, (400, "InvalidParameter")),
        ({"input": {"prompt": "x", "audio_url": "file:///etc/passwd"}}, ASYNC, (400, "InvalidURL")),
        ({"input": {"prompt": "x", "audio_url": "oss://a/b"}}, ASYNC, (400, "InvalidURL")),
        ({"input": {"prompt": "x", "function": "video-synthesis"}, "parameters": {"is_async": True}}, ASYNC, (200, "")),
    ],
)
async def test_the_simulated_cloud_looks_closely(
    world: World, change: dict[str, Any], headers: dict[str, str], expected: tuple[int, str]
) -> None:
    body = {"model": "wan2.7-t2v", "input": {"prompt": "x"}} | change
    assert await raw(world, CREATE, body, headers) == expected


@pytest.mark.parametrize(
    ("model", "kinds", "status"),
    [
        ("wan2.7-i2v", ["first_frame", "last_frame"], 200),
        ("wan2.7-i2v", ["first_clip", "driving_audio"], 400),
        ("wan2.7-i2v", ["first_frame", "first_frame"], 400),
        ("wan2.7-r2v", ["reference_image"] * 6, 400),
        ("wan3.0-video", ["first_frame", "reference_image"], 400),
        ("wan3.0-video", ["reference_image", "reference_video"], 200),
        ("happyhorse-1.0-i2v", ["first_frame", "last_frame"], 400),
        ("happyhorse-1.0-r2v", ["reference_image"] * 10, 400),
        ("happyhorse-1.0-video-edit", ["reference_image"], 400),
        ("happyhorse-1.0-video-edit", ["video", "reference_image"], 200),
    ],
)
async def test_only_some_media_go_together(world: World, model: str, kinds: list[str], status: int) -> None:
    media = [{"type": kind, "url": "https://a"} for kind in kinds]
    body = {"model": model, "input": {"prompt": "x", "media": media}}
    assert (await raw(world, CREATE, body))[0] == status


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"function": "image_reference", "ref_images_url": ["https://a"]}, 200),
        ({"function": "image_reference"}, 400),
        ({"function": "video_repainting"}, 400),
        ({"function": "video_edit", "video_url": "https://v"}, 400),
        ({"function": "video_extension", "first_clip_url": "https://v"}, 200),
        ({"function": "video_inpainting", "video_url": "https://v"}, 400),
        ({}, 400),
    ],
)
async def test_each_function_of_the_video_editor_has_its_inputs(
    world: World, given: dict[str, Any], status: int
) -> None:
    body = {"model": "wanx2.1-vace-plus", "input": {"prompt": "x"} | given}
    assert (await raw(world, CREATE, body))[0] == status


@pytest.mark.parametrize(
    ("model", "content", "parameters"),
    [
        ("wan2.6-t2i", [{"text": "x"}, {"text": "y"}], {}),
        ("wan2.6-t2i", [{"text": "x"}, {"image": "https://a"}], {}),
        ("wan2.6-image", [{"text": "x"}], {}),
        ("wan2.6-t2i", [{"text": "x"}], {"size": "1024*1024"}),
        ("wan2.6-t2i", [{"text": "x"}], {"size": "1024x1024"}),
    ],
)
async def test_a_message_is_looked_at(world: World, model: str, content: list[Any], parameters: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": content}]
    body = {"model": model, "input": {"messages": messages}, "parameters": parameters}
    assert await raw(world, "/services/aigc/image-generation/generation", body) == (400, "InvalidParameter")


async def test_models_that_do_both_answer_at_once_elsewhere(world: World) -> None:
    messages = [{"role": "user", "content": [{"text": "x"}]}]
    body = {"model": "wan2.6-t2i", "input": {"messages": messages}, "parameters": {"n": 2}}
    answer = await world.http.post(f"{BASE}/services/aigc/multimodal-generation/generation", json=body, headers=SYNC)
    assert len(answer.json()["output"]["choices"]) == 2
    assert "task_id" not in answer.json()["output"]


async def test_the_list_of_tasks(world: World) -> None:
    for prompt in ("a", "b", "c"):
        await world.cloud.submit(world.call("wan2.7-t2v", prompt=prompt))
    await world.cloud.submit(world.call("qwen-image-max", prompt="no task"))

    async def listed(path: str = "/tasks/", **query: Any) -> Any:
        return (await world.http.get(f"{BASE}{path}", params=query, headers=SYNC)).json()

    first = await listed(page_size=2)
    assert (first["total"], first["total_page"], len(first["data"])) == (3, 2, 2)
    assert len((await listed("/tasks", page_no=2, page_size=2))["data"]) == 1
    assert (await listed(status="PENDING", model_name="wan2.6-t2v"))["total"] == 0
    assert (await listed(task_id=first["data"][0]["task_id"]))["total"] == 1
    assert (await listed(start_time="20200101000000"))["code"] == "InvalidParameter"
    assert (await listed(start_time="yesterday"))["code"] == "InvalidParameter"
    assert (await listed(page_no="none"))["code"] == "InvalidParameter"
    world.clock.advance(25 * 3600)
    assert (await listed())["total"] == 0


async def test_times_are_those_of_beijing(world: World) -> None:
    job = await world.cloud.submit(world.call("wan2.7-t2v", prompt="x"))
    assert isinstance(job, Job)
    world.clock.advance(10)
    output = (await world.http.get(f"{BASE}/tasks/{job.id}", headers=SYNC)).json()["output"]
    submitted = datetime.strptime(output["submit_time"] + "+0800", "%Y-%m-%d %H:%M:%S.%f%z")
    assert submitted.timestamp() == pytest.approx(world.simulator.find_jobs()[0].created_at, abs=0.01)
    assert output["submit_time"] < output["scheduled_time"] < output["end_time"]


async def test_a_task_that_does_not_exist(world: World) -> None:
    answer = await world.http.get(f"{BASE}/tasks/none", headers=SYNC)
    assert (answer.status_code, answer.json()["output"]["task_status"]) == (200, "UNKNOWN")
    answer = await world.http.post(f"{BASE}/tasks/none/cancel", headers=SYNC)
    assert (answer.status_code, answer.json()["code"]) == (400, "UnsupportedOperation")
    answer = await world.http.get(f"{BASE}/nothing", headers=SYNC)
    assert (answer.status_code, answer.json()["code"]) == (404, "NotFound")


async def test_the_storage_takes_only_what_was_granted(world: World) -> None:
    assert (await world.http.get(f"{BASE}/uploads", headers=SYNC)).json()["code"] == "InvalidParameter"
    refused = await world.http.post("http://sim/dashscope/oss", data={"policy": "mine"}, files={"file": b"x"})
    assert refused.status_code == 403
