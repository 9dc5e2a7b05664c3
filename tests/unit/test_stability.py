"""Stability AI: its client against the simulated cloud, every model of the catalogue, every error, and what is sent."""

from __future__ import annotations

import math
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from genpulse.adapters import fit_image
from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
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
from genpulse.providers.stability import Stability
from genpulse.schemas.catalog import ModelSpec
from genpulse.schemas.states import Operation
from genpulse.simulator.clouds.stability import Stability as Simulated
from genpulse.simulator.media import Format, render
from genpulse.simulator.media import Media as Made
from tests.clouds import Calls, World, input_file, opened, operations_of, simulated, world_of

world = world_of(Simulated, Stability)
calls = Calls("stability")
SPECS = calls.specs
ALL = operations_of(SPECS.values())
TEXT, EDIT, UPSCALE = Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE, Operation.IMAGE_UPSCALE
VALUES: dict[str, Any] = {"prompt": "a fox", "negative_prompt": "a dog", "aspect_ratio": "9:21", "seed": 4294967294}
KEY = {"Authorization": f"Bearer {Simulated.credentials.api_key}"}
SD3 = ["sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash"]
DONE = {"finish-reason": "SUCCESS", "seed": "7", "content-type": "image/png"}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Media:
    return input_file(tmp_path_factory.mktemp("inputs"), Made(Format.PNG, 240, 160))


def call(
    model: str = "core", operation: Operation = TEXT, image: Media | None = None, *, options: Any = None, **given: Any
) -> ModelCall:
    media = {"image": [image]} if image else {}
    return calls(model, operation, media, options=options, **(given or {"prompt": "a fox"}))


def filled(spec: ModelSpec, operation: Operation, image: Media, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are; numbers at their most."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    given = {name: VALUES[name] for name in fields if name in VALUES}
    given |= {name: fields[name].maximum for name in ("strength", "guidance") if name in fields}
    return replace(call(spec.name, operation, image if "image" in fields else None), input=given)


def sending(answer: httpx.Response) -> tuple[Stability, list[httpx.Request]]:
    """A client whose requests are seen, and all answered alike."""
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answer

    return Stability("", Credentials(api_key="sk-x"), httpx.AsyncClient(transport=httpx.MockTransport(serve))), seen


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> Stability:
    return sending(httpx.Response(status, json=body, headers=headers))[0]


def form(request: httpx.Request) -> dict[str, str | bytes]:
    """The parts of a form; a file's as bytes."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    parts: dict[str, str | bytes] = {}
    for part in message_from_bytes(head + request.content).walk():
        if name := part.get_param("name", header="Content-Disposition"):
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            parts[str(name)] = content if part.get_filename() else content.decode()
    return parts


async def sent(asked: ModelCall) -> tuple[str, dict[str, str | bytes]]:
    client, seen = sending(httpx.Response(200, content=b"png", headers=DONE))
    await client.submit(asked)
    return seen[0].url.path.removeprefix("/v2beta/stable-image"), form(seen[0])


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_a_picture(
    world: World[Stability], picture: Media, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    state = await world.made(filled(spec, operation, picture, every=every))
    (output,) = state.outputs
    assert opened(output).format == "PNG"
    seeded = every and "seed" in spec.operations[operation].fields
    assert state.parameters == {"seed": 4294967294 if seeded else 42}


@pytest.mark.parametrize(("form", "name"), [("jpeg", "JPEG"), ("webp", "WEBP")])
async def test_other_formats_are_options(world: World[Stability], form: str, name: str) -> None:
    (output,) = (await world.made(call(options={"output_format": form}))).outputs
    assert opened(output).format == name


@pytest.mark.parametrize("size", [(2000, 2000), (3000, 1400), (3000, 400), (20, 600)])
@pytest.mark.parametrize("model", ["ultra", "upscale-fast", "upscale-conservative", "upscale-creative"])
async def test_whatever_comes_is_made_to_fit(
    world: World[Stability], tmp_path: Path, model: str, size: tuple[int, int]
) -> None:
    """To the sides, the pixels and the shape that the path takes, as the simulated cloud checks; and no smaller."""
    (operation,) = SPECS[model].operations.keys() - {TEXT}
    rules = SPECS[model].operations[operation].images["image"]
    given, fitted = tmp_path / "given.png", tmp_path / "fitted.png"
    Image.new("RGB", size, "teal").save(given)
    changed = fit_image(given, rules, fitted)
    sent = Media(path=fitted if changed else given, media_type="image/png")
    await world.made(filled(SPECS[model], operation, sent, every=False))
    if changed and size == (2000, 2000):
        assert math.prod(changed.size) > 0.99 * rules.max_pixels


# What is sent ---------------------------------------------------------------------------------------------------------


async def test_a_form_even_without_a_file() -> None:
    client, seen = sending(httpx.Response(200, content=b"png", headers=DONE))
    state = await client.submit(call(prompt="a fox", negative_prompt="a dog", aspect_ratio="16:9", seed=7))
    assert seen[0].headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert (seen[0].headers["Accept"], seen[0].headers["Authorization"]) == ("image/*", "Bearer sk-x")
    assert str(seen[0].url) == "https://api.stability.ai/v2beta/stable-image/generate/core"
    assert form(seen[0]) == {"prompt": "a fox", "negative_prompt": "a dog", "aspect_ratio": "16:9", "seed": "7"}
    assert state == Finished(outputs=[Output(content=b"png")], parameters={"seed": 7})


@pytest.mark.parametrize("model", SD3)
async def test_one_path_for_four_models(picture: Media, model: str) -> None:
    assert await sent(call(model, prompt="a fox", guidance=4.5)) == (
        "/generate/sd3",
        {"prompt": "a fox", "model": model, "cfg_scale": "4.5"},
    )
    path, parts = await sent(call(model, EDIT, picture, prompt="a fox", strength=0.3))
    assert (path, parts.pop("image")) == ("/generate/sd3", picture.path.read_bytes())
    assert parts == {"prompt": "a fox", "model": model, "mode": "image-to-image", "strength": "0.3"}


async def test_a_picture_goes_with_a_strength(picture: Media) -> None:
    path, parts = await sent(call("ultra", EDIT, picture))
    image = parts.pop("image")
    assert (path, image, parts) == (
        "/generate/ultra",
        picture.path.read_bytes(),
        {"prompt": "a fox", "strength": "0.5"},
    )


@pytest.mark.parametrize("name", ["conservative", "creative"])
async def test_how_much_may_be_added(picture: Media, name: str) -> None:
    client, seen = sending(httpx.Response(200, json={"id": "1"}, headers=DONE))
    await client.submit(call(f"upscale-{name}", UPSCALE, picture, prompt="a fox", strength=0.25, seed=3))
    parts = form(seen[0])
    assert parts.pop("image") == picture.path.read_bytes()
    assert parts == {"prompt": "a fox", "creativity": "0.25", "seed": "3"}
    assert seen[0].url.path == f"/v2beta/stable-image/upscale/{name}"


async def test_fast_takes_a_picture_alone(picture: Media) -> None:
    asked = replace(call("upscale-fast", UPSCALE, picture), input={})
    assert await sent(asked) == ("/upscale/fast", {"image": picture.path.read_bytes()})


async def test_options_win() -> None:
    options = {"style_preset": "anime", "seed": 9, "output_format": "webp"}
    assert (await sent(call(prompt="x", seed=7, options=options)))[1] == {
        "prompt": "x",
        "style_preset": "anime",
        "seed": "9",
        "output_format": "webp",
    }


def test_what_is_not_taken() -> None:
    """The seed that draws one, what the turbo model passes over, and sizes."""
    fields = {name: SPECS[name].operations[TEXT].fields for name in ("core", *SD3)}
    assert {field["seed"].minimum for field in fields.values()} == {1}
    assert {name for name, field in fields.items() if "negative_prompt" not in field} == {"sd3.5-large-turbo"}
    assert not any("width" in field or "resolution" in field for field in fields.values())


# What comes back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "kind"), [("CONTENT_FILTERED", ContentBlocked), ("ERROR", ProviderFailed), ("", ProviderFailed)]
)
async def test_a_picture_that_is_none(reason: str, kind: type[GenPulseError]) -> None:
    headers = DONE | {"finish-reason": reason}
    client, _ = sending(httpx.Response(200, content=b"blurred", headers=headers))
    for answer in (client.submit(call()), client.poll(Job(id="1"), call())):
        with pytest.raises(kind):
            await answer


@pytest.mark.parametrize("seed", ["", "x", "-1"])
async def test_a_seed_may_be_left_out(seed: str) -> None:
    client, _ = sending(httpx.Response(200, content=b"png", headers=DONE | {"seed": seed}))
    assert await client.submit(call()) == Finished(outputs=[Output(content=b"png")])


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"image": "x"}'])
async def test_what_does_not_say_how_it_ended_is_no_picture(content: bytes) -> None:
    client, _ = sending(httpx.Response(200, content=content))
    with pytest.raises(OutcomeUnknown):
        await client.submit(call())
    with pytest.raises(ProviderUnavailable):
        await client.poll(Job(id="1"), call())


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderUnavailable)])
async def test_a_picture_that_fails(world: World[Stability], code: str, kind: type[GenPulseError]) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(call())) is kind


async def test_no_picture(world: World[Stability], picture: Media) -> None:
    world.fault(type="no_outputs")
    assert type(await world.refused(call())) is ProviderFailed
    assert type(await world.refused(call("upscale-creative", UPSCALE, picture))) is ProviderFailed


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "bad_request", ProviderRejected),
        (401, "unauthorized", ProviderAuthFailed),
        (402, "payment_required", ProviderQuotaSpent),
        (403, "content_moderation", ContentBlocked),
        (403, "forbidden", ProviderAuthFailed),
        (413, "payload_too_large", ProviderRejected),
        (422, "unprocessable_entity", ProviderRejected),
        (429, "rate_limit_exceeded", ProviderThrottled),
        (500, "internal_error", ProviderUnavailable),
        (503, "service_unavailable", ProviderUnavailable),
    ],
)
async def test_a_refusal(status: int, name: str, kind: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError, match=f"^stability: one; two \\({name}\\)$") as error:
        await answering(status, {"id": "1", "name": name, "errors": ["one", "two"]}).submit(call())
    assert type(error.value) is kind


@pytest.mark.parametrize(
    ("status", "paid", "free"),
    [
        (404, ProviderRejected, JobMissing),
        (500, OutcomeUnknown, ProviderUnavailable),
        (502, OutcomeUnknown, ProviderUnavailable),
        (503, OutcomeUnknown, ProviderUnavailable),
    ],
)
@pytest.mark.parametrize("body", ["<html>", [], None, {"errors": "no"}, {"name": 7}])
async def test_what_stability_does_not_word(
    status: int, paid: type[GenPulseError], free: type[GenPulseError], body: object
) -> None:
    with pytest.raises(paid):
        await answering(status, body).submit(call())
    with pytest.raises(free):
        await answering(status, body).poll(Job(id="1"), call())


@pytest.mark.parametrize(("headers", "seconds"), [({}, 60), ({"Retry-After": "17"}, 17)])
async def test_when_to_come_back(headers: dict[str, str], seconds: float) -> None:
    with pytest.raises(ProviderThrottled) as error:
        await answering(429, None, headers).submit(call())
    assert error.value.details["retry_after"] == seconds


async def test_a_wrong_key_is_refused(world: World[Stability]) -> None:
    with pytest.raises(ProviderAuthFailed, match="unauthorized"):
        await world.account(api_key="sk-wrong").submit(call())


@pytest.mark.parametrize("fault", ["lost_answer", "malformed", "hung", "connection_reset", "stuck"])
@pytest.mark.parametrize("model", ["core", "upscale-creative"])
async def test_a_lost_answer_stays_unknown(world: World[Stability], picture: Media, model: str, fault: str) -> None:
    if (fault, model) == ("stuck", "upscale-creative"):
        return  # it answers before it is made
    world.fault(type=fault, times=1)
    cloud, asked = world.account(), call(model, UPSCALE, picture) if model == "upscale-creative" else call()
    with pytest.raises(OutcomeUnknown):
        await cloud.submit(asked)
    assert not (cloud.can_find(asked) or cloud.remembers_key(asked) or cloud.can_cancel)
    assert len(world.simulator.find_jobs()) == (0 if fault in ("hung", "connection_reset") else 1)


# The upscaler that takes its time -------------------------------------------------------------------------------------


async def test_a_picture_that_comes_later(picture: Media) -> None:
    async with simulated(Simulated, Stability, seconds=20) as world:
        cloud, asked = world.account(), call("upscale-creative", UPSCALE, picture)
        job = await cloud.submit(asked)
        assert isinstance(job, Job)
        for seconds in (0, 10):
            world.clock.advance(seconds)
            assert await cloud.poll(job, asked) == Pending()
        world.clock.advance(10)
        state = await cloud.poll(job, asked)
        assert isinstance(state, Finished)
        assert opened(state.outputs[0]).format == "PNG"
        world.clock.advance(25 * 3600)
        with pytest.raises(JobMissing):
            await cloud.poll(job, asked)


async def test_it_may_be_missing_at_first(world: World[Stability], picture: Media) -> None:
    world.fault(type="hidden_at_first")
    asked = call("upscale-creative", UPSCALE, picture)
    job = await world.account().submit(asked)
    assert isinstance(job, Job)
    with pytest.raises(JobMissing):
        await world.account().poll(job, asked)
    assert isinstance(await world.account().poll(job, asked), Finished)


@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderFailed)])
async def test_it_may_fail(world: World[Stability], picture: Media, code: str, kind: type[GenPulseError]) -> None:
    world.fault(type="fails", code=code)
    assert type(await world.refused(call("upscale-creative", UPSCALE, picture))) is kind


@pytest.mark.parametrize("body", [{}, {"id": ""}, {"id": None}, [], "x", None])
async def test_an_answer_without_an_id_is_no_answer(picture: Media, body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(200, body).submit(call("upscale-creative", UPSCALE, picture))


# The simulated cloud --------------------------------------------------------------------------------------------------


async def told(world: World[Stability], path: str, **sent: Any) -> httpx.Response:
    url = f"http://sim/stability/v2beta/stable-image/{path}"
    return await world.http.post(url, headers=KEY | sent.pop("headers", {}), **sent)


@pytest.mark.parametrize(
    ("path", "fields", "error"),
    [
        ("generate/core", {"prompt": ""}, "prompt"),
        ("generate/core", {"prompt": "x", "width": "512"}, "width"),
        ("generate/core", {"prompt": "x", "aspect_ratio": "3:1"}, "aspect_ratio"),
        ("generate/core", {"prompt": "x", "seed": "4294967295"}, "seed"),
        ("generate/core", {"prompt": "x" * 10001}, "prompt"),
        ("generate/core", {"prompt": "x", "style_preset": "mine"}, "style_preset"),
        ("generate/ultra", {"prompt": "x", "strength": "0.5"}, "strength"),
        ("generate/sd3", {"prompt": "x", "model": "sd3-large"}, "model"),
        ("generate/sd3", {"prompt": "x", "mode": "image-to-image"}, "mode"),
        ("generate/sd3", {"prompt": "x", "model": "sd3.5-large-turbo", "negative_prompt": "y"}, "negative_prompt"),
        ("generate/sd3", {"prompt": "x", "mode": "image-to-image", "aspect_ratio": "1:1"}, "aspect_ratio"),
        ("upscale/fast", {"output_format": "png"}, "image"),
        ("upscale/conservative", {"prompt": "x", "creativity": "0.1"}, "creativity"),
        ("upscale/creative", {"prompt": "x"}, "image"),
    ],
)
async def test_forms_are_held_against_the_rules(
    world: World[Stability], path: str, fields: dict[str, str], error: str
) -> None:
    answer = await told(world, path, files=[(name, (None, value)) for name, value in fields.items()])
    body = answer.json()
    assert (answer.status_code, body["name"], error in body["errors"][0]) == (400, "bad_request", True)


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("generate/ultra", (63, 64)),
        ("upscale/fast", (1024, 1025)),
        ("upscale/fast", (31, 64)),
        ("upscale/creative", (1024, 1025)),
        ("upscale/conservative", (64, 161)),
    ],
)
async def test_pictures_are_held_against_the_rules(world: World[Stability], path: str, size: tuple[int, int]) -> None:
    content = render(Made(Format.PNG, *size))
    fields = {} if "fast" in path else {"prompt": "x"} | ({"strength": "1"} if "ultra" in path else {})
    sent = [(name, (None, value)) for name, value in fields.items()]
    answer = await told(world, path, files=[*sent, ("image", ("image.png", content, "image/png"))])
    assert (answer.status_code, "image" in answer.json()["errors"][0]) == (400, True)


async def test_what_is_no_form_is_refused(world: World[Stability]) -> None:
    for sent in ({}, {"json": {"prompt": "x"}}, {"data": {"prompt": "x"}}):
        answer = await told(world, "generate/core", **sent)
        assert (answer.status_code, answer.json()["errors"]) == (400, ["content-type: required"])
    answer = await told(world, "generate/core", content=b" " * (10 * 2**20 + 1))
    assert (answer.status_code, answer.json()["name"]) == (413, "payload_too_large")


async def test_pictures_come_in_json_too(world: World[Stability]) -> None:
    wanted = {"Accept": "application/json"}
    answer = await told(world, "generate/core", headers=wanted, files=[("prompt", (None, "x"))])
    assert (sorted(answer.json()), answer.json()["finish_reason"]) == (["finish_reason", "image", "seed"], "SUCCESS")
    wrong = await told(world, "generate/core", headers={"Accept": "text/html"}, files=[("prompt", (None, "x"))])
    assert wrong.status_code == 400


async def test_results_have_an_older_path(world: World[Stability], picture: Media) -> None:
    job = await world.account().submit(call("upscale-creative", UPSCALE, picture))
    assert isinstance(job, Job)
    url = f"http://sim/stability/v2beta/stable-image/upscale/creative/result/{job.id}"
    answer = await world.http.get(url, headers=KEY | {"Accept": "application/json"})
    assert sorted(answer.json()) == ["finish_reason", "result", "seed"]
    assert (await world.http.get("http://sim/stability/v1/user/balance", headers=KEY)).json()["credits"]
    assert (await world.http.get("http://sim/stability/v2beta/results/1", headers=KEY)).json()["name"] == "not_found"
