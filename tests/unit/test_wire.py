"""What an answer, or its absence, means: for a call that costs nothing, and for one that may have been billed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from pydantic import BaseModel

from genpulse.errors import (
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


@pytest.mark.parametrize(
    ("base_url", "own", "named"),
    [
        ("http://cloud/v1", (), "http://cloud/jobs"),
        ("https://api.cloud.example", ("cloud.example",), "https://api.eu1.cloud.example/jobs"),
        ("http://127.0.0.1:9000", ("cloud.example",), "https://cloud.example/jobs"),
    ],
)
async def test_an_address_of_the_cloud_itself_is_asked_with_its_credentials(base_url, own, named) -> None:
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"id": "1"})

    client = httpx.AsyncClient(transport=httpx.MockTransport(serve))
    asked = Wire("cloud", base_url, client, headers={"X-Key": "secret"}, own=own)
    for path in ("/jobs", named):
        await asked.ask("GET", path, Accepted)
    assert [str(one.url) for one in seen] == [f"{base_url}/jobs", named]
    assert [one.headers["X-Key"] for one in seen] == ["secret", "secret"]


@pytest.mark.parametrize(
    "named",
    [
        "https://elsewhere.example/jobs",
        "https://cloud.example.elsewhere.example/jobs",
        "https://evilcloud.example/jobs",
        "http://api.cloud.example/jobs",
        "https://api.cloud.example:8443/jobs",
        "https://api.cloud.example@elsewhere.example/jobs",
        "http://127.0.0.1:9000/jobs",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1",
        "http://xn--/",
    ],
)
async def test_nothing_is_sent_to_an_address_that_is_not_the_cloud_s_own(named) -> None:
    def serve(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    client = httpx.AsyncClient(transport=httpx.MockTransport(serve))
    asked = Wire("cloud", "https://api.cloud.example", client, headers={"X-Key": "secret"}, own=("cloud.example",))
    for send in (asked.ask, asked.pay):
        with pytest.raises(ProviderFailed, match="named an address that is not its own") as caught:
            await send("GET", named, Accepted)
        assert not caught.value.retryable


async def test_only_who_has_no_credentials_is_led_anywhere() -> None:
    client = httpx.AsyncClient(transport=httpx.MockTransport(answering(200)))
    storage = Wire("storage", "http://cloud/v1", client, anywhere=True)
    assert (await storage.ask("POST", "https://elsewhere.example/upload", Accepted)).id == "1"
    with pytest.raises(ProviderFailed):
        await storage.ask("POST", "http://[::1", Accepted)
    with pytest.raises(AssertionError):
        Wire("storage", "http://cloud/v1", client, headers={"X-Key": "secret"}, anywhere=True)


# What is received is bounded ------------------------------------------------------------------------------------------


async def test_an_error_that_is_too_long_is_told_by_its_status() -> None:
    with pytest.raises(ProviderRejected, match=r"cloud answered 400$"):
        await wire(answering(400, b'{"message": "' + b"x" * 2**20 + b'"}')).pay("POST", "/jobs", Accepted)


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "compress"])
async def test_a_compression_without_a_bound_is_not_unpacked(encoding) -> None:
    serve = answering(200, b"anything", {"Content-Encoding": "identity"})

    def compressed(request: httpx.Request) -> httpx.Response:
        answer = serve(request)
        answer.headers["Content-Encoding"] = encoding
        return answer

    with pytest.raises(OutcomeUnknown, match="compression"):
        await wire(compressed).pay("POST", "/jobs", Accepted)


async def test_an_answer_that_unpacks_without_end_is_cut_off() -> None:
    class Bomb(httpx.AsyncByteStream):
        sent = 0

        async def __aiter__(self):
            packer = zlib.compressobj(9, zlib.DEFLATED, 31)
            while True:
                part = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_SYNC_FLUSH)
                self.sent += len(part)
                yield part

    bomb = Bomb()
    with pytest.raises(ProviderUnavailable, match="more than 268,435,456 bytes"):
        await wire(lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=bomb)).ask(
            "GET", "/jobs", Accepted
        )
    assert bomb.sent < 2**20


async def test_an_answer_that_does_not_unpack_is_lost() -> None:
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b"this is no gzip"

    def serve(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Broken())

    for send, lost in ((wire(serve).ask, ProviderUnavailable), (wire(serve).pay, OutcomeUnknown)):
        with pytest.raises(lost):
            await send("GET", "/jobs", Accepted)


@pytest.mark.parametrize("body", [b"[" * 10**6, b'{"a":' * 10**6, b'{"id": ' + b"9" * 10**6 + b"}"])
async def test_an_answer_that_no_parser_bears_is_lost(body) -> None:
    with pytest.raises(OutcomeUnknown):
        await wire(answering(200, body)).pay("POST", "/jobs", Accepted)


@pytest.mark.parametrize("given", ["inf", "nan", "1e999", "-5", "9" * 400, "Fri, 31 Dec 99999 23:59:59 GMT", "soon"])
async def test_whatever_retry_after_says_can_be_waited_for(given) -> None:
    with pytest.raises(ProviderThrottled) as caught:
        await wire(answering(429, b"{}", {"Retry-After": given})).ask("GET", "/jobs", Accepted)
    told = caught.value.details["retry_after"]
    assert told is None or timedelta(0) <= timedelta(seconds=told) <= timedelta(days=1)


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
