"""Baidu Cloud: what is sent."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from genpulse.errors import (
    InvalidInput,
)
from genpulse.providers.baidu import Baidu
from genpulse.providers.base import Finished, Media
from genpulse.schemas.states import MediaKind, Operation
from genpulse.simulator.wire import Kind
from tests.clouds import Files, World
from tests.unit.baidu.shared import (
    ADVANCED,
    BASIC,
    EXTREME,
    FRAMES,
    LARGER,
    MUSE,
    OMNI,
    PICTURE,
    PICTURE_URL,
    SPECS,
    TEXT,
    VOD,
    K,
    V,
    call,
    least,
    path_of,
    started,
)


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
