"""Tencent Cloud: its client against the simulated one, every model of the catalogue, every error, and what is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from genpulse.catalog import Catalog
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
    UnknownModel,
)
from genpulse.planning.inputs import check_input
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Output, Pending
from genpulse.providers.tencent import Tencent
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.clouds.tencent import Tencent as Simulated
from genpulse.simulator.credentials import TENCENT
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, operations_of, simulated, world_of

world = world_of(Simulated, Tencent)
call = Calls("tencent")
SPECS = call.specs
ALL = operations_of(spec for spec in SPECS.values() if not spec.retires_at)
TEXT, PICTURE = Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO
VALUES: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "a hen",
    "width": 720,
    "height": 1280,
    "count": 2,
    "seed": 7,
    "guidance": 0.5,
    "scale": 4,
}
#: One of each interface.
VOD, VOD_PICTURE, JOB, HUB, HUB_TASK = "kling-3.0", "kling-image-3.0", "vclm-kling-3.0", "hy-video-1.5", "yt-video-2.0"
PRO, HUB_PICTURE_TASK, MPS = "text-to-image-pro", "hy-image-3.0-task", "mps-upscale"
SYNC = ["refine-image", "enhance-image", "hy-image-3.0", "ci-super-resolution"]
TASKS = [VOD, VOD_PICTURE, JOB, PRO, HUB, HUB_TASK, HUB_PICTURE_TASK, MPS]


@pytest.fixture(scope="module")
def files(files: Files) -> Files:
    """The sound has an address too."""
    return files | {MediaKind.AUDIO: replace(files[MediaKind.AUDIO], url="https://files.example/input.wav")}


def filled(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    sized = "width" in fields
    if sized:
        fields = {name: field for name, field in fields.items() if name not in ("aspect_ratio", "resolution")}
    rules = spec.operations[operation].images
    media = {
        name: [files[MEDIA_FIELDS[name]]]
        for name, field in fields.items()
        if name in MEDIA_FIELDS and field.type != "boolean"
    }
    for name in media:
        if name in rules and rules[name].by_url_only:
            media[name] = [replace(media[name][0], url="https://files.example/input.png")]
    given: dict[str, Any] = {}
    for name, field in fields.items():
        if field.type == "boolean":
            given[name] = "last_image" not in fields
        elif name not in media:
            given[name] = field.enum[-1] if field.enum else VALUES.get(name, field.maximum)
    if "last_image" in media and "duration" in given:
        given["duration"] = float(min(given["duration"], spec.wire_of(operation).get("most_with_last", 60)))
    return call(spec.name, operation, media, **given)


def least(model: str, files: Files, **more: Any) -> ModelCall:
    operation = next(iter(SPECS[model].operations))
    asked = filled(SPECS[model], operation, files, every=False)
    return replace(call(model, operation, **more), media=asked.media, input=asked.input)


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Tencent], files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    state = await world.made(filled(spec, operation, files, every=every))
    assert len(state.outputs) == (2 if every and "count" in spec.operations[operation].fields else 1)
    for output in state.outputs:
        if output.content is None:
            assert output.url is not None
            answer = await world.http.get(output.url)
            assert answer.headers["Content-Type"].startswith(str(spec.operations[operation].output))
        else:
            assert output.content[:3] in (b"\xff\xd8\xff", b"\x89PN")


# What is sent ---------------------------------------------------------------------------------------------------------


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


# Errors ---------------------------------------------------------------------------------------------------------------

CODES: list[tuple[str, type[GenPulseError]]] = [
    ("ActionOffline", ProviderQuotaSpent),
    ("AuthFailure.InvalidAuthorization", ProviderAuthFailed),
    ("AuthFailure.InvalidSecretId", ProviderAuthFailed),
    ("AuthFailure.MFAFailure", ProviderAuthFailed),
    ("AuthFailure.SecretIdNotFound", ProviderAuthFailed),
    ("AuthFailure.SignatureExpire", ProviderAuthFailed),
    ("AuthFailure.SignatureFailure", ProviderAuthFailed),
    ("AuthFailure.TokenFailure", ProviderAuthFailed),
    ("AuthFailure.UnauthorizedOperation", ProviderAuthFailed),
    ("UnauthorizedOperation", ProviderAuthFailed),
    ("FailedOperation.InvalidVodUser", ProviderAuthFailed),
    ("InternalError", ProviderUnavailable),
    ("InternalError.DBError", ProviderUnavailable),
    ("FailedOperation.InnerError", ProviderUnavailable),
    ("FailedOperation.ServerError", ProviderUnavailable),
    ("FailedOperation.RpcFail", ProviderUnavailable),
    ("FailedOperation.Unknown", ProviderUnavailable),
    ("FailedOperation.ConsoleServerError", ProviderUnavailable),
    ("FailedOperation.EngineServerError", ProviderUnavailable),
    ("FailedOperation.DriverFailed", ProviderUnavailable),
    ("FailedOperation.ModerationResponseError", ProviderUnavailable),
    ("FailedOperation.RequestTimeout", OutcomeUnknown),
    ("FailedOperation.EngineRequestTimeout", OutcomeUnknown),
    ("InvalidAction", ProviderRejected),
    ("InvalidParameter", ProviderRejected),
    ("InvalidParameter.ImageProcessingFailureError", ProviderRejected),
    ("InvalidParameterValue", ProviderRejected),
    ("InvalidParameterValue.TextLengthExceed", ProviderRejected),
    ("MissingParameter", ProviderRejected),
    ("NoSuchVersion", ProviderRejected),
    ("UnknownParameter", ProviderRejected),
    ("UnsupportedOperation", ProviderRejected),
    ("FailedOperation.ImageDecodeFailed", ProviderRejected),
    ("FailedOperation.ImageDownloadError", ProviderRejected),
    ("FailedOperation.RequestEntityTooLarge", ProviderRejected),
    ("LimitExceeded", ProviderThrottled),
    ("RequestLimitExceeded", ProviderThrottled),
    ("RequestLimitExceeded.UinLimitExceeded", ProviderThrottled),
    ("RequestLimitExceeded.GlobalRegionUinLimitExceeded", ProviderThrottled),
    ("RequestLimitExceeded.JobNumExceed", ProviderThrottled),
    ("FailedOperation.EngineServerLimitExceeded", ProviderThrottled),
    ("OperationDenied.TextIllegalDetected", ContentBlocked),
    ("OperationDenied.ImageIllegalDetected", ContentBlocked),
    ("FailedOperation.GenerateImageFailed", ContentBlocked),
    ("FailedOperation.ModerationFailed", ContentBlocked),
    ("FailedOperation.ModerationAudioFailed", ContentBlocked),
    ("InvalidParameter.ViolationContent", ContentBlocked),
    ("ResourceUnavailable.InArrears", ProviderQuotaSpent),
    ("ResourceUnavailable.LowBalance", ProviderQuotaSpent),
    ("ResourceUnavailable.NotExist", ProviderQuotaSpent),
    ("ResourceUnavailable.StopUsing", ProviderQuotaSpent),
    ("ResourceUnavailable.Delivering", ProviderQuotaSpent),
    ("ResourcesSoldOut.ChargeStatusException", ProviderQuotaSpent),
    ("ResourceInsufficient", ProviderQuotaSpent),
    ("ResourceInsufficient.ChargeResourceExhaust", ProviderQuotaSpent),
    ("FailedOperation.ServiceNotActivated", ProviderQuotaSpent),
    ("FailedOperation.ServiceStop", ProviderQuotaSpent),
    ("FailedOperation.ServiceStopArrears", ProviderQuotaSpent),
    ("FailedOperation.ResourcePackExhausted", ProviderQuotaSpent),
    ("FailedOperation.FreeResourcePackExhausted", ProviderQuotaSpent),
    ("FailedOperation.UserUnAuthError", ProviderQuotaSpent),
]


def answering(status: int, body: object) -> Tencent:
    transport = httpx.MockTransport(lambda _request: httpx.Response(status, json=body))
    return account(transport)


def account(transport: httpx.AsyncBaseTransport, base_url: str = "http://sim", **more: Any) -> Tencent:
    given: dict[str, Any] = {"api_key": "x", "access_key": "x", "secret_key": "x", "options": {"bucket": "x-1"}} | more
    return Tencent(base_url, Credentials(**given), httpx.AsyncClient(transport=transport))


def api_error(code: str) -> dict[str, Any]:
    return {"Response": {"Error": {"Code": code, "Message": "no"}, "RequestId": "1"}}


@pytest.mark.parametrize(("code", "kind"), CODES)
async def test_a_code_of_api_3(code: str, kind: type[GenPulseError]) -> None:
    for model in (VOD, JOB):
        with pytest.raises(kind, match=code) as error:
            await answering(200, api_error(code)).submit(call(model, TEXT, prompt="a fox"))
        assert type(error.value) is kind


@pytest.mark.parametrize("code", ["FailedOperation.JobNotExist", "FailedOperation.JobNotFound"])
async def test_a_job_that_vclm_does_not_know(code: str) -> None:
    with pytest.raises(JobMissing):
        await answering(200, api_error(code)).poll(Job(id="1", handle={"action": "TextToVideoJob"}), call(JOB))


async def test_a_timeout_when_asking_is_no_unknown_outcome() -> None:
    cloud = answering(200, api_error("FailedOperation.RequestTimeout"))
    with pytest.raises(ProviderUnavailable):
        await cloud.poll(Job(id="1", handle={"action": "TextToVideoJob"}), call(JOB))


EXTENDED: list[tuple[str, type[GenPulseError]]] = [
    ("RequestLimitExceeded", ProviderFailed),
    ("FailedOperation", ProviderFailed),
    ("ResourceInsufficient", ProviderFailed),
    ("InternalError", ProviderFailed),
    ("TaskTimeout", ProviderFailed),
    ("ModelGenerateFailed", ProviderFailed),
    ("OperationCanceled", ProviderFailed),
    ("InvalidParameter.VoilationContent", ContentBlocked),
    ("ContentModerationFailed", ContentBlocked),
    ("InvalidParameter", ProviderRejected),
    ("InvalidParameterValue", ProviderRejected),
    ("InvalidParameter.MediaFormat", ProviderRejected),
    ("ResourceNotFound", ProviderRejected),
]


@pytest.mark.parametrize(("code", "kind"), EXTENDED)
async def test_what_a_task_of_vod_failed_with(code: str, kind: type[GenPulseError]) -> None:
    for number in (0, 70000):
        task = {"Status": "FINISH", "ErrCode": number, "ErrCodeExt": code, "Message": "no"}
        for name in ("AigcVideoTask", "AigcImageTask"):
            cloud = answering(200, {"Response": {"Status": "FINISH", name: task}})
            with pytest.raises(kind, match=code) as error:
                await cloud.poll(Job(id="1"), call(VOD))
            assert type(error.value) is kind


async def test_an_aborted_task_of_vod() -> None:
    with pytest.raises(ProviderFailed, match="aborted"):
        await answering(200, {"Response": {"Status": "ABORTED"}}).poll(Job(id="1"), call(VOD))


@pytest.mark.parametrize(
    ("status", "error", "code", "kind"),
    [
        (400, "invalid_request_error", "400001", ProviderRejected),
        (400, "invalid_request_error", "400004", ProviderRejected),
        (401, "authentication_error", "401002", ProviderAuthFailed),
        (402, "permission_error", "401007", ProviderQuotaSpent),
        (402, "permission_error", "403004", ProviderQuotaSpent),
        (403, "permission_error", "403001", ProviderAuthFailed),
        (429, "rate_limit_error", "429001", ProviderThrottled),
        (451, "content_filter_error", "451001", ContentBlocked),
        (502, "upstream_error", "502001", ProviderUnavailable),
        (500, "new_error", "500001", OutcomeUnknown),
    ],
)
async def test_an_error_of_tokenhub(status: int, error: str, code: str, kind: type[GenPulseError]) -> None:
    body = {"error": {"type": error, "code": code, "message": "no", "source": "gateway", "request_id": "1"}}
    for model in (HUB, "hy-image-3.0"):
        with pytest.raises(kind) as raised:
            await answering(status, body).submit(call(model, None, prompt="a fox"))
        assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", ProviderAuthFailed),
        (403, "SignatureDoesNotMatch", ProviderAuthFailed),
        (403, "InvalidAccessKeyId", ProviderAuthFailed),
        (404, "NoSuchBucket", ProviderAuthFailed),
        (400, "InvalidArgument", ProviderRejected),
        (503, "SlowDown", ProviderThrottled),
        (500, "InternalError", ProviderUnavailable),
        (503, "ServiceUnavailable", ProviderUnavailable),
    ],
)
async def test_an_error_of_the_bucket(files: Files, status: int, code: str, kind: type[GenPulseError]) -> None:
    text = f"<?xml version='1.0' encoding='utf-8' ?><Error><Code>{code}</Code><Message>no</Message></Error>"
    for method in ("PUT", "GET"):

        def answer(request: httpx.Request, method: str = method) -> httpx.Response:
            return httpx.Response(status, text=text) if request.method == method else httpx.Response(200)

        asked = call("ci-super-resolution", None, {"image": [files[MediaKind.IMAGE]]})
        with pytest.raises(kind, match=code) as error:
            await account(httpx.MockTransport(answer)).submit(asked)
        assert type(error.value) is kind


@pytest.mark.parametrize("body", [{}, {"Response": {}}, {"Response": {"RequestId": "1"}}, {"Response": "x"}, [], "x"])
@pytest.mark.parametrize("model", [VOD, VOD_PICTURE, JOB, PRO, HUB])
async def test_an_answer_without_a_task_is_no_answer(model: str, body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(200, body).submit(call(model, None, prompt="a fox"))


async def test_an_empty_file_is_no_answer(files: Files) -> None:
    cloud = account(httpx.MockTransport(lambda _request: httpx.Response(200)))
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(call("ci-super-resolution", None, {"image": [files[MediaKind.IMAGE]]}))


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderFailed)])
@pytest.mark.parametrize("model", TASKS)
async def test_a_task_that_fails(
    world: World[Tencent], files: Files, model: str, code: str, kind: type[GenPulseError]
) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(least(model, files))) is kind


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderUnavailable)])
@pytest.mark.parametrize("model", ["refine-image", "enhance-image", "hy-image-3.0", "hy-image-lite"])
async def test_what_fails_within_the_answer(
    world: World[Tencent], files: Files, model: str, code: str, kind: type[GenPulseError]
) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(least(model, files))) is kind


@pytest.mark.parametrize("model", [*TASKS, *SYNC])
async def test_throttled_broken_and_wrong_in_the_clouds_words(world: World[Tencent], files: Files, model: str) -> None:
    for fault, kind in (("rate_limited", ProviderThrottled), ("server_error", ProviderUnavailable)):
        world.fault(type=fault)
        assert type(await world.refused(least(model, files))) is kind
    world.fault(type="latency", seconds=0)
    wrong = least(model, files, options={"Surprise": 1})
    assert type(await world.refused(wrong)) is ProviderRejected


# Credentials ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["access_key", "secret_key", "api_key"])
@pytest.mark.parametrize("model", [VOD, JOB, *SYNC])
async def test_a_wrong_credential_is_refused(world: World[Tencent], files: Files, model: str, name: str) -> None:
    right = {
        "api_key": TENCENT.api_key,
        "access_key": TENCENT.access_key,
        "secret_key": TENCENT.secret_key,
        "options": dict(TENCENT.options),
    }
    wrong = world.account(**right | {name: "wrong"})
    if (model == "hy-image-3.0") is (name == "api_key"):
        with pytest.raises(ProviderAuthFailed, match=r"AuthFailure|401002|Signature|AccessKey"):
            await wrong.submit(least(model, files))
    else:
        assert isinstance(await wrong.submit(least(model, files)), Job | Finished)


async def test_a_clock_that_is_off_is_refused(world: World[Tencent], files: Files) -> None:
    world.clock.advance(301)
    with pytest.raises(ProviderAuthFailed, match="SignatureExpire"):
        await world.account().submit(call(VOD, TEXT, prompt="a fox"))
    world.clock.advance(10_000)
    with pytest.raises(ProviderAuthFailed, match="expired"):
        await world.account().submit(least("ci-super-resolution", files))


@pytest.mark.parametrize(
    ("model", "missing"),
    [(VOD, "access_key"), (JOB, "access_key"), ("refine-image", "access_key"), (HUB, "api_key")],
)
async def test_what_is_missing_is_named(world: World[Tencent], files: Files, model: str, missing: str) -> None:
    other = {"api_key": "x"} if missing == "access_key" else {"access_key": "x", "secret_key": "x"}
    with pytest.raises(ProviderAuthFailed, match=missing):
        await world.account(**other).submit(least(model, files))


async def test_a_bucket_and_an_account_are_needed(world: World[Tencent], files: Files) -> None:
    pair = {"access_key": TENCENT.access_key, "secret_key": TENCENT.secret_key}
    with pytest.raises(ProviderAuthFailed, match="`bucket` in the options"):
        await world.account(**pair).submit(least("ci-super-resolution", files))
    with pytest.raises(ProviderAuthFailed, match="is a number"):
        await world.account(**pair, options={"sub_app_id": "mine"}).submit(least(VOD, files))
    with pytest.raises(ProviderRejected, match="SubAppId"):
        await world.account(**pair).submit(least(VOD, files))


async def test_each_service_has_a_host(files: Files) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(400)

    for model in (VOD, JOB, "refine-image", "enhance-image", "hy-image-3.0", "ci-super-resolution"):
        with pytest.raises(GenPulseError):
            await account(httpx.MockTransport(answer), Tencent.default_url).submit(least(model, files))
    assert [one.url.host for one in asked] == [
        "vod.tencentcloudapi.com",
        "vclm.tencentcloudapi.com",
        "aiart.tencentcloudapi.com",
        "tiia.tencentcloudapi.com",
        "tokenhub.tencentmaas.com",
        "x-1.cos.ap-guangzhou.myqcloud.com",
    ]
    assert [one.headers.get("X-TC-Region") for one in asked[:4]] == [None, *["ap-guangzhou"] * 3]
    assert [one.headers["X-TC-Version"] for one in asked[:4]] == [
        "2018-07-17",
        "2024-05-23",
        "2022-12-29",
        "2019-05-29",
    ]


# Tasks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", TASKS)
async def test_a_task_goes_through_its_states(files: Files, model: str) -> None:
    async with simulated(Simulated, Tencent, seconds=8) as world:
        cloud, asked = world.account(), least(model, files)
        job = await cloud.submit(asked)
        assert isinstance(job, Job)
        for seconds in (0, 4):
            world.clock.advance(seconds)
            assert isinstance(await cloud.poll(job, asked), Pending)
        world.clock.advance(4)
        assert isinstance(await cloud.poll(job, asked), Finished)


@pytest.mark.parametrize(("model", "fraction"), [(VOD, 0.4), (HUB_TASK, 0.5), (MPS, 0.5), (JOB, None)])
async def test_how_far_it_is(files: Files, model: str, fraction: float | None) -> None:
    async with simulated(Simulated, Tencent, seconds=8) as world:
        asked = least(model, files)
        job = await world.account().submit(asked)
        assert isinstance(job, Job)
        world.clock.advance(4)
        assert await world.account().poll(job, asked) == Pending(fraction=fraction)


@pytest.mark.parametrize("model", TASKS)
async def test_a_task_may_be_missing_at_first(world: World[Tencent], files: Files, model: str) -> None:
    world.fault(type="hidden_at_first")
    asked = least(model, files)
    job = await world.account().submit(asked)
    assert isinstance(job, Job)
    with pytest.raises(JobMissing):
        await world.account().poll(job, asked)
    assert isinstance(await world.account().poll(job, asked), Finished)


@pytest.mark.parametrize("model", [*TASKS, "refine-image", "enhance-image", "hy-image-3.0"])
async def test_done_without_a_file_is_passed_on(world: World[Tencent], files: Files, model: str) -> None:
    world.fault(type="no_outputs")
    assert (await world.made(least(model, files))).outputs == []


LOSSES = [
    (model, fault)
    for model in (JOB, PRO, HUB, HUB_TASK, HUB_PICTURE_TASK, MPS, "refine-image", "hy-image-3.0", "ci-super-resolution")
    for fault in ("lost_answer", "malformed", "hung", "connection_reset")
    if (model, fault) != ("ci-super-resolution", "malformed")  # half a file shows only when it is read
]


@pytest.mark.parametrize(("model", "fault"), LOSSES)
async def test_a_lost_answer_stays_unknown(world: World[Tencent], files: Files, model: str, fault: str) -> None:
    world.fault(type=fault, times=1, kinds=["submit"])
    asked = least(model, files)
    with pytest.raises(OutcomeUnknown):
        await world.account().submit(asked)
    assert not world.account().can_find(asked)
    assert not world.account().remembers_key(asked)


@pytest.mark.parametrize("model", [VOD, VOD_PICTURE])
@pytest.mark.parametrize(
    ("fault", "jobs"), [("lost_answer", 1), ("malformed", 1), ("hung", 1), ("connection_reset", 1)]
)
async def test_vod_does_not_make_a_call_twice(
    world: World[Tencent], files: Files, model: str, fault: str, jobs: int
) -> None:
    world.fault(type=fault, times=1)
    asked, cloud = least(model, files), world.account()
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(asked)
    assert cloud.remembers_key(asked)
    job = await cloud.submit(asked)
    assert isinstance(job, Job)
    assert [one.id for one in world.simulator.find_jobs()] == [job.id]
    assert len(world.simulator.find_jobs()) == jobs


async def test_a_task_is_looked_up_through_all_pages(world: World[Tencent], files: Files) -> None:
    asked, cloud = least(VOD, files), world.account()
    first = await cloud.submit(asked)
    for number in range(120):
        world.clock.advance(1)
        await cloud.submit(call(VOD, TEXT, prompt="a hen", key=f"gen_2-{number}"))
    assert await cloud.submit(asked) == first
    listed = [
        one for one in world.simulator.record.find(kind=Kind.OTHER) if one.headers["x-tc-action"] == "DescribeTasks"
    ]
    assert len(listed) == 2


async def test_what_was_accepted_and_is_not_listed_stays_unknown(files: Files) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["X-TC-Action"] == "DescribeTasks":
            other = {"TaskId": "1", "SessionId": "another"}
            return httpx.Response(200, json={"Response": {"TaskSet": [other], "ScrollToken": ""}})
        return httpx.Response(200, json=api_error("FailedOperation.TaskDuplicate"))

    with pytest.raises(OutcomeUnknown, match="TaskDuplicate"):
        await account(httpx.MockTransport(answer)).submit(least(VOD, files))


async def test_a_long_key_is_shortened_to_the_same(world: World[Tencent], files: Files) -> None:
    long = least(VOD, files, key="k" * 80)
    first = await world.account().submit(long)
    assert len(world.sent()["SessionId"]) == 50
    assert await world.account().submit(long) == first
    assert await world.account().submit(least(VOD, files, key="k" * 81)) != first


@pytest.mark.parametrize("name", ["SessionId", "SubAppId"])
async def test_what_settles_a_lost_answer_is_not_the_callers(world: World[Tencent], files: Files, name: str) -> None:
    error = await world.refused(least(VOD, files, options={name: "mine"}))
    assert (type(error), getattr(error, "field", "")) == (InvalidInput, f"provider_options.{name}")
    assert world.simulator.find_jobs() == []


async def test_a_lookup_that_fails_is_no_refusal(world: World[Tencent], files: Files) -> None:
    asked, cloud = least(VOD, files), world.account()
    first = await cloud.submit(asked)
    world.fault(type="rate_limited", kinds=["other"], times=1)
    with pytest.raises(ProviderThrottled):
        await cloud.submit(asked)
    assert await cloud.submit(asked) == first


async def test_too_many_jobs_of_one_kind(files: Files) -> None:
    async with simulated(Simulated, Tencent, seconds=8) as world:
        for _ in range(20):
            await world.account().submit(least(JOB, files))
        with pytest.raises(ProviderThrottled, match="JobNumExceed"):
            await world.account().submit(least(JOB, files))
        await world.account().submit(least("vclm-vidu-q2", files))


@pytest.mark.parametrize(("told", "usage"), [("2.5", {"credits": 2.5}), (3, {"credits": 3}), ("", {}), ("two", {})])
async def test_what_vclm_has_spent_is_told_as_far_as_it_is_a_number(told: object, usage: dict[str, float]) -> None:
    done = {"Status": "DONE", "ResultVideoUrl": "https://x/1", "FinalUnitDeduction": told, "Duration": "?"}
    cloud = answering(200, {"Response": done})
    state = await cloud.poll(Job(id="1", handle={"action": "TextToVideoJob"}), call(JOB))
    assert state == Finished(outputs=[Output(url="https://x/1")], usage=usage)


@pytest.mark.parametrize("state", ["cancelled", "expired"])
async def test_other_words_for_a_failure_at_tokenhub(state: str) -> None:
    with pytest.raises(ProviderFailed, match=state):
        await answering(200, {"status": state}).poll(Job(id="1"), call(HUB_TASK, None))
    cloud = answering(200, {"Response": {"StatusCode": "STOP"}})
    with pytest.raises(ProviderFailed, match="STOP"):
        await cloud.poll(Job(id="1", handle={"action": "PortraitSingJob"}), call("vclm-portrait-sing", None))


async def test_nothing_can_be_cancelled(world: World[Tencent], files: Files) -> None:
    job = await world.account().submit(least(VOD, files))
    assert isinstance(job, Job)
    before = len(world.simulator.record.find(cloud="tencent"))
    await world.account().cancel(job)
    assert len(world.simulator.record.find(cloud="tencent")) == before
    assert not Tencent.can_cancel


# Callbacks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "field", "word"), [(JOB, "Status", "DONE"), ("vclm-vidu-q2", "status", "success")])
async def test_kling_and_vidu_call_back(files: Files, model: str, field: str, word: str) -> None:
    told: list[Any] = []

    def receive(request: httpx.Request) -> httpx.Response:
        told.append(json.loads(request.content))
        return httpx.Response(200)

    async with simulated(Simulated, Tencent, callbacks=httpx.MockTransport(receive)) as world:
        job = await world.account().submit(least(model, files, callback_url="https://us.example/x"))
        assert isinstance(job, Job)
        while not (told and told[-1].get(field) == word):
            await world.http.get("http://sim/tencent/media/none/none")
    assert world.sent()["CallbackUrl"] == "https://us.example/x"
    assert told[-1]["JobId"] == job.id


@pytest.mark.parametrize("model", [VOD, HUB, "vclm-image-to-video", "vclm-human-actor"])
async def test_the_others_are_given_no_address(world: World[Tencent], files: Files, model: str) -> None:
    await world.account().submit(least(model, files, callback_url="https://us.example/x"))
    assert "us.example" not in json.dumps(world.sent())
