"""What an answer, or its absence, means: for a call that costs nothing, and for one that may have been billed."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from pydantic import BaseModel

from genpulse.errors import (
    GenPulseError,
    JobMissing,
    OutcomeUnknown,
    ProviderAuthFailed,
    ProviderQuotaSpent,
    ProviderRejected,
    ProviderThrottled,
    ProviderUnavailable,
)
from genpulse.providers.base import ModelCall
from genpulse.providers.marketplace import ModelWire, model_input
from genpulse.providers.wire import Wire
from genpulse.schemas.states import Operation

Serve = Callable[[httpx.Request], httpx.Response]


class Accepted(BaseModel):
    id: str


def wire(serve: Serve) -> Wire:
    return Wire("cloud", "http://cloud/v1/", httpx.AsyncClient(transport=httpx.MockTransport(serve)))


def answering(status: int, body: bytes = b'{"id": "1"}', headers: dict[str, str] | None = None) -> Serve:
    return lambda _request: httpx.Response(status, content=body, headers=headers)


def failing(error: type[httpx.TransportError]) -> Serve:
    def serve(request: httpx.Request) -> httpx.Response:
        raise error("no", request=request)

    return serve


async def test_what_is_asked_for_is_read_and_more_of_it_tolerated() -> None:
    answer = await wire(answering(200, b'{"id": "1", "new": true}')).pay("POST", "/jobs", Accepted, json={})
    assert answer.id == "1"


async def test_paths_follow_the_base_url_and_whole_urls_stand_alone() -> None:
    seen: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json={"id": "1"})

    for path in ("/jobs", "http://other/jobs"):
        await wire(serve).ask("GET", path, Accepted)
    assert seen == ["http://cloud/v1/jobs", "http://other/jobs"]


@pytest.mark.parametrize(
    ("serve", "free", "paid"),
    [
        (failing(httpx.ConnectError), ProviderUnavailable, ProviderUnavailable),
        (failing(httpx.ConnectTimeout), ProviderUnavailable, ProviderUnavailable),
        (failing(httpx.ReadTimeout), ProviderUnavailable, OutcomeUnknown),
        (failing(httpx.ReadError), ProviderUnavailable, OutcomeUnknown),
        (failing(httpx.WriteError), ProviderUnavailable, OutcomeUnknown),
        (failing(httpx.RemoteProtocolError), ProviderUnavailable, OutcomeUnknown),
        (answering(500), ProviderUnavailable, OutcomeUnknown),
        (answering(502, b"<html>"), ProviderUnavailable, OutcomeUnknown),
        (answering(200, b"<html>"), ProviderUnavailable, OutcomeUnknown),
        (answering(200, b'{"id": '), ProviderUnavailable, OutcomeUnknown),
        (answering(200, b"{}"), ProviderUnavailable, OutcomeUnknown),
        (answering(302), ProviderUnavailable, OutcomeUnknown),
        (answering(400), ProviderRejected, ProviderRejected),
        (answering(401), ProviderAuthFailed, ProviderAuthFailed),
        (answering(402), ProviderQuotaSpent, ProviderQuotaSpent),
        (answering(404), JobMissing, ProviderRejected),
        (answering(408), ProviderUnavailable, ProviderUnavailable),
        (answering(429), ProviderThrottled, ProviderThrottled),
    ],
)
async def test_what_an_answer_means(serve: Serve, free: type[GenPulseError], paid: type[GenPulseError]) -> None:
    with pytest.raises(GenPulseError) as asked:
        await wire(serve).ask("GET", "/jobs/1", Accepted)
    with pytest.raises(GenPulseError) as sent:
        await wire(serve).pay("POST", "/jobs", Accepted, json={})
    assert (type(asked.value), type(sent.value)) == (free, paid)


async def test_a_file_comes_with_its_headers() -> None:
    serve = answering(200, b"\x89PNG", {"seed": "7"})
    for answer in (await wire(serve).ask_file("GET", "/jobs/1"), await wire(serve).pay_file("POST", "/jobs")):
        assert (answer.status, answer.content, answer.headers["seed"], answer.data) == (200, b"\x89PNG", "7", None)


@pytest.mark.parametrize(
    ("serve", "free", "paid"),
    [
        (failing(httpx.ReadError), ProviderUnavailable, OutcomeUnknown),
        (answering(500), ProviderUnavailable, OutcomeUnknown),
        (answering(404), JobMissing, ProviderRejected),
        (answering(402), ProviderQuotaSpent, ProviderQuotaSpent),
    ],
)
async def test_a_file_that_does_not_come(serve: Serve, free: type[GenPulseError], paid: type[GenPulseError]) -> None:
    with pytest.raises(free):
        await wire(serve).ask_file("GET", "/jobs/1")
    with pytest.raises(paid):
        await wire(serve).pay_file("POST", "/jobs")


async def test_an_empty_file_is_none_where_it_was_paid_for() -> None:
    assert (await wire(answering(202, b"")).ask_file("GET", "/jobs/1")).content == b""
    with pytest.raises(OutcomeUnknown, match="without a file"):
        await wire(answering(200, b"")).pay_file("POST", "/jobs")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), ("", None)],
)
async def test_how_long_to_stay_away(header: str, seconds: float | None) -> None:
    with pytest.raises(ProviderThrottled) as told:
        await wire(answering(429, headers={"Retry-After": header})).ask("GET", "/jobs/1", Accepted)
    assert told.value.details["retry_after"] == seconds


async def test_what_the_cloud_says_of_the_error_is_passed_on() -> None:
    body = b'{"error": {"code": "bad", "message": "size is too large"}}'
    with pytest.raises(ProviderRejected, match="cloud answered 422: size is too large"):
        await wire(answering(422, body)).pay("POST", "/jobs", Accepted, json={})


def test_a_model_gets_its_input_under_its_own_names() -> None:
    call = ModelCall(
        model="m",
        operation=Operation.TEXT_TO_IMAGE,
        wire={},
        input={"prompt": "x", "count": 2, "width": 640, "height": 480, "duration": 5.0, "fps": 24.0},
        options={"acceleration": "high"},
        key="k",
    )
    asked = ModelWire(
        endpoint="a/b",
        fields={"count": "num_images", "last_image": "tail"},
        pictures="images",
        size="image_size",
        sized={"ratio": "custom"},
        written={"duration": "{:g}s"},
        always={"sync": False, "ratio": "auto"},
    )
    links = {"video": ["v"], "reference_images": ["b", "c"], "last_image": ["d"], "image": ["a"]}
    assert model_input(call, asked, links) == {
        "sync": False,
        "prompt": "x",
        "num_images": 2,
        "image_size": {"width": 640, "height": 480},
        "ratio": "custom",
        "duration": "5s",
        "fps": 24,
        "images": ["a", "b", "c"],
        "tail": "d",
        "video_url": "v",
        "acceleration": "high",
    }
