"""Google: its client against the simulated cloud, every model of the catalogue, every error, and what is sent."""

from __future__ import annotations

from base64 import b64encode
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
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Output, Pending
from genpulse.providers.google import Google
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.clouds.google import Google as Simulated
from genpulse.simulator.jobs import State
from genpulse.simulator.media import Format, render
from genpulse.simulator.media import Media as Made
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, always, operations_of, simulated, world_of

world = world_of(Simulated, Google)
call = Calls("google", prompt="a fox")
ALL = operations_of(call.specs.values())
PICTURE, VIDEO, VEO, IMAGEN = "gemini-3-pro-image", "gemini-omni-1.2-flash", "veo-3.1", "imagen-4"
KEY = {"x-goog-api-key": "AIza-sim-key"}
VALUES: dict[str, Any] = {
    "prompt": "a fox",
    "negative_prompt": "rain",
    "aspect_ratio": "9:16",
    "resolution": "1080p",
    "duration": 8.0,
    "count": 2,
    "seed": 7,
}
#: What a file that came out begins with.
STARTS = {"image": (b"\x89PNG", b"\xff\xd8\xff"), "video": (b"ftyp",)}


def filled(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    media = {name: [files[MEDIA_FIELDS[name]]] for name in fields if name in MEDIA_FIELDS}
    given = {name: VALUES[name] for name in fields if name not in MEDIA_FIELDS}
    if "resolution" in given and "1080p" not in fields["resolution"].enum:
        given["resolution"] = fields["resolution"].enum[-1]
    return call(spec.name, operation, media, **given)


async def bytes_of(world: World[Google], output: Output) -> bytes:
    if output.content is not None:
        return output.content
    assert output.url is not None
    answer = await world.http.get(output.url, headers=dict(output.headers))
    assert answer.status_code == 200, answer.text
    return answer.content


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Google], files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    state = await world.made(filled(spec, operation, files, every=every))
    assert len(state.outputs) == (2 if every and "count" in spec.operations[operation].fields else 1)
    for output in state.outputs:
        content = await bytes_of(world, output)
        starts = STARTS[str(spec.operations[operation].output)]
        assert any(start in content[:12] for start in starts)


# What is sent ---------------------------------------------------------------------------------------------------------


async def test_an_edit_of_a_picture(world: World[Google], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    asked = call(
        PICTURE,
        Operation.IMAGE_TO_IMAGE,
        {"image": [picture], "reference_images": [picture]},
        aspect_ratio="16:9",
        resolution="2k",
        options={"generationConfig": {"imageConfig": {"imageSize": "4K"}, "seed": 3}},
    )
    state = await world.made(asked)
    inline = {"inlineData": {"mimeType": "image/png", "data": picture.base64()}}
    assert world.sent() == {
        "contents": [{"role": "user", "parts": [{"text": "a fox"}, inline, inline]}],
        "generationConfig": {
            "responseModalities": ["TEXT", "IMAGE"],
            "imageConfig": {"aspectRatio": "16:9", "imageSize": "4K"},
            "seed": 3,
        },
    }
    assert state.usage["totalTokenCount"] == 1300


async def test_half_a_thousand_pixels(world: World[Google]) -> None:
    await world.made(call("gemini-3.1-flash-image", resolution="512p"))
    assert world.sent()["generationConfig"]["imageConfig"] == {"imageSize": "512"}


async def test_an_interaction_of_text(world: World[Google]) -> None:
    asked = call(VIDEO, resolution="1080p", aspect_ratio="9:16", duration=5.0, seed=3)
    await world.made(asked)
    assert world.sent() == {
        "model": "gemini-omni-1.2-flash",
        "background": True,
        "store": True,
        "input": "a fox",
        "response_format": {
            "type": "video",
            "aspect_ratio": "9:16",
            "resolution": "1080p",
            "duration": "5s",
            "delivery": "uri",
        },
        "generation_config": {"seed": 3, "video_config": {"task": "text_to_video"}},
    }


@pytest.mark.parametrize(
    ("model", "operation", "name", "task"),
    [
        (VIDEO, Operation.TEXT_TO_VIDEO, "reference_images", "reference_to_video"),
        (VIDEO, Operation.IMAGE_TO_VIDEO, "image", "image_to_video"),
        (VIDEO, Operation.VIDEO_TO_VIDEO, "video", "edit"),
        (f"{VIDEO}-extend", Operation.VIDEO_TO_VIDEO, "video", "extend"),
        (f"{VIDEO}-upscale", Operation.VIDEO_UPSCALE, "video", "upscale"),
    ],
)
async def test_an_interaction_with_files(  # noqa: PLR0917 - fixtures and a table
    world: World[Google], files: Files, model: str, operation: Operation, name: str, task: str
) -> None:
    file = files[MEDIA_FIELDS[name]]
    await world.made(call(model, operation, {name: [file]}))
    sent = world.sent()
    kind = str(MEDIA_FIELDS[name])
    content = [{"type": "text", "text": "a fox"}, {"type": kind, "data": file.base64(), "mime_type": file.media_type}]
    assert sent["input"] == [{"type": "user_input", "content": content}]
    assert sent["generation_config"]["video_config"] == {"task": task}


async def test_veo_between_two_pictures(world: World[Google], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    file = {"bytesBase64Encoded": picture.base64(), "mimeType": "image/png"}
    asked = call(
        VEO,
        Operation.IMAGE_TO_VIDEO,
        {"image": [picture], "last_image": [picture]},
        negative_prompt="rain",
        aspect_ratio="9:16",
        resolution="720p",
        duration=4.0,
        count=2,
        seed=3,
        options={"parameters": {"generateAudio": False}},
    )
    await world.made(asked)
    assert world.sent() == {
        "instances": [{"prompt": "a fox", "image": file, "lastFrame": file}],
        "parameters": {
            "sampleCount": 2,
            "durationSeconds": 4,
            "aspectRatio": "9:16",
            "resolution": "720p",
            "negativePrompt": "rain",
            "seed": 3,
            "generateAudio": False,
        },
    }


async def test_veo_with_references_and_with_a_video(world: World[Google], files: Files) -> None:
    picture, video = files[MediaKind.IMAGE], files[MediaKind.VIDEO]
    await world.made(call(VEO, media={"reference_images": [picture]}))
    image = {"bytesBase64Encoded": picture.base64(), "mimeType": "image/png"}
    assert world.sent()["instances"][0]["referenceImages"] == [{"image": image, "referenceType": "ASSET"}]
    await world.made(call("veo-3.1-extend", media={"video": [video]}))
    assert world.sent()["instances"][0]["video"] == {"bytesBase64Encoded": video.base64(), "mimeType": "video/mp4"}


@pytest.mark.parametrize(
    ("given", "words"),
    [({"duration": 5.0}, "4, 6, 8"), ({"duration": 4.0, "resolution": "1080p"}, "8 only")],
)
async def test_what_veo_cannot_make_is_refused(world: World[Google], given: dict[str, Any], words: str) -> None:
    error = await world.refused(call(VEO, **given))
    assert isinstance(error, InvalidInput)
    assert (error.field, words in error.message) == ("input.duration", True)
    assert world.simulator.record.find(kind=Kind.SUBMIT) == []


# Where it is sent -----------------------------------------------------------------------------------------------------


def listening(answers: list[dict[str, Any]], seen: list[httpx.Request], **credentials: Any) -> Google:
    """An account that sends to Google itself, and is answered by these."""

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=answers[len(seen) - 1])

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return Google("", Credentials(**credentials), client)


EXPRESS = "publishers/google/models/veo-3.1-generate-001"
NAME = f"projects/p/locations/us-central1/{EXPRESS}"


@pytest.mark.parametrize(
    ("credentials", "address", "header"),
    [
        (
            {"access_key": "t", "options": {"project": "p", "location": "us-central1"}},
            f"https://us-central1-aiplatform.googleapis.com/v1beta1/{NAME}:predictLongRunning",
            ("Authorization", "Bearer t"),
        ),
        (
            {"access_key": "t", "api_key": "k", "options": {"project": "p"}},
            f"https://aiplatform.googleapis.com/v1beta1/{NAME.replace('us-central1', 'global')}:predictLongRunning",
            ("Authorization", "Bearer t"),
        ),
        (
            {"api_key": "k"},
            f"https://aiplatform.googleapis.com/v1beta1/{EXPRESS}:predictLongRunning",
            ("x-goog-api-key", "k"),
        ),
        (
            {"api_key": "k", "secret_key": "express"},
            f"https://aiplatform.googleapis.com/v1beta1/{EXPRESS}:predictLongRunning",
            ("x-goog-api-key", "express"),
        ),
    ],
)
async def test_where_veo_is(credentials: dict[str, Any], address: str, header: tuple[str, str]) -> None:
    seen: list[httpx.Request] = []
    await listening([{"name": f"{NAME}/operations/1"}], seen, **credentials).submit(call(VEO))
    name, value = header
    assert (str(seen[0].url), seen[0].headers[name]) == (address, value)
    assert len({"authorization", "x-goog-api-key"} & set(seen[0].headers)) == 1


async def test_where_gemini_is() -> None:
    seen: list[httpx.Request] = []
    cloud = listening([{"id": "v1_x", "status": "queued"}], seen, api_key="k")
    assert await cloud.submit(call(VIDEO)) == Job(id="v1_x")
    assert str(seen[0].url) == "https://generativelanguage.googleapis.com/v1/interactions"
    assert (seen[0].headers["x-goog-api-key"], seen[0].url.query) == ("k", b"")


async def test_a_stored_video_is_fetched_with_the_token() -> None:
    done = {"name": "x", "done": True, "response": {"videos": [{"gcsUri": "gs://bucket/a folder/0.mp4"}]}}
    cloud = listening([done], [], access_key="t", options={"project": "p", "location": "us-central1"})
    state = await cloud.poll(Job(id=f"{NAME}/operations/1"), call(VEO))
    assert isinstance(state, Finished)
    assert state.outputs == [
        Output(
            url="https://storage.googleapis.com/storage/v1/b/bucket/o/a%20folder%2F0.mp4?alt=media",
            headers={"Authorization": "Bearer t"},
        )
    ]


@pytest.mark.parametrize(
    ("credentials", "words"), [({}, "ACCESS_KEY"), ({"access_key": "t"}, "OPTIONS")], ids=["nothing", "no project"]
)
async def test_what_vertex_needs_is_said(credentials: dict[str, Any], words: str) -> None:
    with pytest.raises(ProviderAuthFailed, match=words):
        await listening([], [], **credentials).submit(call(VEO))


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("https://generativelanguage.googleapis.com/v1/files/x:download?alt=media", True),
        ("https://storage.googleapis.com/x", True),
        ("https://elsewhere.example/x", False),
        ("https://evilgoogleapis.com/x", False),
    ],
)
async def test_the_key_is_shown_to_google_alone(link: str, shown: bool) -> None:
    step = {"type": "model_output", "content": [{"type": "video", "uri": link, "mime_type": "video/mp4"}]}
    cloud = listening([{"id": "v1_x", "status": "completed", "steps": [step]}], [], api_key="k")
    state = await cloud.submit(call(VIDEO))
    assert isinstance(state, Finished), "done at once"
    assert state.outputs[0].headers == ({"x-goog-api-key": "k"} if shown else {})


# Errors ---------------------------------------------------------------------------------------------------------------


def answering(status: int, body: object) -> Google:
    return Google("http://sim", Credentials(api_key="x"), always(status, body))


def wording(status: int, name: str, message: str = "no", details: list[dict[str, Any]] | None = None) -> Google:
    return answering(status, {"error": {"code": status, "message": message, "status": name, "details": details or []}})


ERRORS: list[tuple[int, str, str, type[GenPulseError]]] = [
    (400, "INVALID_ARGUMENT", "Invalid value", ProviderRejected),
    (400, "INVALID_ARGUMENT", "The prompt was blocked by safety filters", ContentBlocked),
    (400, "FAILED_PRECONDITION", "Please enable billing", ProviderQuotaSpent),
    (401, "UNAUTHENTICATED", "invalid credentials", ProviderAuthFailed),
    (403, "PERMISSION_DENIED", "denied", ProviderAuthFailed),
    (404, "NOT_FOUND", "model gone", ProviderRejected),
    (429, "RESOURCE_EXHAUSTED", "slower", ProviderThrottled),
    (500, "INTERNAL", "internal", ProviderUnavailable),
    (503, "UNAVAILABLE", "overloaded", ProviderUnavailable),
    (504, "DEADLINE_EXCEEDED", "too late", OutcomeUnknown),
    (418, "NEW", "odd", ProviderRejected),
]


@pytest.mark.parametrize("model", [PICTURE, VIDEO, VEO, IMAGEN])
@pytest.mark.parametrize(("status", "name", "message", "kind"), ERRORS)
async def test_an_error(model: str, status: int, name: str, message: str, kind: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError, match=message) as error:
        await wording(status, name, message).submit(call(model))
    assert type(error.value) is kind


async def test_a_wrong_key_comes_with_400(world: World[Google]) -> None:
    for model in (PICTURE, VIDEO):
        with pytest.raises(ProviderAuthFailed, match="API key not valid"):
            await world.account(api_key="wrong").submit(call(model))


@pytest.mark.parametrize(
    ("credentials", "kind"),
    [
        ({"access_key": "wrong", "options": {"project": "sim-project"}}, ProviderAuthFailed),
        ({"access_key": "ya29.sim-token", "options": {"project": "other"}}, ProviderAuthFailed),
        ({"api_key": "wrong"}, ProviderAuthFailed),
    ],
)
async def test_vertex_refuses(world: World[Google], credentials: dict[str, Any], kind: type[GenPulseError]) -> None:
    with pytest.raises(kind):
        await world.account(**credentials).submit(call(VEO))


@pytest.mark.parametrize("model", [PICTURE, VIDEO])
async def test_gemini_needs_a_key(world: World[Google], model: str) -> None:
    with pytest.raises(ProviderAuthFailed, match="__API_KEY"):
        await world.account(access_key="ya29.sim-token", options={"project": "sim-project"}).submit(call(model))
    assert world.simulator.record.find(kind=Kind.SUBMIT) == []


async def test_an_express_key_opens_vertex(world: World[Google]) -> None:
    state = await world.made(call(VEO), world.account(api_key="AIza-sim-key"))
    assert len(state.outputs) == 1
    assert "projects" not in world.simulator.record.find(kind=Kind.SUBMIT)[-1].path
    assert "projects" in world.simulator.record.find(kind=Kind.POLL)[-1].path


async def test_a_wait_is_kept() -> None:
    delay = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "5.5s"}]
    with pytest.raises(ProviderThrottled) as error:
        await wording(429, "RESOURCE_EXHAUSTED", details=delay).submit(call(PICTURE))
    assert error.value.details["retry_after"] == 5.5


@pytest.mark.parametrize(
    ("details", "kind"),
    [
        ([{"violations": [{"quotaId": "RequestsPerDayPerProject"}]}, {"retryDelay": "9s"}], ProviderQuotaSpent),
        ([{"violations": [{"quotaMetric": "x"}]}], ProviderQuotaSpent),
        ([{"violations": [{"quotaId": "RequestsPerMinute"}]}, {"retryDelay": "9s"}], ProviderThrottled),
        ([], ProviderThrottled),
    ],
)
async def test_a_quota_of_the_day_is_spent(details: list[dict[str, Any]], kind: type[GenPulseError]) -> None:
    with pytest.raises(kind):
        await wording(429, "RESOURCE_EXHAUSTED", details=details).submit(call(PICTURE))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, ContentBlocked),
        *(
            ({"candidates": [{"finishReason": reason}]}, ContentBlocked)
            for reason in ("SAFETY", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "RECITATION")
        ),
        ({"candidates": [{"finishReason": "NO_IMAGE"}]}, ProviderFailed),
        ({"candidates": [{"finish_reason": "STOP", "content": {"parts": [{"text": "I cannot"}]}}]}, ProviderFailed),
        ({"responseId": "x"}, ProviderFailed),
        ({}, OutcomeUnknown),
        ([], OutcomeUnknown),
    ],
)
async def test_an_answer_without_a_picture(body: object, kind: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError) as error:
        await answering(200, body).submit(call(PICTURE))
    assert type(error.value) is kind


@pytest.mark.parametrize("name", ["inlineData", "inline_data"])
async def test_names_in_both_manners(name: str) -> None:
    part = {name: {"mimeType": "image/png", "data": b64encode(b"x").decode()}}
    state = await answering(200, {"candidates": [{"content": {"parts": [part]}}]}).submit(call(PICTURE))
    assert isinstance(state, Finished)
    assert state.outputs == [Output(content=b"x")]


async def test_a_picture_that_cannot_be_read() -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": "%"}}
    with pytest.raises(ProviderFailed, match="cannot be read"):
        await answering(200, {"candidates": [{"content": {"parts": [part]}}]}).submit(call(PICTURE))


@pytest.mark.parametrize(
    ("predictions", "words"), [([{"raiFilteredReason": "unsafe"}], "unsafe"), ([], "no picture was let through")]
)
async def test_imagen_lets_nothing_through(predictions: list[dict[str, str]], words: str) -> None:
    with pytest.raises(ContentBlocked, match=words):
        await answering(200, {"predictions": predictions}).submit(call(IMAGEN))


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"id": ""}, [], "x"])
@pytest.mark.parametrize("model", [VIDEO, VEO])
async def test_an_answer_without_a_job_is_no_answer(model: str, body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(200, body).submit(call(model))


@pytest.mark.parametrize("code", ["content", "internal"])
@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (PICTURE, ProviderUnavailable),
        (IMAGEN, ProviderUnavailable),
        (VIDEO, ProviderFailed),
        (VEO, ProviderFailed),
    ],
)
async def test_what_fails(world: World[Google], model: str, code: str, kind: type[GenPulseError]) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(call(model))) is (ContentBlocked if code == "content" else kind)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (3, "bad seed", ProviderRejected),
        (3, "it violates Google's Responsible AI practices", ContentBlocked),
        (4, "late", ProviderFailed),
        (7, "not yours", ProviderAuthFailed),
        (8, "exhausted", ProviderFailed),
        (13, "internal", ProviderFailed),
        (14, "unavailable", ProviderFailed),
    ],
)
async def test_an_operation_that_failed(code: int, message: str, kind: type[GenPulseError]) -> None:
    cloud = answering(200, {"name": "x", "done": True, "error": {"code": code, "message": message, "details": []}})
    with pytest.raises(GenPulseError, match=message) as error:
        await cloud.poll(Job(id=f"{NAME}/operations/1"), call(VEO))
    assert type(error.value) is kind


@pytest.mark.parametrize(
    ("status", "more", "kind"),
    [
        ("incomplete", {}, ProviderFailed),
        ("budget_exceeded", {}, ProviderFailed),
        ("cancelled", {}, ProviderFailed),
        ("failed", {"errors": [{"code": "internal", "message": "oh"}]}, ProviderFailed),
        ("failed", {"errors": [{"code": "safety", "message": "oh"}]}, ContentBlocked),
        (
            "failed",
            {"steps": [{"type": "model_output", "error": {"code": 3, "message": "prohibited"}}]},
            ContentBlocked,
        ),
        (
            "completed",
            {"steps": [{"type": "model_output", "content": [{"type": "text", "text": "I cannot"}]}]},
            ContentBlocked,
        ),
    ],
)
async def test_an_interaction_that_failed(status: str, more: dict[str, Any], kind: type[GenPulseError]) -> None:
    cloud = answering(200, {"id": "v1_x", "status": status} | more)
    with pytest.raises(GenPulseError) as error:
        await cloud.poll(Job(id="v1_x"), call(VIDEO))
    assert type(error.value) is kind


@pytest.mark.parametrize("status", ["queued", "in_progress", "requires_action", "requires_continuation"])
async def test_an_interaction_under_way(status: str) -> None:
    assert await answering(200, {"id": "v1_x", "status": status}).poll(Job(id="v1_x"), call(VIDEO)) == Pending()


async def test_a_video_within_the_answer(world: World[Google]) -> None:
    state = await world.made(call(VIDEO, options={"background": False, "response_format": {"delivery": "inline"}}))
    assert state.outputs[0].content is not None
    assert state.outputs[0].content[4:8] == b"ftyp"
    assert state.usage["total_tokens"] == 5010


# Jobs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [VIDEO, VEO])
async def test_a_job_goes_through_its_states(model: str) -> None:
    async with simulated(Simulated, Google, seconds=8) as world:
        cloud, asked = world.account(), call(model)
        job = await cloud.submit(asked)
        assert isinstance(job, Job)
        for seconds in (0, 4):
            world.clock.advance(seconds)
            assert await cloud.poll(job, asked) == Pending()
        world.clock.advance(4)
        assert isinstance(await cloud.poll(job, asked), Finished)


@pytest.mark.parametrize("model", [VIDEO, VEO])
async def test_a_job_may_be_missing_at_first(model: str) -> None:
    async with simulated(Simulated, Google, seconds=1) as world:
        world.fault(type="hidden_at_first")
        job = await world.account().submit(call(model))
        assert isinstance(job, Job)
        world.clock.advance(2)
        with pytest.raises(JobMissing):
            await world.account().poll(job, call(model))
        assert isinstance(await world.account().poll(job, call(model)), Finished)


@pytest.mark.parametrize("model", [VIDEO, VEO])
async def test_done_without_a_file_is_passed_on(world: World[Google], model: str) -> None:
    world.fault(type="no_outputs")
    assert (await world.made(call(model))).outputs == []


@pytest.mark.parametrize("fault", ["lost_answer", "malformed", "hung", "connection_reset"])
@pytest.mark.parametrize("model", [PICTURE, VIDEO, VEO, IMAGEN])
async def test_a_lost_answer_stays_unknown(world: World[Google], model: str, fault: str) -> None:
    world.fault(type=fault, times=1)
    with pytest.raises(OutcomeUnknown):
        await world.account().submit(call(model))
    assert not world.account().can_find(call(model))
    assert not world.account().remembers_key(call(model))


@pytest.mark.parametrize("model", [VIDEO, VEO])
async def test_a_lost_poll_is_asked_again(model: str) -> None:
    async with simulated(Simulated, Google, seconds=8) as world:
        job = await world.account().submit(call(model))
        assert isinstance(job, Job)
        world.fault(type="malformed", times=1, kinds=["poll"])
        with pytest.raises(ProviderUnavailable):
            await world.account().poll(job, call(model))
        assert await world.account().poll(job, call(model)) == Pending()


async def test_an_interaction_is_cancelled() -> None:
    async with simulated(Simulated, Google, seconds=8) as world:
        cloud = world.account()
        job, late = [await cloud.submit(call(VIDEO)) for _ in range(2)]
        assert isinstance(job, Job)
        assert isinstance(late, Job)
        world.clock.advance(4)
        await cloud.cancel(job)
        assert world.simulator.jobs["google", job.id].state is State.CANCELLED
        with pytest.raises(ProviderFailed, match="cancelled"):
            await cloud.poll(job, call(VIDEO))
        world.clock.advance(8)
        await cloud.cancel(late)
        assert isinstance(await cloud.poll(late, call(VIDEO)), Finished), "too late does no harm"
        await cloud.cancel(Job(id="v1_unknown"))


async def test_veo_cannot_be_cancelled(world: World[Google]) -> None:
    job = await world.account().submit(call(VEO))
    assert isinstance(job, Job)
    await world.account().cancel(job)
    assert world.simulator.record.find(kind=Kind.CANCEL) == []


async def test_a_file_is_opened_with_the_key_for_two_days() -> None:
    async with simulated(Simulated, Google, seconds=1) as world:
        [output] = (await world.made(call(VIDEO))).outputs
        assert output.url is not None
        assert (await world.http.get(output.url)).status_code == 403
        assert (await world.http.get(output.url, headers=KEY)).status_code == 200
        world.clock.advance(3 * 24 * 3600)
        assert (await world.http.get(output.url, headers=KEY)).status_code == 404


async def test_a_callback_is_asked_for() -> None:
    told: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        told.append(request.content)
        return httpx.Response(200)

    async with simulated(Simulated, Google, callbacks=httpx.MockTransport(answer), seconds=1) as world:
        job = await world.account().submit(call(VIDEO, callback_url="https://us.example/x"))
        assert isinstance(job, Job)
        assert world.sent()["webhook_config"] == {"uris": ["https://us.example/x"]}
        world.clock.advance(2)
        while not told:
            await world.http.get("http://sim/google/")
    assert job.id.encode() in told[0]


# The simulated cloud --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("v1/models/gemini-2.5-flash-image:generateContent", {"contents": []}, "contents"),
        (
            "v1/models/gemini-2.5-flash-image:generateContent",
            {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"imageConfig": {"imageSize": "3K"}}},
            "imageSize",
        ),
        ("v1/interactions", {"model": VIDEO, "input": "x", "response_format": {"type": "video", "x": 1}}, "x"),
        (
            "v1/interactions",
            {
                "model": VIDEO,
                "input": "x",
                "response_format": {"type": "video"},
                "generation_config": {"video_config": {"task": "edit"}},
            },
            "needs a video",
        ),
        (
            "v1beta1/publishers/google/models/veo-3.1-generate-001:predictLongRunning",
            {"instances": [{"prompt": "x"}], "parameters": {"resolution": "1080p", "durationSeconds": 4}},
            "8 seconds",
        ),
        ("v1beta1/publishers/google/models/imagen-4:predict", {"instances": [{"prompt": ""}]}, "prompt"),
    ],
)
async def test_a_wrong_body_is_refused(world: World[Google], path: str, body: dict[str, Any], words: str) -> None:
    answer = await world.http.post(f"http://sim/google/{path}", json=body, headers=KEY)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "names", [{"inlineData": "mimeType"}, {"inline_data": "mime_type"}, {"inlineData": "mime_type"}]
)
async def test_both_manners_of_names_are_taken(world: World[Google], names: dict[str, str]) -> None:
    [(part, kind)] = names.items()
    picture = b64encode(render(Made(Format.PNG).small())).decode()
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}, {part: {kind: "image/png", "data": picture}}]}]}
    path = "v1beta/models/gemini-2.5-flash-image:generateContent"
    answer = await world.http.post(f"http://sim/google/{path}", json=body, headers=KEY)
    assert answer.status_code == 200


async def test_a_key_in_the_address_is_none(world: World[Google]) -> None:
    answer = await world.http.post("http://sim/google/v1/interactions?key=AIza-sim-key", json={})
    assert answer.status_code == 403


async def test_an_unknown_model_is_gone(world: World[Google]) -> None:
    body = {"contents": [{"parts": [{"text": "x"}]}]}
    answer = await world.http.post("http://sim/google/v1/models/gone:generateContent", json=body, headers=KEY)
    assert answer.status_code == 404


async def test_an_interaction_is_deleted(world: World[Google]) -> None:
    job = await world.account().submit(call(VIDEO, options={"background": True}))
    known = job.id if isinstance(job, Job) else world.simulator.find_jobs(cloud="google")[0].id
    address = f"http://sim/google/v1/interactions/{known}"
    assert (await world.http.delete(address, headers=KEY)).status_code == 200
    assert (await world.http.get(address, headers=KEY)).status_code == 404
