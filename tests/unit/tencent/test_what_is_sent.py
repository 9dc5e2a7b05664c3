"""Tencent Cloud: what is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from genpulse.catalog import Catalog
from genpulse.errors import (
    InvalidInput,
    ProviderFailed,
    ProviderThrottled,
    ProviderUnavailable,
    UnknownModel,
)
from genpulse.planning.inputs import check_input
from genpulse.providers.base import Finished, Job, Media
from genpulse.providers.tencent import Tencent
from genpulse.schemas.states import MediaKind, Operation
from genpulse.simulator.wire import Kind
from tests.clouds import Files, World
from tests.unit.tencent.shared import (
    HUB,
    HUB_PICTURE_TASK,
    HUB_TASK,
    JOB,
    MPS,
    PICTURE,
    PRO,
    SPECS,
    TEXT,
    VOD,
    answering,
    call,
    least,
)


async def test_a_video_between_two_pictures_by_way_of_vod(world: World[Tencent], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    asked = call(
        VOD,
        PICTURE,
        {"image": [picture], "last_image": [picture]},
        prompt="a fox",
        resolution="1080p",
        duration=10.0,
        audio=True,
        seed=7,
        options={"TasksPriority": 5, "OutputConfig": {"LogoAdd": "Disabled"}},
    )
    state = await world.made(asked)
    file = {"Type": "Base64", "Category": "Image", "Base64": picture.base64()}
    assert world.sent() == {
        "SubAppId": 1500000001,
        "ModelName": "Kling",
        "ModelVersion": "3.0",
        "FileInfos": [file | {"Usage": "FirstFrame"}, file | {"Usage": "LastFrame"}],
        "Prompt": "a fox",
        "OutputConfig": {
            "StorageMode": "Temporary",
            "Duration": 10,
            "Resolution": "1080P",
            "AudioGeneration": "Enabled",
            "LogoAdd": "Disabled",
        },
        "Seed": 7,
        "SessionId": "gen_1-0-1",
        "TasksPriority": 5,
    }
    assert state.usage == {"output_seconds": 10}
    assert state.parameters == {"width": 1920, "height": 1080, "duration": 10}


async def test_a_video_is_edited_from_its_address(world: World[Tencent], files: Files) -> None:
    media = {"video": [files[MediaKind.VIDEO]], "reference_images": [files[MediaKind.IMAGE]]}
    await world.made(call("kling-o1", Operation.VIDEO_TO_VIDEO, media, prompt="at night"))
    assert world.sent()["FileInfos"][1] == {
        "Type": "Url",
        "Category": "Video",
        "Url": "https://files.example/input.mp4",
        "Usage": "Reference",
        "ReferenceType": "base",
    }
    assert world.sent()["FileInfos"][0]["Usage"] == "Reference"


async def test_a_scene_is_named(world: World[Tencent], files: Files) -> None:
    media = {"video": [files[MediaKind.VIDEO]], "audio": [files[MediaKind.AUDIO]]}
    await world.made(call("kling-lip-sync", None, media))
    sent = world.sent()
    assert (sent["ModelVersion"], sent["SceneType"]) == ("scene", "lip_sync")
    assert [one["Category"] for one in sent["FileInfos"]] == ["Video", "Audio"]


async def test_a_picture_from_pictures_and_a_mask(world: World[Tencent], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    media = {"image": [picture], "reference_images": [picture], "mask": [picture]}
    asked = call("og-image2-high", Operation.IMAGE_TO_IMAGE, media, prompt="a fox", count=3, resolution="4k")
    state = await world.made(asked)
    file = {"Type": "Base64", "Base64": picture.base64()}
    assert world.sent()["FileInfos"] == [file, file, file | {"ReferenceType": "mask"}]
    assert world.sent()["OutputConfig"] == {"StorageMode": "Temporary", "Resolution": "4K", "OutputImageCount": 3}
    assert len(state.outputs) == 3


async def test_a_size_of_ones_own_is_json_in_json(world: World[Tencent]) -> None:
    await world.made(call("hunyuan-image-3.0", None, prompt="a fox", width=728, height=1024))
    given = json.loads(world.sent()["ExtInfo"])
    assert json.loads(given["AdditionalParameters"]) == {"size": "728x1024"}
    job = world.simulator.find_jobs()[-1]
    assert (job.media[0].width, job.media[0].height) == (728, 1024)


async def test_a_picture_as_a_job_of_aiart(world: World[Tencent]) -> None:
    await world.made(call(PRO, None, prompt="a fox", width=1280, height=720, options={"Engine": "engine2"}))
    assert world.sent() == {"Prompt": "a fox", "Resolution": "1280:720", "Engine": "engine2"}


async def test_pictures_that_were_refused_are_left_out() -> None:
    told = {"JobStatusCode": "5", "ResultImage": ["https://x/1", ""], "ResultDetails": ["Success", "Refused"]}
    state = await answering(200, {"Response": told}).poll(Job(id="1"), call(PRO, None))
    assert isinstance(state, Finished)
    assert [output.url for output in state.outputs] == ["https://x/1"]
    told = {"JobStatusCode": "5", "ResultImage": ["https://x/1"]}
    state = await answering(200, {"Response": told}).poll(Job(id="1"), call(PRO, None))
    assert isinstance(state, Finished)
    assert len(state.outputs) == 1


@pytest.mark.parametrize(
    ("model", "given", "written"),
    [
        ("kling-3.0", "720p", "720P"),
        ("hailuo-h3", "2k", "2K"),
        ("pixverse-v6", "540p", "540p"),
        ("pixverse-v6", "4k", "4k"),
        ("gg-3.1", "720p", "720P"),
        ("kling-image-o1", "4k", "4k"),
        ("vidu-image-q2", "1080p", "1080p"),
        ("vidu-image-q2", "2k", "2K"),
    ],
)
async def test_resolutions_as_each_model_writes_them(
    world: World[Tencent], model: str, given: str, written: str
) -> None:
    await world.made(call(model, None, prompt="a fox", resolution=given))
    assert world.sent()["OutputConfig"]["Resolution"] == written


async def test_kling_by_way_of_vclm(world: World[Tencent], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    asked = call("vclm-kling-2.6", PICTURE, {"image": [picture]}, prompt="a fox", duration=10.0, audio=True)
    state = await world.made(asked)
    assert world.sent() == {
        "Model": "v2.6",
        "Prompt": "a fox",
        "Image": {"Base64": picture.base64()},
        "Duration": "10",
        "Mode": "pro",
        "Sound": "on",
    }
    assert state.usage == {"credits": 2.5}
    assert state.parameters == {"duration": 10}


async def test_the_newest_kling_has_another_name_for_pictures(world: World[Tencent], files: Files) -> None:
    await world.made(call(JOB, PICTURE, {"image": [files[MediaKind.IMAGE]]}, audio=False))
    assert (world.sent()["Model"], world.sent()["Sound"]) == ("V3.0", "off")
    await world.made(call(JOB, TEXT, prompt="a fox", guidance=0.7))
    assert (world.sent()["Model"], world.sent()["CfgScale"]) == ("v3.0", 0.7)


async def test_vidu_takes_references_in_an_action_of_their_own(world: World[Tencent], files: Files) -> None:
    pictures = {"reference_images": [files[MediaKind.IMAGE]] * 2}
    state = await world.made(call("vclm-vidu-q2", TEXT, pictures, prompt="a fox", aspect_ratio="3:4"))
    assert world.sent()["Images"] == [files[MediaKind.IMAGE].data_url()] * 2
    actions = [one.headers["x-tc-action"] for one in world.simulator.record.find(cloud="tencent")]
    assert actions == ["SubmitReferenceToVideoViduJob", "DescribeReferenceToVideoViduJob"]
    assert state.usage == {"credits": 4}


async def test_pictures_within_the_answer(world: World[Tencent], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    media = {"image": [picture], "mask": [picture]}
    await world.made(call("image-removal", None, media))
    assert world.sent() == {"InputImage": picture.base64(), "Mask": picture.base64(), "RspImgType": "url"}
    await world.made(call("enhance-image", None, {"image": [picture]}))
    assert world.sent() == {"ImageBase64": picture.base64()}
    state = await world.made(call("refine-image", None, {"image": [picture]}, options={"RspImgType": "base64"}))
    assert (state.outputs[0].content or b"").startswith(b"\xff\xd8")


async def test_tokenhub_is_sent_what_each_family_wants(world: World[Tencent], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    state = await world.made(call(HUB, PICTURE, {"image": [picture]}, prompt="a fox", options={"revise": False}))
    assert world.sent() == {
        "model": "hy-video-v1.5",
        "prompt": "a fox",
        "image": picture.base64(),
        "revise": False,
    }
    assert state.usage == {"credits": 1.5}
    await world.made(call(HUB_TASK, None, {"image": [picture]}, resolution="480p"))
    assert world.sent() == {"model": "yt-video-2.0", "image": {"url": picture.data_url()}, "resolution": "480p"}
    await world.made(call("hy-image-3.0", None, {"reference_images": [picture]}, prompt="a fox", width=512, height=768))
    assert world.sent() == {
        "model": "hy-image-v3",
        "prompt": "a fox",
        "images": [picture.base64()],
        "size": "512x768",
    }
    await world.made(call("hy-image-lite", None, prompt="a fox", width=1280, height=720))
    assert world.sent()["resolution"] == "1280:720"


async def test_pictures_as_tasks_of_tokenhub(world: World[Tencent], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    media = {"image": [picture], "reference_images": [replace(picture, url="https://files.example/a.png")]}
    asked = call(HUB_PICTURE_TASK, Operation.IMAGE_TO_IMAGE, media, prompt="a fox", width=1280, height=720, seed=3)
    state = await world.made(replace(asked, options={"logo_add": 0}))
    assert world.sent() == {
        "model": "hy-image-v3.0",
        "prompt": "a fox",
        "images": [picture.data_url(), "https://files.example/a.png"],
        "resolution": "1280:720",
        "seed": 3,
        "logo_add": 0,
    }
    assert world.sent(Kind.POLL) == {"model": "hy-image-v3.0", "id": world.simulator.find_jobs()[0].id}
    assert len(state.outputs) == 1
    await world.made(call("hy-video-1.5-task", TEXT, prompt="a fox", resolution="1080p"))
    assert world.sent() == {"model": "hy-video-1.5", "prompt": "a fox", "resolution": "1080p"}


async def test_pictures_that_a_task_of_tokenhub_tells_as_a_list() -> None:
    told = {"status": "completed", "data": [{"url": "https://x/1"}, {"url": "https://x/2"}]}
    state = await answering(200, told).poll(Job(id="1"), call(HUB_PICTURE_TASK))
    assert isinstance(state, Finished)
    assert [output.url for output in state.outputs] == ["https://x/1", "https://x/2"]


async def test_a_background_is_replaced_by_link(world: World[Tencent], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    asked = call("replace-background", None, {"image": [picture]}, prompt="a beach", width=1920, height=1080)
    error = await world.refused(asked)
    assert (type(error), error.field) == (InvalidInput, "image")
    link = "https://files.example/a.png"
    await world.made(replace(asked, media={"image": [replace(picture, url=link)]}))
    assert world.sent() == {
        "ProductUrl": link,
        "Prompt": "a beach",
        "Resolution": "1920:1080",
        "RspImgType": "url",
    }


async def test_a_picture_is_enlarged_by_mps(world: World[Tencent], files: Files) -> None:
    asked = call("mps-upscale-ultra", None, {"image": [files[MediaKind.IMAGE]]}, scale=1.5)
    job = await world.account().submit(asked)
    assert isinstance(job, Job)
    (stored,) = world.simulator.uploads.values()
    place = {"Bucket": "sim-1250000000", "Region": "ap-guangzhou"}
    assert world.sent() == {
        "InputInfo": {"Type": "COS", "CosInputInfo": place | {"Object": f"/{stored.name}"}},
        "OutputStorage": {"Type": "COS", "CosOutputStorage": place},
        "OutputDir": "/genpulse/made/",
        "ImageTask": {
            "EnhanceConfig": {
                "AdvancedSuperResolutionConfig": {"Switch": "ON", "Type": "ultra", "Mode": "percent", "Percent": 1.5}
            }
        },
    }
    assert isinstance(await world.account().poll(job, asked), Finished)
    (made,) = world.simulator.find_jobs()
    assert (made.media[0].width, made.media[0].height) == (384, 384)
    assert world.simulator.uploads == {}, "it is in the bucket only as long as it is needed"


@pytest.mark.parametrize(("kinds", "left"), [(["submit"], 0), (["poll"], 1)])
async def test_what_mps_refuses_does_not_stay_in_the_bucket(
    world: World[Tencent], files: Files, kinds: list[str], left: int
) -> None:
    world.fault(type="rate_limited", kinds=kinds)
    with pytest.raises(ProviderThrottled):
        await world.made(least(MPS, files))
    assert len(world.simulator.uploads) == left


@pytest.mark.parametrize(
    "detail",
    [
        {"ErrMsg": "InternalError", "Message": "no"},
        {"ImageProcessTaskResultSet": [{"Status": "SUCCESS"}, {"Status": "FAIL", "Message": "no"}]},
        {"ImageProcessTaskResultSet": [{"Status": "SUCCESS", "ErrMsg": "InternalError", "Message": "no"}]},
    ],
)
async def test_a_finished_task_of_mps_may_have_failed(detail: dict[str, Any]) -> None:
    cloud = answering(200, {"Response": {"Status": "FINISH"} | detail})
    with pytest.raises(ProviderFailed, match="no"):
        await cloud.poll(Job(id="1", handle={"path": "/x"}), call(MPS))


@pytest.mark.parametrize(
    ("name", "successor"),
    [
        ("hunyuan-image", "hy-image-3.0"),
        ("hunyuan-image-chat", "hy-image-3.0"),
        ("hunyuan-image-lite", "hy-image-lite"),
        ("hunyuan-video", "hy-video-1.5"),
    ],
)
def test_who_asks_for_what_is_gone_is_told_what_to_use(name: str, successor: str) -> None:
    with pytest.raises(UnknownModel, match=f"retired on 2026-09-30.*tencent/{successor}"):
        Catalog(SPECS.values()).get(f"tencent/{name}")
    assert successor in SPECS
    assert not SPECS[successor].retires_at


async def test_a_picture_is_in_the_bucket_only_while_it_is_processed(world: World[Tencent], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    await world.made(call("ci-super-resolution", None, {"image": [picture]}, scale=4))
    sent = world.simulator.record.find(cloud="tencent")
    assert [one.method for one in sent] == ["PUT", "GET", "DELETE"]
    assert len({one.path for one in sent}) == 1
    assert world.simulator.uploads == {}
    job = world.simulator.find_jobs()[-1]
    assert job.body == {"ci-process": "AISuperResolution", "magnify": "4"}
    assert (job.media[0].width, job.media[0].height) == (1024, 1024)
    await world.made(call("ci-enhance", None, {"image": [picture]}, options={"denoise": 5}))
    assert world.simulator.find_jobs()[-1].body == {"ci-process": "AIEnhanceImage", "denoise": "5"}


async def test_a_picture_leaves_the_bucket_when_it_fails(world: World[Tencent], files: Files) -> None:
    world.fault(type="fails")
    asked = call("ci-super-resolution", None, {"image": [files[MediaKind.IMAGE]]})
    assert type(await world.refused(asked)) is ProviderUnavailable
    assert world.simulator.uploads == {}


@pytest.mark.parametrize(
    ("model", "given", "field", "words"),
    [
        ("hailuo-2.3", {"duration": 8.0}, "duration", "6 or 10"),
        ("hailuo-02", {"duration": 7.0}, "duration", "6 or 10"),
    ],
)
async def test_what_does_not_go_together_is_refused(
    world: World[Tencent], model: str, given: dict[str, Any], field: str, words: str
) -> None:
    error = await world.refused(call(model, None, prompt="a fox", **given))
    assert isinstance(error, InvalidInput)
    assert (error.field, words in error.message) == (field, True)
    assert world.simulator.record.find(kind=Kind.SUBMIT) == []


@pytest.mark.parametrize(
    ("model", "operation", "field", "right"),
    [
        ("os-2.0", TEXT, "duration", {4, 8, 12}),
        ("gv-3.1", TEXT, "duration", {8}),
        ("vclm-kling-1.6", TEXT, "duration", {5, 10}),
        ("vclm-human-actor", PICTURE, "fps", {25, 50}),
        ("ci-super-resolution", Operation.IMAGE_UPSCALE, "scale", {2, 4}),
        ("kling-image-3.0", Operation.TEXT_TO_IMAGE, "count", set(range(1, 10))),
    ],
)
def test_the_catalogue_takes_these_numbers_and_no_others(
    model: str, operation: Operation, field: str, right: set[int]
) -> None:
    fields = SPECS[model].operations[operation].fields
    given: dict[str, Any] = {"prompt": "a fox", "image": {}, "audio": {}}
    asked = {name: one for name, one in given.items() if name in fields and fields[name].required}
    for value in range(1, 61):
        if value in right:
            check_input(asked | {field: value}, SPECS[model], operation, "input")
        else:
            with pytest.raises(InvalidInput, match=field):
                check_input(asked | {field: value}, SPECS[model], operation, "input")


@pytest.mark.parametrize(
    ("model", "given", "field"),
    [
        ("vclm-kling-2.6", {"audio": True}, "audio"),
        ("vclm-vidu-q2-pro", {"duration": 9.0}, "duration"),
        ("vclm-image-to-video", {"fps": 25}, "fps"),
    ],
)
async def test_what_does_not_go_with_pictures_is_refused(
    world: World[Tencent], files: Files, model: str, given: dict[str, Any], field: str
) -> None:
    operation = list(SPECS[model].operations)[-1]
    media = {"image": [files[MediaKind.IMAGE]], "last_image": [files[MediaKind.IMAGE]]}
    error = await world.refused(call(model, operation, media, **given))
    assert (type(error), getattr(error, "field", "")) == (InvalidInput, field)


async def test_a_sound_that_tencent_cannot_fetch(world: World[Tencent], files: Files) -> None:
    sound = files[MediaKind.AUDIO]
    closed = Media(path=sound.path, media_type=sound.media_type)
    asked = call("vclm-human-actor", None, {"image": [files[MediaKind.IMAGE]], "audio": [closed]})
    error = await world.refused(asked)
    assert (type(error), getattr(error, "field", "")) == (InvalidInput, "audio")


async def test_files_that_are_too_large_together(world: World[Tencent], tmp_path: Any) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(bytes(4 * 2**20))
    large = Media(path=path, media_type="image/png")
    for model, field in (("kling-3.0", "image"), ("vidu-q3", "image")):
        error = await world.refused(call(model, PICTURE, {"image": [large], "last_image": [large]}, prompt="a fox"))
        assert (type(error), getattr(error, "field", "")) == (InvalidInput, field)
    assert type(await world.refused(call("enhance-image", None, {"image": [large]}))) is InvalidInput
