"""OpenAI: its client against the simulated cloud, every model of the catalogue, every error, and what is sent."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

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
from genpulse.providers.base import Credentials, Finished, Job, ModelCall, Output
from genpulse.providers.masks import transparent_where_white
from genpulse.providers.openai import Openai
from genpulse.schemas.catalog import ModelSpec, Size
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind, Operation
from genpulse.simulator.clouds.openai import Openai as Simulated
from genpulse.simulator.media import Format, render
from genpulse.simulator.media import Media as Made
from genpulse.simulator.wire import Kind
from tests.clouds import Calls, Files, World, always, opened, operations_of, world_of

world = world_of(Simulated, Openai)
call = Calls("openai", "gpt-image-2", Operation.TEXT_TO_IMAGE, prompt="a fox")
ENTRIES = call.specs
TODAY = datetime.now(UTC).date()
SPECS = {name: spec for name, spec in ENTRIES.items() if spec.retires_at is None or spec.retires_at > TODAY}
ALL = operations_of(SPECS.values())
TEXT, EDIT = Operation.TEXT_TO_IMAGE, Operation.IMAGE_TO_IMAGE
KEY = {"Authorization": "Bearer sk-sim-openai-key"}
VALUES: dict[str, Any] = {"prompt": "a fox", "width": 1536, "height": 1024, "count": 2}


def filled(spec: ModelSpec, operation: Operation, files: Files, *, every: bool) -> ModelCall:
    """A call with the fields that are required, or with all there are."""
    fields = {name: field for name, field in spec.operations[operation].fields.items() if field.required or every}
    media = {name: [files[MEDIA_FIELDS[name]]] for name in fields if name in MEDIA_FIELDS}
    return call(spec.name, operation, media, **{name: VALUES[name] for name in fields if name in VALUES})


# Every model ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [False, True], ids=["least", "all"])
@pytest.mark.parametrize(("spec", "operation"), ALL, ids=lambda one: getattr(one, "name", one))
async def test_every_model_makes_what_it_says(
    world: World[Openai], files: Files, spec: ModelSpec, operation: Operation, every: bool
) -> None:
    state = await world.made(filled(spec, operation, files, every=every))
    assert [opened(output).format for output in state.outputs] == ["PNG"] * (2 if every else 1)
    assert state.usage == {"total_tokens": 100, "input_tokens": 50, "output_tokens": 50}
    made = (state.parameters["width"], state.parameters["height"])
    assert made == ((1536, 1024) if every else (1024, 1024))


@pytest.mark.parametrize("name", sorted(set(ENTRIES) - set(SPECS)))
async def test_a_retired_model_is_gone_and_has_a_successor(world: World[Openai], name: str) -> None:
    assert (ENTRIES[name].successor or "").removeprefix("openai/") in SPECS
    error = await world.refused(call(name))
    assert isinstance(error, ProviderRejected)
    assert "model_not_found" in error.message


@pytest.mark.parametrize(
    ("model", "size", "fits"),
    [
        ("gpt-image-1.5", (1536, 1024), True),
        ("gpt-image-1.5", (1280, 1024), False),
        ("gpt-image-2", (1280, 1024), True),
        ("gpt-image-2", (3840, 2160), True),
        ("gpt-image-2", (2160, 3840), True),
        ("gpt-image-2", (3840, 2176), False),
        ("gpt-image-2", (1024, 1000), False),
        ("gpt-image-2", (2048, 640), False),
    ],
)
async def test_catalogue_and_cloud_agree_on_sizes(
    world: World[Openai], model: str, size: tuple[int, int], fits: bool
) -> None:
    rules = ENTRIES[model].operations[TEXT].sizes
    assert rules is not None
    assert rules.allows(Size(*size)) is fits
    asked = call(model, width=size[0], height=size[1])
    if fits:
        assert (await world.made(asked)).parameters["width"] == size[0]
    else:
        assert isinstance(await world.refused(asked), ProviderRejected)


# What is sent ---------------------------------------------------------------------------------------------------------


async def test_a_picture_from_text(world: World[Openai]) -> None:
    options = {"quality": "low", "output_format": "webp", "output_compression": 50}
    state = await world.made(call(width=1024, height=1536, count=3, options=options))
    assert world.sent() == {"model": "gpt-image-2", "prompt": "a fox", "n": 3, "size": "1024x1536", **options}
    assert [opened(output).format for output in state.outputs] == ["WEBP"] * 3
    assert state.parameters == {
        "width": 1024,
        "height": 1536,
        "quality": "low",
        "background": "opaque",
        "output_format": "webp",
    }


async def test_nothing_is_sent_that_was_not_asked_for(world: World[Openai]) -> None:
    await world.made(call())
    assert world.sent() == {"model": "gpt-image-2", "prompt": "a fox"}


def listening(seen: list[httpx.Request], **credentials: Any) -> Openai:
    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"created": 1, "data": [{"b64_json": "eA=="}]})

    return Openai("", Credentials(**credentials), httpx.AsyncClient(transport=httpx.MockTransport(answer)))


def parts_of(request: httpx.Request) -> list[tuple[str, bytes]]:
    """Names and contents of a form."""
    boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
    parts = request.content.split(b"--" + boundary)[1:-1]
    heads = [part.partition(b"\r\n\r\n") for part in parts]
    return [(head.split(b'name="')[1].split(b'"')[0].decode(), body[:-2]) for head, _, body in heads]


async def test_an_edit_is_a_form(files: Files) -> None:
    seen: list[httpx.Request] = []
    picture = files[MediaKind.IMAGE]
    asked = call(
        "gpt-image-2.6-flare",
        EDIT,
        {"image": [picture], "mask": [picture]},
        count=2,
        options={"input_fidelity": "high", "output_compression": 5, "svg": {"model": "x"}, "moderation": "low"},
    )
    assert await listening(seen, api_key="k").submit(asked) == Finished(outputs=[Output(content=b"x")])
    assert str(seen[0].url) == "https://api.openai.com/v1/images/edits"
    sent = parts_of(seen[0])
    assert dict(sent[:-2]) == {
        "model": b"gpt-image-2.6-flare",
        "prompt": b"a fox",
        "n": b"2",
        "input_fidelity": b"high",
        "output_compression": b"5",
        "svg[model]": b"x",
        "moderation": b"low",
    }
    assert sent[-2] == ("image", picture.path.read_bytes())
    assert sent[-1] == ("mask", transparent_where_white(picture.path, picture.path))


@pytest.mark.parametrize(
    ("operation", "names"), [(EDIT, ["image", "reference_images"]), (TEXT, ["reference_images", "reference_images"])]
)
async def test_several_pictures_are_repeated(files: Files, operation: Operation, names: list[str]) -> None:
    seen: list[httpx.Request] = []
    media = {name: [files[MediaKind.IMAGE]] * names.count(name) for name in names}
    await listening(seen, api_key="k").submit(call(operation=operation, media=media))
    assert seen[0].url.path == "/v1/images/edits"
    assert [name for name, _ in parts_of(seen[0])] == ["model", "prompt", "image[]", "image[]"]


async def test_an_account_has_an_organization_and_a_project() -> None:
    seen: list[httpx.Request] = []
    await listening(seen, api_key="k", options={"organization": "o", "project": "p"}).submit(call())
    headers = seen[0].headers
    assert headers["Authorization"] == "Bearer k"
    assert (headers["OpenAI-Organization"], headers["OpenAI-Project"]) == ("o", "p")
    await listening(seen, api_key="k").submit(call())
    assert "OpenAI-Organization" not in seen[1].headers


def test_a_mask_is_transparent_where_it_was_white(tmp_path: Path) -> None:
    """And of the picture's size, as it is seen: turned by what the camera noted."""
    picture, mask = tmp_path / "picture.jpg", tmp_path / "mask.png"
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 20)).save(picture, exif=turned)
    drawn = Image.new("L", (10, 20), 0)
    drawn.paste(255, (0, 0, 10, 10))
    drawn.save(mask)
    made = Image.open(io.BytesIO(transparent_where_white(mask, picture)))
    assert (made.format, made.mode, made.size) == ("PNG", "RGBA", (20, 40))
    alpha = made.getchannel("A")
    assert (alpha.getpixel((10, 2)), alpha.getpixel((10, 37))) == (0, 255)


async def test_a_stream_is_refused_before_it_is_paid_for(world: World[Openai]) -> None:
    error = await world.refused(call(options={"stream": True}))
    assert isinstance(error, InvalidInput)
    assert error.field == "provider_options.stream"
    assert world.simulator.record.find(kind=Kind.SUBMIT) == []


# Errors ---------------------------------------------------------------------------------------------------------------


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> Openai:
    return Openai("http://sim", Credentials(api_key="x"), always(status, body, headers))


ERRORS: list[tuple[int, str, str | None, type[GenPulseError]]] = [
    (400, "invalid_request_error", "invalid_value", ProviderRejected),
    (400, "invalid_request_error", None, ProviderRejected),
    (400, "image_generation_user_error", "moderation_blocked", ContentBlocked),
    (400, "invalid_request_error", "content_policy_violation", ContentBlocked),
    (400, "invalid_request_error", "billing_hard_limit_reached", ProviderQuotaSpent),
    (400, "invalid_request_error", "model_not_found", ProviderRejected),
    (401, "invalid_request_error", "invalid_api_key", ProviderAuthFailed),
    (403, "invalid_request_error", None, ProviderAuthFailed),
    (404, "invalid_request_error", "model_not_found", ProviderRejected),
    (409, "invalid_request_error", None, ProviderUnavailable),
    (410, "invalid_request_error", None, ProviderRejected),
    (422, "invalid_request_error", None, ProviderRejected),
    (429, "insufficient_quota", "insufficient_quota", ProviderQuotaSpent),
    (429, "insufficient_quota", None, ProviderQuotaSpent),
    (429, "requests", "rate_limit_exceeded", ProviderThrottled),
    (429, "tokens", "rate_limit_exceeded", ProviderThrottled),
    (500, "server_error", None, ProviderUnavailable),
    (502, "server_error", None, OutcomeUnknown),
    (503, "server_error", None, ProviderUnavailable),
    (504, "server_error", None, OutcomeUnknown),
]


@pytest.mark.parametrize(("status", "kind", "code", "expected"), ERRORS)
async def test_an_error(status: int, kind: str, code: str | None, expected: type[GenPulseError]) -> None:
    body = {"error": {"message": "said so", "type": kind, "param": None, "code": code}}
    with pytest.raises(GenPulseError, match="said so") as error:
        await answering(status, body).submit(call())
    assert type(error.value) is expected


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_page_of_a_proxy_says_nothing(status: int) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(status, "<html>").submit(call())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "9"}, 9.0),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({}, None),
    ],
)
async def test_a_wait_is_kept(headers: dict[str, str], seconds: float | None) -> None:
    body = {"error": {"message": "slower", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    with pytest.raises(ProviderThrottled) as error:
        await answering(429, body, headers).submit(call())
    assert error.value.details["retry_after"] == seconds


async def test_a_wrong_key_is_refused(world: World[Openai]) -> None:
    with pytest.raises(ProviderAuthFailed, match="Incorrect API key"):
        await world.account(api_key="sk-wrong").submit(call())


@pytest.mark.parametrize("operation", [TEXT, EDIT])
@pytest.mark.parametrize(("code", "kind"), [("content", ContentBlocked), ("internal", ProviderUnavailable)])
async def test_what_fails(
    world: World[Openai], files: Files, operation: Operation, code: str, kind: type[GenPulseError]
) -> None:
    world.fault(type="fails", code=code)
    media = {"image": [files[MediaKind.IMAGE]]} if operation is EDIT else {}
    assert type(await world.refused(call(operation=operation, media=media))) is kind


async def test_throttled_and_down(world: World[Openai]) -> None:
    world.fault(type="rate_limited", retry_after=7)
    error = await world.refused(call())
    assert isinstance(error, ProviderThrottled)
    assert error.details["retry_after"] == 7
    world.fault(type="server_error", status=503)
    assert isinstance(await world.refused(call()), ProviderUnavailable)


@pytest.mark.parametrize("body", [{}, {"data": []}, {"created": "soon", "data": []}, [], "x"])
async def test_an_answer_in_another_form_is_no_answer(body: object) -> None:
    with pytest.raises(OutcomeUnknown):
        await answering(200, body).submit(call())


@pytest.mark.parametrize("data", [[], [{}], [{"b64_json": "%"}]])
async def test_no_picture_is_a_failure(data: list[dict[str, str]]) -> None:
    with pytest.raises(ProviderFailed):
        await answering(200, {"created": 1, "data": data}).submit(call())


async def test_done_without_a_file_is_a_failure(world: World[Openai]) -> None:
    world.fault(type="no_outputs")
    assert isinstance(await world.refused(call()), ProviderFailed)


async def test_a_picture_behind_a_link() -> None:
    made = await answering(200, {"created": 1, "data": [{"url": "https://x.example/1.png"}], "size": "auto"}).submit(
        call()
    )
    assert made == Finished(outputs=[Output(url="https://x.example/1.png")])


@pytest.mark.parametrize("fault", ["lost_answer", "malformed", "hung", "connection_reset"])
@pytest.mark.parametrize("operation", [TEXT, EDIT])
async def test_a_lost_answer_stays_unknown(
    world: World[Openai], files: Files, operation: Operation, fault: str
) -> None:
    world.fault(type=fault, times=1)
    asked = call(operation=operation, media={"image": [files[MediaKind.IMAGE]]} if operation is EDIT else {})
    with pytest.raises(OutcomeUnknown):
        await world.account().submit(asked)
    assert not world.account().can_find(asked)
    assert not world.account().remembers_key(asked)


async def test_there_are_no_jobs(world: World[Openai]) -> None:
    assert not world.account().can_cancel
    with pytest.raises(JobMissing):
        await world.account().poll(Job(id="1"), call())


# The simulated cloud --------------------------------------------------------------------------------------------------

GENERATE = "http://sim/openai/v1/images/generations"


@pytest.mark.parametrize(
    ("more", "param", "code"),
    [
        ({"response_format": "b64_json"}, "response_format", "unknown_parameter"),
        ({"n": 11}, "n", "invalid_value"),
        ({"size": "big"}, "size", "invalid_value"),
        ({"quality": "xhigh"}, None, "invalid_value"),
        ({"background": "transparent", "output_format": "jpeg"}, None, "invalid_value"),
        ({"output_compression": 50}, None, "invalid_value"),
        ({"prompt": ""}, "prompt", "invalid_value"),
        ({"model": "gpt-image-1"}, None, "model_not_found"),
    ],
)
async def test_a_wrong_body_is_refused(
    world: World[Openai], more: dict[str, Any], param: str | None, code: str
) -> None:
    answer = await world.http.post(GENERATE, json={"model": "gpt-image-2", "prompt": "x"} | more, headers=KEY)
    assert answer.status_code == (404 if code == "model_not_found" else 400)
    error = answer.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("quality", ["xhigh", "max"])
async def test_the_best_qualities_are_of_one_family(world: World[Openai], quality: str) -> None:
    body = {"model": "gpt-image-2.5-flare", "prompt": "x", "quality": quality}
    assert (await world.http.post(GENERATE, json=body, headers=KEY)).json()["quality"] == quality


def a_mask(width: int, height: int, mode: str = "RGBA") -> bytes:
    made = io.BytesIO()
    Image.new(mode, (width, height)).save(made, "PNG")
    return made.getvalue()


PNG = render(Made(Format.PNG, 64, 32))


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ([], "1 to 16 images"),
        ([("image[]", PNG)] * 17, "1 to 16 images"),
        ([("image", PNG), ("image", PNG)], "sent as image[]"),
        ([("image", b"x")], "invalid image"),
        ([("image", PNG), ("mask", a_mask(64, 32, "RGB"))], "alpha"),
        ([("image", PNG), ("mask", a_mask(32, 32))], "first image's size"),
        ([("image", PNG), ("other", PNG)], "unknown file"),
    ],
)
async def test_a_wrong_form_is_refused(world: World[Openai], sent: list[tuple[str, bytes]], words: str) -> None:
    files = [(name, ("x.png", content, "image/png")) for name, content in [*sent, ("", b"")] if name]
    body: dict[str, Any] = {"files": files} if files else {}
    answer = await world.http.post(
        "http://sim/openai/v1/images/edits", data={"model": "gpt-image-2", "prompt": "x"}, headers=KEY, **body
    )
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("code", [None, "content", "internal"])
async def test_a_stream(world: World[Openai], code: str | None) -> None:
    if code:
        world.fault(type="fails", code=code)
    body = {"model": "gpt-image-2", "prompt": "x", "stream": True, "partial_images": 2}
    answer = await world.http.post(GENERATE, json=body, headers=KEY)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    frames = [frame.split("\n") for frame in answer.text.strip().split("\n\n")]
    told = [(event.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for event, data in frames]
    assert all(event == data["type"] for event, data in told)
    if code:
        expected = "moderation_blocked" if code == "content" else "server_error"
        assert [(event, data["error"]["code"]) for event, data in told] == [("error", expected)]
    else:
        whole = "image_generation.completed"
        assert [event for event, _ in told] == ["image_generation.partial_image"] * 2 + [whole]
        assert [data.get("partial_image_index") for _, data in told] == [0, 1, None]
        assert told[-1][1]["b64_json"] == b64encode(render(Made(Format.PNG, 256, 256))).decode()


async def test_models_are_listed(world: World[Openai]) -> None:
    listed = (await world.http.get("http://sim/openai/v1/models", headers=KEY)).json()["data"]
    assert set(SPECS) <= {model["id"] for model in listed}
    address = f"http://sim/openai/v1/models/{listed[0]['id']}"
    assert (await world.http.get(address, headers=KEY)).json() == listed[0]
    assert (await world.http.get("http://sim/openai/v1/models/gpt-image-1", headers=KEY)).status_code == 404


@pytest.mark.parametrize("path", ["videos", "images/variations"])
async def test_what_was_removed_is_gone(world: World[Openai], path: str) -> None:
    answer = await world.http.post(f"http://sim/openai/v1/{path}", json={"prompt": "x"}, headers=KEY)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"Invalid URL (POST /openai/v1/{path})"
