"""Vidu: its client against the simulated cloud, every model of the catalogue, every error, and what is sent."""

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
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Pending
from genpulse.providers.vidu import Vidu
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.clouds.vidu import Vidu as Simulated
from genpulse.simulator.credentials import VIDU
from genpulse.simulator.jobs import State
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, always, operations_of, simulated, world_of

world = world_of(Simulated, Vidu)
call = Calls("vidu", "viduq3-pro", Operation.TEXT_TO_VIDEO, prompt="a fox")
SPECS = call.specs
ALL = operations_of(SPECS.values())
TEXT, FRAMES, VIDEO = Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO, Operation.VIDEO_TO_VIDEO
DRAW, EDIT = Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE
CLIP, SOUND = "https://files.example/input.mp4", "https://files.example/input.wav"
VALUES: dict[str, Any] = {"prompt": "a fox", "aspect_ratio": "9:16", "seed": 7, "audio": True, "voice": "male-1"}


@pytest.fixture(scope="module")
def files(files: Files) -> Files:
    """The sound has an address too."""
    return files | {MediaKind.AUDIO: replace(files[MediaKind.AUDIO], url=SOUND)}


def filled(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are; numbers and names at their last."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    if spec.name == "lip-sync":
        names = ("video", "audio") if every else ("video", "prompt", "voice")
        fields = {name: spec.operations[operation].fields[name] for name in names}
    are_files = {name for name, field in fields.items() if field.type in ("image", "images", "video", "audio")}
    media = {name: [files[MEDIA_FIELDS[name]]] for name in are_files}
    given = {name: VALUES[name] for name in fields if name in VALUES and name not in are_files}
    if "resolution" in fields:
        given["resolution"] = fields["resolution"].enum[-1]
    if "duration" in fields:
        given["duration"] = fields["duration"].default
    return replace(call(spec.name, operation, media), input=given)


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Vidu], files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    state = await world.made(filled(spec, operation, files, every=every))
    assert len(state.outputs) == 1
    assert state.outputs[0].url is not None
    answer = await world.http.get(state.outputs[0].url)
    assert answer.headers["Content-Type"].startswith(str(spec.operations[operation].output))
    assert state.usage == {"credits": 60}


@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_resolution_and_length_is_taken(
    world: World[Vidu], files: Files, spec: ModelSpec, operation: Operation
) -> None:
    fields = spec.operations[operation].fields
    least = filled(spec, operation, files, every=False)
    for resolution in fields["resolution"].enum if "resolution" in fields else ():
        assert (await world.made(replace(least, input={**least.input, "resolution": resolution}))).outputs
    if "duration" in fields:
        for seconds in (fields["duration"].minimum, fields["duration"].maximum):
            assert (await world.made(replace(least, input={**least.input, "duration": seconds}))).outputs


def test_what_the_router_may_choose() -> None:
    hidden = {spec.name for spec in SPECS.values() if spec.hidden}
    assert hidden == {"viduq2-pro-extend", "viduq2-turbo-extend", "upscale-pro", "lip-sync", "audio1.0"}


# What is sent ---------------------------------------------------------------------------------------------------------


def sent(world: World[Vidu]) -> tuple[str, Any]:
    entry = world.simulator.record.find(kind=Kind.SUBMIT)[-1]
    return entry.path.removeprefix("/vidu/ent/v2"), entry.body


async def test_a_video_from_text(world: World[Vidu]) -> None:
    asked = call(
        aspect_ratio="1:1",
        resolution="540p",
        duration=16.0,
        seed=7,
        audio=False,
        options={"off_peak": True, "movement_amplitude": "large", "payload": "mine"},
        callback_url="https://us.example/x",
    )
    await world.made(asked)
    assert sent(world) == (
        "/text2video",
        {
            "model": "viduq3-pro",
            "prompt": "a fox",
            "duration": 16,
            "seed": 7,
            "resolution": "540p",
            "aspect_ratio": "1:1",
            "audio": False,
            "off_peak": True,
            "movement_amplitude": "large",
            "payload": "mine",
            "callback_url": "https://us.example/x",
        },
    )


@pytest.mark.parametrize(
    ("asked", "names", "path"),
    [
        (call("viduq3-turbo", FRAMES), ["image"], "/img2video"),
        (call("viduq3-turbo", FRAMES), ["image", "last_image"], "/start-end2video"),
        (call("viduq2", TEXT), [], "/text2video"),
        (call("viduq2", TEXT), ["reference_images"], "/reference2video"),
        (call("vidu2.0", TEXT), ["reference_images"], "/reference2video"),
        (call("viduq2", DRAW), [], "/reference2image"),
        (call("viduq1", DRAW), ["reference_images"], "/reference2image"),
        (call("viduq2", EDIT), ["image", "reference_images"], "/reference2image"),
    ],
)
async def test_pictures_decide_the_path(
    world: World[Vidu], files: Files, asked: ModelCall, names: list[str], path: str
) -> None:
    picture = files[MediaKind.IMAGE]
    await world.made(replace(asked, media={name: [picture] for name in names}))
    images = {"images": [picture.data_url()] * len(names)} if names else {}
    assert sent(world) == (path, {"model": asked.model, "prompt": "a fox"} | images)


async def test_the_first_picture_stands_first(world: World[Vidu], files: Files) -> None:
    def named(name: str) -> Media:
        return replace(files[MediaKind.IMAGE], url=f"https://files.example/{name}.png")

    await world.made(call("viduq2-pro", FRAMES, {"last_image": [named("b")], "image": [named("a")]}))
    assert sent(world)[1]["images"] == ["https://files.example/a.png", "https://files.example/b.png"]
    await world.made(call("viduq2", EDIT, {"reference_images": [named("b"), named("c")], "image": [named("a")]}))
    assert [one[-5] for one in sent(world)[1]["images"]] == ["a", "b", "c"]


async def test_a_longer_video(world: World[Vidu], files: Files) -> None:
    media = {"video": [files[MediaKind.VIDEO]], "last_image": [files[MediaKind.IMAGE]]}
    await world.made(call("viduq2-turbo-extend", VIDEO, media, duration=7.0, resolution="1080p"))
    assert sent(world) == (
        "/extend",
        {
            "model": "viduq2-turbo",
            "video_url": CLIP,
            "images": [files[MediaKind.IMAGE].data_url()],
            "prompt": "a fox",
            "duration": 7,
            "resolution": "1080p",
        },
    )


async def test_a_larger_video(world: World[Vidu], files: Files) -> None:
    asked = call("upscale-pro", Operation.VIDEO_UPSCALE, {"video": [files[MediaKind.VIDEO]]}, resolution="4k")
    await world.made(asked)
    assert sent(world) == ("/upscale-pro", {"video_url": CLIP, "upscale_resolution": "4K"})


async def test_a_video_speaks(world: World[Vidu], files: Files) -> None:
    clip = {"video": [files[MediaKind.VIDEO]]}
    await world.made(call("lip-sync", VIDEO, clip, prompt="good evening", voice="male-1", options={"speed": 1.2}))
    text = {"text": "good evening", "voice_id": "male-1", "speed": 1.2}
    assert sent(world) == ("/lip-sync", {"video_url": CLIP} | text)
    spoken = call("lip-sync", VIDEO, clip | {"audio": [files[MediaKind.AUDIO]]})
    await world.made(replace(spoken, input={}))
    assert sent(world) == ("/lip-sync", {"video_url": CLIP, "audio_url": SOUND})


async def test_a_sound(world: World[Vidu]) -> None:
    await world.made(call("audio1.0", Operation.TEXT_TO_SPEECH, prompt="rain", duration=4.0, seed=7))
    assert sent(world) == ("/text2audio", {"model": "audio1.0", "prompt": "rain", "duration": 4, "seed": 7})


@pytest.mark.parametrize(("with_sound", "given"), [(True, {"prompt": "hi"}), (False, {}), (True, {"voice": "x"})])
async def test_what_is_said_comes_in_one_way(
    world: World[Vidu], files: Files, with_sound: bool, given: dict[str, Any]
) -> None:
    media = {"video": [files[MediaKind.VIDEO]]} | ({"audio": [files[MediaKind.AUDIO]]} if with_sound else {})
    error = await world.refused(replace(call("lip-sync", VIDEO, media), input=given))
    assert (type(error), error.field) == (InvalidInput, "input.voice" if "voice" in given else "input.audio")
    assert world.simulator.record.find() == []


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        (call("vidu2.0", FRAMES, duration=6.0), "duration", "4 or 8"),
        (call("vidu2.0", FRAMES, duration=8.0, resolution="1080p"), "resolution", "720p"),
        (call("viduq2-pro", FRAMES, duration=9.0), "duration", "at most 8"),
    ],
)
async def test_what_does_not_go_together_is_refused(
    world: World[Vidu], files: Files, asked: ModelCall, field: str, words: str
) -> None:
    pictures = {name: [files[MediaKind.IMAGE]] for name in ("image", "last_image")}
    error = await world.refused(replace(asked, media=pictures))
    assert (type(error), error.field, words in error.message) == (InvalidInput, f"input.{field}", True)
    assert world.simulator.record.find() == []


@pytest.mark.parametrize(
    ("model", "name"),
    [("viduq2-pro-extend", "video"), ("upscale-pro", "video"), ("lip-sync", "video"), ("lip-sync", "audio")],
)
async def test_videos_and_sounds_need_an_address(world: World[Vidu], files: Files, model: str, name: str) -> None:
    names = {"video", name}
    media = {one: [files[MEDIA_FIELDS[one]]] for one in names}
    media[name] = [replace(media[name][0], url=None)]
    operation = next(iter(SPECS[model].operations))
    given = {} if name == "audio" else {"prompt": "good evening"}
    error = await world.refused(replace(call(model, operation, media), input=given))
    assert (type(error), error.field, "URL" in error.message) == (InvalidInput, f"input.{name}", True)


# Errors ---------------------------------------------------------------------------------------------------------------

REFUSALS: list[tuple[int, str, type[GenPulseError]]] = [
    (400, "BadRequest", ProviderRejected),
    (400, "FieldLacking", ProviderRejected),
    (400, "FieldUnwanted", ProviderRejected),
    (400, "FieldInvalid", ProviderRejected),
    (400, "FieldItemCountOutOfRange", ProviderRejected),
    (400, "PageSizeOutOfRange", ProviderRejected),
    (400, "ImageDownloadFailure", ProviderRejected),
    (400, "ImageFormatInvalid", ProviderRejected),
    (400, "ModelUnavailable", ProviderRejected),
    (400, "TaskPromptPolicyViolation", ContentBlocked),
    (400, "AuditSubmitIllegal", ContentBlocked),
    (400, "CreationPolicyViolation", ContentBlocked),
    (400, "CreditInsufficient", ProviderQuotaSpent),
    (400, "OperationInProcess", ProviderThrottled),
    (400, "UserCancelled", ProviderRejected),
    (400, "SomethingNew", ProviderRejected),
    (401, "Unauthorized", ProviderAuthFailed),
    (403, "Forbidden", ProviderAuthFailed),
    (404, "TaskNotFound", ProviderRejected),
    (404, "CreationNotFound", ProviderRejected),
    (409, "Conflict", ProviderRejected),
    (429, "QuotaExceeded", ProviderThrottled),
    (429, "TooManyRequests", ProviderThrottled),
    (429, "SystemThrottling", ProviderThrottled),
    (499, "Canceled", OutcomeUnknown),
    (500, "InternalServiceFailure", ProviderUnavailable),
    (500, "SomethingNew", OutcomeUnknown),
]


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> Vidu:
    return Vidu("", Credentials(api_key="x"), always(status, body, headers))


@pytest.mark.parametrize(("status", "code", "kind"), REFUSALS)
async def test_a_refusal(status: int, code: str, kind: type[GenPulseError]) -> None:
    """In every place where the code has been seen."""
    for body in (
        {"code": status, "reason": code, "message": "no", "metadata": {}},
        {"code": code, "message": "no"},
        {"err_code": code},
        {"error": {"code": code, "message": "no"}},
    ):
        with pytest.raises(GenPulseError) as error:
            await answering(status, body).submit(call())
        assert type(error.value) is kind


async def test_what_is_cut_off_while_it_costs_nothing_is_asked_again() -> None:
    with pytest.raises(ProviderUnavailable):
        await answering(499, {"reason": "Canceled"}).poll(Job(id="1"), call())


@pytest.mark.parametrize("body", ["<html>", [], None, {"reason": None}])
async def test_a_page_of_a_proxy(body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(502, body).submit(call())


async def test_when_to_come_back() -> None:
    with pytest.raises(ProviderThrottled) as error:
        await answering(429, {"reason": "QuotaExceeded"}, {"Retry-After": "17"}).submit(call())
    assert error.value.details["retry_after"] == 17


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("TaskPromptPolicyViolation", ContentBlocked),
        ("AuditSubmitIllegal", ContentBlocked),
        ("CreationPolicyViolation", ContentBlocked),
        ("CreditInsufficient", ProviderQuotaSpent),
        ("ImageDownloadFailure", ProviderRejected),
        ("FieldInvalid", ProviderRejected),
        ("SystemThrottling", ProviderFailed),
        ("InternalServiceFailure", ProviderFailed),
        ("UserCancelled", ProviderFailed),
        ("Canceled", ProviderFailed),
        ("", ProviderFailed),
        (None, ProviderFailed),
    ],
)
async def test_why_a_task_failed(code: str | None, kind: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError) as error:
        await answering(200, {"state": "failed", "err_code": code}).poll(Job(id="1"), call())
    assert (type(error.value), (code or "") in error.value.message) == (kind, True)


@pytest.mark.parametrize("body", [{}, {"task_id": ""}, {"task_id": None}, {"state": "created"}, [], "x", None])
async def test_an_answer_without_a_task_is_no_answer(body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(200, body).submit(call())


@pytest.mark.parametrize("body", [{}, {"creations": []}, {"state": "success", "creations": [{}]}, [], None])
async def test_half_of_a_task_is_no_task(body: object) -> None:
    with pytest.raises(ProviderUnavailable):
        await answering(200, body).poll(Job(id="1"), call())


async def test_ids_may_be_numbers() -> None:
    assert (await answering(200, {"task_id": 123}).submit(call())).id == "123"


@pytest.mark.parametrize(("progress", "fraction"), [(None, None), (0, 0.0), (40, 0.4), (400, 1.0), (-1, 0.0)])
async def test_progress(progress: int | None, fraction: float | None) -> None:
    state = await answering(200, {"state": "processing", "progress": progress}).poll(Job(id="1"), call())
    assert state == Pending(fraction=fraction)


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_a_task_that_fails(world: World[Vidu], code: str, kind: type[GenPulseError]) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(call())) is kind


async def test_a_wrong_key_is_refused(world: World[Vidu]) -> None:
    with pytest.raises(ProviderAuthFailed, match="invalid api key"):
        await world.account(api_key="vda_wrong").submit(call())


# Tasks ----------------------------------------------------------------------------------------------------------------


async def test_a_task_goes_through_its_states() -> None:
    async with simulated(Simulated, Vidu, seconds=8) as world:
        cloud = world.account()
        job = await cloud.submit(call())
        assert job.id.isdecimal()
        for seconds, fraction in ((0, 0.0), (4, 0.5)):
            world.clock.advance(seconds)
            assert await cloud.poll(job, call()) == Pending(fraction=fraction)
        world.clock.advance(4)
        assert isinstance(await cloud.poll(job, call()), Finished)


async def test_a_task_may_be_missing_at_first(world: World[Vidu]) -> None:
    world.fault(type="hidden_at_first")
    job = await world.account().submit(call())
    with pytest.raises(JobMissing):
        await world.account().poll(job, call())
    assert isinstance(await world.account().poll(job, call()), Finished)


async def test_done_without_a_file_is_passed_on(world: World[Vidu]) -> None:
    world.fault(type="no_outputs")
    assert (await world.made(call())).outputs == []


@pytest.mark.parametrize("fault", ["lost_answer", "malformed", "hung", "connection_reset"])
async def test_a_lost_answer_stays_unknown(world: World[Vidu], fault: str) -> None:
    world.fault(type=fault, times=1)
    cloud = world.account()
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(call())
    assert not (cloud.can_find(call()) or cloud.remembers_key(call()))
    assert len(world.simulator.find_jobs()) == (1 if fault in ("lost_answer", "malformed") else 0)


async def test_only_what_waits_is_cancelled() -> None:
    async with simulated(Simulated, Vidu, seconds=8) as world:
        cloud = world.account()
        queued, running = [await cloud.submit(call()) for _ in range(2)]
        await cloud.cancel(queued)
        with pytest.raises(ProviderFailed, match="UserCancelled"):
            await cloud.poll(queued, call())
        world.clock.advance(4)
        await cloud.cancel(running)
        assert world.simulator.jobs["vidu", running.id].state is State.RUNNING
        await cloud.cancel(Job(id="999"))


@pytest.mark.parametrize("answer", [None, {}, {"state": "failed"}, "ok"])
async def test_how_a_cancel_is_answered_does_not_matter(answer: object) -> None:
    await answering(200, answer).cancel(Job(id="1"))


async def test_a_callback_is_not_signed() -> None:
    told: list[Any] = []

    def receive(request: httpx.Request) -> httpx.Response:
        told.append(json.loads(request.content))
        return httpx.Response(200)

    async with simulated(Simulated, Vidu, callbacks=httpx.MockTransport(receive)) as world:
        job = await world.account().submit(call(callback_url="https://us.example/x", options={"payload": "mine"}))
        while len(told) < 2:
            await world.http.get("http://sim/vidu/")
    assert [(one["id"], one["state"]) for one in told] == [(job.id, "processing"), (job.id, "success")]
    assert told[-1]["payload"] == "mine"


# The simulated cloud --------------------------------------------------------------------------------------------------


async def told(world: World[Vidu], method: str, path: str, **sent: Any) -> httpx.Response:
    url = f"http://sim/vidu/ent/v2{path}"
    return await world.http.request(method, url, headers={"Authorization": f"Token {VIDU.api_key}"}, **sent)


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("text2video", {"model": "viduq3-pro"}, "FieldLacking"),
        ("text2video", {"model": "viduq3-pro", "prompt": "x", "size": 1}, "FieldUnwanted"),
        ("text2video", {"model": "vidu9", "prompt": "x"}, "ModelUnavailable"),
        ("text2video", {"model": "viduq1", "prompt": "x", "duration": 8}, "FieldInvalid"),
        ("text2video", {"model": "viduq1", "prompt": "x", "resolution": "540p"}, "FieldInvalid"),
        ("text2video", {"model": "viduq2", "prompt": "x" * 2001}, "FieldInvalid"),
        ("text2video", {"model": "viduq2", "prompt": "x", "aspect_ratio": "2:1"}, "FieldInvalid"),
        ("img2video", {"model": "viduq3-pro"}, "FieldItemCountOutOfRange"),
        ("img2video", {"model": "viduq3-pro", "images": ["data:image/gif;base64,eA=="]}, "ImageFormatInvalid"),
        (
            "img2video",
            {"model": "vidu2.0", "images": [CLIP], "duration": 8, "resolution": "1080p"},
            "FieldInvalid",
        ),
        ("start-end2video", {"model": "viduq2-pro", "images": [CLIP] * 2, "duration": 9}, "FieldInvalid"),
        ("reference2video", {"model": "viduq2", "prompt": "x", "images": [CLIP] * 8}, "FieldItemCountOutOfRange"),
        ("reference2image", {"model": "viduq1", "prompt": "x"}, "FieldItemCountOutOfRange"),
        ("extend", {"model": "viduq2-pro"}, "FieldLacking"),
        ("extend", {"model": "viduq2-pro", "video_creation_id": "1"}, "CreationNotFound"),
        ("upscale-pro", {}, "FieldLacking"),
        ("lip-sync", {"video_url": CLIP}, "FieldLacking"),
        ("text2audio", {"model": "audio1.0", "prompt": "x", "duration": 11}, "FieldInvalid"),
    ],
)
async def test_bodies_are_held_against_the_rules(
    world: World[Vidu], path: str, body: dict[str, Any], code: str
) -> None:
    answer = await told(world, "POST", f"/{path}", json=body)
    assert (answer.json()["reason"], answer.status_code) == (code, 404 if code == "CreationNotFound" else 400)


async def test_requests_have_a_limit(world: World[Vidu]) -> None:
    answer = await told(world, "POST", "/text2video", content=b" " * (20 * 2**20 + 1))
    assert answer.status_code == 413


async def test_an_earlier_video_is_named_by_its_creation(world: World[Vidu], files: Files) -> None:
    job = await world.account().submit(call())
    creation = (await told(world, "GET", f"/tasks/{job.id}/creations")).json()["creations"][0]["id"]
    media = {"video": [files[MediaKind.VIDEO]]}
    asked = call("viduq2-pro-extend", VIDEO, media, options={"video_creation_id": creation})
    assert (await world.made(asked)).outputs


async def test_tasks_are_found_by_their_numbers(world: World[Vidu]) -> None:
    jobs = [await world.account().submit(call()) for _ in range(3)]
    listed = await told(world, "GET", "/tasks", params={"task_ids": [jobs[0].id, jobs[2].id]})
    assert {one["id"] for one in listed.json()["tasks"]} == {jobs[0].id, jobs[2].id}
    assert (await told(world, "GET", "/tasks/abc/creations")).json()["reason"] == "FieldInvalid"
    assert (await told(world, "GET", "/tasks/12/creations")).json()["reason"] == "TaskNotFound"
    assert (await told(world, "GET", "/credits")).json()["remains"]
