"""Runway: its client against the simulated cloud, every model of the catalogue, every error, and what is sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
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
)
from genpulse.planning import plan_generation
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Pending
from genpulse.providers.runway import Runway
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.clouds.runway import Runway as Simulated
from genpulse.simulator.credentials import RUNWAY
from genpulse.simulator.jobs import State
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, always, operations_of, simulated, world_of

world = world_of(Simulated, Runway)
call = Calls("runway", "gen4.5", Operation.TEXT_TO_VIDEO, prompt="a fox")
SPECS = call.specs
ALL = operations_of(SPECS.values())
TEXT, FRAMES, VIDEO = Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO, Operation.VIDEO_TO_VIDEO
DRAW, EDIT = Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE
LARGER, FASTER = Operation.VIDEO_UPSCALE, Operation.VIDEO_INTERPOLATE
CLIP = "https://files.example/input.mp4"
VERSION = "2024-11-06"
VALUES: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "blur",
    "seed": 7,
    "audio": True,
    "guidance": 0.5,
    "count": 4,
    "fps": 29.97,
    "scale": 16,
}


def filled(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are; of lists and limits the last."""
    rules = spec.operations[operation]
    needed = {"image"} if spec.name == "act_two" else set()
    fields = {name: field for name, field in rules.fields.items() if field.required or every or name in needed}
    media = {
        name: [files[MEDIA_FIELDS[name]]]
        for name, field in fields.items()
        if field.type in ("image", "images", "video")
    }
    given = {name: VALUES[name] for name in fields if name in VALUES and name not in media}
    given |= {name: field.enum[-1] for name, field in fields.items() if field.enum}
    if "duration" in fields:
        given["duration"] = fields["duration"].maximum
    if every and rules.sizes:
        given["width"], given["height"] = rules.sizes.sizes[-1]
    return replace(call(spec.name, operation, media), input=given)


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Runway], files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    asked = filled(spec, operation, files, every=every)
    state = await world.made(asked)
    assert len(state.outputs) == asked.input.get("count", 1)
    assert state.outputs[0].url is not None
    answer = await world.http.get(state.outputs[0].url)
    assert answer.headers["Content-Type"].startswith(str(spec.operations[operation].output))
    assert state.usage == {"credits": 25}


@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_size_resolution_and_length_is_taken(
    world: World[Runway], files: Files, spec: ModelSpec, operation: Operation
) -> None:
    rules = spec.operations[operation]
    least = filled(spec, operation, files, every=False)
    wanted: list[dict[str, Any]] = [
        {name: value} for name, field in rules.fields.items() for value in field.enum if name != "prompt"
    ]
    wanted += [{"width": size.width, "height": size.height} for size in (rules.sizes.sizes if rules.sizes else ())]
    if "duration" in rules.fields:
        field = rules.fields["duration"]
        wanted += [{"duration": field.minimum}, {"duration": field.maximum}]
    for differing in wanted:
        assert (await world.made(replace(least, input={**least.input, **differing}))).outputs, differing


@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
def test_the_usual_size_is_one_of_those_that_it_makes(spec: ModelSpec, operation: Operation) -> None:
    rules, usual = spec.operations[operation].sizes, spec.wire_of(operation).get("usual", {})
    assert isinstance(usual, dict)
    if rules is not None:
        assert rules.native in rules.sizes
        assert usual.get("ratio") in {None, f"{rules.native.width}:{rules.native.height}"}


def test_what_the_router_may_choose() -> None:
    hidden = {spec.name for spec in SPECS.values() if spec.hidden}
    special = {"magnific_video_upscaler_creative", "magnific_precision_upscaler_v2", "enhance_frame_rate", "act_two"}
    assert hidden == special


@pytest.mark.parametrize(
    ("model", "asked", "ratio"),
    [
        ("gen4.5", {"aspect_ratio": "21:9"}, "1584:672"),
        ("gen4.5", {"aspect_ratio": "9:16"}, "720:1280"),
        ("gen4.5", {"resolution": "720p"}, "1280:720"),
        ("gen4.5", {"width": 960, "height": 960}, "960:960"),
        ("seedance2", {"resolution": "1080p"}, "1920:1080"),
        ("seedance2", {"resolution": "2160p", "aspect_ratio": "9:16"}, "2160:3840"),
        ("seedance2", {"aspect_ratio": "21:9"}, "1470:630"),
    ],
)
async def test_however_a_size_is_asked_for(
    world: World[Runway], files: Files, model: str, asked: dict[str, Any], ratio: str
) -> None:
    """As a request is planned: shapes and resolutions become a pair of pixels of the model's list."""
    given = {"prompt": "x", "image": {"url": "https://files.example/x.png"}} | asked
    request = {"model": f"runway/{model}", "operation": "image-to-video", "input": given}
    step = plan_generation(GenerationCreate.model_validate(request), Catalog(SPECS.values())).steps[0]
    settled = {name: value for name, value in step.input.items() if name != "image"}
    await world.made(call(model, FRAMES, {"image": [files[MediaKind.IMAGE]]}, **settled))
    assert world.sent()["ratio"] == ratio


@pytest.mark.parametrize(
    ("asked", "field"), [({"aspect_ratio": "2:1"}, "aspect_ratio"), ({"resolution": "360p"}, "resolution")]
)
def test_a_size_that_no_list_has_is_refused(asked: dict[str, Any], field: str) -> None:
    request = {"model": "runway/gen4.5", "operation": "text-to-video", "input": {"prompt": "x"} | asked}
    with pytest.raises(InvalidInput) as error:
        plan_generation(GenerationCreate.model_validate(request), Catalog(SPECS.values()))
    assert error.value.field == f"input.{field}"


# What is sent ---------------------------------------------------------------------------------------------------------


def sent(world: World[Runway]) -> tuple[str, Any]:
    entry = world.simulator.record.find(kind=Kind.SUBMIT)[-1]
    return entry.path.removeprefix("/runway/v1/"), entry.body


@pytest.mark.parametrize(
    ("asked", "path", "body"),
    [
        (call(), "text_to_video", {"promptText": "a fox", "ratio": "1280:720", "duration": 5}),
        (
            call(width=720, height=1280, duration=10.0, seed=7, options={"outputFormat": "prores"}),
            "text_to_video",
            {"promptText": "a fox", "ratio": "720:1280", "duration": 10, "seed": 7, "outputFormat": "prores"},
        ),
        (
            call("veo3.1", negative_prompt="blur", audio=False, duration=6.0),
            "text_to_video",
            {"promptText": "a fox", "negativePrompt": "blur", "audio": False, "duration": 6, "ratio": "1280:720"},
        ),
        (
            call("kling3.0_pro", guidance=0.7),
            "text_to_video",
            {"promptText": "a fox", "ratio": "1920:1080", "cfgScale": 0.7},
        ),
        (
            call("hailuo3", aspect_ratio="4:3", resolution="2k"),
            "text_to_video",
            {"promptText": "a fox", "ratio": "4:3", "resolution": "2k"},
        ),
        (
            call("gemini_image3_pro", DRAW, count=4, width=2048, height=2048),
            "text_to_image",
            {"promptText": "a fox", "ratio": "2048:2048", "outputCount": 4},
        ),
    ],
)
async def test_what_is_made_of_text(world: World[Runway], asked: ModelCall, path: str, body: dict[str, Any]) -> None:
    await world.made(asked)
    assert sent(world) == (path, {"model": asked.model} | body)


async def test_frames(world: World[Runway], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    first = {"model": "gen4_turbo", "promptText": "a fox", "ratio": "1280:720", "promptImage": picture.data_url()}
    await world.made(call("gen4_turbo", FRAMES, {"image": [picture]}))
    assert sent(world) == ("image_to_video", first)
    await world.made(call("veo3.1", FRAMES, {"last_image": [picture], "image": [picture]}))
    assert sent(world)[1]["promptImage"] == [
        {"uri": picture.data_url(), "position": "first"},
        {"uri": picture.data_url(), "position": "last"},
    ]
    await world.made(call("wan3", FRAMES, {"image": [picture]}, resolution="480p"))
    assert (sent(world)[1]["ratio"], "resolution" in sent(world)[1]) == ("auto_480p", False)


async def test_work_on_a_video(world: World[Runway], files: Files) -> None:
    media = {"video": [files[MediaKind.VIDEO]]}
    await world.made(call("seedance2", VIDEO, media | {"reference_images": [files[MediaKind.IMAGE]]}, duration=5.0))
    uri = files[MediaKind.IMAGE].data_url()
    told = {"promptText": "a fox", "promptVideo": CLIP, "references": [{"uri": uri}], "duration": 5}
    assert sent(world) == ("video_to_video", {"model": "seedance2"} | told)
    await world.made(call("aleph2", VIDEO, media | {"image": [files[MediaKind.IMAGE]]}, aspect_ratio="21:9"))
    told = {"promptText": "a fox", "videoUri": CLIP, "keyframes": [{"uri": uri, "seconds": 0}]}
    assert sent(world) == ("video_to_video", {"model": "aleph2", "targetAspectRatio": "21:9"} | told)


async def test_references_have_names_where_the_model_knows_any(world: World[Runway], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    uri = picture.data_url()
    await world.made(call("gen4_image", EDIT, {"reference_images": [picture], "image": [picture]}))
    references = [{"uri": uri, "tag": "image1"}, {"uri": uri, "tag": "image2"}]
    told = {"promptText": "a fox", "ratio": "1920:1080", "referenceImages": references}
    assert sent(world) == ("text_to_image", {"model": "gen4_image"} | told)
    await world.made(call("muse_image", DRAW, {"reference_images": [picture]}))
    assert sent(world)[1]["referenceImages"] == [{"uri": uri}]


async def test_larger_and_smoother(world: World[Runway], files: Files) -> None:
    video, picture = {"video": [files[MediaKind.VIDEO]]}, {"image": [files[MediaKind.IMAGE]]}
    asked = call("magnific_video_upscaler_creative", LARGER, video, resolution="4k", options={"creativity": 20})
    await world.made(asked)
    told = {"model": asked.model, "videoUri": CLIP, "resolution": "4k", "creativity": 20}
    assert sent(world) == ("video_upscale", told)
    for rate, word in ((60, "60"), (23.98, "23_98"), (59.94, "59_94")):
        await world.made(call("enhance_frame_rate", FASTER, video, fps=rate))
        told = {"model": "enhance_frame_rate", "videoUri": CLIP, "targetFramerate": word}
        assert sent(world) == ("video_upscale", told)
    await world.made(call("magnific_precision_upscaler_v2", Operation.IMAGE_UPSCALE, picture, scale=8.0))
    told = {"model": "magnific_precision_upscaler_v2", "imageUri": picture["image"][0].data_url(), "scaleFactor": 8}
    assert sent(world) == ("image_upscale", told)


async def test_a_performance(world: World[Runway], files: Files) -> None:
    media = {"video": [files[MediaKind.VIDEO]], "image": [files[MediaKind.IMAGE]]}
    await world.made(call("act_two", VIDEO, media, options={"bodyControl": True}))
    told = {
        "character": {"type": "image", "uri": files[MediaKind.IMAGE].data_url()},
        "reference": {"type": "video", "uri": CLIP},
    }
    assert sent(world) == ("character_performance", {"model": "act_two", "bodyControl": True} | told)
    other = {"character": {"type": "video", "uri": CLIP}}
    await world.made(call("act_two", VIDEO, {"video": media["video"]}, options=other))
    assert sent(world)[1]["character"] == other["character"]
    error = await world.refused(call("act_two", VIDEO, {"video": media["video"]}))
    assert (type(error), error.field) == (InvalidInput, "input.image")


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        (call("veo3.1", duration=5.0), "duration", "4, 6, 8"),
        (call("kling2.5_turbo_pro", duration=7.0), "duration", "5, 10"),
        (call("gemini_image3_pro", DRAW, count=2), "count", "1, 4"),
        (call("magnific_precision_upscaler_v2", Operation.IMAGE_UPSCALE, scale=3.0), "scale", "2, 4, 8, 16"),
        (call("enhance_frame_rate", FASTER, fps=29.0), "fps", "29.97"),
    ],
)
async def test_what_is_between_the_values_of_a_list_is_refused(
    world: World[Runway], asked: ModelCall, field: str, words: str
) -> None:
    error = await world.refused(asked)
    assert (type(error), error.field, words in error.message) == (InvalidInput, f"input.{field}", True)
    assert world.simulator.record.find() == []


async def test_every_call_names_the_version(world: World[Runway]) -> None:
    await world.made(call())
    assert {entry.headers["x-runway-version"] for entry in world.simulator.record.find()} == {VERSION}


# Files ----------------------------------------------------------------------------------------------------------------


def large(folder: Path) -> Media:
    path = folder / "large.mp4"
    path.write_bytes(b"\0" * 3_700_001)
    return Media(path=path, media_type="video/mp4", url="http://not.secure.example/large.mp4")


async def test_a_large_file_is_uploaded_first(world: World[Runway], tmp_path: Path) -> None:
    file = large(tmp_path)
    await world.made(call("aleph2", VIDEO, {"video": [file]}))
    uri = sent(world)[1]["videoUri"]
    upload = next(iter(world.simulator.uploads.values()))
    assert upload.name == f"ephemeral/{uri.removeprefix('runway://')}/input.mp4"
    assert (upload.content_type, upload.content) == ("video/mp4", file.path.read_bytes())
    stored = next(entry for entry in world.simulator.record.find() if entry.path == "/runway/storage")
    assert "authorization" not in stored.headers


async def test_an_upload_that_fails_has_cost_nothing(world: World[Runway], tmp_path: Path) -> None:
    world.fault(type="server_error", status=503, kinds=["other"], times=1)
    error = await world.refused(call("aleph2", VIDEO, {"video": [large(tmp_path)]}))
    assert (type(error), world.simulator.find_jobs()) == (ProviderUnavailable, [])


# Errors ---------------------------------------------------------------------------------------------------------------

REFUSALS: list[tuple[int, str, type[GenPulseError]]] = [
    (400, "Validation of body failed", ProviderRejected),
    (400, "You do not have enough credits to run this task.", ProviderQuotaSpent),
    (401, "The API key you provided is invalid.", ProviderAuthFailed),
    (404, "Not found", ProviderRejected),
    (405, "Method not allowed", ProviderRejected),
    (429, "You have reached your daily limit", ProviderThrottled),
    (500, "Internal error", OutcomeUnknown),
    (502, "Bad gateway", ProviderUnavailable),
    (503, "Unavailable", ProviderUnavailable),
    (504, "Timeout", OutcomeUnknown),
]


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> Runway:
    return Runway("", Credentials(api_key="x"), always(status, body, headers))


@pytest.mark.parametrize(("status", "said", "kind"), REFUSALS)
async def test_a_refusal(status: int, said: str, kind: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError) as error:
        await answering(status, {"error": said, "docUrl": "https://x"}).submit(call())
    assert (type(error.value), said in error.value.message) == (kind, True)


@pytest.mark.parametrize(
    ("issues", "told"),
    [
        ([{"path": ["ratio"], "message": "Invalid enum value"}], "failed (ratio: Invalid enum value)"),
        ([{"path": [], "message": "no"}, {"path": ["a", 0]}, "?"], "failed (no; a.0)"),
        ("?", "failed"),
    ],
)
async def test_a_refusal_says_what_is_wrong(issues: object, told: str) -> None:
    with pytest.raises(ProviderRejected) as error:
        await answering(400, {"error": "failed", "issues": issues}).submit(call())
    assert error.value.message == f"runway: {told}"


@pytest.mark.parametrize("body", ["<html>", [], None, {"error": {"message": "?"}}])
async def test_a_page_of_a_proxy(body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(502, body).submit(call())


async def test_when_to_come_back() -> None:
    with pytest.raises(ProviderThrottled) as error:
        await answering(429, {"error": "slow down"}, {"Retry-After": "17"}).submit(call())
    assert error.value.details["retry_after"] == 17


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        ("SAFETY.INPUT.TEXT", ContentBlocked, False),
        ("SAFETY.OUTPUT.VIDEO", ContentBlocked, False),
        ("INPUT_PREPROCESSING.SAFETY.TEXT", ContentBlocked, False),
        ("ASSET.INVALID", ProviderRejected, False),
        ("INTERNAL.BAD_OUTPUT.CODE01", ProviderFailed, False),
        ("INPUT_PREPROCESSING.INTERNAL", ProviderFailed, True),
        ("INTERNAL", ProviderFailed, True),
        ("THIRD_PARTY.UNAVAILABLE", ProviderFailed, True),
        (None, ProviderFailed, True),
    ],
)
async def test_why_a_task_failed(code: str | None, kind: type[GenPulseError], retryable: bool) -> None:
    body = {"status": "FAILED", "failure": "it broke", "failureCode": code, "cost": {"credits": 0}}
    with pytest.raises(GenPulseError) as error:
        await answering(200, body).poll(Job(id="1"), call())
    assert (type(error.value), error.value.retryable) == (kind, retryable)
    assert "it broke" in error.value.message
    assert (code or "it broke") in error.value.message


@pytest.mark.parametrize("body", [{}, {"id": ""}, {"id": None}, {"status": "PENDING"}, [], "x", None])
async def test_an_answer_without_a_task_is_no_answer(body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(200, body).submit(call())


@pytest.mark.parametrize("body", [{}, {"output": []}, {"status": None}, {"status": "SUCCEEDED", "output": [1]}, None])
async def test_half_of_a_task_is_no_task(body: object) -> None:
    with pytest.raises(ProviderUnavailable):
        await answering(200, body).poll(Job(id="1"), call())


@pytest.mark.parametrize(
    ("body", "fraction"),
    [
        ({"status": "PENDING", "estimatedCost": {"credits": 1}}, None),
        ({"status": "THROTTLED"}, None),
        ({"status": "RUNNING", "progress": 0.25}, 0.25),
        ({"status": "RUNNING", "progress": 7}, 1.0),
        ({"status": "SOMETHING_NEW"}, None),
    ],
)
async def test_what_is_under_way(body: object, fraction: float | None) -> None:
    assert await answering(200, body).poll(Job(id="1"), call()) == Pending(fraction=fraction)


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_a_task_that_fails(world: World[Runway], code: str, kind: type[GenPulseError]) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(call())) is kind


async def test_a_wrong_key_is_refused(world: World[Runway]) -> None:
    with pytest.raises(ProviderAuthFailed, match="API key"):
        await world.account(api_key="key_wrong").submit(call())


# Tasks ----------------------------------------------------------------------------------------------------------------


async def test_a_task_goes_through_its_states() -> None:
    async with simulated(Simulated, Runway, seconds=8) as world:
        cloud = world.account()
        job = await cloud.submit(call())
        for seconds, fraction in ((0, None), (4, 0.5)):
            world.clock.advance(seconds)
            assert await cloud.poll(job, call()) == Pending(fraction=fraction)
        world.clock.advance(4)
        assert isinstance(await cloud.poll(job, call()), Finished)


async def test_a_task_waits_while_others_of_its_model_run() -> None:
    async with simulated(Simulated, Runway, seconds=8) as world:
        cloud = world.account()
        for _ in range(2):
            await cloud.submit(call())
        world.clock.advance(4)
        last = await cloud.submit(call())
        assert (await told(world, "GET", f"/tasks/{last.id}")).json()["status"] == "THROTTLED"
        assert await cloud.poll(last, call()) == Pending()


async def test_a_task_may_be_missing_at_first(world: World[Runway]) -> None:
    world.fault(type="hidden_at_first")
    job = await world.account().submit(call())
    with pytest.raises(JobMissing):
        await world.account().poll(job, call())
    assert isinstance(await world.account().poll(job, call()), Finished)


async def test_done_without_a_file_is_passed_on(world: World[Runway]) -> None:
    world.fault(type="no_outputs")
    assert (await world.made(call())).outputs == []


@pytest.mark.parametrize("fault", ["lost_answer", "malformed", "hung", "connection_reset"])
async def test_a_lost_answer_stays_unknown(world: World[Runway], fault: str) -> None:
    world.fault(type=fault, kinds=["submit"], times=1)
    cloud = world.account()
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(call())
    assert not (cloud.can_find(call()) or cloud.remembers_key(call()))
    assert len(world.simulator.find_jobs()) == (1 if fault in ("lost_answer", "malformed") else 0)


async def test_what_is_under_way_is_cancelled_and_what_is_done_is_kept() -> None:
    async with simulated(Simulated, Runway, seconds=8) as world:
        cloud = world.account()
        queued, done = [await cloud.submit(call()) for _ in range(2)]
        await cloud.cancel(queued)
        with pytest.raises(ProviderRejected, match="cancelled"):
            await cloud.poll(queued, call())
        world.clock.advance(8)
        await cloud.cancel(done)
        assert world.simulator.jobs["runway", done.id].state is State.SUCCEEDED
        await cloud.cancel(Job(id="unknown"))
        assert len(world.simulator.record.find(kind=Kind.CANCEL)) == 1


# The simulated cloud --------------------------------------------------------------------------------------------------


async def told(world: World[Runway], method: str, path: str, **sent: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {RUNWAY.api_key}", "X-Runway-Version": VERSION} | sent.pop("headers", {})
    return await world.http.request(method, f"http://sim/runway/v1{path}", headers=headers, **sent)


GEN = {"model": "gen4.5", "promptText": "x", "ratio": "1280:720", "duration": 5}
GEN_IMAGE = {"model": "gen4_image", "promptText": "x", "ratio": "1280:720"}
DATA = "data:image/png;base64,eA=="


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("text_to_video", GEN | {"ratio": "16:9"}, "ratio"),
        ("text_to_video", GEN | {"ratio": "960:960"}, "ratio"),
        ("text_to_video", GEN | {"duration": 11}, "duration"),
        ("text_to_video", GEN | {"negativePrompt": "x"}, "negativePrompt"),
        ("text_to_video", GEN | {"prompt_text": "x"}, "prompt_text"),
        ("text_to_video", GEN | {"promptText": ""}, "promptText"),
        ("text_to_video", GEN | {"promptText": "\N{FOX FACE}" * 501}, "1000"),
        ("text_to_video", GEN | {"seed": 2**32}, "seed"),
        ("text_to_video", GEN | {"model": "gen4_turbo"}, "discriminator"),
        ("text_to_video", {"model": "gen4.5", "promptText": "x"}, "duration, ratio"),
        ("text_to_video", {"model": "veo3.1", "promptText": "x", "ratio": "1280:720", "duration": 5}, "duration"),
        ("image_to_video", GEN, "promptImage"),
        ("image_to_video", GEN | {"promptImage": "http://files.example/x.png"}, "promptImage"),
        ("image_to_video", GEN | {"promptImage": [{"uri": DATA, "position": "last"}]}, "position"),
        ("image_to_video", GEN | {"promptImage": "runway://unknown"}, "upload"),
        ("image_to_video", GEN | {"promptImage": f"data:image/png;base64,{'x' * 5 * 2**20}"}, "5 MB"),
        ("video_upscale", {"model": "upscale_v1", "videoUri": CLIP}, "discriminator"),
        ("video_upscale", {"model": "enhance_frame_rate", "videoUri": CLIP, "targetFramerate": "23.98"}, "23.98"),
        ("image_upscale", {"model": "magnific_precision_upscaler_v2", "imageUri": DATA, "scaleFactor": 3}, "scale"),
        ("text_to_image", {"model": "gen4_image_turbo", "promptText": "x", "ratio": "1280:720"}, "referenceImages"),
        (
            "text_to_image",
            GEN_IMAGE | {"referenceImages": [{"uri": DATA, "tag": "a"}]},
            "tag",
        ),
        ("uploads", {"filename": "x.png"}, "type"),
    ],
)
async def test_bodies_are_held_against_the_rules(
    world: World[Runway], path: str, body: dict[str, Any], words: str
) -> None:
    answer = await told(world, "POST", f"/{path}", json=body)
    assert (answer.status_code, words in answer.text) == (400, True), answer.text
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("version", ["", "2024-01-01"])
async def test_the_version_has_to_be_named(world: World[Runway], version: str) -> None:
    answer = await told(world, "POST", "/text_to_video", json=GEN, headers={"X-Runway-Version": version})
    assert (answer.status_code, "X-Runway-Version" in answer.json()["error"]) == (400, True)


async def test_uploads_need_their_fields(world: World[Runway]) -> None:
    new = (await told(world, "POST", "/uploads", json={"filename": "x.png", "type": "ephemeral"})).json()
    refused = await world.http.post(new["uploadUrl"], files={"file": ("x.png", b"x", "image/png")})
    assert refused.status_code == 403
    form = {"data": new["fields"], "files": {"file": ("x.png", b"x", "image/png")}}
    assert (await world.http.post(new["uploadUrl"], **form)).status_code == 204
    taken = await told(world, "POST", "/image_to_video", json=GEN | {"promptImage": new["runwayUri"]})
    assert taken.status_code == 200


async def test_deleting_is_idempotent(world: World[Runway]) -> None:
    job = await world.account().submit(call())
    for _ in range(2):
        assert (await told(world, "DELETE", f"/tasks/{job.id}")).status_code == 204
    assert (await told(world, "GET", f"/tasks/{job.id}")).status_code == 404
    assert (await told(world, "GET", "/organization")).json()["creditBalance"] > 0
