"""Baidu Cloud: its client against the simulated one, every model of the catalogue, every error, and what is sent."""

from __future__ import annotations

import asyncio
import base64
import io
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image
from pydantic import SecretStr

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
from genpulse.planning.inputs import check_input
from genpulse.providers.baidu import Baidu
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Pending
from genpulse.providers.signatures import BaiduSigner
from genpulse.schemas.catalog import ModelSpec, Size
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.settings import ProviderSettings
from genpulse.simulator.clouds.baidu import Baidu as Simulated
from genpulse.simulator.clouds.baidu.signature import access_token
from genpulse.simulator.credentials import BAIDU
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, always, operations_of, simulated, world_of

world = world_of(Simulated, Baidu)
call = Calls("baidu")
SPECS = {name: spec for name, spec in call.specs.items() if spec.retires_at is None}
ALL = operations_of(SPECS.values())
TEXT, FRAMES = Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO
#: One of each interface.
PICTURE, MUSE, K, OMNI, V = "qwen-image", "musesteamer-air-i2v", "k2.6", "ko1", "vq3-pro"
VOD = "vod-vq2"
LARGER, BASIC, ADVANCED, EXTREME = "image-quality-enhance", "painting-basic", "painting-advanced", "painting-extreme"
TASKS = [MUSE, K, OMNI, V, VOD, BASIC, ADVANCED, EXTREME]
AT_ONCE = [PICTURE, LARGER]
PICTURE_URL = "https://files.example/input.png"
VALUES: dict[str, Any] = {"prompt": "a fox", "negative_prompt": "a hen", "seed": 7, "count": 2, "scale": 2}


def filled(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are, each at its most."""
    specified = spec.operations[operation]
    fields = {name: field for name, field in specified.fields.items() if field.required or every}
    kinds = ("image", "images", "video")
    media = {name: [files[MEDIA_FIELDS[name]]] for name, field in fields.items() if field.type in kinds}
    if spec.wire["product"] in ("vod", "omni"):
        media = {name: [replace(one, url=PICTURE_URL) for one in many] for name, many in media.items()}
    given: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in media and name not in ("width", "height", "aspect_ratio", "resolution"):
            given[name] = True if field.type == "boolean" else VALUES.get(name, field.maximum)
    if specified.sizes and every:
        given["width"], given["height"] = (specified.sizes.sizes or (Size(2048, 512),))[-1]
    for name in ("aspect_ratio", "resolution"):
        if name in fields and not specified.sizes:
            given[name] = fields[name].enum[-1] if fields[name].enum else "720p"
    return call(spec.name, operation, media, **given, options={"option": 50} if spec.name == "denoise" else {})


def least(model: str, files: Files, operation: Operation | None = None) -> ModelCall:
    return filled(SPECS[model], operation or next(iter(SPECS[model].operations)), files, every=False)


def path_of(world: World[Baidu], kind: Kind = Kind.SUBMIT) -> str:
    return world.simulator.record.find(cloud="baidu", kind=kind)[-1].path.removeprefix("/baidu")


async def started(account: Baidu, asked: ModelCall) -> Job:
    job = await account.submit(asked)
    assert isinstance(job, Job)
    return job


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Baidu], files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    asked = filled(spec, operation, files, every=every)
    check_input({**asked.input, **dict.fromkeys(asked.media, ())}, spec, operation, "input")
    state = await world.made(asked)
    assert len(state.outputs) == (2 if every and "count" in spec.operations[operation].fields else 1)
    for output in state.outputs:
        if output.url is None:
            assert (output.content or b"").startswith(b"\xff\xd8")
        else:
            kind = (await world.http.get(output.url)).headers["Content-Type"]
            assert kind.startswith(str(spec.operations[operation].output))


@pytest.mark.parametrize(
    "spec",
    [spec for spec in SPECS.values() if any(one.sizes for one in spec.operations.values())],
    ids=lambda s: s.name,
)
async def test_every_size_is_made(world: World[Baidu], files: Files, spec: ModelSpec) -> None:
    for operation, specified in spec.operations.items():
        assert specified.sizes is not None
        for width, height in specified.sizes.sizes or (Size(512, 512), Size(2048, 2048)):
            await world.made(
                replace(least(spec.name, files, operation), input={"prompt": "x", "width": width, "height": height})
            )
            (media,) = world.simulator.find_jobs()[-1].media
            assert (media.width, media.height) == (width, height)


def test_what_the_router_may_choose() -> None:
    chosen = {spec.name for spec in SPECS.values() if not spec.hidden}
    assert chosen == {
        *("qwen-image", "qwen-image-edit", "musesteamer-air-image"),
        *("musesteamer-2.1-turbo-i2v", "musesteamer-2.1-lite-i2v", "musesteamer-2.0-turbo-i2v-audio"),
        *("musesteamer-2.0-pro-i2v", "musesteamer-air-i2v"),
        *("k3.0", "k2.6", "k2.5-turbo", "k2.1-master", "k2.1", "k2.0", "k1.6", "k1"),
        *("ko1", "vq3-pro", "vq3-turbo", "qianfan-video", "image-quality-enhance"),
    }


def test_what_has_retired_names_its_successor() -> None:
    retired = {name: spec for name, spec in call.specs.items() if spec.retires_at}
    assert retired["ernie-image-turbo"].successor == "baidu/musesteamer-air-image"


# What is sent ---------------------------------------------------------------------------------------------------------


async def test_a_picture_from_text(world: World[Baidu]) -> None:
    given: dict[str, Any] = {"prompt": "a fox", "negative_prompt": "a hen", "width": 1280, "height": 720, "steps": 9}
    await world.made(call(PICTURE, **given, seed=7, guidance=4.5, options={"prompt_extend": False}))
    assert path_of(world) == "/v2/images/generations"
    assert world.sent() == {
        "model": "qwen-image",
        "prompt": "a fox",
        "negative_prompt": "a hen",
        "size": "1280x720",
        "steps": 9,
        "seed": 7,
        "guidance": 4.5,
        "prompt_extend": False,
    }


async def test_pictures_are_edited_as_json(world: World[Baidu], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    await world.made(call("qwen-image-edit", None, {"image": [picture]}, prompt="at night"))
    assert (path_of(world), world.sent()) == (
        "/v2/images/edits",
        {"model": "qwen-image-edit", "prompt": "at night", "image": picture.data_url()},
    )
    others = [replace(picture, url=PICTURE_URL)] * 2
    await world.made(call("qwen-image-edit", None, {"reference_images": others, "image": [picture]}, prompt="x"))
    assert world.sent()["image"] == [picture.data_url(), PICTURE_URL, PICTURE_URL]


async def test_a_picture_of_the_air_model_as_base64(world: World[Baidu]) -> None:
    state = await world.made(call("musesteamer-air-image", prompt="a fox", options={"response_format": "b64_json"}))
    assert path_of(world) == "/v2/musesteamer/images/generations"
    assert (state.outputs[0].content or b"").startswith(b"\x89PNG")


async def test_a_video_from_a_picture(world: World[Baidu], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    asked = call("musesteamer-2.0-turbo-i2v-audio", None, {"image": [picture]}, prompt="it runs", duration=10.0)
    state = await world.made(replace(asked, options={"watermark": True}))
    content = [
        {"type": "text", "text": "it runs"},
        {"type": "image_url", "image_url": {"url": picture.data_url()}},
    ]
    sent = {"model": "musesteamer-2.0-turbo-i2v-audio", "content": content, "duration": 10, "watermark": True}
    assert (path_of(world), world.sent()) == ("/video/generations", sent)
    assert state.parameters == {"duration": 10, "width": 1280, "height": 720}
    await world.made(replace(asked, input={}))
    assert world.sent()["content"] == content[1:]


async def test_a_video_of_the_k_series(world: World[Baidu], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    asked = call(
        K,
        FRAMES,
        {"image": [picture], "last_image": [replace(picture, url=PICTURE_URL)]},
        prompt="a fox",
        negative_prompt="a hen",
        duration=10.0,
        resolution="1080p",
        guidance=0.7,
        audio=True,
        options={"model_parameters": {"aspect_ratio": "1:1"}},
    )
    state = await world.made(asked)
    assert world.sent() == {
        "model": "K2.6",
        "type": "img2video",
        "model_parameters": {
            "prompt": "a fox",
            "negative_prompt": "a hen",
            "image": picture.base64(),
            "image_tail": PICTURE_URL,
            "duration": "10",
            "mode": "pro",
            "cfg_scale": 0.7,
            "sound": "on",
            "aspect_ratio": "1:1",
        },
    }
    assert state.usage == {"credits": 3.5}
    await world.made(call(K, TEXT, prompt="a fox", audio=False, aspect_ratio="9:16", resolution="720p"))
    parameters = {"prompt": "a fox", "sound": "off", "aspect_ratio": "9:16", "mode": "std"}
    assert world.sent() == {"model": "K2.6", "type": "text2video", "model_parameters": parameters}


async def test_a_video_of_the_v_series(world: World[Baidu], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    given: dict[str, Any] = {"prompt": "a fox", "duration": 16.0, "resolution": "540p", "seed": 7, "audio": False}
    state = await world.made(call(V, None, {"image": [picture]}, **given))
    parameters = given | {"images": [picture.data_url()], "duration": 16}
    assert world.sent() == {"model": "VQ3-Pro", "type": "img2video", "model_parameters": parameters}
    assert state.usage == {"credits": 40}


async def test_a_video_of_the_model_that_takes_everything(world: World[Baidu], files: Files) -> None:
    def named(name: str) -> list[Media]:
        return [replace(files[MediaKind.IMAGE], url=f"https://files.example/{name}.png")]

    frames = {"reference_images": named("c"), "last_image": named("b"), "image": named("a")}
    await world.made(call(OMNI, FRAMES, frames, prompt="a fox", duration=10.0, resolution="720p"))
    pictures = [
        {"image_url": "https://files.example/a.png", "type": "first_frame"},
        {"image_url": "https://files.example/b.png", "type": "end_frame"},
        {"image_url": "https://files.example/c.png"},
    ]
    parameters: dict[str, Any] = {"prompt": "a fox", "image_list": pictures, "duration": "10", "mode": "std"}
    assert world.sent() == {"model": "KO1", "type": "omni-video", "model_parameters": parameters}
    clip = {"video": [files[MediaKind.VIDEO]]}
    await world.made(call(OMNI, Operation.VIDEO_TO_VIDEO, clip, prompt="at night", aspect_ratio="1:1"))
    videos = [{"video_url": "https://files.example/input.mp4", "refer_type": "base"}]
    parameters = {"prompt": "at night", "video_list": videos, "aspect_ratio": "1:1"}
    assert world.sent() == {"model": "KO1", "type": "omni-video", "model_parameters": parameters}


async def test_the_model_is_named_when_a_task_is_asked_for(world: World[Baidu]) -> None:
    asked = call("k2.5-turbo", TEXT, prompt="a fox", options={"model": "K2.6"})
    job = await started(world.account(), asked)
    assert job.handle["model"] == "K2.6"
    assert isinstance(await world.account().poll(job, asked), Finished)
    query = world.simulator.record.find(kind=Kind.POLL)[-1].query
    assert query == {"task_id": job.id, "model": "K2.6"}


async def test_a_video_by_way_of_vod(world: World[Baidu], files: Files) -> None:
    state = await world.made(call(VOD, TEXT, prompt="a fox", duration=8.0, resolution="1080p"))
    asked = {"prompt": "a fox", "duration": 8, "resolution": "1080p"}
    assert (path_of(world), world.sent()) == ("/v2/aigc/text_to_video", {"model": "VQ2", "modelVQ2TaskInput": asked})
    assert state.parameters == {"duration": 8, "width": 1280, "height": 720}
    picture = replace(files[MediaKind.IMAGE], url=PICTURE_URL)
    options = {"model": "K26", "modelK26TaskInput": {"aspectRatio": "1:1"}}
    await world.made(call(VOD, FRAMES, {"image": [picture]}, prompt="a fox", options=options))
    asked = {"prompt": "a fox", "image": {"imageUrl": PICTURE_URL}, "aspectRatio": "1:1"}
    assert (path_of(world), world.sent()) == ("/v2/aigc/image_to_video", {"model": "K26", "modelK26TaskInput": asked})


@pytest.mark.parametrize("model", [VOD, OMNI])
async def test_some_need_an_address(world: World[Baidu], files: Files, model: str) -> None:
    error = await world.refused(call(model, FRAMES, {"image": [files[MediaKind.IMAGE]]}, prompt="a fox"))
    assert (type(error), error.field, "URL" in error.message) == (InvalidInput, "input.image", True)
    assert SPECS[model].operations[FRAMES].images["image"].by_url_only


async def test_a_picture_is_enlarged(world: World[Baidu], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    world.simulator.change(world.simulator.settings.model_copy(update={"exact_media": True}))
    state = await world.made(call(LARGER, None, {"image": [picture]}, scale=2))
    entry = world.simulator.record.find(kind=Kind.SUBMIT)[-1]
    assert entry.path == "/baidu/rest/2.0/image-process/v1/image_quality_enhance"
    assert entry.headers["content-type"] == "application/x-www-form-urlencoded"
    assert world.simulator.find_jobs()[-1].body == {"image": picture.base64()}
    with Image.open(io.BytesIO(state.outputs[0].content or b"")) as made, Image.open(picture.path) as given:
        assert made.size == (given.width * 2, given.height * 2)
    await world.made(call("denoise", None, {"image": [replace(picture, url=PICTURE_URL)]}, options={"option": 50}))
    assert world.simulator.find_jobs()[-1].body == {"url": PICTURE_URL, "option": "50"}


async def test_a_basic_painting(world: World[Baidu]) -> None:
    await world.made(call(BASIC, prompt="a fox", width=640, height=360, count=6, options={"style": "写实风格"}))
    assert path_of(world) == "/rpc/2.0/wenxin/v1/basic/textToImage"
    assert world.sent() == {"text": "a fox", "resolution": "640*360", "num": 6, "style": "写实风格"}
    assert (path_of(world, Kind.POLL), set(world.sent(Kind.POLL))) == ("/rpc/2.0/wenxin/v1/basic/getImg", {"taskId"})
    await world.made(call(BASIC, prompt="a fox"))
    assert world.sent() == {"text": "a fox", "resolution": "1024*1024"}


@pytest.mark.parametrize(
    ("model", "submit", "query"),
    [
        (ADVANCED, "/rpc/2.0/ernievilg/v1/txt2imgv2", "/rpc/2.0/ernievilg/v1/getImgv2"),
        (EXTREME, "/rpc/2.0/wenxin/v1/extreme/textToImage", "/rpc/2.0/wenxin/v1/extreme/getImg"),
    ],
)
async def test_a_painting(world: World[Baidu], files: Files, model: str, submit: str, query: str) -> None:
    state = await world.made(call(model, prompt="a fox", width=3840, height=2160, count=8))
    assert world.sent() == {"prompt": "a fox", "width": 3840, "height": 2160, "image_num": 8}
    assert (path_of(world), path_of(world, Kind.POLL)) == (submit, query)
    assert (len(state.outputs), state.parameters) == (8, {"width": 3840, "height": 2160})
    picture = files[MediaKind.IMAGE]
    edit = call(model, Operation.IMAGE_TO_IMAGE, {"image": [picture]}, prompt="a fox", options={"change_degree": 3})
    await world.made(edit)
    usual = {"prompt": "a fox", "width": 1024, "height": 1024, "change_degree": 3}
    assert world.sent() == usual | {"image": picture.base64()}
    await world.made(replace(edit, media={"image": [replace(picture, url=PICTURE_URL)]}))
    assert world.sent() == usual | {"url": PICTURE_URL}


@pytest.mark.parametrize(("model", "operation"), [("musesteamer-2.0-turbo-i2v-audio", FRAMES), (K, TEXT)])
async def test_lengths_are_five_or_ten(world: World[Baidu], files: Files, model: str, operation: Operation) -> None:
    asked = least(model, files, operation)
    error = await world.refused(replace(asked, input={**asked.input, "duration": 7.0}))
    assert (type(error), error.field, "5 or 10" in error.message) == (InvalidInput, "input.duration", True)
    assert world.simulator.record.find() == []


@pytest.mark.parametrize("model", [MUSE, V, LARGER])
async def test_a_picture_cannot_be_left_out(world: World[Baidu], model: str) -> None:
    error = await world.refused(call(model, prompt="a fox"))
    assert (type(error), error.field) == (InvalidInput, "input.image")
    assert world.simulator.record.find() == []


async def test_options_reach_the_model_of_effects(world: World[Baidu], files: Files) -> None:
    asked = least("musesteamer-2.0-turbo-i2v-effect", files)
    assert (await world.made(replace(asked, options={"effect": "squeeze"}))).outputs
    assert world.sent()["effect"] == "squeeze"


# Who asks -------------------------------------------------------------------------------------------------------------

APPLICATION = {"app_key": "sim-app-key", "app_secret": "sim-app-secret"}


@pytest.mark.parametrize(
    ("model", "without", "named"),
    [
        *((model, {"api_key"}, "api_key") for model in (PICTURE, MUSE, K, V)),
        (VOD, {"access_key"}, "access_key and secret_key"),
        *((model, {"secret_key", "options"}, "app_key") for model in (LARGER, BASIC, ADVANCED)),
    ],
)
async def test_each_platform_needs_its_own(
    world: World[Baidu], files: Files, model: str, without: set[str], named: str
) -> None:
    known = {name: value for name, value in asdict(BAIDU).items() if value and name not in without}
    error = await world.refused(least(model, files), world.account(**known))
    assert type(error) is ProviderAuthFailed
    assert named in error.message
    assert world.simulator.record.find() == []


@pytest.mark.parametrize("model", [LARGER, ADVANCED])
async def test_a_pair_is_enough_for_the_open_platform(world: World[Baidu], files: Files, model: str) -> None:
    account = world.account(access_key=BAIDU.access_key, secret_key=BAIDU.secret_key)
    assert (await world.made(least(model, files), account)).outputs
    entries = world.simulator.record.find()
    assert not [entry for entry in entries if "token" in entry.path or entry.query]
    assert all("authorization" in entry.headers for entry in entries)


async def test_an_application_is_enough_for_the_open_platform(world: World[Baidu], files: Files) -> None:
    account = world.account(options=APPLICATION)
    await world.made(least(ADVANCED, files), account)
    await world.made(least(LARGER, files), account)
    paths = [entry.path for entry in world.simulator.record.find()]
    assert paths.count("/baidu/oauth/2.0/token") == 1, "the token is kept"
    assert not any("authorization" in entry.headers for entry in world.simulator.record.find())


async def test_an_expired_token_is_replaced_once(world: World[Baidu], files: Files) -> None:
    account = world.account(options=APPLICATION)
    await world.made(least(LARGER, files), account)
    world.clock.advance(31 * 24 * 3600)
    assert (await world.made(least(LARGER, files), account)).outputs
    paths = [entry.path.rpartition("/")[2] for entry in world.simulator.record.find()]
    assert paths == ["token", "image_quality_enhance", "image_quality_enhance", "token", "image_quality_enhance"]
    assert len(world.simulator.find_jobs()) == 2


@pytest.mark.parametrize("code", [100, 110, 111])
async def test_a_token_that_is_refused_again_is_the_end(code: int) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path.startswith("/oauth"):
            return httpx.Response(200, json={"access_token": f"24.{len(asked)}"})
        return httpx.Response(200, json={"error_code": code, "error_msg": "Access token invalid"})

    account = Baidu("http://x", Credentials(options=APPLICATION), _client(answer))
    with pytest.raises(ProviderAuthFailed):
        await account.submit(call(ADVANCED, prompt="a fox"))
    assert [path[:6] for path in asked] == ["/oauth", "/rpc/2", "/oauth", "/rpc/2"]


async def test_only_a_stale_token_is_replaced() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"access_token": "24.x"} if len(asked) == 1 else {"error_code": 6})

    with pytest.raises(ProviderAuthFailed):
        await Baidu("http://x", Credentials(options=APPLICATION), _client(answer)).submit(call(BASIC, prompt="a fox"))
    assert len(asked) == 2


async def test_many_calls_ask_for_one_token(world: World[Baidu]) -> None:
    account = world.account(options=APPLICATION)
    await asyncio.gather(*(account.submit(call(ADVANCED, prompt="a fox")) for _ in range(5)))
    tokens = [entry for entry in world.simulator.record.find() if entry.path.endswith("/token")]
    assert len(tokens) == 1


def test_the_secret_of_an_application_is_not_shown() -> None:
    assert "sim-app-secret" not in repr(Credentials(options=APPLICATION))
    assert "sim-app-secret" not in repr(ProviderSettings.model_validate({"options": APPLICATION}))


@pytest.mark.parametrize("wrong", [{"app_key": "x"}, {"app_secret": "x"}])
async def test_a_wrong_application(world: World[Baidu], files: Files, wrong: dict[str, str]) -> None:
    error = await world.refused(least(LARGER, files), world.account(options=APPLICATION | wrong))
    assert (type(error), "invalid_client" in error.message) == (ProviderAuthFailed, True)


@pytest.mark.parametrize("model", [PICTURE, MUSE, VOD, ADVANCED])
@pytest.mark.parametrize("name", ["api_key", "access_key", "secret_key"])
async def test_wrong_keys(world: World[Baidu], files: Files, model: str, name: str) -> None:
    known = {one: getattr(BAIDU, one) for one in ("api_key", "access_key", "secret_key")} | {name: "wrong"}
    matters = (name == "api_key") is (model in (PICTURE, MUSE))
    try:
        await world.made(least(model, files), world.account(**known))
    except ProviderAuthFailed:
        assert matters
    else:
        assert not matters


async def test_a_token_is_lost_before_anything_is_sent(world: World[Baidu], files: Files) -> None:
    world.fault(type="lost_answer", kinds=["other"])
    error = await world.refused(least(ADVANCED, files), world.account(options=APPLICATION))
    assert type(error) is ProviderUnavailable


@pytest.mark.parametrize(
    ("base_url", "hosts"),
    [
        ("", ["qianfan.baidubce.com", "vod.bj.baidubce.com", "aip.baidubce.com"]),
        ("https://qianfan.baidubce.com/", ["qianfan.baidubce.com", "vod.bj.baidubce.com", "aip.baidubce.com"]),
        ("https://gateway.example/b", ["gateway.example"] * 3),
    ],
)
async def test_each_platform_has_a_host(files: Files, base_url: str, hosts: list[str]) -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(500)

    account = Baidu(base_url, Credentials(api_key="x", access_key="a", secret_key="s"), _client(answer))
    for model in (PICTURE, VOD, ADVANCED):
        with pytest.raises(OutcomeUnknown):
            await account.submit(least(model, files))
    assert [url.host for url in asked] == hosts
    assert all(url.path.startswith("/b/") is base_url.endswith("/b") for url in asked)


# Errors ---------------------------------------------------------------------------------------------------------------


def _client(answer: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> Baidu:
    return Baidu("", Credentials(api_key="x", access_key="a", secret_key="s"), always(status, body, headers))


async def refusal(account: Baidu, model: str = PICTURE) -> GenPulseError:
    with pytest.raises(GenPulseError) as error:
        await account.submit(call(model, prompt="a fox"))
    return error.value


QIANFAN: list[tuple[int, str, str, type[GenPulseError]]] = [
    *((400, "invalid_request_error", code, ProviderRejected) for code in (
        *("malformed_json", "invalid_model", "invalid_messages", "characters_too_long", "tokens_too_long"),
        *("invalid_argument", "invalid_image_genration_prompt", "invalid_image_genration_refer_image"),
        *("invalid_image_url", "invalid_plugin_argument", "invalid_video_generation_argument"),
        "invalid_video_genration_argument",
    )),
    (400, "unsafe_request", "image_url_unsafe", ContentBlocked),
    (401, "access_denied", "no_parameter_permission", ProviderAuthFailed),
    *((401, "invalid_request_error", code, ProviderAuthFailed) for code in (
        *("invalid_model", "invalid_appid", "invalid_iam_token"),
    )),
    *((403, "unsafe_request", code, ContentBlocked) for code in (
        *("system_unsafe", "user_setting_unsafe", "functions_unsafe", "video_generation_prompt_unsafe"),
        *("video_generation_output_unsafe", "video_genration_prompt_unsafe"),
    )),
    (405, "method_not_supported", "method_not_supported", ProviderRejected),
    *((429, "rate_limit_exceeded", code, ProviderThrottled) for code in (
        *("rpm_rate_limit_exceeded", "tpm_rate_limit_exceeded", "input_tpm_rate_limit_exceeded"),
        *("output_tpm_rate_limit_exceeded", "preemptible_rate_limit_exceeded", "user_rate_limit_exceeded"),
        *("cluster_rate_limit_exceeded", "cluster_rpm_rate_limit_exceeded", "cluster_tpm_rate_limit_exceeded"),
        *("video_generation_concurrency_exceeded", "video_genration_concurrency_exceeded"),
    )),
    *((500, "internal_error", code, ProviderUnavailable) for code in (
        *("internal_error", "dispatch_internal_error", "image_genration_interal_error"),
        *("video_generation_internal_error", "video_genration_interal_error"),
    )),
    (501, "internal_error", "video_generation_risk_system_error", ProviderUnavailable),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind", "code", "error"), QIANFAN)
async def test_a_refusal_of_qianfan(status: int, kind: str, code: str, error: type[GenPulseError]) -> None:
    """By its code; without a known one by its type; without either by the status."""
    for told in ({"code": code, "type": kind}, {"code": code}, {"code": "something_new", "type": kind}):
        found = await refusal(answering(status, {"error": told | {"message": "no"}, "id": "as-1"}))
        assert type(found) is error
        assert f"no ({told['code']})" in found.message


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": {"code": "new", "message": "no"}}, ProviderRejected),
        (402, {"error": {"code": "new"}}, ProviderQuotaSpent),
        (429, {"error": "no"}, ProviderThrottled),
        (500, {"error": {"code": "new"}}, OutcomeUnknown),
        (502, "<html>", OutcomeUnknown),
        (200, {"id": "as-1"}, OutcomeUnknown),
        (200, [], OutcomeUnknown),
    ],
)
async def test_an_answer_that_is_not_known(status: int, body: object, error: type[GenPulseError]) -> None:
    assert type(await refusal(answering(status, body))) is error


async def test_a_task_without_an_id(files: Files) -> None:
    for model, told in (
        (MUSE, {"id": "as-1"}),
        (V, {"log_id": "1", "status": "created"}),
        (K, {"code": 0, "data": {}}),
    ):
        with pytest.raises(OutcomeUnknown):
            await answering(200, told).submit(least(model, files))


async def test_when_to_come_back() -> None:
    full = {"error": {"code": "video_genration_concurrency_exceeded", "type": "rate_limit_exceeded", "message": ""}}
    assert (await refusal(answering(429, full))).details["retry_after"] == 30
    assert (await refusal(answering(429, full, {"Retry-After": "7"}))).details["retry_after"] == 7
    fast = {"error": {"code": "rpm_rate_limit_exceeded", "type": "rate_limit_exceeded"}}
    assert (await refusal(answering(429, fast))).details["retry_after"] is None
    busy = {"error_code": 18, "error_msg": "Open api qps request limit reached"}
    assert (await refusal(answering(200, busy, {"Retry-After": "7"}), ADVANCED)).details["retry_after"] == 7
    assert (await refusal(answering(200, {"code": 1303, "message": "full"}), K)).details["retry_after"] == 30


@pytest.mark.parametrize(
    ("code", "error"),
    [
        *((code, ProviderRejected) for code in (1200, 1201, 1202, 1203, 1999)),
        (1301, ContentBlocked),
        (1302, ProviderThrottled),
        (1303, ProviderThrottled),
        *((code, ProviderUnavailable) for code in (5000, 5001, 5002)),
    ],
)
async def test_a_refusal_of_a_vendor(code: int, error: type[GenPulseError]) -> None:
    for status in (200, 400):
        assert type(await refusal(answering(status, {"code": code, "message": "no"}), K)) is error
    told = {"error": {"code": "system_unsafe", "message": "no"}}
    assert type(await refusal(answering(403, told), K)) is ContentBlocked


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        *((403, code, ProviderAuthFailed) for code in ("AccessDenied", "InvalidAccessKeyId", "OptInRequired")),
        *((400, code, ProviderAuthFailed) for code in ("InvalidHTTPAuthHeader", "SignatureDoesNotMatch")),
        (400, "RequestExpired", ProviderAuthFailed),
        (400, "InappropriateJSON", ProviderRejected),
        (429, "Whatever", ProviderThrottled),
        (500, "InternalError", ProviderUnavailable),
        (500, "Whatever", OutcomeUnknown),
    ],
)
async def test_a_refusal_of_vod(status: int, code: str, error: type[GenPulseError]) -> None:
    assert type(await refusal(answering(status, {"code": code, "message": "no", "requestId": "1"}), VOD)) is error


PLATFORM: list[tuple[int, type[GenPulseError]]] = [
    *((code, ProviderUnavailable) for code in (1, 2)),
    *((code, ProviderThrottled) for code in (4, 18, 216401)),
    *((code, ProviderQuotaSpent) for code in (17, 19, 282352)),
    *((code, ProviderAuthFailed) for code in (6, 13, 14, 15, 100, 110, 111)),
    *((code, ProviderRejected) for code in (216100, 216200, 216201, 216202, 282003, 282004, 336000)),
    *((code, ProviderFailed) for code in (216303, 216630, 282000)),
]


@pytest.mark.parametrize(("code", "error"), PLATFORM)
@pytest.mark.parametrize("model", [LARGER, BASIC, ADVANCED])
async def test_a_refusal_of_the_open_platform(files: Files, model: str, code: int, error: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError) as found:
        await answering(200, {"error_code": code, "error_msg": "no", "log_id": 1}).submit(least(model, files))
    assert type(found.value) is error
    assert f"no ({code})" in found.value.message


@pytest.mark.parametrize("code", [282003, 282004])
async def test_sensitive_words_are_named(code: int) -> None:
    detail = [{"msg": "sensitive", "words": ["fox", "hen"]}]
    error = await refusal(answering(200, {"error_code": code, "error_msg": "no", "error_detail": detail}), ADVANCED)
    assert (type(error), "sensitive fox, hen" in error.message) == (ContentBlocked, True)


@pytest.mark.parametrize("model", [*TASKS, *AT_ONCE])
async def test_a_lost_answer_stays_unknown(world: World[Baidu], files: Files, model: str) -> None:
    asked, account = least(model, files), world.account()
    world.fault(type="lost_answer")
    assert type(await world.refused(asked, account)) is OutcomeUnknown
    world.fault(type="malformed", kinds=["submit"])
    assert type(await world.refused(asked, account)) is OutcomeUnknown
    assert not account.can_find(asked)
    assert not account.remembers_key(asked)
    assert len(world.simulator.find_jobs()) == 2


# Tasks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", TASKS)
async def test_the_states_of_a_task(files: Files, model: str) -> None:
    async with simulated(Simulated, Baidu, seconds=8) as world:
        account, asked = world.account(), least(model, files)
        job = await started(account, asked)
        for _ in range(2):
            assert isinstance(await account.poll(job, asked), Pending)
            world.clock.advance(3)
        world.clock.advance(3)
        assert isinstance(await account.poll(job, asked), Finished)


async def test_a_painting_tells_how_far_it_is(files: Files) -> None:
    async with simulated(Simulated, Baidu, seconds=8) as world:
        account, asked = world.account(), least(ADVANCED, files)
        job = await started(account, asked)
        assert await account.poll(job, asked) == Pending()
        world.clock.advance(4)
        assert await account.poll(job, asked) == Pending(fraction=0.5)


@pytest.mark.parametrize("model", [*TASKS, *AT_ONCE])
async def test_a_failure(world: World[Baidu], files: Files, model: str) -> None:
    told = {MUSE, BASIC, ADVANCED, EXTREME, PICTURE, LARGER}  # the others have no word for why
    world.fault(type="fails", code="content")
    assert type(await world.refused(least(model, files))) is (ContentBlocked if model in told else ProviderFailed)
    world.fault(type="fails")
    internal = ProviderUnavailable if model == PICTURE else ProviderFailed
    assert type(await world.refused(least(model, files))) is internal


@pytest.mark.parametrize("model", [*TASKS, *AT_ONCE])
async def test_nothing_was_made(world: World[Baidu], files: Files, model: str) -> None:
    world.fault(type="no_outputs")
    assert list((await world.made(least(model, files))).outputs) == []


@pytest.mark.parametrize("model", TASKS)
async def test_a_task_that_is_not_known(world: World[Baidu], files: Files, model: str) -> None:
    with pytest.raises(JobMissing):
        await world.account().poll(
            Job(id="404", handle={"model": str(SPECS[model].wire.get("model"))}), least(model, files)
        )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, ProviderFailed),
        ({"code": "video_genration_prompt_unsafe", "message": "no"}, ContentBlocked),
        ({"code": "invalid_image_url", "message": "no"}, ProviderRejected),
        ({"code": "video_generation_concurrency_exceeded"}, ProviderFailed),
        ({"code": 7}, ProviderFailed),
    ],
)
async def test_why_a_video_failed(files: Files, error: object, kind: type[GenPulseError]) -> None:
    told = {"id": "as-1", "task_id": "1", "status": "failed", "error": error}
    with pytest.raises(GenPulseError) as found:
        await answering(200, told).poll(Job(id="1"), least(MUSE, files))
    assert type(found.value) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [(282004, ContentBlocked), (216201, ProviderFailed), (216303, ProviderFailed), (0, ProviderFailed)],
)
async def test_why_a_painting_failed(files: Files, code: int, kind: type[GenPulseError]) -> None:
    data = {
        "task_status": "FAILED",
        "sub_task_result_list": [{"sub_task_error_code": 0}, {"sub_task_error_code": code}],
    }
    with pytest.raises(GenPulseError) as found:
        await answering(200, {"data": data}).poll(Job(id="1"), least(ADVANCED, files))
    assert type(found.value) is kind


async def test_only_pictures_that_passed_are_kept(files: Files) -> None:
    words = {"1": "pass", "2": "block", "3": "review"}
    shown = [{"img_url": f"https://x/{name}", "img_approve_conclusion": word} for name, word in words.items()]
    shown.append({"img_url": "https://x/4"})
    data = {"task_status": "SUCCESS", "sub_task_result_list": [{"final_image_list": [one]} for one in shown]}
    state = await answering(200, {"data": data}).poll(Job(id="1"), least(EXTREME, files))
    assert isinstance(state, Finished)
    assert [output.url for output in state.outputs] == ["https://x/1", "https://x/4"]


async def test_a_basic_painting_with_one_picture_alone(files: Files) -> None:
    told = {"data": {"taskId": 1, "status": 1, "img": "https://x/1", "imgUrls": None}}
    state = await answering(200, told).poll(Job(id="1"), least(BASIC, files))
    assert isinstance(state, Finished)
    assert [output.url for output in state.outputs] == ["https://x/1"]


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({"status": "FINISHED", "videoGenerateTaskInfo": {"status": "success"}}, Finished),
        ({"status": "SUCCESS"}, Finished),
        ({"status": "RUNNING"}, Pending),
        ({"status": "FINISHED", "videoGenerateTaskInfo": {"status": "FAILED", "errMsg": "no"}}, ProviderFailed),
        ({"status": "FAILED"}, ProviderFailed),
    ],
)
async def test_how_vod_tells_that_a_task_has_ended(files: Files, told: object, state: type) -> None:
    try:
        found: object = await answering(200, told).poll(Job(id="1"), least(VOD, files))
    except ProviderFailed as error:
        found = error
    assert type(found) is state


async def test_only_what_waits_is_cancelled(files: Files) -> None:
    async with simulated(Simulated, Baidu, seconds=8) as world:
        account, asked = world.account(), least(MUSE, files)
        waiting, begun = await started(account, asked), await started(account, asked)
        await account.cancel(waiting)
        with pytest.raises(ProviderRejected, match="cancelled"):
            await account.poll(waiting, asked)
        world.clock.advance(4)
        await account.cancel(begun)
        world.clock.advance(5)
        assert isinstance(await account.poll(begun, asked), Finished)
        await account.cancel(begun)
        await account.cancel(Job(id="404", handle=begun.handle))


@pytest.mark.parametrize("model", [K, OMNI, V, VOD, BASIC, ADVANCED])
async def test_others_cannot_be_cancelled(world: World[Baidu], files: Files, model: str) -> None:
    account = world.account()
    await account.cancel(await started(account, least(model, files)))
    assert world.simulator.record.find(kind=Kind.CANCEL) == []


async def test_links_last_a_day(world: World[Baidu], files: Files) -> None:
    state = await world.made(least(MUSE, files))
    assert state.outputs[0].url is not None
    world.clock.advance(24 * 3600 + 60)
    assert (await world.http.get(state.outputs[0].url)).status_code == 403


# The simulated cloud --------------------------------------------------------------------------------------------------

BEARER = {"Authorization": f"Bearer {BAIDU.api_key}"}


async def posted(world: World[Baidu], path: str, body: object, **more: Any) -> Any:
    return (await world.http.post(f"{world.base_url}{path}", json=body, headers=BEARER, **more)).json()


async def signed(world: World[Baidu], method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
    signer = BaiduSigner(access_key=str(BAIDU.access_key), secret_key=SecretStr(str(BAIDU.secret_key)), **more)
    request = world.http.build_request(method, f"{world.base_url}{path}", json=body)
    request.headers.update(signer.sign(request, now=datetime.fromtimestamp(world.clock.now(), UTC)))
    return await world.http.send(request)


IMAGE = {"type": "image_url", "image_url": {"url": PICTURE_URL}}
Q, M, H = "/v2/images/generations", "/video/generations", "/beta/video/generations/qianfan-video"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (Q, {"model": "qwen-image"}, "invalid_image_genration_prompt"),
        (Q, {"model": "qwen-image", "prompt": "x" * 801}, "invalid_argument"),
        (Q, {"model": "qwen-image", "prompt": "x", "n": 2}, "invalid_argument"),
        (Q, {"model": "qwen-image", "prompt": "x", "steps": 51}, "invalid_argument"),
        (Q, {"model": "qwen-image", "prompt": "x", "guidance": 20.5}, "invalid_argument"),
        (Q, {"model": "qwen-image", "prompt": "x", "size": "256x256"}, "invalid_argument"),
        (Q, {"model": "qwen-image", "prompt": "x", "colour": 1}, "invalid_argument"),
        (Q, {"model": "flux.1-schnell", "prompt": "x" * 513}, "invalid_argument"),
        (Q, {"model": "irag-1.0", "prompt": "x"}, "invalid_model"),
        (Q, [], "malformed_json"),
        ("/v2/images/edits", {"model": "qwen-image-edit", "prompt": "x", "image": []}, "invalid_argument"),
        ("/v2/images/edits", {"model": "qwen-image-edit", "prompt": "x", "image": "AAAA"}, "invalid_argument"),
        (
            "/v2/images/edits",
            {"model": "qwen-image-edit", "prompt": "x", "image": [PICTURE_URL] * 4},
            "invalid_argument",
        ),
        (M, {"model": "musesteamer-3", "content": [IMAGE]}, "invalid_model"),
        (M, {"model": MUSE, "content": [{"type": "text", "text": "x"}]}, "invalid_video_generation_argument"),
        (M, {"model": MUSE, "content": [IMAGE, IMAGE]}, "invalid_video_generation_argument"),
        (M, {"model": MUSE, "content": [IMAGE], "duration": 10}, "invalid_video_generation_argument"),
        (M, {"model": MUSE, "content": [IMAGE], "colour": 1}, "invalid_video_generation_argument"),
        (
            M,
            {"model": "musesteamer-2.0-pro-i2v", "content": [IMAGE], "prompt_extend": True},
            "invalid_video_generation_argument",
        ),
        (
            H,
            {
                "model": "KO1",
                "type": "omni-video",
                "model_parameters": {"prompt": "x", "image_list": [{"image_url": PICTURE_URL, "type": "end_frame"}]},
            },
            "invalid_video_generation_argument",
        ),
        *(
            (
                M,
                {"model": MUSE, "content": [{"type": "image_url", "image_url": {"url": url}}]},
                "invalid_video_generation_argument",
            )
            for url in ("data:text/plain;base64,AAAA", "???", "")
        ),
        (H, {"model": "K1", "type": "text2video", "model_parameters": {}}, "invalid_video_generation_argument"),
        (H, {"model": "K9", "type": "text2video", "model_parameters": {"prompt": "x"}}, "invalid_model"),
        (H, {"model": "K1", "type": "img2video", "model_parameters": {}}, "invalid_video_generation_argument"),
        (
            H,
            {"model": "K1", "type": "text2video", "model_parameters": {"prompt": "x", "sound": "on"}},
            "invalid_video_generation_argument",
        ),
        (
            H,
            {"model": "K1", "type": "img2video", "model_parameters": {"image": "data:image/png;base64,AAAA"}},
            "invalid_video_generation_argument",
        ),
        (
            H,
            {"model": "VQ3-Pro", "type": "img2video", "model_parameters": {"images": ["AAAA"]}},
            "invalid_video_generation_argument",
        ),
    ],
)
async def test_bodies_of_qianfan_are_held_against_the_rules(
    world: World[Baidu], path: str, body: object, code: str
) -> None:
    answer = await posted(world, path, body)
    assert answer["error"]["code"] == code
    assert world.simulator.find_jobs() == []


async def test_any_other_size_of_the_air_model_is_the_usual_one(world: World[Baidu]) -> None:
    body = {"model": "musesteamer-air-image", "prompt": "x", "size": "999x999"}
    assert (await posted(world, "/v2/musesteamer/images/generations", body))["data"]
    assert (world.simulator.find_jobs()[-1].media[0].width, world.simulator.find_jobs()[-1].media[0].height) == (
        1024,
        1024,
    )


async def test_the_list_of_videos_has_those_of_a_week(world: World[Baidu], files: Files) -> None:
    old = await started(world.account(), least(MUSE, files))
    world.clock.advance(7 * 24 * 3600 + 1)
    new = await started(world.account(), least(MUSE, files))
    listed = (await world.http.get(f"{world.base_url}{M}/list", headers=BEARER)).json()
    assert [one["task_id"] for one in listed["items"]] == [new.id] != [old.id]


async def test_a_hosted_task_needs_its_model(world: World[Baidu], files: Files) -> None:
    job = await started(world.account(), least(K, files))
    answer = await world.http.get(f"{world.base_url}{H}", params={"task_id": job.id}, headers=BEARER)
    assert answer.json()["error"]["code"] == "invalid_model"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": "VQ2", "modelVQ2TaskInput": {"prompt": "x"}}, 200),
        ({"model": "VQ2", "modelVQ1TaskInput": {"prompt": "x"}}, 400),
        ({"model": "VQ9", "modelVQ9TaskInput": {"prompt": "x"}}, 400),
        ({"model": "VQ2", "modelVQ2TaskInput": {}}, 400),
        ({"model": "VQ2", "modelVQ2TaskInput": {"prompt": "x", "colour": 1}}, 400),
    ],
)
async def test_bodies_of_vod_are_held_against_the_rules(world: World[Baidu], body: object, status: int) -> None:
    assert (await signed(world, "POST", "/v2/aigc/text_to_video", body)).status_code == status


async def test_a_picture_in_motion_needs_a_picture(world: World[Baidu]) -> None:
    body = {"model": "VQ2", "modelVQ2TaskInput": {"prompt": "x"}}
    assert (await signed(world, "POST", "/v2/aigc/image_to_video", body)).status_code == 400


async def test_paths_and_keys_that_are_not_known(world: World[Baidu]) -> None:
    assert (await world.http.get(f"{world.base_url}/v2/images", headers=BEARER)).status_code == 404
    path = "/rpc/2.0/cloud_hub/v1/bce/aip/ernievilg/v1/getImgv2"
    for key, code in ((f"Bearer {BAIDU.api_key}", 216100), ("Bearer x", 14)):
        headers = {"X-Appbuilder-Authorization": key}
        answer = await world.http.post(f"{world.base_url}{path}", json={"task_id": "1"}, headers=headers)
        assert answer.json()["error_code"] == code


async def test_old_tasks_of_vod_are_gone(world: World[Baidu], files: Files) -> None:
    job = await started(world.account(), least(VOD, files))
    assert (await signed(world, "GET", f"/v2/tasks/{job.id}")).json()["status"] == "FINISHED"
    world.clock.advance(7 * 24 * 3600 + 1)
    assert (await signed(world, "GET", f"/v2/tasks/{job.id}")).status_code == 404


async def test_clocks_and_signatures_are_checked(world: World[Baidu]) -> None:
    signer = BaiduSigner(access_key=str(BAIDU.access_key), secret_key=SecretStr(str(BAIDU.secret_key)))

    def signed_at(shift: float) -> httpx.Request:
        request = world.http.build_request("GET", f"{world.base_url}/v2/tasks/1")
        moment = datetime.fromtimestamp(world.clock.now() + shift, UTC)
        request.headers.update(signer.sign(request, now=moment))
        return request

    for shift, code in ((-1900, "RequestExpired"), (1000, "RequestExpired"), (-1000, "NoSuchTask")):
        assert (await world.http.send(signed_at(shift))).json()["code"] == code
    moved = signed_at(0)
    moved.url = moved.url.copy_with(path="/baidu/v2/tasks/2")
    assert (await world.http.send(moved)).json()["code"] == "SignatureDoesNotMatch"
    proof = "0" * 64
    for wrong, code in (
        ("", "InvalidHTTPAuthHeader"),
        ("Bearer x", "InvalidHTTPAuthHeader"),
        (f"bce-auth-v1/{BAIDU.access_key}/yesterday/1800/host/{proof}", "InvalidHTTPAuthHeader"),
        (f"bce-auth-v1/AK/2026-01-01T00:00:00Z/1800/host/{proof}", "InvalidAccessKeyId"),
    ):
        answer = await world.http.get(f"{world.base_url}/v2/tasks/1", headers={"Authorization": wrong})
        assert answer.json()["code"] == code


async def test_a_short_lived_key_of_qianfan(world: World[Baidu]) -> None:
    made = (await signed(world, "GET", "/v1/BCE-BEARER/token?expireInSeconds=60")).json()
    assert (made["status"], made["expireTime"] > made["createTime"]) == ("enable", True)
    body, headers = {"model": "qwen-image", "prompt": "x"}, {"Authorization": f"Bearer {made['token']}"}
    assert (await world.http.post(f"{world.base_url}{Q}", json=body, headers=headers)).status_code == 200
    world.clock.advance(61)
    assert (await world.http.post(f"{world.base_url}{Q}", json=body, headers=headers)).status_code == 401
    assert (await signed(world, "GET", "/v1/BCE-BEARER/token")).status_code == 400


async def test_tokens_of_the_open_platform(world: World[Baidu]) -> None:
    query = {"grant_type": "client_credentials", "client_id": "sim-app-key", "client_secret": "sim-app-secret"}
    made = (await world.http.get(f"{world.base_url}/oauth/2.0/token", params=query)).json()
    assert "brain_all_scope" in made["scope"].split()
    answer = await world.http.get(f"{world.base_url}/oauth/2.0/token", params=query | {"grant_type": "x"})
    assert answer.json()["error"] == "unsupported_grant_type"
    for token, code in ((made["access_token"], 216200), ("24.x", 110), (access_token(int(time.time()) - 9), 111)):
        assert (await pressed(world, {}, token))["error_code"] == code


async def pressed(world: World[Baidu], form: dict[str, str], token: str | None = None, action: str = "") -> Any:
    """The answer to a form."""
    query = {"access_token": token or access_token(int(world.clock.now()) + 60)}
    path = f"/rest/2.0/image-process/v1/{action or 'image_quality_enhance'}"
    return (await world.http.post(f"{world.base_url}{path}", data=form, params=query)).json()


def _drawn(width: int, height: int) -> str:
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    ("action", "image", "code"),
    [
        ("", "", 216200),
        ("", "AAAA", 216201),
        ("", "é", 216201),
        ("", "A" * (4 * 2**20 + 4), 216202),
        ("", _drawn(2001, 10), 216202),
        ("", _drawn(2000, 10), None),
        ("dehaze", _drawn(9, 9), 216202),
        ("dehaze", _drawn(50, 10), 216202),
        ("dehaze", _drawn(40, 10), None),
    ],
)
async def test_pictures_to_be_made_clearer_have_limits(
    world: World[Baidu], action: str, image: str, code: int | None
) -> None:
    assert (await pressed(world, {"image": image}, action=action)).get("error_code") == code


async def test_noise_is_taken_out_to_a_degree(world: World[Baidu]) -> None:
    assert (await pressed(world, {"image": _drawn(64, 64)}, action="denoise"))["error_code"] == 216100


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/rpc/2.0/wenxin/v1/basic/textToImage", {"text": "x" * 191, "resolution": "512*512"}, 282004),
        ("/rpc/2.0/wenxin/v1/basic/textToImage", {"text": "x", "resolution": "512x512"}, 282004),
        ("/rpc/2.0/wenxin/v1/basic/textToImage", {"text": "x", "resolution": "512*512", "num": 7}, 282004),
        ("/rpc/2.0/ernievilg/v1/txt2imgv2", {"prompt": "x" * 201, "width": 512, "height": 512}, 282004),
        ("/rpc/2.0/ernievilg/v1/txt2imgv2", {"prompt": "x", "width": 512, "height": 513}, 282004),
        ("/rpc/2.0/ernievilg/v1/txt2imgv2", {"prompt": "x", "width": 512, "height": 512, "image_num": 9}, 282004),
        (
            "/rpc/2.0/ernievilg/v1/txt2imgv2",
            {"prompt": "x", "width": 512, "height": 512, "image": "AAAA", "url": PICTURE_URL},
            282004,
        ),
        ("/rpc/2.0/ernievilg/v1/getImgv2", {"task_id": "1"}, 216100),
        ("/rpc/2.0/ernievilg/v1/other", {}, 3),
    ],
)
async def test_bodies_of_paintings_are_held_against_the_rules(
    world: World[Baidu], path: str, body: object, code: int
) -> None:
    query = {"access_token": access_token(int(world.clock.now()) + 60)}
    answer = await world.http.post(f"{world.base_url}{path}", json=body, params=query)
    assert (answer.status_code, answer.json()["error_code"]) == (200, code)


async def test_a_task_is_known_where_it_was_made(world: World[Baidu], files: Files) -> None:
    account = world.account()
    job = await started(account, least(ADVANCED, files))
    for other in (EXTREME, BASIC, VOD, MUSE):
        with pytest.raises(JobMissing):
            await account.poll(job, least(other, files))


async def test_errors_are_worded_as_each_platform_does(world: World[Baidu], files: Files) -> None:
    for fault in ({"type": "rate_limited"}, {"type": "server_error"}):
        world.fault(**fault, times=4)
        for model in (PICTURE, VOD, ADVANCED):
            error = await world.refused(least(model, files), world.account(**_without_application()))
            assert type(error) is (ProviderThrottled if fault["type"] == "rate_limited" else ProviderUnavailable)
    assert urlsplit(world.base_url).path == "/baidu"


def _without_application() -> dict[str, Any]:
    return {name: value for name, value in asdict(BAIDU).items() if name != "options"}
