"""Google: errors."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from genpulse.errors import (
    ContentBlocked,
    GenPulseError,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.base import Credentials, Finished, Job, Output, Pending
from genpulse.providers.google import Google
from genpulse.simulator.wire import Kind
from tests.clouds import World, always
from tests.unit.google.shared import (
    IMAGEN,
    NAME,
    PICTURE,
    VEO,
    VIDEO,
    call,
)


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
