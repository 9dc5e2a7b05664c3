"""Volcengine: its client against the simulated cloud, every model of the catalogue, every error, and what is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from genpulse.catalog import load_catalog
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
from genpulse.planning import plan_generation
from genpulse.pricing import most, terms
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Pending
from genpulse.providers.signatures import SignedAuth, VolcengineSigner
from genpulse.providers.volcengine import Volcengine, ark
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.clouds.volcengine import Volcengine as Simulated
from genpulse.simulator.jobs import State
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, always, operations_of, simulated, world_of

world = world_of(Simulated, Volcengine)
call_of = Calls("volcengine", prompt="a fox")
SPECS = call_of.specs
#: Flash is sold overseas alone.
LIVING = [spec for spec in SPECS.values() if spec.retires_at is None and spec.name != "seedream-5-flash"]
ALL = operations_of(LIVING)
FULL = Credentials(api_key="sim-ark-key", access_key="AKLTsim", secret_key="sim-volcengine-secret")
BASE = "http://sim/volcengine/api/v3"
BEARER = {"Authorization": "Bearer sim-ark-key"}
TASKS = f"{BASE}/contents/generations/tasks"
IMAGES = f"{BASE}/images/generations"
SEEDREAM, SEEDANCE, JIMENG, LENS = "seedream-4", "seedance-2", "jimeng-4", "lens-upscale"
VALUES = {
    "prompt": "a fox",
    "width": 2048,
    "height": 2048,
    "count": 1,
    "seed": 7,
    "guidance": 2.5,
    "duration": 5.0,
    "resolution": "720p",
    "aspect_ratio": "9:16",
    "audio": True,
}


def full_call(spec: ModelSpec, operation: Operation, files: Files) -> ModelCall:
    """Every field that the catalogue lists."""
    fields = spec.operations[operation].fields
    media = {name: [files[MEDIA_FIELDS[name]]] for name in fields if name in MEDIA_FIELDS and name != "audio"}
    given = {name: VALUES[name] for name in fields if name in VALUES}
    if "width" in given:
        given = {name: value for name, value in given.items() if name not in ("aspect_ratio", "resolution")}
    if "resolution" in given and operation is Operation.IMAGE_UPSCALE:
        given["resolution"] = "8k"
    return ModelCall(model=spec.name, operation=operation, wire=spec.wire, input=given, media=media, key="gen_1-0-1")


def video(**fields: Any) -> ModelCall:
    return call_of(SEEDANCE, Operation.TEXT_TO_VIDEO, **fields)


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_honours_every_field(
    world: World[Volcengine], files: Files, spec: ModelSpec, operation: Operation
) -> None:
    state = await world.made(full_call(spec, operation, files))
    (output,) = state.outputs
    assert output.url is not None
    answer = await world.http.get(output.url)
    assert answer.headers["Content-Type"].startswith(str(spec.operations[operation].output))


async def test_flash_is_made_at_byteplus_alone(world: World[Volcengine]) -> None:
    with pytest.raises(ProviderRejected, match="not offered by Volcengine in China"):
        await world.account().submit(call_of("seedream-5-flash"))
    options = {"model": "dola-seedream-5-0-flash-260915"}
    assert (await world.made(call_of("seedream-5-flash", options=options))).outputs


@pytest.mark.parametrize(
    ("model", "successor"), [("seedance-1-5-pro", "seedance-2"), ("seedance-1-lite", "seedance-1-pro-fast")]
)
def test_what_is_gone_names_its_successor(model: str, successor: str) -> None:
    with pytest.raises(UnknownModel, match=f"Use volcengine/{successor}"):
        load_catalog({}, ["volcengine"]).get(f"volcengine/{model}")


@pytest.mark.parametrize(
    ("model", "given", "size"),
    [
        ("seedream-4-5", {"aspect_ratio": "16:9"}, (2730, 1536)),
        ("seedream-4-5", {"width": 2560, "height": 1440}, (2560, 1440)),
        ("seedream-4", {"resolution": "1K"}, (1024, 1024)),
        ("seedream-5-pro", {"resolution": "1.5K"}, (1536, 1536)),
        ("seedream-5-lite", {"resolution": "3K"}, (3072, 3072)),
        ("jimeng-3-1", {"width": 1536, "height": 512}, (1536, 512)),
    ],
)
def test_sizes_are_settled_before(model: str, given: dict[str, Any], size: tuple[int, int]) -> None:
    request = GenerationCreate.model_validate(
        {"model": f"volcengine/{model}", "operation": "text-to-image", "input": {"prompt": "x"} | given}
    )
    (step,) = plan_generation(request, load_catalog({}, ["volcengine"])).steps
    assert (step.input["width"], step.input["height"]) == size


@pytest.mark.parametrize(
    ("model", "given", "why"),
    [
        ("seedream-4-5", {"width": 1024, "height": 1024}, "at least 3,686,400 pixels"),
        ("seedream-4", {"width": 8000, "height": 400}, "at most 16 times"),
        ("jimeng-3-1", {"width": 2048, "height": 512}, "at most 3 times"),
        ("seedream-4", {"count": 2}, "at most 1"),
        ("seedream-4", {"negative_prompt": "x"}, "does not take `negative_prompt`"),
        ("seedream-5-pro", {"reference_images": [{"url": "https://a/b.png"}] * 11}, "at most 10 images; these are 11"),
    ],
)
def test_what_a_model_cannot_is_refused_by_name(model: str, given: dict[str, Any], why: str) -> None:
    request = GenerationCreate.model_validate(
        {"model": f"volcengine/{model}", "operation": "text-to-image", "input": {"prompt": "x"} | given}
    )
    with pytest.raises(InvalidInput, match=why):
        plan_generation(request, load_catalog({}, ["volcengine"]))


def test_a_sound_is_no_answer_to_whether_there_is_one() -> None:
    given = {"prompt": "x", "image": {"url": "https://a/b.png"}, "audio": {"url": "https://a/b.wav"}}
    request = GenerationCreate.model_validate(
        {"model": "volcengine/seedance-2", "operation": "image-to-video", "input": given}
    )
    with pytest.raises(InvalidInput, match="`audio` of volcengine/seedance-2 is true or false"):
        plan_generation(request, load_catalog({}, ["volcengine"]))


# What is sent ---------------------------------------------------------------------------------------------------------


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


def upscaling(image: Media, model: str, options: dict[str, Any]) -> ModelCall:
    spec = SPECS[model]
    return ModelCall(
        model=model,
        operation=Operation.IMAGE_UPSCALE,
        wire=spec.wire,
        input={},
        media={"image": [image]},
        options=options,
        key="gen_1-0-1",
    )


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


# Errors ---------------------------------------------------------------------------------------------------------------

ARK_ERRORS: list[tuple[int, str, type[GenPulseError]]] = [
    (400, "MissingParameter.prompt", ProviderRejected),
    (400, "InvalidParameter", ProviderRejected),
    (400, "InvalidParameter.UnsupportedParameter", ProviderRejected),
    (400, "InvalidParameter.TaskTypeConstraint", ProviderRejected),
    (400, "InvalidImageURL.InvalidFormat", ProviderRejected),
    (400, "InvalidImageURL.EmptyURL", ProviderRejected),
    (400, "InvalidEndpoint.ClosedEndpoint", ProviderRejected),
    (400, "SensitiveContentDetected.Violence", ContentBlocked),
    (400, "InputTextSensitiveContentDetected", ContentBlocked),
    (400, "InputImageSensitiveContentDetected.PrivacyInformation", ContentBlocked),
    (400, "SensitiveContentDetected", ContentBlocked),
    (400, "InputVideoSensitiveContentDetected.PolicyViolation", ContentBlocked),
    (400, "InputAudioSensitiveContentDetected", ContentBlocked),
    (400, "OutputTextSensitiveContentDetected", ContentBlocked),
    (400, "OutputAudioSensitiveContentDetected", ContentBlocked),
    (400, "OutputVideoSensitiveContentDetected.DeepFake", ContentBlocked),
    (401, "AuthenticationError", ProviderAuthFailed),
    (401, "InvalidAccountStatus", ProviderAuthFailed),
    (403, "AccessDenied", ProviderAuthFailed),
    (403, "OperationDenied.PermissionDenied", ProviderAuthFailed),
    (403, "OperationDenied.ServiceNotOpen", ProviderAuthFailed),
    (403, "OperationDenied.ServiceOverdue", ProviderQuotaSpent),
    (403, "AccountOverdueError", ProviderQuotaSpent),
    (404, "InvalidEndpointOrModel.NotFound", ProviderRejected),
    (404, "InvalidEndpointOrModel.ModelIDAccessDisabled", ProviderRejected),
    (404, "ModelNotOpen", ProviderRejected),
    (404, "NotFound", ProviderRejected),
    (429, "RateLimitExceeded.EndpointRPMExceeded", ProviderThrottled),
    (429, "ModelAccountIpmRateLimitExceeded", ProviderThrottled),
    (429, "RateLimitExceeded.EndpointTPMExceeded", ProviderThrottled),
    (429, "ModelAccountRpmRateLimitExceeded", ProviderThrottled),
    (429, "ModelAccountTpmRateLimitExceeded", ProviderThrottled),
    (429, "APIAccountRpmRateLimitExceeded", ProviderThrottled),
    (429, "AccountRateLimitExceeded", ProviderThrottled),
    (429, "RequestBurstTooFast", ProviderThrottled),
    (429, "InflightBatchsizeExceeded", ProviderThrottled),
    (429, "ModelLoadingError", ProviderThrottled),
    (429, "ServerOverloaded", ProviderThrottled),
    (429, "QuotaExceeded", ProviderThrottled),
    (429, "SetLimitExceeded", ProviderQuotaSpent),
    (500, "InternalServiceError", ProviderUnavailable),
    (500, "ContentSecurityDetectionError", ProviderUnavailable),
    (500, "SomethingNew", OutcomeUnknown),
    (400, "SomethingNew", ProviderRejected),
]


@pytest.mark.parametrize(("status", "code", "error"), ARK_ERRORS)
@pytest.mark.parametrize("model", [SEEDREAM, SEEDANCE])
async def test_what_ark_s_codes_mean(model: str, status: int, code: str, error: type[GenPulseError]) -> None:
    body = {"error": {"code": code, "message": "no", "param": "size", "type": "BadRequest"}}
    async with answering(status, body) as account:
        with pytest.raises(GenPulseError) as told:
            await account.submit(call_of(model))
    assert type(told.value) is error
    assert "no" in told.value.message


async def test_a_full_queue_is_left_alone_for_a_while() -> None:
    async with answering(429, {"error": {"code": "QuotaExceeded", "message": "no"}}) as account:
        with pytest.raises(ProviderThrottled) as told:
            await account.submit(video())
    assert told.value.details["retry_after"] == 60


VISUAL_ERRORS: list[tuple[int, int, type[GenPulseError]]] = [
    *((400, code, ContentBlocked) for code in (50411, 50412, 50413, 50511, 50512, 50516, 50517, 50518, 50519)),
    *((400, code, ProviderFailed) for code in (50520, 50521, 50522)),
    (429, 50429, ProviderThrottled),
    (429, 50430, ProviderThrottled),
    (500, 50500, ProviderUnavailable),
    (500, 50501, ProviderUnavailable),
    (400, 50215, ProviderRejected),
    (500, 59999, OutcomeUnknown),
]


@pytest.mark.parametrize(("status", "code", "error"), VISUAL_ERRORS)
async def test_what_visual_s_codes_mean(status: int, code: int, error: type[GenPulseError]) -> None:
    async with answering(status, {"code": code, "data": None, "message": "no", "status": code}) as account:
        with pytest.raises(GenPulseError) as told:
            await account.submit(call_of(JIMENG))
    assert type(told.value) is error


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "SignatureDoesNotMatch", ProviderAuthFailed),
        (200, "InvalidAccessKey", ProviderAuthFailed),
        (400, "InvalidTimestamp", ProviderAuthFailed),
        (403, "AccessDenied", ProviderAuthFailed),
        (403, "SomethingNew", ProviderAuthFailed),
        (404, "InvalidActionOrVersion", ProviderRejected),
        (429, "FlowLimitExceeded", ProviderThrottled),
        (500, "SomethingNew", OutcomeUnknown),
    ],
)
async def test_what_the_gateway_s_codes_mean(status: int, code: str, error: type[GenPulseError]) -> None:
    body = {"ResponseMetadata": {"Error": {"CodeN": 1, "Code": code, "Message": "no"}}, "code": 10000}
    async with answering(status, body) as account:
        with pytest.raises(GenPulseError) as told:
            await account.submit(call_of(JIMENG))
    assert type(told.value) is error


@asynccontextmanager
async def answering(status: int, body: object) -> AsyncIterator[Volcengine]:
    async with always(status, body) as client:
        yield Volcengine("http://cloud/api/v3", FULL, client)


LINKED = Media(path=Path("none.png"), media_type="image/png", url="https://files.example/a.png")
CALLS = {
    "image": call_of(SEEDREAM),
    "video": video(),
    "visual": call_of(JIMENG),
    "visual at once": upscaling(LINKED, LENS, {}),
}
EACH = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@EACH
async def test_wrong_credentials_are_refused(world: World[Volcengine], call: ModelCall) -> None:
    wrong = world.account(api_key="other", access_key="AKLTsim", secret_key="other")
    none = Volcengine(BASE, Credentials(), world.http)
    with pytest.raises(ProviderAuthFailed):
        await wrong.submit(call)
    with pytest.raises(ProviderAuthFailed, match="this model needs"):
        await none.submit(call)


async def test_a_clock_that_is_wrong_is_refused(world: World[Volcengine]) -> None:
    world.clock.advance(16 * 60)
    with pytest.raises(ProviderAuthFailed, match="expired"):
        await world.account().submit(call_of(JIMENG))


async def test_an_unknown_access_key_and_none_are_refused(world: World[Volcengine]) -> None:
    unknown = world.account(access_key="AKother", secret_key="sim-volcengine-secret")
    with pytest.raises(ProviderAuthFailed, match="access key is unknown"):
        await unknown.submit(call_of(JIMENG))
    answer = await world.http.post("http://sim/volcengine/?Action=CVSync2AsyncSubmitTask&Version=2022-08-31")
    assert answer.json()["ResponseMetadata"]["Error"]["Code"] == "MissingAuthenticationToken"


@EACH
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"type": "rate_limited"}, ProviderThrottled),
        ({"type": "server_error", "status": 500}, ProviderUnavailable),
        ({"type": "server_error", "html": True}, OutcomeUnknown),
        ({"type": "lost_answer"}, OutcomeUnknown),
        ({"type": "malformed"}, OutcomeUnknown),
        ({"type": "hung"}, OutcomeUnknown),
    ],
    ids=lambda one: one.get("type") if isinstance(one, dict) else "",
)
async def test_what_can_go_wrong_on_the_way(
    world: World[Volcengine], call: ModelCall, fault: dict[str, Any], error: type[GenPulseError]
) -> None:
    world.fault(**fault)
    with pytest.raises(error):
        await world.account().submit(call)


@EACH
@pytest.mark.parametrize(("code", "error"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_what_a_job_failed_with(
    world: World[Volcengine], call: ModelCall, code: str, error: type[GenPulseError]
) -> None:
    world.fault(type="fails", code=code)
    expected = ProviderUnavailable if call.model in {SEEDREAM, LENS} and code == "internal" else error
    with pytest.raises(expected):
        await world.made(call)


async def test_a_set_without_one_picture_is_refused() -> None:
    refused = {"error": {"code": "OutputImageSensitiveContentDetected", "message": "no"}}
    async with answering(200, {"data": [refused]}) as account:
        with pytest.raises(ContentBlocked):
            await account.submit(call_of(SEEDREAM))


async def test_pictures_are_in_the_answer_or_nowhere(world: World[Volcengine]) -> None:
    world.fault(type="no_outputs")
    with pytest.raises(ProviderFailed, match="without a picture"):
        await world.account().submit(call_of(SEEDREAM))
    async with answering(200, {"data": [{"b64_json": "abc"}]}) as account:
        with pytest.raises(OutcomeUnknown):
            await account.submit(call_of(SEEDREAM))


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        ("failed", "InvalidParameter.TaskTypeMismatch", ProviderRejected),
        ("failed", "ServerOverloaded", ProviderFailed),
        ("failed", None, ProviderFailed),
        ("expired", None, ProviderFailed),
        ("cancelled", None, ProviderRejected),
    ],
)
async def test_how_a_task_can_end(status: str, code: str | None, error: type[GenPulseError]) -> None:
    task = {"id": "cgt-1", "status": status, "error": {"code": code, "message": "no"} if code else None}
    async with answering(200, task) as account:
        with pytest.raises(GenPulseError) as told:
            await account.poll(Job(id="cgt-1"), video())
    assert type(told.value) is error


# Waiting, lost answers, cancelling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [video(), call_of(JIMENG)], ids=["video", "visual"])
async def test_a_job_is_waited_for(call: ModelCall) -> None:
    async with simulated(Simulated, Volcengine, seconds=4) as world:
        account = world.account()
        job = await account.submit(call)
        assert isinstance(job, Job)
        for _ in range(2):
            assert await account.poll(job, call) == Pending()
            world.clock.advance(2)
        state = await account.poll(job, call)
    assert isinstance(state, Finished)
    assert state.outputs


@pytest.mark.parametrize("call", [video(), call_of(JIMENG)], ids=["video", "visual"])
async def test_a_job_may_be_missing_or_empty(world: World[Volcengine], call: ModelCall) -> None:
    world.fault(type="hidden_at_first")
    job = await world.account().submit(call)
    assert isinstance(job, Job)
    with pytest.raises(JobMissing):
        await world.account().poll(job, call)
    assert isinstance(await world.account().poll(job, call), Finished)
    world.fault(type="no_outputs")
    assert not (await world.made(call)).outputs


async def test_a_task_of_jimeng_expires(world: World[Volcengine]) -> None:
    job = await world.account().submit(call_of(JIMENG))
    assert isinstance(job, Job)
    async with answering(200, {"code": 10000, "data": {"status": "expired"}}) as account:
        with pytest.raises(ProviderFailed, match="expired"):
            await account.poll(job, call_of(JIMENG))


async def test_a_task_of_jimeng_without_a_state_is_asked_for_again() -> None:
    async with answering(200, {"code": 10000, "data": {"image_urls": []}}) as account:
        with pytest.raises(ProviderUnavailable, match="do not know"):
            await account.poll(Job(id="1", handle={"req_key": "jimeng_t2i_v40"}), call_of(JIMENG))


async def test_images_of_jimeng_may_come_as_they_are() -> None:
    data = {"status": "done", "image_urls": None, "binary_data_base64": ["aGVsbG8="], "video_url": ""}
    async with answering(200, {"code": 10000, "data": data}) as account:
        state = await account.poll(Job(id="1", handle={"req_key": "jimeng_t2i_v40"}), call_of(JIMENG))
    assert isinstance(state, Finished)
    assert state.outputs[0].content == b"hello"


async def test_a_lost_task_is_found_in_the_list(world: World[Volcengine]) -> None:
    sent_at = datetime.now(UTC)
    assert await world.account().find(video(), sent_at=sent_at) is None
    world.fault(type="lost_answer")
    with pytest.raises(OutcomeUnknown):
        await world.account().submit(video())
    found = await world.account().find(video(), sent_at=sent_at)
    (job,) = world.simulator.find_jobs()
    assert found == Job(id=job.id)
    assert await world.account().find(video(), sent_at=sent_at + timedelta(hours=1)) is None
    for call in (call_of(SEEDREAM), call_of(JIMENG)):
        assert not world.account().can_find(call)


async def test_no_task_is_taken_for_a_lost_one_by_anything_but_its_mark(
    world: World[Volcengine], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_at = datetime.now(UTC)
    await world.account().submit(video())
    monkeypatch.setattr(Simulated, "shows_marks", False)
    assert await world.account().find(video(), sent_at=sent_at) is None
    theirs = video(options={"safety_identifier": "user-7"})
    await world.account().submit(theirs)
    assert world.sent()["safety_identifier"] == "user-7"
    assert not world.account().can_find(theirs)
    assert world.account().can_find(video(options={"seed": 7}))


async def test_tasks_of_an_endpoint_are_looked_for_among_all(world: World[Volcengine]) -> None:
    sent_at = datetime.now(UTC)
    asked = video(options={"model": "ep-20260101-x"})
    await world.account().submit(asked)
    assert await world.account().find(asked, sent_at=sent_at) is not None
    listed = world.simulator.record.find(cloud="volcengine", kind=Kind.OTHER)[-1]
    assert listed.query == {"page_num": "1", "page_size": "500"}


async def test_the_list_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ark, "_PAGES_APART", 0)

    def serve(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page_num"])
        mine = {"id": f"cgt-{page}", "status": "running", "safety_identifier": "gen_1-0-1", "created_at": 2**31}
        return httpx.Response(
            200, json={"total": 700, "items": [mine if page == 2 else mine | {"safety_identifier": ""}]}
        )

    async with httpx.AsyncClient(transport=httpx.MockTransport(serve)) as client:
        found = await Volcengine("", FULL, client).find(video(), sent_at=datetime.now(UTC))
    assert found == Job(id="cgt-2")


@pytest.mark.parametrize(("after", "state"), [(0, State.CANCELLED), (2, State.RUNNING), (5, State.SUCCEEDED)])
async def test_only_what_waits_can_be_cancelled(after: float, state: State) -> None:
    async with simulated(Simulated, Volcengine, seconds=4) as world:
        job = await world.account().submit(video())
        assert isinstance(job, Job)
        world.clock.advance(after)
        await world.account().cancel(job)
        assert world.simulator.find_jobs()[0].state is state
        await world.account().cancel(Job(id="cgt-unknown"))
        await world.account().cancel(Job(id="1", handle={"req_key": "jimeng_t2i_v40"}))


async def test_the_task_calls_back() -> None:
    bodies: list[bytes] = []

    async def take(request: Request) -> Response:
        bodies.append(await request.body())
        return Response(status_code=204)

    app = Starlette(routes=[Route("/hook", take, methods=["POST"])])
    async with simulated(Simulated, Volcengine, callbacks=httpx.ASGITransport(app), seconds=2) as world:
        job = await world.account().submit(video(callback_url="http://receiver/hook"))
        assert isinstance(job, Job)
        world.clock.advance(3)
        async with asyncio.timeout(5):
            while len(bodies) < 2:  # noqa: ASYNC110 - facts have no events
                await asyncio.sleep(0.005)
        assert [json.loads(body)["id"] for body in bodies] == [job.id, job.id]
        assert [json.loads(body)["status"] for body in bodies] == ["running", "succeeded"]


# The simulated cloud itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"prompt": "x"}, "MissingParameter"),
        ({"model": "doubao-seededit-3-0-i2i-250628", "prompt": "x"}, "InvalidEndpointOrModel.NotFound"),
        ({"model": "doubao-seedream-4-5-251128", "prompt": "x", "size": "1024x1024"}, "InvalidParameter"),
        ({"model": "doubao-seedream-4-5-251128", "prompt": "x", "size": "3K"}, "InvalidParameter"),
        ({"model": "doubao-seedream-4-5-251128", "prompt": "x", "image": ""}, "InvalidImageURL.EmptyURL"),
        ({"model": "doubao-seedream-4-5-251128", "prompt": "x", "image": "a.png"}, "InvalidImageURL.InvalidFormat"),
        ({"model": "doubao-seedream-4-5-251128", "prompt": "x", "image": ["https://a/b"] * 15}, "InvalidParameter"),
    ],
)
async def test_the_simulator_refuses_wrong_images(world: World[Volcengine], body: dict[str, Any], code: str) -> None:
    answer = await world.http.post(IMAGES, headers=BEARER, json=body)
    assert answer.json()["error"]["code"] == code
    assert not world.simulator.find_jobs()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": "doubao-seedance-1-5-pro-251215"}, "InvalidEndpointOrModel.NotFound"),
        ({"resolution": "8k"}, "InvalidParameter"),
        ({"duration": 3}, "InvalidParameter"),
        ({"frames": 30}, "InvalidParameter"),
        ({"safety_identifier": "x" * 65}, "InvalidParameter"),
        ({"content": []}, "InvalidParameter"),
        ({"model": "doubao-seedance-1-0-pro-250528", "generate_audio": True}, "InvalidParameter.UnsupportedParameter"),
        ({"model": "doubao-seedance-1-0-pro-250528", "ratio": "adaptive"}, "InvalidParameter"),
        ({"draft": True}, "InvalidParameter.UnsupportedParameter"),
        ({"roles": ["reference_image"] * 10}, "InvalidParameter"),
        (
            {"model": "doubao-seedance-2-5-260628", "omni_reference_task_type": "edit", "ratio": "1:1"},
            "InvalidParameter",
        ),
        ({"roles": ["last_frame"]}, "InvalidParameter"),
        ({"roles": ["first_frame", "reference_image"]}, "InvalidParameter"),
        (
            {"content": [{"type": "video_url", "video_url": {"url": "data:x"}, "role": "reference_video"}]},
            "InvalidParameter",
        ),
    ],
)
async def test_the_simulator_refuses_wrong_tasks(world: World[Volcengine], changes: dict[str, Any], code: str) -> None:
    link = {"type": "image_url", "image_url": {"url": "https://a/b.png"}}
    body = {"model": "doubao-seedance-2-0-260128", "content": [{"type": "text", "text": "x"}]} | changes
    body["content"] = body["content"] + [link | {"role": role} for role in body.pop("roles", [])]
    answer = await world.http.post(TASKS, headers=BEARER, json=body)
    assert answer.json()["error"]["code"] == code


async def test_the_simulator_takes_null_for_absent_and_endpoints_for_models(world: World[Volcengine]) -> None:
    body = {"model": "ep-20260101-x", "prompt": "x", "image": None, "size": "2K", "seed": None, "stream": None}
    assert (await world.http.post(IMAGES, headers=BEARER, json=body)).status_code == 200


async def test_the_simulator_streams_pictures(world: World[Volcengine]) -> None:
    body = {"model": "doubao-seedream-4-0-250828", "prompt": "x", "size": "2K", "stream": True}
    text = (await world.http.post(IMAGES, headers=BEARER, json=body)).text
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert [json.loads(event)["type"] for event in events[:-1]] == [
        "image_generation.partial_succeeded",
        "image_generation.completed",
    ]
    assert events[-1] == "[DONE]"


async def test_the_simulator_lists_and_deletes_tasks(world: World[Volcengine]) -> None:
    ids = []
    for model in ("seedance-2", "seedance-2-fast"):
        job = await world.account().submit(call_of(model, Operation.TEXT_TO_VIDEO))
        assert isinstance(job, Job)
        ids.append(job.id)

    async def listed(query: str) -> Any:
        return (await world.http.get(f"{TASKS}?{query}", headers=BEARER)).json()

    assert [one["id"] for one in (await listed(""))["items"]] == ids[::-1]
    assert (await listed("page_size=1&page_num=2"))["items"][0]["id"] == ids[0]
    assert (await listed(f"filter.task_ids={ids[0]}&filter.task_ids=x"))["total"] == 1
    assert (await listed("filter.status=failed"))["total"] == 0
    assert (await listed("page_size=501"))["error"]["code"] == "InvalidParameter"
    assert (await world.http.delete(f"{TASKS}/{ids[0]}", headers=BEARER)).json() == {}
    assert (await world.http.get(f"{TASKS}/{ids[0]}", headers=BEARER)).json()["error"]["code"] == "NotFound"


async def test_the_simulator_refuses_to_cancel_what_runs() -> None:
    async with simulated(Simulated, Volcengine, seconds=4) as world:
        job = await world.account().submit(video())
        assert isinstance(job, Job)
        world.clock.advance(2)
        answer = await world.http.delete(f"{TASKS}/{job.id}", headers=BEARER)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "TaskRunningCannotCancel")


async def act(world: World[Volcengine], action: str, body: dict[str, Any]) -> Any:
    """Ask Visual something, signed."""
    signer = VolcengineSigner(access_key="AKLTsim", secret_key=SecretStr("sim-volcengine-secret"))
    auth = SignedAuth(signer, lambda: datetime.fromtimestamp(world.clock.now(), UTC))
    url = f"http://sim/volcengine/?Action={action}&Version=2022-08-31"
    return (await world.http.post(url, json=body, auth=auth)).json()


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "x"},
        {"req_key": "jimeng_unknown", "prompt": "x"},
        {"req_key": "jimeng_t2i_v40"},
        {"req_key": "jimeng_t2i_v40", "prompt": "x" * 801},
        {"req_key": "jimeng_i2v_first_v30", "prompt": "x"},
        {"req_key": "jimeng_t2v_v30", "prompt": "x", "frames": 122},
    ],
)
async def test_the_simulator_refuses_what_jimeng_does_not_take(world: World[Volcengine], body: dict[str, Any]) -> None:
    assert (await act(world, "CVSync2AsyncSubmitTask", body))["code"] == 50215


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("CVProcess", {"req_key": "lens_nnsr2_pic_common", "image_urls": ["https://a/b"]}),
        ("CVProcess", {"req_key": "lens_lqir", "image_urls": ["https://a/b"]}),
        ("EnhancePhotoV2", {"req_key": "lens_lqir"}),
    ],
)
async def test_the_simulator_refuses_what_cannot_be_enlarged(
    world: World[Volcengine], action: str, body: dict[str, Any]
) -> None:
    assert (await act(world, action, body))["code"] == 50215


async def test_the_simulator_keeps_jimeng_s_tasks_for_half_a_day(world: World[Volcengine]) -> None:
    sent = await act(world, "CVSubmitTask", {"req_key": "jimeng_t2i_v40", "prompt": "x"})
    asked = {"req_key": "jimeng_t2i_v40", "task_id": sent["data"]["task_id"]}
    for req_json in ({}, {"req_json": "{"}):
        data = (await act(world, "CVGetResult", asked | req_json))["data"]
        assert (data["image_urls"], len(data["binary_data_base64"])) == (None, 1)
    other = await act(world, "CVGetResult", asked | {"req_key": "jimeng_t2v_v30"})
    assert other["data"] == {"status": "not_found"}
    world.clock.advance(13 * 3600)
    assert (await act(world, "CVGetResult", asked))["data"] == {"status": "expired"}


async def test_the_gateway_knows_its_actions_and_the_time(world: World[Volcengine]) -> None:
    unknown = await act(world, "CVNothing", {})
    assert unknown["ResponseMetadata"]["Error"]["Code"] == "InvalidActionOrVersion"
    proof = "HMAC-SHA256 Credential=AKLTsim/20260101/cn-north-1/cv/request, SignedHeaders=host, Signature=0"
    headers = {"Authorization": proof, "X-Date": "soon"}
    answer = await world.http.post("http://sim/volcengine/?Action=CVProcess", headers=headers)
    assert answer.json()["ResponseMetadata"]["Error"]["Code"] == "InvalidTimestamp"


async def test_a_picture_is_no_task(world: World[Volcengine]) -> None:
    await world.account().submit(call_of(SEEDREAM))
    (job,) = world.simulator.find_jobs()
    with pytest.raises(JobMissing):
        await world.account().poll(Job(id=job.id), video())
