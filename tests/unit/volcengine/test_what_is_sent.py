"""Volcengine: what is sent."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from genpulse.errors import (
    InvalidInput,
)
from genpulse.pricing import most, terms
from genpulse.providers.base import Finished, Media
from genpulse.providers.volcengine import Volcengine
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.wire import Kind
from tests.clouds import Files, World
from tests.unit.volcengine.shared import (
    FULL,
    JIMENG,
    LENS,
    SEEDANCE,
    SEEDREAM,
    SPECS,
    call_of,
    upscaling,
    video,
)


async def test_a_picture_is_asked_for_in_its_exact_size(world: World[Volcengine], files: Files) -> None:
    media = {"image": [files[MediaKind.IMAGE]], "reference_images": [files[MediaKind.IMAGE]]}
    made = await world.made(call_of(SEEDREAM, Operation.IMAGE_TO_IMAGE, media, width=2304, height=1728))
    link = files[MediaKind.IMAGE].data_url()
    assert world.sent() == {
        "model": "doubao-seedream-4-0-250828",
        "prompt": "a fox",
        "image": [link, link],
        "size": "2304x1728",
        "response_format": "url",
        "watermark": False,
    }
    assert made.parameters == {"width": 2304, "height": 1728}
    assert made.usage == {"images": 1, "tokens": 15552}


async def test_options_go_through_and_may_make_a_set(world: World[Volcengine]) -> None:
    options = {
        "sequential_image_generation": "auto",
        "sequential_image_generation_options": {"max_images": 3},
        "response_format": "b64_json",
        "watermark": True,
    }
    made = await world.made(call_of(SEEDREAM, options=options))
    assert world.sent()["watermark"] is True
    assert all(output.content for output in made.outputs)
    assert len(made.outputs) == 3
    world.fault(type="fails", code="content")
    assert len((await world.made(call_of(SEEDREAM, options=options))).outputs) == 2


async def test_a_clip_is_asked_for_from_its_first_to_its_last_picture(world: World[Volcengine], files: Files) -> None:
    image = files[MediaKind.IMAGE]
    call = call_of(
        SEEDANCE,
        Operation.IMAGE_TO_VIDEO,
        {"image": [image], "last_image": [image]},
        duration=5.0,
        seed=5,
        resolution="720p",
        aspect_ratio="16:9",
        audio=False,
        options={"return_last_frame": True},
    )
    made = await world.made(call)
    link = {"url": image.data_url()}
    assert world.sent() == {
        "model": "doubao-seedance-2-0-260128",
        "content": [
            {"type": "text", "text": "a fox"},
            {"type": "image_url", "image_url": link, "role": "first_frame"},
            {"type": "image_url", "image_url": link, "role": "last_frame"},
        ],
        "resolution": "720p",
        "ratio": "16:9",
        "duration": 5,
        "seed": 5,
        "generate_audio": False,
        "safety_identifier": "gen_1-0-1",
        "return_last_frame": True,
    }
    assert len(made.outputs) == 2
    assert made.parameters == {"seed": 5, "resolution": "720p", "aspect_ratio": "16:9", "duration": 5, "fps": 24}
    assert made.usage == {"tokens": 108000}


async def test_lists_of_options_join_ours(world: World[Volcengine]) -> None:
    draft = {"type": "draft_task", "draft_task": {"id": "cgt-1"}}
    await world.made(call_of("seedance-2-5", Operation.TEXT_TO_VIDEO, options={"content": [draft]}))
    assert world.sent()["content"] == [{"type": "text", "text": "a fox"}, draft]


@pytest.mark.parametrize("task", ["edit", "extend"])
async def test_what_is_done_to_a_video_is_said(world: World[Volcengine], files: Files, task: str) -> None:
    media = {"video": [files[MediaKind.VIDEO]]}
    await world.made(call_of(f"seedance-2-5-{task}", Operation.VIDEO_TO_VIDEO, media))
    assert world.sent()["omni_reference_task_type"] == task
    await world.made(call_of("seedance-2-5", Operation.VIDEO_TO_VIDEO, media))
    assert "omni_reference_task_type" not in world.sent()


@pytest.mark.parametrize(
    ("model", "given", "cost"),
    [
        ("seedance-2", {}, 140),
        ("seedance-2", {"resolution": "480p"}, 63),
        ("seedance-2", {"resolution": "4k"}, 778),
        ("seedance-2-5", {"resolution": "1080p"}, 527),
    ],
)
def test_a_second_costs_what_its_tokens_cost(model: str, given: dict[str, Any], cost: int) -> None:
    operation = Operation.TEXT_TO_VIDEO
    price = SPECS[model].price_of(operation)
    assert price is not None
    asked = {"duration": 5, **given}
    assert most(terms(price, SPECS[model].operations[operation], asked, {})) == 5 * cost


async def test_references_may_be_pictures_sound_and_a_video(world: World[Volcengine], files: Files) -> None:
    media = {
        name: [files[kind]] for name, kind in MEDIA_FIELDS.items() if name in ("reference_images", "video", "audio")
    }
    await world.made(call_of(SEEDANCE, Operation.VIDEO_TO_VIDEO, media))
    assert [part.get("role") for part in world.sent()["content"]] == [
        None,
        "reference_image",
        "reference_video",
        "reference_audio",
    ]


async def test_a_video_needs_a_public_url(world: World[Volcengine], files: Files) -> None:
    hidden = Media(path=files[MediaKind.VIDEO].path, media_type="video/mp4")
    with pytest.raises(InvalidInput, match="public URL"):
        await world.account().submit(call_of(SEEDANCE, Operation.VIDEO_TO_VIDEO, {"video": [hidden]}))


async def test_byteplus_knows_models_by_other_names() -> None:
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"id": "cgt-1", "data": [{"url": "https://a/b.png"}]})

    url = "https://ark.ap-southeast.bytepluses.com/api/v3"
    async with httpx.AsyncClient(transport=httpx.MockTransport(serve)) as client:
        account = Volcengine(url, FULL, client)
        for call in (call_of(SEEDREAM), video()):
            await account.submit(call)
    assert [(str(one.url), json.loads(one.content)["model"]) for one in seen] == [
        (f"{url}/images/generations", "seedream-4-0-250828"),
        (f"{url}/contents/generations/tasks", "dreamina-seedance-2-0-260128"),
    ]


async def test_visual_is_asked_at_its_own_host() -> None:
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"code": 10000, "data": {"task_id": "1"}, "message": "Success"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(serve)) as client:
        await Volcengine("", FULL, client).submit(call_of(JIMENG))
    address = "https://visual.volcengineapi.com/?Action=CVSync2AsyncSubmitTask&Version=2022-08-31"
    assert str(seen[0].url) == address


async def test_jimeng_is_sent_and_asked_for_as_documented(world: World[Volcengine]) -> None:
    call = call_of(JIMENG, width=2048, height=1024, seed=3, options={"scale": 0.7})
    await world.made(call)
    assert world.sent() == {
        "req_key": "jimeng_t2i_v40",
        "prompt": "a fox",
        "width": 2048,
        "height": 1024,
        "seed": 3,
        "force_single": True,
        "scale": 0.7,
    }
    asked = world.sent(Kind.POLL)
    assert (asked["req_key"], asked["req_json"]) == ("jimeng_t2i_v40", '{"return_url":true}')


@pytest.mark.parametrize(
    "option", [{"aigc_meta": {"producer_id": "me"}}, '{"aigc_meta": {"producer_id": "me"}}'], ids=["object", "text"]
)
async def test_what_is_wanted_of_jimeng_s_results_is_said_with_the_question(
    world: World[Volcengine], option: object
) -> None:
    await world.made(call_of(JIMENG, options={"req_json": option}))
    assert "req_json" not in world.sent()
    assert world.sent(Kind.POLL)["req_json"] == '{"return_url":true,"aigc_meta":{"producer_id":"me"}}'


@pytest.mark.parametrize("option", ["{", "[]", 7])
async def test_what_is_wanted_of_results_is_an_object(world: World[Volcengine], option: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        await world.account().submit(call_of(JIMENG, options={"req_json": option}))
    assert refused.value.field == "provider_options.req_json"


@pytest.mark.parametrize(
    ("model", "action", "body"),
    [
        ("lens-upscale", "CVProcess", {"req_key": "lens_nnsr2_pic_common", "model_quality": "HQ"}),
        ("vida-upscale", "OverResolutionV2", {"req_key": "lens_vida_nnsr", "model_quality": "HQ"}),
        ("lens-enhance", "EnhancePhotoV2", {"req_key": "lens_lqir", "model_quality": "HQ"}),
    ],
)
async def test_pictures_are_enlarged_within_the_answer(
    world: World[Volcengine], files: Files, model: str, action: str, body: dict[str, Any]
) -> None:
    image = files[MediaKind.IMAGE]
    made = await world.account().submit(upscaling(image, model, {"model_quality": "HQ"}))
    assert isinstance(made, Finished)
    assert world.sent() == body | {"binary_data_base64": [image.base64()], "return_url": True}
    (entry,) = world.simulator.record.find(cloud="volcengine", kind=Kind.SUBMIT)
    assert entry.query == {"Action": action, "Version": "2022-08-31"}


async def test_enlarged_pictures_may_come_as_they_are(world: World[Volcengine], files: Files) -> None:
    made = await world.account().submit(upscaling(files[MediaKind.IMAGE], LENS, {"return_url": False}))
    assert isinstance(made, Finished)
    assert made.outputs[0].content


@pytest.mark.parametrize(
    ("given", "req_key"),
    [
        (["image"], "jimeng_i2v_first_v30_1080"),
        (["image", "last_image"], "jimeng_i2v_first_tail_v30_1080"),
    ],
)
async def test_jimeng_s_task_follows_from_what_is_given(
    world: World[Volcengine], files: Files, given: list[str], req_key: str
) -> None:
    media = {name: [files[MediaKind.IMAGE]] for name in given}
    await world.made(call_of("jimeng-video-3-1080p", Operation.IMAGE_TO_VIDEO, media, duration=10.0))
    body = world.sent()
    assert (body["req_key"], body["frames"], len(body["binary_data_base64"])) == (req_key, 241, len(given))


async def test_jimeng_is_sent_links_where_there_are_some(world: World[Volcengine], files: Files) -> None:
    linked = Media(path=files[MediaKind.IMAGE].path, media_type="image/png", url="https://files.example/a.png")
    await world.made(call_of(JIMENG, Operation.IMAGE_TO_IMAGE, {"image": [linked]}))
    assert world.sent()["image_urls"] == ["https://files.example/a.png"]
