"""Luma: its client against the simulated cloud, every model of the catalogue, every error, and what is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

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
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Pending
from genpulse.providers.luma import Luma
from genpulse.providers.luma.model import ModelWire, change
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.clouds.luma import Luma as Simulated
from genpulse.simulator.credentials import LUMA
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, always, operations_of, simulated, world_of

world = world_of(Simulated, Luma)
call = Calls("luma", operation=Operation.TEXT_TO_VIDEO, prompt="a fox")
SPECS = call.specs
ALL = operations_of(SPECS.values())
TEXT, FRAMES, VIDEO = Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO, Operation.VIDEO_TO_VIDEO
DRAW, EDIT = Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE
ON_EARLIER = ("video-upscale", "video-sound")
BOTH = pytest.mark.parametrize("model", ["ray-3.2", "ray-2"])
PICTURE = "https://files.example/input.png"
CLIP = "https://files.example/input.mp4"
VALUES: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "rain",
    "aspect_ratio": "9:16",
    "resolution": "720p",
    "duration": 5.0,
    "strength": 0.4,
}


@pytest.fixture(scope="module")
def linked(files: Files) -> Files:
    """The picture has an address too, and so is not sent along."""
    return files | {MediaKind.IMAGE: replace(files[MediaKind.IMAGE], url=PICTURE)}


def filled(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    media = {name: [files[MEDIA_FIELDS[name]]] for name in fields if name in MEDIA_FIELDS}
    given = {name: VALUES[name] for name in fields if name not in MEDIA_FIELDS}
    if spec.name == "uni-1-layers" and every:
        given["resolution"] = "2k"
    return replace(call(spec.name, operation, media), input=given)


async def earlier(world: World[Luma], model: str = "ray-2") -> str:
    """A video that Luma has made before."""
    job = await world.account().submit(call(model))
    world.clock.advance(60)
    return job.id


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Luma], linked: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    asked = filled(spec, operation, linked, every=every)
    if spec.name in ON_EARLIER:
        asked = replace(asked, options={"generation_id": await earlier(world)})
    state = await world.made(asked)
    assert len(state.outputs) == (2 if spec.name == "uni-1-layers" else 1)
    for output in state.outputs:
        assert output.url is not None
        answer = await world.http.get(output.url)
        assert answer.headers["Content-Type"].startswith(str(spec.operations[operation].output))


def test_what_the_router_may_choose() -> None:
    assert {spec.name for spec in SPECS.values() if not spec.hidden} == {"uni-1", "uni-1-max", "ray-3.2"}


def test_dream_machine_is_given_addresses_of_pictures() -> None:
    """And of nothing else: what is not marked so is sent along, which it does not take."""
    for spec, operation in ALL:
        is_dream = ModelWire.model_validate(spec.wire_of(operation)).form.is_dream
        offered = spec.operations[operation]
        pictures = {name for name in offered.fields if MEDIA_FIELDS.get(name) is MediaKind.IMAGE}
        assert offered.images.keys() == pictures
        assert {rules.encodings == ("url",) for rules in offered.images.values()} <= {is_dream}


# What is sent to the Agents API ---------------------------------------------------------------------------------------


async def test_a_picture_with_references(world: World[Luma], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    asked = call(
        "uni-1-max",
        DRAW,
        {"reference_images": [picture, replace(picture, url=PICTURE)]},
        aspect_ratio="16:9",
        options={"output_format": "jpeg", "web_search": True},
    )
    state = await world.made(asked)
    assert world.sent() == {
        "type": "image",
        "model": "uni-1-max",
        "prompt": "a fox",
        "aspect_ratio": "16:9",
        "image_ref": [{"data": picture.base64(), "media_type": "image/png"}, {"url": PICTURE}],
        "output_format": "jpeg",
        "web_search": True,
    }
    entry = world.simulator.record.find(kind=Kind.SUBMIT)[-1]
    assert (entry.path, entry.headers["x-request-id"]) == ("/luma/v1/generations", "gen_1-0-1")
    assert state.outputs[0].url is not None
    assert state.outputs[0].url.endswith(".jpg")


async def test_an_edit_of_a_picture(world: World[Luma], linked: Files) -> None:
    await world.made(call("uni-1", EDIT, {"image": [linked[MediaKind.IMAGE]]}))
    assert world.sent() == {"type": "image_edit", "model": "uni-1", "prompt": "a fox", "source": {"url": PICTURE}}


async def test_layers_need_no_prompt(world: World[Luma], linked: Files) -> None:
    asked = call("uni-1-layers", EDIT, {"image": [linked[MediaKind.IMAGE]]}, resolution="2k")
    await world.made(replace(asked, input={"resolution": "2k"}))
    assert world.sent() == {
        "type": "layering",
        "model": "uni-1",
        "prompt": "",
        "source": {"url": PICTURE},
        "layering": {"resolution": "2k"},
    }


async def test_a_video_from_text(world: World[Luma]) -> None:
    await world.made(call("ray-3.2", aspect_ratio="21:9", resolution="1080p", duration=10.0))
    assert world.sent() == {
        "type": "video",
        "model": "ray-3.2",
        "prompt": "a fox",
        "aspect_ratio": "21:9",
        "video": {"resolution": "1080p", "duration": "10s"},
    }
    await world.made(call("ray-3.2"))
    assert world.sent() == {"type": "video", "model": "ray-3.2", "prompt": "a fox"}


async def test_frames_of_a_short_video_go_by_name(world: World[Luma], linked: Files) -> None:
    picture = linked[MediaKind.IMAGE]
    await world.made(call("ray-3.2", FRAMES, {"image": [picture], "last_image": [picture]}, duration=5.0))
    assert world.sent()["video"] == {
        "duration": "5s",
        "start_frame": {"url": PICTURE},
        "end_frame": {"url": PICTURE},
    }


@pytest.mark.parametrize(("names", "indexes"), [(["image"], [0]), (["image", "last_image"], [0, 240])])
async def test_frames_of_a_long_video_go_by_their_place(
    world: World[Luma], linked: Files, names: list[str], indexes: list[int]
) -> None:
    media = {name: [linked[MediaKind.IMAGE]] for name in names}
    await world.made(call("ray-3.2", FRAMES, media, duration=10.0))
    assert world.sent()["video"] == {
        "duration": "10s",
        "keyframes": [{"url": PICTURE}] * len(names),
        "keyframe_indexes": indexes,
    }


async def test_an_edit_of_a_video(world: World[Luma], files: Files) -> None:
    media = {"video": [files[MediaKind.VIDEO]], "image": [files[MediaKind.IMAGE]]}
    options = {"video": {"edit": {"auto_controls": True}, "hdr": True}}
    await world.made(call("ray-3.2", VIDEO, media, resolution="720p", strength=0.95, options=options))
    picture = files[MediaKind.IMAGE]
    assert world.sent() == {
        "type": "video_edit",
        "model": "ray-3.2",
        "prompt": "a fox",
        "source": {"url": CLIP, "media_type": "video/mp4"},
        "video": {
            "resolution": "720p",
            "start_frame": {"data": picture.base64(), "media_type": "image/png"},
            "edit": {"strength": "reimagine_3", "auto_controls": True},
            "hdr": True,
        },
    }


async def test_a_video_without_an_address_goes_along(world: World[Luma], files: Files) -> None:
    clip = replace(files[MediaKind.VIDEO], url=None)
    await world.made(call("ray-3.2-reframe", VIDEO, {"video": [clip]}, aspect_ratio="9:16", resolution="540p"))
    assert world.sent() == {
        "type": "video_reframe",
        "model": "ray-3.2",
        "prompt": "a fox",
        "aspect_ratio": "9:16",
        "source": {"data": clip.base64(), "media_type": "video/mp4"},
        "video": {"resolution": "540p"},
    }


async def test_an_earlier_video_is_continued_by_an_option(world: World[Luma]) -> None:
    made = await earlier(world, "ray-3.2")
    options = {"video": {"start_frame": {"generation_id": made}}}
    assert (await world.made(call("ray-3.2", duration=5.0, options=options))).outputs
    assert world.sent()["video"] == {"duration": "5s", "start_frame": {"generation_id": made}}


@pytest.mark.parametrize(
    ("strength", "word"),
    [
        (0.0, "adhere_1"),
        (0.12, "adhere_2"),
        (0.34, "flex_1"),
        (0.5, "flex_2"),
        (0.7, "reimagine_1"),
        (1, "reimagine_3"),
    ],
)
def test_strength_in_steps(strength: float, word: str) -> None:
    assert change(strength) == word


# What is sent to Dream Machine ----------------------------------------------------------------------------------------


async def test_a_dream_between_two_pictures(world: World[Luma], linked: Files) -> None:
    picture = linked[MediaKind.IMAGE]
    asked = call(
        "ray-flash-2",
        FRAMES,
        {"image": [picture], "last_image": [picture]},
        aspect_ratio="9:21",
        resolution="4k",
        duration=9.0,
        options={"loop": True, "concepts": [{"key": "handheld"}]},
        callback_url="https://us.example/x",
    )
    await world.made(asked)
    assert world.sent() == {
        "model": "ray-flash-2",
        "prompt": "a fox",
        "aspect_ratio": "9:21",
        "resolution": "4k",
        "duration": "9s",
        "keyframes": {"frame0": {"type": "image", "url": PICTURE}, "frame1": {"type": "image", "url": PICTURE}},
        "loop": True,
        "concepts": [{"key": "handheld"}],
        "callback_url": "https://us.example/x",
    }


async def test_a_dream_is_continued_by_an_option(world: World[Luma]) -> None:
    frame = {"type": "generation", "id": await earlier(world)}
    await world.made(call("ray-2", options={"keyframes": {"frame0": frame}}))
    assert world.sent() == {"model": "ray-2", "prompt": "a fox", "keyframes": {"frame0": frame}}


async def test_a_change_of_a_picture(world: World[Luma], linked: Files) -> None:
    picture = linked[MediaKind.IMAGE]
    media = {"image": [picture], "reference_images": [picture, picture]}
    await world.made(call("photon-1", EDIT, media, strength=0.3, options={"format": "png"}))
    assert world.sent() == {
        "model": "photon-1",
        "prompt": "a fox",
        "image_ref": [{"url": PICTURE}, {"url": PICTURE}],
        "modify_image_ref": {"url": PICTURE, "weight": 0.7},
        "format": "png",
    }


async def test_a_change_of_a_video_has_a_mode(world: World[Luma], files: Files) -> None:
    await world.made(call("ray-2", VIDEO, {"video": [files[MediaKind.VIDEO]]}))
    assert world.sent() == {
        "generation_type": "modify_video",
        "model": "ray-2",
        "mode": "flex_2",
        "prompt": "a fox",
        "media": {"url": CLIP},
    }


@pytest.mark.parametrize(
    ("model", "field"), [("ray-2-reframe", MediaKind.VIDEO), ("photon-1-reframe", MediaKind.IMAGE)]
)
async def test_another_shape(world: World[Luma], linked: Files, model: str, field: MediaKind) -> None:
    operation = next(iter(SPECS[model].operations))
    await world.made(call(model, operation, {str(field): [linked[field]]}, aspect_ratio="1:1"))
    assert world.sent() == {
        "generation_type": f"reframe_{field}",
        "model": model.removesuffix("-reframe"),
        "prompt": "a fox",
        "aspect_ratio": "1:1",
        "media": {"url": linked[field].url},
    }
    assert world.simulator.record.find(kind=Kind.SUBMIT)[-1].path.endswith(f"/generations/{field}/reframe")


@pytest.mark.parametrize(
    ("model", "given", "path", "kind"),
    [
        ("video-upscale", {"resolution": "4k"}, "upscale", "upscale_video"),
        ("video-sound", {"prompt": "wind", "negative_prompt": "voices"}, "audio", "add_audio"),
    ],
)
async def test_work_on_an_earlier_dream(
    world: World[Luma], model: str, given: dict[str, Any], path: str, kind: str
) -> None:
    made, operation = await earlier(world), next(iter(SPECS[model].operations))
    asked = replace(call(model, operation, options={"generation_id": made}), input=given)
    assert (await world.made(asked)).outputs
    assert world.sent() == given | {"generation_type": kind}
    assert world.simulator.record.find(kind=Kind.SUBMIT)[-1].path.endswith(f"/generations/{made}/{path}")


@pytest.mark.parametrize("made", [None, "", 7, "a/b", "../credits", "a?b"])
@pytest.mark.parametrize("model", ON_EARLIER)
async def test_which_dream_has_to_be_said(world: World[Luma], model: str, made: object) -> None:
    options = {} if made is None else {"generation_id": made}
    asked = call(model, next(iter(SPECS[model].operations)), options=options)
    error = await world.refused(asked)
    assert (type(error), error.field) == (InvalidInput, "provider_options.generation_id")
    assert world.simulator.record.find() == []


@pytest.mark.parametrize(
    ("model", "operation", "name"),
    [
        ("ray-2", FRAMES, "image"),
        ("ray-2", VIDEO, "video"),
        ("photon-1", DRAW, "reference_images"),
        ("photon-1-reframe", EDIT, "image"),
    ],
)
async def test_dream_machine_takes_addresses_only(
    world: World[Luma], files: Files, model: str, operation: Operation, name: str
) -> None:
    file = replace(files[MEDIA_FIELDS[name]], url=None)
    error = await world.refused(call(model, operation, {name: [file]}, aspect_ratio="1:1"))
    assert (type(error), error.field, "URL" in error.message) == (InvalidInput, f"input.{name}", True)
    assert world.simulator.record.find() == []


@pytest.mark.parametrize(("model", "seconds", "words"), [("ray-3.2", 7.0, "5 or 10"), ("ray-2", 8.0, "5 or 9")])
async def test_lengths(world: World[Luma], model: str, seconds: float, words: str) -> None:
    error = await world.refused(call(model, duration=seconds))
    assert (type(error), error.field, words in error.message) == (InvalidInput, "input.duration", True)


# Errors ---------------------------------------------------------------------------------------------------------------


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> Luma:
    account = Credentials(api_key="x", access_key="y")
    return Luma("http://sim/v1", account, always(status, body, headers))


@BOTH
@pytest.mark.parametrize(
    ("status", "detail", "kind"),
    [
        (400, "prompt is required", ProviderRejected),
        (400, "Prompt is not allowed because advanced moderation failed", ContentBlocked),
        (400, "Insufficient credits", ProviderQuotaSpent),
        (400, None, ProviderRejected),
        (401, "Invalid API key", ProviderAuthFailed),
        (402, "balance is empty", ProviderQuotaSpent),
        (403, "forbidden", ProviderAuthFailed),
        (404, "Generation not found", ProviderRejected),
        (413, "too large", ProviderRejected),
        (422, [{"loc": ["body", "prompt"], "msg": "Field required", "type": "missing"}], ProviderRejected),
        (422, ["odd"], ProviderRejected),
        (422, "odd", ProviderRejected),
        (429, "Rate limit exceeded", ProviderThrottled),
        (500, "oops", OutcomeUnknown),
        (504, "oops", OutcomeUnknown),
    ],
)
async def test_a_refusal(model: str, status: int, detail: object, kind: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError) as error:
        await answering(status, {"detail": detail}).submit(call(model))
    assert type(error.value) is kind
    if isinstance(detail, list) and isinstance(detail[0], dict):
        assert "Field required (at prompt)" in error.value.message


@pytest.mark.parametrize("status", [502, 503])
async def test_down(status: int) -> None:
    """The Agents API asks to try again; of Dream Machine nothing of the kind is known, nor of a proxy's page."""
    with pytest.raises(ProviderUnavailable):
        await answering(status, {"detail": "down"}).submit(call("ray-3.2"))
    for model, body in (("ray-2", {"detail": "down"}), ("ray-3.2", "<html>")):
        with pytest.raises(OutcomeUnknown):
            await answering(status, body).submit(call(model))


@BOTH
async def test_when_to_come_back(model: str) -> None:
    with pytest.raises(ProviderThrottled) as error:
        await answering(429, {"detail": "slow down"}, {"Retry-After": "17"}).submit(call(model))
    assert error.value.details["retry_after"] == 17


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("content_moderated", ContentBlocked),
        ("generation_failed", ProviderFailed),
        ("budget_exhausted", ProviderQuotaSpent),
        ("output_not_found", ProviderFailed),
        ("image_too_large", ProviderRejected),
        ("unsupported_format", ProviderRejected),
        ("corrupt_input", ProviderRejected),
        ("invalid_request", ProviderRejected),
        ("rate_limited", ProviderFailed),
        ("new_code", ProviderFailed),
        (None, ProviderFailed),
    ],
)
async def test_why_a_generation_failed(code: str | None, kind: type[GenPulseError]) -> None:
    body = {"id": "1", "state": "failed", "failure_code": code, "failure_reason": "no luck"}
    with pytest.raises(GenPulseError, match="no luck") as error:
        await answering(200, body).poll(Job(id="1"), call("ray-3.2"))
    assert (type(error.value), (code or "") in error.value.message) == (kind, True)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("The output was moderated", ContentBlocked), ("Out of dreams", ProviderFailed), (None, ProviderFailed)],
)
async def test_why_a_dream_failed(reason: str | None, kind: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError) as error:
        await answering(200, {"id": "1", "state": "failed", "failure_reason": reason}).poll(Job(id="1"), call("ray-2"))
    assert type(error.value) is kind


@BOTH
@pytest.mark.parametrize("body", [{}, {"id": ""}, {"detail": "x"}, [], "x", None])
async def test_an_answer_without_a_generation_is_no_answer(model: str, body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(201, body).submit(call(model))
    with pytest.raises(ProviderUnavailable):
        await answering(200, body).poll(Job(id="1"), call(model))


@BOTH
@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_a_generation_that_fails(world: World[Luma], model: str, code: str, kind: type[GenPulseError]) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(call(model))) is kind


@BOTH
async def test_a_wrong_key_is_refused(world: World[Luma], model: str) -> None:
    with pytest.raises(ProviderAuthFailed, match="Invalid API key"):
        await world.account(api_key="luma-wrong", access_key="luma-wrong").submit(call(model))


@pytest.mark.parametrize(("model", "missing"), [("ray-3.2", "api_key"), ("ray-2", "access_key")])
async def test_each_product_has_a_key_of_its_own(world: World[Luma], model: str, missing: str) -> None:
    keys = {"api_key": LUMA.api_key, "access_key": LUMA.access_key}
    account = world.account(**{name: key for name, key in keys.items() if name != missing})
    for asking in (account.submit(call(model)), account.poll(Job(id="1"), call(model))):
        with pytest.raises(ProviderAuthFailed, match=f"LUMA__{missing.upper()}"):
            await asking
    other = {"ray-3.2": "ray-2", "ray-2": "ray-3.2"}[model]
    assert (await world.made(call(other), account)).outputs


@pytest.mark.parametrize(
    ("base", "model", "url"),
    [
        ("", "ray-3.2", "https://agents.lumalabs.ai/v1/generations"),
        ("", "ray-2", "https://api.lumalabs.ai/dream-machine/v1/generations/video"),
        ("https://gate.example/luma/v1/", "ray-3.2", "https://gate.example/luma/v1/generations"),
        ("https://gate.example/luma/v1", "ray-2", "https://gate.example/luma/dream-machine/v1/generations/video"),
    ],
)
async def test_where_calls_go(base: str, model: str, url: str) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201, json={"id": "1", "state": "queued"})

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    await Luma(base, Credentials(api_key="new", access_key="old"), client).submit(call(model))
    key = "new" if model == "ray-3.2" else "old"
    assert (str(seen[0].url), seen[0].headers["Authorization"]) == (url, f"Bearer {key}")


# Generations ----------------------------------------------------------------------------------------------------------


@BOTH
async def test_a_generation_goes_through_its_states(model: str) -> None:
    async with simulated(Simulated, Luma, seconds=8) as world:
        cloud, asked = world.account(), call(model)
        job = await cloud.submit(asked)
        for seconds in (0, 4):
            world.clock.advance(seconds)
            assert await cloud.poll(job, asked) == Pending()
        world.clock.advance(4)
        assert isinstance(await cloud.poll(job, asked), Finished)


@BOTH
async def test_a_generation_may_be_missing_at_first(world: World[Luma], model: str) -> None:
    world.fault(type="hidden_at_first")
    job = await world.account().submit(call(model))
    with pytest.raises(JobMissing):
        await world.account().poll(job, call(model))
    assert isinstance(await world.account().poll(job, call(model)), Finished)


@BOTH
async def test_done_without_a_file_is_passed_on(world: World[Luma], model: str) -> None:
    world.fault(type="no_outputs")
    assert (await world.made(call(model))).outputs == []


@BOTH
@pytest.mark.parametrize("fault", ["lost_answer", "malformed", "hung", "connection_reset"])
async def test_a_lost_answer_stays_unknown(world: World[Luma], model: str, fault: str) -> None:
    world.fault(type=fault, times=1)
    cloud, asked = world.account(), call(model)
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(asked)
    assert not (cloud.can_find(asked) or cloud.remembers_key(asked))
    assert len(world.simulator.find_jobs()) == (1 if fault in ("lost_answer", "malformed") else 0)


@BOTH
async def test_nothing_is_cancelled(world: World[Luma], model: str) -> None:
    cloud = world.account()
    job = await cloud.submit(call(model))
    await cloud.cancel(job)
    assert not cloud.can_cancel
    assert world.simulator.record.find(kind=Kind.CANCEL) == []


async def test_a_picture_made_while_one_waits(world: World[Luma]) -> None:
    job = await world.account().submit(call("photon-1", DRAW, options={"sync": True}))
    assert isinstance(await world.account().poll(job, call("photon-1", DRAW)), Finished)


# Callbacks ------------------------------------------------------------------------------------------------------------


async def test_dream_machine_calls_back_without_a_signature() -> None:
    told: list[tuple[httpx.Headers, Any]] = []

    def receive(request: httpx.Request) -> httpx.Response:
        told.append((request.headers, json.loads(request.content)))
        return httpx.Response(200)

    async with simulated(Simulated, Luma, callbacks=httpx.MockTransport(receive)) as world:
        job = await world.account().submit(call("ray-2", callback_url="https://us.example/x"))
        while len(told) < 2:
            await world.http.get("http://sim/luma/")
    assert [(body["id"], body["state"]) for _, body in told] == [(job.id, "dreaming"), (job.id, "completed")]
    assert "Authorization" not in told[0][0]


async def test_the_agents_api_is_given_no_address(world: World[Luma]) -> None:
    await world.made(call("uni-1", DRAW, callback_url="https://us.example/x"))
    assert world.sent() == {"type": "image", "model": "uni-1", "prompt": "a fox"}


# The simulated cloud --------------------------------------------------------------------------------------------------

DREAM = "http://sim/luma/dream-machine/v1"
AGENTS = "http://sim/luma/v1"


async def told(world: World[Luma], method: str, url: str, **sent: Any) -> httpx.Response:
    key = LUMA.access_key if url.startswith(DREAM) else LUMA.api_key
    return await world.http.request(method, url, headers={"Authorization": f"Bearer {key}"}, **sent)


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "a fox", "model": "ray-2"},
        {"prompt": "a fox", "size": 1},
        {"prompt": " "},
        {"prompt": "a fox", "type": "video"},
        {"prompt": "a fox", "aspect_ratio": "5:4"},
        {"prompt": "a fox", "source": {"url": PICTURE}},
        {"prompt": "a fox", "type": "image_edit"},
        {"prompt": "a fox", "image_ref": [{"url": PICTURE}] * 10},
        {"prompt": "a fox", "image_ref": [{"url": PICTURE, "data": "eA=="}]},
        {"prompt": "a fox", "image_ref": [{"data": "eA=="}]},
        {"prompt": "a fox", "image_ref": [{"data": "?", "media_type": "image/png"}]},
        {"prompt": "a fox", "image_ref": [{"generation_id": "unknown"}]},
        {"prompt": "a fox", "type": "video_edit", "model": "ray-3.2", "source": {"url": CLIP}},
        {"prompt": "a fox", "type": "video", "model": "ray-3.2", "video": {"duration": "9s"}},
        {
            "prompt": "a fox",
            "type": "video",
            "model": "ray-3.2",
            "video": {"duration": "10s", "start_frame": {"url": PICTURE}},
        },
        {"prompt": "a fox", "type": "video", "model": "ray-3.2", "video": {"keyframes": [{"url": PICTURE}]}},
        {"prompt": "a fox", "type": "video", "model": "ray-3.2", "video": {"edit": {"strength": "flex_1"}}},
    ],
)
async def test_the_agents_api_is_strict(world: World[Luma], body: dict[str, Any]) -> None:
    answer = await told(world, "POST", f"{AGENTS}/generations", json=body)
    assert (answer.status_code, type(answer.json()["detail"])) == (422, str)
    assert answer.headers["X-API-Version"] == "2026-04-01"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("video", {"model": "ray-3", "prompt": "a fox"}),
        ("video", {"model": "ray-2"}),
        ("video", {"model": "ray-2", "prompt": "a fox", "duration": "6s"}),
        ("video", {"model": "ray-2", "prompt": "a fox", "keyframes": {"frame0": {"type": "image", "id": "x"}}}),
        ("image", {"model": "photon-1", "prompt": "a fox", "image_ref": [{"url": "data:image/png;base64,eA=="}]}),
        ("video/modify", {"generation_type": "modify_video", "model": "ray-2", "media": {"url": CLIP}}),
        ("image/reframe", {"generation_type": "reframe_image", "model": "photon-1", "media": {"url": PICTURE}}),
    ],
)
async def test_dream_machine_is_strict(world: World[Luma], path: str, body: dict[str, Any]) -> None:
    answer = await told(world, "POST", f"{DREAM}/generations/{path}", json=body)
    assert (answer.status_code, type(answer.json()["detail"])) == (400, str)


async def test_products_do_not_see_each_other(world: World[Luma]) -> None:
    new, old = await earlier(world, "ray-3.2"), await earlier(world)
    assert (await told(world, "GET", f"{DREAM}/generations/{new}")).status_code == 404
    assert (await told(world, "GET", f"{AGENTS}/generations/{old}")).status_code == 404
    assert (await told(world, "POST", f"{DREAM}/generations/{new}/upscale", json={})).status_code == 404


async def test_dreams_are_listed_and_deleted(world: World[Luma]) -> None:
    ids = [await earlier(world) for _ in range(3)]
    page = (await told(world, "GET", f"{DREAM}/generations", params={"limit": 2})).json()
    assert [one["id"] for one in page["generations"]] == ids[:0:-1]
    assert (page["count"], page["has_more"]) == (3, True)
    assert (await told(world, "GET", f"{DREAM}/generations", params={"limit": "x"})).status_code == 400
    assert (await told(world, "DELETE", f"{DREAM}/generations/{ids[0]}")).status_code == 204
    assert (await told(world, "GET", f"{DREAM}/generations/{ids[0]}")).status_code == 404


async def test_a_file_is_uploaded_and_used(world: World[Luma], files: Files) -> None:
    content = files[MediaKind.IMAGE].path.read_bytes()
    new = {"mime_type": "image/png", "size_bytes": len(content), "filename": "a.png"}
    made = (await told(world, "POST", f"{AGENTS}/files", json=new)).json()
    options = {"image_ref": [{"file_id": made["id"]}]}
    assert type(await world.refused(call("uni-1", DRAW, options=options))) is ProviderRejected
    put = made["upload"]
    assert (await world.http.put(put["url"], headers={"Content-Type": "x"}, content=content)).status_code == 403
    assert (await world.http.put(put["url"], headers=put["headers"], content=content)).is_success
    assert (await told(world, "POST", f"{AGENTS}/files/{made['id']}/complete")).json()["state"] == "ready"
    assert (await world.made(call("uni-1", DRAW, options=options))).outputs
    sent = await told(world, "POST", f"{AGENTS}/files", files={"file": ("b.png", content, "image/png")})
    assert (sent.json()["state"], sent.json()["upload"]) == ("ready", None)
    assert len((await told(world, "GET", f"{AGENTS}/files")).json()["data"]) == 2
    assert (await told(world, "DELETE", f"{AGENTS}/files/{made['id']}")).status_code == 204
    assert (await told(world, "GET", f"{AGENTS}/files/{made['id']}")).status_code == 404
