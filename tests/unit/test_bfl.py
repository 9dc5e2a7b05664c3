"""Black Forest Labs: its client against the simulated cloud, every model, every state and error, and what is sent."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from genpulse.errors import (
    ContentBlocked,
    Forbidden,
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
from genpulse.providers.base import Credentials, Finished, Job, Media, ModelCall, Output, Pending
from genpulse.providers.bfl import Bfl
from genpulse.schemas.catalog import ModelSpec, Size
from genpulse.schemas.states import MEDIA_FIELDS, Operation
from genpulse.simulator.clouds.bfl import Bfl as Simulated
from genpulse.simulator.media import Format, render
from genpulse.simulator.media import Media as Made
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, World, always, input_file, operations_of, simulated, world_of

world = world_of(Simulated, Bfl)
call = Calls("bfl", "flux-2-pro", Operation.TEXT_TO_IMAGE, prompt="a fox")
SPECS = call.specs
ALL = operations_of(SPECS.values())
TEXT, EDIT = Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE
VALUES: dict[str, Any] = {"prompt": "a fox", "aspect_ratio": "9:16", "width": 1024, "height": 768, "seed": 7}
HOOK = "https://us.example/hook"


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Media:
    return input_file(tmp_path_factory.mktemp("inputs"), Made(Format.PNG, 320, 256))


def filled(spec: ModelSpec, operation: Operation, picture: Media, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are and the most of each."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    if spec.name == "flux-pro-1.0-fill":
        fields["mask"] = spec.operations[operation].fields["mask"]
    media = {
        name: [picture] * int(field.maximum or 1 if field.type == "images" else 1)
        for name, field in fields.items()
        if name in MEDIA_FIELDS
    }
    sized = spec.operations[operation].sizes is not None  # the size is worked out before the call
    given = {name: VALUES[name] for name in fields if name in VALUES and not (sized and name == "aspect_ratio")}
    given |= {name: fields[name].maximum for name in ("steps", "guidance") if name in fields}
    options = {"top": 64, "left": 32} if spec.name == "flux-pro-1.0-expand" else {}
    return replace(call(spec.name, operation, media, options=options), input=given)


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> Bfl:
    return Bfl("", Credentials(api_key="x"), always(status, body, headers))


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_a_picture(
    world: World[Bfl], picture: Media, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    state = await world.made(filled(spec, operation, picture, every=every))
    (output,) = state.outputs
    assert output.url is not None
    answer = await world.http.get(output.url)
    kind = "image/png" if "kontext" in spec.name else "image/jpeg"
    assert answer.headers["Content-Type"] == kind
    assert state.parameters["seed"] == (7 if every else 42)
    assert (state.usage["credits"], state.usage["output_mp"] > 0) == (3.0, True)


def test_what_the_router_may_choose() -> None:
    hidden = {spec.name for spec in SPECS.values() if spec.hidden}
    assert hidden == {
        "flux-2-pro-preview",
        "flux-2-klein-9b-preview",
        "flux-pro-1.0-fill",
        "flux-pro-1.0-expand",
    }


@pytest.mark.parametrize(
    ("model", "size", "made"),
    [
        ("flux-2-pro", (2048, 2048), True),
        ("flux-2-pro", (2064, 2048), False),
        ("flux-2-pro", (64, 4096), True),
        ("flux-2-pro", (1000, 1000), False),
        ("flux-pro-1.1", (1440, 256), True),
        ("flux-pro-1.1", (1456, 256), False),
        ("flux-dev", (1440, 1040), False),
    ],
)
async def test_sizes_are_the_cloud_s(world: World[Bfl], model: str, size: tuple[int, int], made: bool) -> None:
    rules = SPECS[model].operations[TEXT].sizes
    assert rules is not None
    assert rules.allows(Size(*size)) is made
    asked = call(model, width=size[0], height=size[1])
    if made:
        await world.made(asked)
        assert world.simulator.find_jobs()[0].media[0].width == size[0]
    else:
        assert isinstance(await world.refused(asked), ProviderRejected)


# What is sent ---------------------------------------------------------------------------------------------------------


def sent(world: World[Bfl]) -> tuple[str, Any]:
    entry = world.simulator.record.find(kind=Kind.SUBMIT)[-1]
    return entry.path.removeprefix("/bfl/v1/"), entry.body


async def test_text_alone(world: World[Bfl]) -> None:
    await world.made(call("flux-2-flex", width=1024, height=512, seed=7, steps=20, guidance=4.5))
    size = {"width": 1024, "height": 512}
    assert sent(world) == ("flux-2-flex", {"prompt": "a fox", "seed": 7, "steps": 20, "guidance": 4.5} | size)


async def test_pictures_are_numbered_and_the_one_to_edit_is_first(world: World[Bfl], picture: Media) -> None:
    path = picture.path.with_name("other.png")
    path.write_bytes(render(Made(Format.PNG, 300, 300, variant=1)))
    other = replace(picture, path=path)
    await world.made(call(operation=EDIT, media={"reference_images": [other] * 7, "image": [picture]}))
    model, body = sent(world)
    assert (model, body.pop("prompt"), body.pop("input_image")) == ("flux-2-pro", "a fox", picture.base64())
    assert body == {f"input_image_{number}": other.base64() for number in range(2, 9)}


@pytest.mark.parametrize("model", ["flux-pro-1.1", "flux-pro-1.1-ultra", "flux-dev"])
async def test_one_picture_stands_beside_the_prompt(world: World[Bfl], picture: Media, model: str) -> None:
    options = {"image_prompt_strength": 0.4} if "ultra" in model else {"prompt_upsampling": True}
    await world.made(call(model, media={"reference_images": [picture]}, options=options))
    assert sent(world) == (model, {"prompt": "a fox", "image_prompt": picture.base64()} | options)


async def test_a_mask_gets_the_size_of_the_picture(world: World[Bfl], picture: Media, tmp_path: Path) -> None:
    drawn = Image.new("RGB", (32, 32), "black")
    drawn.paste("white", (0, 0, 16, 32))
    drawn.save(tmp_path / "mask.png")
    mask = Media(path=tmp_path / "mask.png", media_type="image/png")
    await world.made(call("flux-pro-1.0-fill", EDIT, {"image": [picture], "mask": [mask]}, steps=15))
    model, body = sent(world)
    assert (model, body["image"], body["steps"]) == ("flux-pro-1.0-fill", picture.base64(), 15)
    image = Image.open(io.BytesIO(base64.b64decode(body["mask"])))
    assert (image.mode, image.size, image.getpixel((10, 10)), image.getpixel((310, 10))) == ("L", (320, 256), 255, 0)


async def test_without_a_mask_the_picture_has_to_be_transparent(world: World[Bfl], picture: Media) -> None:
    error = await world.refused(call("flux-pro-1.0-fill", EDIT, {"image": [picture]}))
    assert (type(error), "mask" in error.message) == (ProviderRejected, True)


async def test_a_picture_grows_by_so_many_pixels(world: World[Bfl], picture: Media) -> None:
    await world.made(call("flux-pro-1.0-expand", EDIT, {"image": [picture]}, options={"top": 64, "right": 100}))
    assert sent(world)[1] == {"prompt": "a fox", "image": picture.base64(), "top": 64, "right": 100}
    (job,) = world.simulator.find_jobs()
    assert (job.media[0].width, job.media[0].height) == (420, 320)


@pytest.mark.parametrize("options", [{}, {"top": 0}, {"seed": 1}])
async def test_a_picture_that_does_not_grow_is_refused(
    world: World[Bfl], picture: Media, options: dict[str, int]
) -> None:
    error = await world.refused(call("flux-pro-1.0-expand", EDIT, {"image": [picture]}, options=options))
    assert (type(error), error.field) == (InvalidInput, "provider_options")
    assert world.simulator.record.find() == []


@pytest.mark.parametrize(("aspect", "made"), [("21:9", True), ("9:21", True), ("22:9", False), ("1:3", False)])
@pytest.mark.parametrize("model", ["flux-kontext-pro", "flux-pro-1.1-ultra"])
async def test_shapes_have_a_limit(world: World[Bfl], model: str, aspect: str, made: bool) -> None:
    asked = call(model, aspect_ratio=aspect)
    if made:
        await world.made(asked)
        assert sent(world)[1]["aspect_ratio"] == aspect
    else:
        error = await world.refused(asked)
        assert (type(error), error.field) == (InvalidInput, "input.aspect_ratio")


async def test_options_win(world: World[Bfl]) -> None:
    options = {"safety_tolerance": 5, "output_format": "webp", "seed": 9}
    state = await world.made(call(seed=7, options=options))
    assert sent(world)[1] == {"prompt": "a fox"} | options
    assert state.parameters == {"prompt": "a fox", "seed": 9}


# States ---------------------------------------------------------------------------------------------------------------


async def test_a_task_is_asked_for_where_its_cluster_is() -> None:
    async with simulated(Simulated, Bfl, seconds=8) as world:
        cloud = world.account()
        job = await cloud.submit(call())
        assert job.handle["polling_url"] == f"http://sim/bfl/sim1/v1/get_result?id={job.id}"
        for seconds, fraction in ((0, 0.0), (4, 0.5)):
            world.clock.advance(seconds)
            assert await cloud.poll(job, call()) == Pending(fraction=fraction)
        world.clock.advance(4)
        assert isinstance(await cloud.poll(job, call()), Finished)
        with pytest.raises(JobMissing, match="Task not found"):  # elsewhere nobody knows it
            await cloud.poll(replace(job, handle={}), call())


async def test_where_callbacks_are_asked_for(world: World[Bfl]) -> None:
    """At one cluster alone: of several, nobody says which one to ask."""
    seen: list[Any] = []

    def accept(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content).get("webhook_url"))
        return httpx.Response(200, json={"id": "1", "polling_url": "https://api.eu1.bfl.ai/v1/get_result?id=1"})

    http = httpx.AsyncClient(transport=httpx.MockTransport(accept))
    for url in ("", "https://api.bfl.ai", "https://api.eu.bfl.ai", "https://api.us.bfl.ai", "https://api.eu1.bfl.ai"):
        await Bfl(url, Credentials(api_key="x"), http).submit(call(callback_url=HOOK))
    assert seen == [None] * 4 + [HOOK]


async def test_a_task_with_a_webhook_is_asked_for_by_its_id(world: World[Bfl]) -> None:
    cloud = world.account()
    job = await cloud.submit(call(callback_url=HOOK))
    assert "polling_url" not in job.handle
    state = await cloud.poll(job, call())
    assert isinstance(state, Finished)
    assert state.usage == {"credits": 3.0, "input_mp": 0.0, "output_mp": 1.05}
    assert sent(world)[1] == {
        "prompt": "a fox",
        "webhook_url": HOOK,
        "webhook_secret": Simulated.credentials.webhook_secret,
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("Request Moderated", ContentBlocked),
        ("Content Moderated", ContentBlocked),
        ("Error", ProviderFailed),
        ("Task not found", JobMissing),
    ],
)
async def test_how_a_task_can_fail(status: str, kind: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError, match=status) as error:
        await answering(200, {"id": "1", "status": status, "details": {"why": ["Nudity"]}}).poll(Job(id="1"), call())
    assert (type(error.value), "Nudity" in error.value.message) == (kind, True)


@pytest.mark.parametrize("status", ["Pending", "Generating", "pending", "READY"])
@pytest.mark.parametrize(("progress", "fraction"), [(None, None), (0.25, 0.25), (7, 1.0), (-1, 0.0)])
async def test_any_other_state_is_under_way(status: str, progress: float | None, fraction: float | None) -> None:
    state = await answering(200, {"status": status, "progress": progress}).poll(Job(id="1"), call())
    assert state == Pending(fraction=fraction)


@pytest.mark.parametrize("result", [None, {}, {"sample": None}, {"sample": ""}])
async def test_done_without_a_file_is_passed_on(result: object) -> None:
    state = await answering(200, {"status": "Ready", "result": result}).poll(Job(id="1"), call())
    assert state == Finished(outputs=[])


async def test_what_is_told_at_the_end() -> None:
    result = {"sample": "https://x/1.png", "seed": 3, "prompt": "a red fox", "start_time": 1.5}
    job = Job(id="1", handle={"credits": "9", "cost": "4.5"})
    state = await answering(200, {"status": "Ready", "result": result}).poll(job, call())
    told: dict[str, str | int | float] = {"seed": 3, "prompt": "a red fox"}
    assert state == Finished(outputs=[Output(url="https://x/1.png")], parameters=told, usage={"credits": 4.5})


@pytest.mark.parametrize("body", [{}, {"result": {}}, [], "x", None, {"status": "Ready", "result": []}])
async def test_half_of_a_task_is_no_task(body: object) -> None:
    with pytest.raises(ProviderUnavailable):
        await answering(200, body).poll(Job(id="1"), call())


async def test_a_task_may_be_missing_at_first(world: World[Bfl]) -> None:
    world.fault(type="hidden_at_first")
    job = await world.account().submit(call())
    with pytest.raises(JobMissing):
        await world.account().poll(job, call())
    assert isinstance(await world.account().poll(job, call()), Finished)
    with pytest.raises(JobMissing):
        await answering(404, {"detail": "Task not found"}).poll(Job(id="1"), call())


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_a_task_that_fails(world: World[Bfl], code: str, kind: type[GenPulseError]) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(call())) is kind


async def test_files_are_gone_after_ten_minutes(world: World[Bfl]) -> None:
    (output,) = (await world.made(call())).outputs
    assert output.url is not None
    for seconds, status in ((500, 200), (100, 403)):
        world.clock.advance(seconds)
        assert (await world.http.get(output.url)).status_code == status


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProviderRejected),
        (402, ProviderQuotaSpent),
        (403, ProviderAuthFailed),
        (422, ProviderRejected),
        (429, ProviderThrottled),
        (500, ProviderUnavailable),
        (503, ProviderUnavailable),
    ],
)
async def test_a_refusal(status: int, kind: type[GenPulseError]) -> None:
    """In each of the ways in which it has been seen."""
    for body in (
        {"detail": "no such thing"},
        {"detail": [{"loc": ["body", "width"], "msg": "no such thing", "type": "x"}]},
        {"error": "bad", "message": "no such thing"},
        {"error": "no such thing"},
    ):
        with pytest.raises(GenPulseError, match="no such thing") as error:
            await answering(status, body).submit(call())
        assert type(error.value) is kind


@pytest.mark.parametrize(("status", "kind"), [(404, ProviderRejected), (502, OutcomeUnknown), (504, OutcomeUnknown)])
async def test_other_statuses_speak_for_themselves(status: int, kind: type[GenPulseError]) -> None:
    with pytest.raises(kind, match=f"{status}: no such thing"):
        await answering(status, {"detail": "no such thing"}).submit(call())


async def test_what_is_wrong_is_named() -> None:
    told = [{"loc": ["body", "width"], "msg": "too small"}, {"loc": ["body"], "msg": "odd"}, "unreadable"]
    with pytest.raises(ProviderRejected, match=r"^bfl: width: too small; body: odd; unreadable$"):
        await answering(422, {"detail": told}).submit(call())


@pytest.mark.parametrize("body", ["<html>", [], None, {}, {"detail": None}, {"status": "no"}])
async def test_what_bfl_does_not_word_leaves_a_paid_call_open(body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(503, body).submit(call())
    with pytest.raises(ProviderUnavailable):
        await answering(503, body).poll(Job(id="1"), call())


async def test_when_to_come_back() -> None:
    with pytest.raises(ProviderThrottled) as error:
        await answering(429, {"detail": "too many"}, {"Retry-After": "17"}).submit(call())
    assert error.value.details["retry_after"] == 17


@pytest.mark.parametrize("body", [{}, {"id": ""}, {"id": None, "polling_url": "https://x"}, [], "x", None])
async def test_an_answer_without_a_task_is_no_answer(body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(200, body).submit(call())


async def test_what_a_call_costs_may_be_left_out() -> None:
    made = await answering(200, {"id": "1", "polling_url": "https://x", "cost": None}).submit(call())
    assert made == Job(id="1", handle={"polling_url": "https://x"})


async def test_a_wrong_key_is_refused(world: World[Bfl]) -> None:
    with pytest.raises(ProviderAuthFailed, match="Not authenticated"):
        await world.account(api_key="wrong").submit(call())


@pytest.mark.parametrize("fault", ["lost_answer", "malformed", "hung", "connection_reset"])
async def test_a_lost_answer_stays_unknown(world: World[Bfl], fault: str) -> None:
    world.fault(type=fault, times=1)
    cloud = world.account()
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(call())
    assert not (cloud.can_find(call()) or cloud.remembers_key(call()) or cloud.can_cancel)
    assert len(world.simulator.find_jobs()) == (1 if fault in ("lost_answer", "malformed") else 0)


# Callbacks ------------------------------------------------------------------------------------------------------------


async def test_callbacks_are_signed() -> None:
    told: list[tuple[dict[str, str], bytes]] = []

    def receive(request: httpx.Request) -> httpx.Response:
        told.append((dict(request.headers), request.content))
        return httpx.Response(200)

    now = datetime.now(UTC)
    async with simulated(Simulated, Bfl, callbacks=httpx.MockTransport(receive)) as world:
        knowing, unknowing = world.account(), world.account(api_key=Simulated.credentials.api_key)
        jobs = [await account.submit(call(callback_url=HOOK)) for account in (knowing, unknowing)]
        async with asyncio.timeout(5):
            while len(told) < 2:  # noqa: ASYNC110 - facts have no events
                await asyncio.sleep(0.005)
        signed = next(one for one in told if "x-bfl-signature" in one[0])
        (unsigned,) = [one for one in told if one is not signed]
        await knowing.verify_callback(*signed, now=now)
        await unknowing.verify_callback(*unsigned, now=now)  # without a secret there is nothing to check
        for headers, body in (unsigned, (signed[0], signed[1] + b" ")):
            with pytest.raises(Forbidden):
                await knowing.verify_callback(headers, body, now=now)
        other = world.account(webhook_secret="sim-bfl-webhook-secret", options={"webhook_header": "X-Other"})
        await other.verify_callback({"X-Other": signed[0]["x-bfl-signature"]}, signed[1], now=now)
        with pytest.raises(Forbidden):
            await other.verify_callback(*signed, now=now)
    bodies = [json.loads(body) for _, body in told]
    assert {body["id"] for body in bodies} == {job.id for job in jobs}
    assert {body["status"] for body in bodies} == {"Ready"}


# The simulated cloud --------------------------------------------------------------------------------------------------


async def told(world: World[Bfl], method: str, path: str, **sent: Any) -> httpx.Response:
    key = {"x-key": Simulated.credentials.api_key or ""}
    return await world.http.request(method, f"http://sim/bfl/v1/{path}", headers=key, **sent)


@pytest.mark.parametrize(
    ("model", "body", "where"),
    [
        ("flux-2-pro", {}, "prompt"),
        ("flux-2-pro", {"prompt": "x", "negative_prompt": "y"}, "negative_prompt"),
        ("flux-2-pro", {"prompt": "x", "safety_tolerance": 6}, "safety_tolerance"),
        ("flux-2-pro", {"prompt": "x", "width": 48}, "width"),
        ("flux-2-pro", {"prompt": "x", "steps": 5}, "steps"),
        ("flux-2-flex", {"prompt": "x", "steps": 51}, "steps"),
        ("flux-2-klein-4b", {"prompt": "x", "input_image_5": "https://x/y.png"}, "input_image_5"),
        ("flux-2-pro", {"prompt": "x", "input_image": "no picture"}, "input_image"),
        ("flux-kontext-pro", {"prompt": "x", "output_format": "webp"}, "output_format"),
        ("flux-kontext-pro", {"prompt": "x", "width": 512}, "width"),
        ("flux-pro-1.1-ultra", {"prompt": "x", "aspect_ratio": "16x9"}, "aspect_ratio"),
        ("flux-pro-1.1", {"prompt": "x", "image_prompt": "https://x/y.png"}, "image_prompt"),
        ("flux-dev", {"prompt": "x", "guidance": 6}, "guidance"),
        ("flux-pro-1.0-fill", {"prompt": "x"}, "image"),
    ],
)
async def test_bodies_are_held_against_the_rules(
    world: World[Bfl], model: str, body: dict[str, Any], where: str
) -> None:
    answer = await told(world, "POST", model, json=body)
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", where])


async def test_an_account_has_a_number_of_tasks() -> None:
    async with simulated(Simulated, Bfl, seconds=8) as world:
        jobs = [await world.account().submit(call()) for _ in range(24)]
        with pytest.raises(ProviderThrottled):
            await world.account().submit(call())
        world.clock.advance(8)
        assert isinstance(await world.account().poll(jobs[0], call()), Finished)
        await world.account().submit(call())


async def test_paths_that_are_not(world: World[Bfl]) -> None:
    assert (await told(world, "POST", "flux-9", json={"prompt": "x"})).json() == {"detail": "Not Found"}
    assert (await told(world, "GET", "get_result")).status_code == 422
    assert (await told(world, "GET", "get_result", params={"id": "1"})).json()["status"] == "Task not found"
    assert (await told(world, "GET", "credits")).json()["credits"]
