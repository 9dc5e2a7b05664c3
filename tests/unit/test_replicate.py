"""Replicate: its client against the simulated cloud, every model of the catalogue, every error, and what is sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from genpulse.errors import (
    ContentBlocked,
    Forbidden,
    GenPulseError,
    JobMissing,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
)
from genpulse.providers.base import Credentials, Finished, Job, Media, Pending
from genpulse.providers.replicate import Replicate
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.clouds.replicate import Replicate as Simulated
from genpulse.simulator.jobs import State
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, always, operations_of, simulated, world_of

world = world_of(Simulated, Replicate)
call = Calls("replicate", "flux-schnell", Operation.TEXT_TO_IMAGE, prompt="a fox")
ALL = operations_of(call.specs.values())
EDIT, FRAMES = Operation.IMAGE_TO_IMAGE, Operation.IMAGE_TO_VIDEO


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Replicate], files: Files, spec: ModelSpec, operation: Operation
) -> None:
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required}
    media = {name: [files[MEDIA_FIELDS[name]]] for name in fields if name in MEDIA_FIELDS}
    state = await world.made(call(spec.name, operation, media))
    assert len(state.outputs) == 1
    assert state.outputs[0].url is not None
    answer = await world.http.get(state.outputs[0].url)
    assert answer.headers["Content-Type"].startswith(str(spec.operations[operation].output))
    assert state.usage == {"seconds": 0}


# What is sent ---------------------------------------------------------------------------------------------------------


async def test_a_picture(world: World[Replicate]) -> None:
    asked = call(
        aspect_ratio="16:9", count=3, steps=4, seed=7, options={"go_fast": True}, callback_url="https://us.example/x"
    )
    assert len((await world.made(asked)).outputs) == 3
    entry = world.simulator.record.find(kind=Kind.SUBMIT)[-1]
    assert entry.path == "/replicate/v1/models/black-forest-labs/flux-schnell/predictions"
    told = {
        "prompt": "a fox",
        "aspect_ratio": "16:9",
        "num_outputs": 3,
        "num_inference_steps": 4,
        "seed": 7,
        "output_format": "png",
        "go_fast": True,
    }
    hook = {"webhook": "https://us.example/x", "webhook_events_filter": ["completed"]}
    assert entry.body == {"input": told} | hook


async def test_a_picture_of_a_picture(world: World[Replicate], files: Files) -> None:
    picture = files[MediaKind.IMAGE]
    await world.made(call("flux-dev", EDIT, {"image": [picture]}, strength=0.5))
    told = {"prompt": "a fox", "image": picture.data_url(), "prompt_strength": 0.5, "output_format": "png"}
    assert world.sent() == {"input": told}


async def test_a_large_file_is_uploaded_first(world: World[Replicate], tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(b"\0" * 190_001)
    await world.made(call("flux-dev", EDIT, {"image": [Media(path=path, media_type="image/png")]}))
    upload = next(iter(world.simulator.uploads.values()))
    assert (upload.name, upload.content_type, len(upload.content)) == ("input.png", "image/png", 190_001)
    assert world.sent()["input"]["image"] == f"http://sim/replicate/v1/files/{upload.id}"


async def test_what_has_an_address_is_not_sent(world: World[Replicate], files: Files) -> None:
    picture = replace(files[MediaKind.IMAGE], url="https://files.example/x.png")
    await world.made(call("flux-dev", EDIT, {"image": [picture]}))
    assert world.sent()["input"]["image"] == "https://files.example/x.png"


async def test_pictures_and_sizes_in_the_model_s_own_words(world: World[Replicate], files: Files) -> None:
    uri = files[MediaKind.IMAGE].data_url()
    media = {"reference_images": [files[MediaKind.IMAGE]], "image": [files[MediaKind.IMAGE]]}
    await world.made(call("flux-2-pro", EDIT, media, width=512, height=512))
    told = {"prompt": "a fox", "input_images": [uri, uri], "output_format": "png"}
    assert world.sent()["input"] == told | {"aspect_ratio": "custom", "width": 512, "height": 512}
    await world.made(call("flux-2-pro", EDIT, media))
    assert world.sent()["input"] == told | {"aspect_ratio": "match_input_image"}
    await world.made(call("kling-2.5-turbo-pro", FRAMES, {"image": [files[MediaKind.IMAGE]]}, guidance=0.7))
    assert world.sent()["input"] == {"prompt": "a fox", "image": uri, "guidance_scale": 0.7}


# Errors ---------------------------------------------------------------------------------------------------------------


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> Replicate:
    return Replicate("http://replicate", Credentials(api_key="x"), always(status, body, headers))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderRejected),
        (401, ProviderAuthFailed),
        (402, ProviderQuotaSpent),
        (404, ProviderRejected),
        (422, ProviderRejected),
        (429, ProviderThrottled),
        (500, OutcomeUnknown),
        (503, OutcomeUnknown),
        (504, OutcomeUnknown),
    ],
)
async def test_a_refusal(status: int, kind: type[GenPulseError]) -> None:
    problem = {"title": "No", "detail": "- input.prompt: no", "status": status}
    with pytest.raises(GenPulseError) as error:
        await answering(status, problem).submit(call())
    assert (type(error.value), "input.prompt" in error.value.message) == (kind, True)


@pytest.mark.parametrize(
    ("said", "headers", "wait"),
    [
        ("Request was throttled. Your rate limit resets in ~30s.", {}, 30),
        ("Request was throttled. Your rate limit resets in ~30s.", {"Retry-After": "17"}, 17),
        ("Request was throttled.", {}, None),
    ],
)
async def test_when_to_come_back(said: str, headers: dict[str, str], wait: float | None) -> None:
    with pytest.raises(ProviderThrottled) as error:
        await answering(429, {"detail": said}, headers).submit(call())
    assert (error.value.details["retry_after"], said in error.value.message) == (wait, True)


@pytest.mark.parametrize("body", [{}, {"id": "1"}, {"id": "", "status": "starting"}, [], None])
async def test_an_answer_without_a_prediction_is_no_answer(body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(201, body).submit(call())


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        ("failed", "NSFW content detected", ContentBlocked),
        ("failed", "The input was flagged as sensitive (E005)", ContentBlocked),
        ("failed", "CUDA out of memory", ProviderFailed),
        ("failed", None, ProviderFailed),
        ("canceled", None, ProviderRejected),
        ("aborted", None, ProviderRejected),
        ("something_new", None, ProviderFailed),
    ],
)
async def test_whatever_is_not_under_way_has_ended(status: str, said: str | None, kind: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError) as error:
        await answering(200, {"id": "1", "status": status, "error": said}).poll(Job(id="1"), call())
    assert (type(error.value), (said or status) in error.value.message) == (kind, True)


@pytest.mark.parametrize(
    ("output", "links"),
    [
        ("https://x/a", ["https://x/a"]),
        (["https://x/a", "https://x/b"], ["https://x/a", "https://x/b"]),
        ({"video": "https://x/a", "seed": 7, "frames": [{"url": "https://x/b"}]}, ["https://x/a", "https://x/b"]),
        ("words", []),
        (None, []),
    ],
)
async def test_an_output_has_any_form(output: object, links: list[str]) -> None:
    state = await answering(200, {"id": "1", "status": "succeeded", "output": output}).poll(Job(id="1"), call())
    assert isinstance(state, Finished)
    assert [one.url for one in state.outputs] == links


async def test_what_is_deleted_is_not_asked_for_again() -> None:
    told = {"id": "1", "status": "succeeded", "output": None, "data_removed": True}
    with pytest.raises(ProviderFailed) as error:
        await answering(200, told).poll(Job(id="1"), call())
    assert not error.value.retryable


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_a_prediction_that_fails(world: World[Replicate], code: str, kind: type[GenPulseError]) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(call())) is kind


async def test_a_wrong_token_is_refused(world: World[Replicate]) -> None:
    with pytest.raises(ProviderAuthFailed):
        await world.account(api_key="r8_wrong").submit(call())


# Predictions ----------------------------------------------------------------------------------------------------------


async def test_a_prediction_goes_through_its_states() -> None:
    async with simulated(Simulated, Replicate, seconds=8) as world:
        cloud = world.account()
        job = await cloud.submit(call())
        for seconds, fraction in ((0, None), (4, 0.5)):
            world.clock.advance(seconds)
            assert await cloud.poll(job, call()) == Pending(fraction=fraction)
        world.clock.advance(4)
        assert isinstance(await cloud.poll(job, call()), Finished)


@pytest.mark.parametrize(
    ("logs", "fraction"),
    [
        (None, None),
        ("Seed: 50%\n", None),
        ("  0%|          | 0/4\n 75%|#######   | 3/4\n", 0.75),
        ("999%|##|", 1.0),
    ],
)
async def test_progress_stands_in_the_logs(logs: str | None, fraction: float | None) -> None:
    told = {"id": "1", "status": "processing", "logs": logs}
    assert await answering(200, told).poll(Job(id="1"), call()) == Pending(fraction=fraction)


async def test_a_prediction_may_be_missing_at_first(world: World[Replicate]) -> None:
    world.fault(type="hidden_at_first")
    job = await world.account().submit(call())
    with pytest.raises(JobMissing):
        await world.account().poll(job, call())
    assert isinstance(await world.account().poll(job, call()), Finished)


@pytest.mark.parametrize("fault", ["lost_answer", "malformed", "hung", "connection_reset"])
async def test_a_lost_answer_stays_unknown(world: World[Replicate], fault: str) -> None:
    world.fault(type=fault, times=1)
    cloud = world.account()
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(call())
    assert not (cloud.can_find(call()) or cloud.remembers_key(call()))


async def test_a_prediction_is_cancelled_and_too_late_is_no_error() -> None:
    async with simulated(Simulated, Replicate, seconds=8) as world:
        cloud = world.account()
        early, late = [await cloud.submit(call()) for _ in range(2)]
        await cloud.cancel(early)
        assert world.simulator.jobs["replicate", early.id].state is State.CANCELLED
        world.clock.advance(8)
        await cloud.cancel(late)
        assert isinstance(await cloud.poll(late, call()), Finished)
        await cloud.cancel(Job(id="unknown"))


# Callbacks ------------------------------------------------------------------------------------------------------------


async def called_back(world: World[Replicate], told: list[httpx.Request]) -> tuple[dict[str, str], bytes]:
    await world.account().submit(call(callback_url="https://us.example/x"))
    while not told:
        await world.http.get("http://sim/replicate/")
    return dict(told[0].headers), told[0].content


async def test_a_callback_is_held_against_its_signature() -> None:
    told: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        told.append(request)
        return httpx.Response(200)

    async with simulated(Simulated, Replicate, callbacks=httpx.MockTransport(receive)) as world:
        headers, body = await called_back(world, told)
        now = datetime.fromtimestamp(world.clock.now(), UTC)
        for secret in (Simulated.credentials.webhook_secret, None):  # without one it is asked for
            cloud = world.account(api_key=Simulated.credentials.api_key, webhook_secret=secret)
            await cloud.verify_callback(headers, body, now=now)
            with pytest.raises(Forbidden):
                await cloud.verify_callback(headers, body + b" ", now=now)
        asked = [one for one in world.simulator.record.find() if one.path.endswith("/webhooks/default/secret")]
        assert len(asked) == 1
