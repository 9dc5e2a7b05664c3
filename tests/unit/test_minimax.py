"""MiniMax: its client against the simulated cloud, every model of the catalogue, every error, and what is sent."""

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
from genpulse.providers.minimax import Minimax
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.clouds.minimax import Minimax as Simulated
from genpulse.simulator.jobs import State
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, always, operations_of, simulated, world_of

world = world_of(Simulated, Minimax)
call = Calls("minimax", operation=Operation.TEXT_TO_VIDEO, prompt="a fox")
SPECS = call.specs
ALL = operations_of(SPECS.values())
TEXT, SPEECH = Operation.TEXT_TO_VIDEO, Operation.TEXT_TO_SPEECH
SOUND = (b"ID3", b"\xff\xfb", b"\xff\xf3")
VALUES: dict[str, Any] = {
    "prompt": "a fox",
    "width": 1024,
    "height": 768,
    "aspect_ratio": "9:16",
    "resolution": "768p",
    "duration": 6.0,
    "count": 2,
    "seed": 7,
    "voice": "male-qn-qingse",
}
#: Of models whose `voice` is the id of a new one, and what their options must say.
NEW_VOICE = {"voice-clone": "Fox-voice-1", "voice-design": "Fox-voice-2"}
NEEDED: dict[str, dict[str, Any]] = {"video-template": {"template_id": "393769180141805569"}}


def filled(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    media = {name: [files[MEDIA_FIELDS[name]]] for name in fields if name in MEDIA_FIELDS}
    if "last_image" in media:  # not from references as well
        media = {name: sent for name, sent in media.items() if name not in ("reference_images", "audio")}
    given = {name: VALUES[name] for name in fields if name not in MEDIA_FIELDS}
    if "width" in given:
        given = {name: value for name, value in given.items() if name not in ("aspect_ratio", "resolution")}
    if "voice" in given:
        given["voice"] = NEW_VOICE.get(spec.name, given["voice"])
    return call(spec.name, operation, media, options=NEEDED.get(spec.name, {}), **given)


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Minimax], files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    state = await world.made(filled(spec, operation, files, every=every))
    assert len(state.outputs) == (2 if every and "count" in spec.operations[operation].fields else 1)
    for output in state.outputs:
        if output.url is None:
            assert output.content is not None
            assert output.content.startswith(SOUND)
            continue
        answer = await world.http.get(output.url)
        assert answer.headers["Content-Type"].startswith(str(spec.operations[operation].output))


# What is sent ---------------------------------------------------------------------------------------------------------


async def test_a_video_from_two_pictures(world: World[Minimax], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    asked = call(
        "MiniMax-Hailuo-02",
        Operation.IMAGE_TO_VIDEO,
        {"image": [picture], "last_image": [picture]},
        resolution="768p",
        duration=10.0,
        options={"prompt_optimizer": False},
    )
    await world.made(asked)
    assert world.sent() == {
        "model": "MiniMax-Hailuo-02",
        "prompt": "a fox",
        "first_frame_image": picture.data_url(),
        "last_frame_image": picture.data_url(),
        "resolution": "768P",
        "duration": 10,
        "prompt_optimizer": False,
    }


async def test_a_video_with_references_and_sound(world: World[Minimax], files: Files) -> None:
    media = {"reference_images": [files[MediaKind.IMAGE]] * 2, "audio": [files[MediaKind.AUDIO]]}
    await world.made(call("MiniMax-H3", TEXT, media))
    sent = world.sent()
    assert [(one["type"], one.get("role")) for one in sent["content"]] == [
        ("text", None),
        ("image_url", "reference_image"),
        ("image_url", "reference_image"),
        ("audio_url", "reference_audio"),
    ]
    assert (sent["resolution"], sent["duration"], "ratio" in sent) == ("768P", 5, False)


async def test_a_video_may_only_have_an_end(world: World[Minimax], files: Files) -> None:
    await world.made(call("MiniMax-H3", TEXT, {"last_image": [files[MediaKind.IMAGE]]}))
    assert [one.get("role") for one in world.sent()["content"]] == [None, "last_frame"]
    both = {"last_image": [files[MediaKind.IMAGE]], "reference_images": [files[MediaKind.IMAGE]]}
    error = await world.refused(call("MiniMax-H3", TEXT, both))
    assert (type(error), getattr(error, "field", "")) == (InvalidInput, "reference_images")


async def test_a_video_from_text_alone_has_a_shape(world: World[Minimax]) -> None:
    await world.made(call("MiniMax-H3"))
    assert world.sent()["ratio"] == "16:9"


async def test_a_video_goes_by_its_address(world: World[Minimax], files: Files) -> None:
    await world.made(call("MiniMax-H3", Operation.VIDEO_TO_VIDEO, {"video": [files[MediaKind.VIDEO]]}))
    assert world.sent()["content"][1]["video_url"] == {"url": "https://files.example/input.mp4"}


async def test_options_join_what_is_sent(world: World[Minimax]) -> None:
    spoken = call(
        "speech-2.8-hd",
        Operation.TEXT_TO_SPEECH,
        voice="male-qn-qingse",
        options={"voice_setting": {"speed": 1.5}, "language_boost": "English"},
    )
    state = await world.made(spoken)
    assert world.sent() == {
        "model": "speech-2.8-hd",
        "text": "a fox",
        "voice_setting": {"voice_id": "male-qn-qingse", "speed": 1.5},
        "audio_setting": {"format": "mp3"},
        "output_format": "url",
        "stream": False,
        "language_boost": "English",
    }
    assert state.usage == {"characters": 5}


async def test_what_was_really_made_is_told(world: World[Minimax]) -> None:
    state = await world.made(call("MiniMax-H3", resolution="2k", duration=4.0))
    assert state.parameters == {"resolution": "2K", "duration": 4, "aspect_ratio": "16:9"}
    assert state.usage["output_seconds"] == 4
    assert (await world.made(call("MiniMax-Hailuo-2.3", resolution="1080p"))).parameters == {
        "width": 1920,
        "height": 1080,
    }


async def test_a_voice_is_cloned_from_a_sample_that_is_uploaded_first(world: World[Minimax], files: Files) -> None:
    options = {"need_noise_reduction": True}
    asked = call("voice-clone", SPEECH, {"audio": [files[MediaKind.AUDIO]]}, voice="Fox-voice-1", options=options)
    state = await world.made(asked)
    [upload] = world.simulator.uploads.values()
    assert upload.content == files[MediaKind.AUDIO].path.read_bytes()
    sent = world.sent()
    assert isinstance(sent.pop("file_id"), int)
    assert sent == {"voice_id": "Fox-voice-1", "text": "a fox", "model": "speech-2.8-hd", "need_noise_reduction": True}
    assert state.parameters == {"voice": "Fox-voice-1"}
    assert (await world.http.get(str(state.outputs[0].url))).headers["Content-Type"] == "audio/mpeg"
    spoken = call("speech-2.8-turbo", SPEECH, voice="Fox-voice-1")
    assert await listed(world, "voice_cloning") == []
    await world.made(spoken)
    assert await listed(world, "voice_cloning") == ["Fox-voice-1"]


async def listed(world: World[Minimax], kind: str) -> list[str]:
    """The voices of this kind that the account has at MiniMax."""
    headers = {"Authorization": "Bearer sk-api-sim-key"}
    answer = await world.http.post(f"{world.base_url}/v1/get_voice", json={"voice_type": kind}, headers=headers)
    return [one["voice_id"] for one in answer.json()[kind]]


async def test_a_cloned_voice_gets_an_id_of_its_own_call(world: World[Minimax], files: Files) -> None:
    """And so a call that is sent again, by whomever, clones nothing twice."""
    asked = call("voice-clone", SPEECH, {"audio": [files[MediaKind.AUDIO]]})
    assert (await world.made(asked)).parameters == {"voice": "gen-1-0-1"}
    with pytest.raises(ProviderRejected, match="2039"):
        await world.made(asked)
    assert len(world.simulator.find_jobs()) == 1


async def test_a_voice_is_designed_from_words(world: World[Minimax]) -> None:
    state = await world.made(
        call("voice-design", SPEECH, voice="Fox-voice-2", options={"preview_text": "Good evening."})
    )
    assert world.sent() == {"prompt": "a fox", "preview_text": "Good evening.", "voice_id": "Fox-voice-2"}
    assert state.parameters == {"voice": "Fox-voice-2"}
    assert await listed(world, "voice_generation") == ["Fox-voice-2"]
    unnamed = await world.made(call("voice-design", SPEECH))
    assert str(unnamed.parameters["voice"]).startswith("ttv-voice-")
    assert world.sent()["preview_text"]


@pytest.mark.parametrize("model", NEW_VOICE)
@pytest.mark.parametrize("voice", ["short", "1-is-no-letter", "ends-with-", "has spaces in it"])
async def test_an_id_that_no_voice_can_have(world: World[Minimax], files: Files, model: str, voice: str) -> None:
    error = await world.refused(call(model, SPEECH, {"audio": [files[MediaKind.AUDIO]]}, voice=voice))
    assert (type(error), getattr(error, "field", "")) == (InvalidInput, "input.voice")
    assert world.simulator.record.find() == []


async def test_a_sample_of_another_form_is_refused(world: World[Minimax], files: Files) -> None:
    sample = replace(files[MediaKind.AUDIO], media_type="audio/ogg")
    error = await world.refused(call("voice-clone", SPEECH, {"audio": [sample]}))
    assert (type(error), getattr(error, "field", "")) == (InvalidInput, "input.audio")
    assert world.simulator.uploads == {}


async def test_a_clone_that_is_paid_for_is_not_paid_again(world: World[Minimax], files: Files) -> None:
    """A lost upload costs nothing; a lost clone stays unknown."""
    asked = call("voice-clone", SPEECH, {"audio": [files[MediaKind.AUDIO]]})
    world.fault(type="lost_answer", kinds=["other"], times=1)
    assert type(await world.refused(asked)) is ProviderUnavailable
    assert world.simulator.find_jobs() == []
    world.fault(type="lost_answer", times=1)
    assert type(await world.refused(asked)) is OutcomeUnknown
    assert len(world.simulator.find_jobs()) == 1


async def test_a_sample_that_is_not_let_through(files: Files) -> None:
    told = {"file": {"file_id": 1}, "input_sensitive": True, "demo_audio": "", "base_resp": {"status_code": 0}}
    with pytest.raises(ContentBlocked):
        await answering(200, told).submit(call("voice-clone", SPEECH, {"audio": [files[MediaKind.AUDIO]]}))


@pytest.mark.parametrize("told", [{"voice_id": "x", "trial_audio": "no digits"}, {"trial_audio": "00"}])
async def test_a_designed_voice_that_cannot_be_read_is_unknown(told: dict[str, str]) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(200, told | {"base_resp": {"status_code": 0}}).submit(call("voice-design", SPEECH))


@pytest.mark.parametrize(
    ("options", "instrumental"), [({}, True), ({"lyrics": "la la"}, None), ({"lyrics_optimizer": True}, None)]
)
async def test_music_has_a_voice_only_if_there_is_something_to_sing(
    world: World[Minimax], options: dict[str, Any], instrumental: bool | None
) -> None:
    state = await world.made(call("music-2.6", SPEECH, options=options))
    assert world.sent().get("is_instrumental") is instrumental
    assert state.usage == {"seconds": 1.0}
    assert (await world.http.get(str(state.outputs[0].url))).headers["Content-Type"] == "audio/mpeg"


async def test_a_video_of_h3_is_made_anew(world: World[Minimax], files: Files) -> None:
    media = {"video": [files[MediaKind.VIDEO]], "image": [files[MediaKind.IMAGE]]}
    state = await world.made(call("MiniMax-H3-regeneration", Operation.VIDEO_UPSCALE, media))
    sent = world.sent()
    assert [one.get("role") for one in sent.pop("content")] == [None, "first_frame", "base_video"]
    assert sent == {"model": "MiniMax-H3", "resolution": "2K"}
    assert state.parameters["resolution"] == "2K"
    media = {"video": [files[MediaKind.VIDEO]], "audio": [files[MediaKind.AUDIO]]}
    error = await world.refused(call("MiniMax-H3-regeneration", Operation.VIDEO_UPSCALE, media))
    assert (type(error), getattr(error, "field", "")) == (InvalidInput, "audio")
    media = {name: [files[MediaKind.IMAGE]] for name in ("video", "image", "reference_images")}
    error = await world.refused(call("MiniMax-H3-regeneration", Operation.VIDEO_UPSCALE, media))
    assert (type(error), getattr(error, "field", "")) == (InvalidInput, "reference_images")


async def test_a_template_is_filled(world: World[Minimax], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    with pytest.raises(InvalidInput, match="template") as missing:
        await world.made(call("video-template"))
    assert missing.value.field == "provider_options.template_id"
    await world.made(
        call("video-template", Operation.IMAGE_TO_VIDEO, {"image": [picture]}, options={"template_id": "1"})
    )
    assert world.sent() == {
        "template_id": "1",
        "text_inputs": [{"value": "a fox"}],
        "media_inputs": [{"value": picture.data_url()}],
    }
    assert world.simulator.record.find(kind=Kind.POLL)[-1].path.endswith("/v1/query/video_template_generation")


async def test_the_list_of_tasks_is_filtered_and_paged(world: World[Minimax]) -> None:
    for model in ("MiniMax-H3", "MiniMax-H3", "MiniMax-H3-Max"):
        await world.account().submit(call(model))
    headers = {"Authorization": "Bearer sk-api-sim-key"}

    async def shown(**query: Any) -> tuple[int, int]:
        answer = await world.http.get(f"{world.base_url}/v2/query/video_generation", params=query, headers=headers)
        return answer.json()["total"], len(answer.json()["items"])

    assert await shown() == (3, 3)
    assert await shown(**{"filter.model": "MiniMax-H3", "page_size": 1, "page_num": 2}) == (2, 1)
    assert await shown(**{"filter.status": "queued", "filter.task_type": "generation"}) == (0, 0)


@pytest.mark.parametrize(
    ("model", "given", "field", "words"),
    [
        ("MiniMax-Hailuo-2.3", {"duration": 8.0}, "duration", "6 or 10"),
        ("MiniMax-Hailuo-2.3", {"duration": 10.0, "resolution": "1080p"}, "duration", "768p only"),
    ],
)
async def test_what_does_not_go_together_is_refused(
    world: World[Minimax], model: str, given: dict[str, Any], field: str, words: str
) -> None:
    error = await world.refused(call(model, **given))
    assert isinstance(error, InvalidInput)
    assert (error.field, words in error.message) == (field, True)
    assert world.simulator.record.find(kind=Kind.SUBMIT) == []


async def test_sound_needs_company(world: World[Minimax], files: Files) -> None:
    error = await world.refused(call("MiniMax-H3", TEXT, {"audio": [files[MediaKind.AUDIO]]}))
    assert (type(error), getattr(error, "field", "")) == (InvalidInput, "audio")


async def test_a_last_frame_needs_more_than_512p(world: World[Minimax], files: Files) -> None:
    pictures = {"image": [files[MediaKind.IMAGE]], "last_image": [files[MediaKind.IMAGE]]}
    error = await world.refused(call("MiniMax-Hailuo-02", Operation.IMAGE_TO_VIDEO, pictures, resolution="512p"))
    assert (type(error), getattr(error, "field", "")) == (InvalidInput, "resolution")


# Errors ---------------------------------------------------------------------------------------------------------------

CODES: list[tuple[int, type[GenPulseError]]] = [
    (1000, ProviderUnavailable),
    (1001, OutcomeUnknown),
    (1002, ProviderThrottled),
    (1004, ProviderAuthFailed),
    (1008, ProviderQuotaSpent),
    (1013, ProviderUnavailable),
    (1024, ProviderUnavailable),
    (1026, ContentBlocked),
    (1027, ContentBlocked),
    (1028, ProviderQuotaSpent),
    (1030, ProviderQuotaSpent),
    (1033, ProviderUnavailable),
    (1039, ProviderThrottled),
    (1041, ProviderThrottled),
    (1042, ProviderRejected),
    (1043, ProviderRejected),
    (1044, ProviderRejected),
    (2037, ProviderRejected),
    (2038, ProviderAuthFailed),
    (2039, ProviderRejected),
    (2048, ProviderRejected),
    (2013, ProviderRejected),
    (20132, ProviderRejected),
    (2042, ProviderAuthFailed),
    (2045, ProviderThrottled),
    (2049, ProviderAuthFailed),
    (2056, ProviderQuotaSpent),
    (2061, ProviderAuthFailed),
]


def answering(status: int, body: object) -> Minimax:
    return Minimax("http://sim", Credentials(api_key="x"), always(status, body))


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(("code", "kind"), CODES)
async def test_a_code_of_the_first_generation(status: int, code: int, kind: type[GenPulseError]) -> None:
    cloud = answering(status, {"base_resp": {"status_code": code, "status_msg": "no"}})
    with pytest.raises(kind, match=str(code)):
        await cloud.submit(call("MiniMax-Hailuo-2.3"))


@pytest.mark.parametrize(
    ("status", "error", "message", "kind"),
    [
        (400, "bad_request_error", "invalid params (2013)", ProviderRejected),
        (400, "bad_request_error", "sensitive (1026)", ContentBlocked),
        (401, "authorized_error", "login fail (1004)", ProviderAuthFailed),
        (402, "insufficient_balance_error", "insufficient balance (1008)", ProviderQuotaSpent),
        (422, "unprocessable_entity_error", "video description contains sensitive content (1026)", ContentBlocked),
        (429, "rate_limit_error", "rate limit, please retry later (1002)", ProviderThrottled),
        (500, "server_error", "internal error (1000)", OutcomeUnknown),
        (529, "overloaded_error", "overloaded", ProviderUnavailable),
        (418, "new_error", "odd", ProviderRejected),
    ],
)
async def test_an_error_of_the_second_generation(
    status: int, error: str, message: str, kind: type[GenPulseError]
) -> None:
    body = {"type": "error", "error": {"type": error, "message": message, "http_code": str(status)}}
    with pytest.raises(kind, match=message.split(" (", maxsplit=1)[0]):
        await answering(status, body).submit(call("MiniMax-H3"))


@pytest.mark.parametrize("body", [{}, {"base_resp": {"status_code": 0}}, {"base_resp": "x"}, [], "x"])
@pytest.mark.parametrize("model", ["MiniMax-Hailuo-2.3", "MiniMax-H3"])
async def test_an_answer_without_a_task_is_no_answer(model: str, body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(200, body).submit(call(model))


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderFailed)])
@pytest.mark.parametrize("model", ["MiniMax-Hailuo-2.3", "MiniMax-H3"])
async def test_a_task_that_fails(world: World[Minimax], model: str, code: str, kind: type[GenPulseError]) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(call(model))) is kind


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderUnavailable)])
@pytest.mark.parametrize("model", ["image-01", "speech-02-turbo", "voice-design", "music-2.6"])
async def test_what_fails_within_the_answer(
    world: World[Minimax], model: str, code: str, kind: type[GenPulseError]
) -> None:
    world.fault(type="fails", code=code)
    operation = next(iter(SPECS[model].operations))
    assert (
        type(await world.refused(call(model, operation, voice="x") if "speech" in model else call(model, operation)))
        is kind
    )


async def test_other_words_for_a_failure() -> None:
    cloud = answering(200, {"status": "Failed", "base_resp": {"status_code": 1027, "status_msg": "sensitive"}})
    with pytest.raises(ContentBlocked):
        await cloud.poll(Job(id="1"), call("MiniMax-Hailuo-2.3"))
    cloud = answering(200, {"task": {"id": "1", "status": "expired"}})
    with pytest.raises(ProviderFailed, match="expired"):
        await cloud.poll(Job(id="1", handle={"api": "2"}), call("MiniMax-H3"))


async def test_no_picture_at_all_was_refused() -> None:
    empty: list[dict[str, Any] | None] = [None, {}, {"image_urls": []}]
    for data in empty:
        with pytest.raises(ContentBlocked):
            await answering(200, {"data": data, "base_resp": {"status_code": 0}}).submit(
                call("image-01", Operation.TEXT_TO_IMAGE)
            )


async def test_a_wrong_key_is_refused(world: World[Minimax]) -> None:
    for model in ("MiniMax-Hailuo-2.3", "MiniMax-H3"):
        with pytest.raises(ProviderAuthFailed, match="login fail"):
            await world.account(api_key="sk-api-wrong").submit(call(model))


# Tasks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["MiniMax-Hailuo-2.3", "MiniMax-H3"])
async def test_a_task_goes_through_its_states(model: str) -> None:
    async with simulated(Simulated, Minimax, seconds=8) as world:
        cloud, asked = world.account(), call(model)
        job = await cloud.submit(asked)
        assert isinstance(job, Job)
        assert job.id.isdecimal()
        for seconds in (0, 4):
            world.clock.advance(seconds)
            assert await cloud.poll(job, asked) == Pending()
        world.clock.advance(4)
        assert isinstance(await cloud.poll(job, asked), Finished)


@pytest.mark.parametrize("model", ["MiniMax-Hailuo-2.3", "MiniMax-H3"])
async def test_a_task_may_be_missing_at_first(world: World[Minimax], model: str) -> None:
    world.fault(type="hidden_at_first")
    job = await world.account().submit(call(model))
    assert isinstance(job, Job)
    with pytest.raises(JobMissing):
        await world.account().poll(job, call(model))
    assert isinstance(await world.account().poll(job, call(model)), Finished)


@pytest.mark.parametrize("model", ["MiniMax-Hailuo-2.3", "MiniMax-H3"])
async def test_done_without_a_file_is_passed_on(world: World[Minimax], model: str) -> None:
    world.fault(type="no_outputs")
    assert (await world.made(call(model))).outputs == []


@pytest.mark.parametrize("fault", ["lost_answer", "malformed", "hung", "connection_reset"])
@pytest.mark.parametrize("model", ["MiniMax-Hailuo-2.3", "MiniMax-H3", "image-01"])
async def test_a_lost_answer_stays_unknown(world: World[Minimax], model: str, fault: str) -> None:
    world.fault(type=fault, times=1)
    asked = call(model, next(iter(SPECS[model].operations)))
    with pytest.raises(OutcomeUnknown):
        await world.account().submit(asked)
    assert not world.account().can_find(asked)
    assert not world.account().remembers_key(asked)


async def test_only_what_is_queued_is_cancelled() -> None:
    async with simulated(Simulated, Minimax, seconds=8) as world:
        cloud = world.account()
        queued, running, ended = [await cloud.submit(call("MiniMax-H3")) for _ in range(3)]
        assert isinstance(queued, Job)
        assert isinstance(running, Job)
        assert isinstance(ended, Job)
        await cloud.cancel(queued)
        assert world.simulator.jobs["minimax", queued.id].state is State.CANCELLED
        with pytest.raises(ProviderFailed, match="cancelled"):
            await cloud.poll(queued, call("MiniMax-H3"))
        world.clock.advance(4)
        await cloud.cancel(running)
        assert world.simulator.jobs["minimax", running.id].state is State.RUNNING
        world.clock.advance(8)
        await cloud.cancel(ended)
        assert isinstance(await cloud.poll(ended, call("MiniMax-H3")), Finished), "its record is not deleted"
        await cloud.cancel(Job(id="999", handle={"api": "2"}))


async def test_the_first_generation_cannot_cancel(world: World[Minimax]) -> None:
    job = await world.account().submit(call("MiniMax-Hailuo-2.3"))
    assert isinstance(job, Job)
    await world.account().cancel(job)
    assert world.simulator.record.find(kind=Kind.CANCEL) == []


# Callbacks ------------------------------------------------------------------------------------------------------------


def receiver(told: list[Any], *, echo: bool) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        told.append(body)
        return httpx.Response(200, json=body if echo else {})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize(("model", "last"), [("MiniMax-Hailuo-2.3", "success"), ("MiniMax-H3", "succeeded")])
async def test_a_callback_comes_after_a_challenge(model: str, last: str) -> None:
    told: list[Any] = []
    async with simulated(Simulated, Minimax, callbacks=receiver(told, echo=True)) as world:
        job = await world.account().submit(call(model, callback_url="https://us.example/x"))
        assert isinstance(job, Job)
        while len(told) < 3:
            await world.http.get("http://sim/minimax/")
    assert set(told[0]) == {"challenge"}
    final = told[-1].get("task", told[-1])
    assert final["status"] == last
    assert job.id in {final.get("id"), final.get("task_id")}


async def test_where_our_address_fails_the_challenge_there_are_no_callbacks() -> None:
    told: list[Any] = []
    async with simulated(Simulated, Minimax, callbacks=receiver(told, echo=False)) as world:
        await world.account().submit(call("MiniMax-H3", callback_url="https://us.example/x"))
        (job,) = world.simulator.find_jobs()
        assert job.callback_url is None
        assert [set(one) for one in told] == [{"challenge"}]


async def test_what_is_refused_for_another_reason_stays_refused() -> None:
    async with simulated(Simulated, Minimax, callbacks=receiver([], echo=True)) as world:
        wrong = call("MiniMax-H3", callback_url="https://us.example/x", options={"resolution": "9999p"})
        with pytest.raises(ProviderRejected):
            await world.account().submit(wrong)
        assert world.simulator.find_jobs() == []
