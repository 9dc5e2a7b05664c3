"""Signing, secrets, and what a try sends and makes of the answer; standardwebhooks' own library is the judge."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from standardwebhooks import Webhook as Library
from standardwebhooks import WebhookVerificationError

from genpulse.errors import SecretUnreadable, UnsafeUrl
from genpulse.models import WebhookRow
from genpulse.net import http_client
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.states import GenerationStatus
from genpulse.schemas.webhooks import (
    SECRET_FORM,
    EventType,
    GenerationEvent,
    RequestWebhook,
    SecretRotation,
    WebhookCreate,
    WebhookUpdate,
    event_of,
    signing_key,
)
from genpulse.sealing import Sealer
from genpulse.security import sealer
from genpulse.settings import SecuritySettings
from genpulse.webhooks import sending
from genpulse.webhooks.endpoints import Endpoints
from genpulse.webhooks.sending import Answer, post_event
from genpulse.webhooks.signing import active_secrets, new_secret, rotated, signed_headers
from workflows.policies import DELIVERY_DELAYS

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TENANT = "default"
BODY = b'{"type":"generation.succeeded","data":{"text":"\xc3\xa4"}}'
SEALER = Sealer(b"k" * 32)
URL = "https://receiver.test/hook"


# Signing ------------------------------------------------------------------------------------------------------------


def test_the_known_vector() -> None:
    body = b'{"type":"job.completed","timestamp":"2025-01-01T00:00:00Z","data":{"id":"job_1"}}'
    at = datetime.fromtimestamp(1735689600, UTC)
    headers = signed_headers("msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", body, ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], at=at)
    assert headers == {
        "webhook-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "webhook-timestamp": "1735689600",
        "webhook-signature": "v1,ntey/nCoFO7qSd8ns7CRZZlk5v3nNExx0xj7ryns2Ps=",
    }


def test_the_library_accepts_either_secret_of_a_rotation_and_no_other() -> None:
    old, new, foreign = new_secret(), new_secret(), new_secret()
    headers = signed_headers("evt_1", BODY, [new, old], at=datetime.now(UTC))
    for secret in (old, new):
        assert Library(secret).verify(BODY.decode(), headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Library(foreign).verify(BODY.decode(), headers)


@pytest.mark.parametrize("change", ["webhook-id", "webhook-timestamp", "body"])
def test_the_library_refuses_what_was_changed(change: str) -> None:
    secret, now = new_secret(), datetime.now(UTC)
    headers = signed_headers("evt_1", BODY, [secret], at=now)
    body = BODY.decode()
    if change == "body":
        body = body.replace("succeeded", "failed")
    else:
        headers[change] = {"webhook-id": "evt_2", "webhook-timestamp": str(int(now.timestamp()) + 1)}[change]
    with pytest.raises(WebhookVerificationError):
        Library(secret).verify(body, headers)


def test_the_document_shows_a_check_that_works() -> None:
    """The function that docs/webhooks.md gives to those without the library."""
    page = (ROOT / "docs/webhooks.md").read_text("utf-8")
    source = page.split("```python\n")[2].split("```")[0]
    assert "hmac.compare_digest" in source
    names: dict[str, Any] = {}
    exec(source, names)
    secret, now = new_secret(), datetime.now(UTC)
    headers = signed_headers("evt_1", BODY, [new_secret(), secret], at=now)
    assert names["verified"](secret, headers, BODY) == json.loads(BODY)
    for wrong in (
        headers | {"webhook-id": "evt_2"},
        signed_headers("evt_1", BODY, [secret], at=now - timedelta(hours=1)),
    ):
        with pytest.raises(ValueError, match="webhook"):
            names["verified"](secret, wrong, BODY)


# Secrets ------------------------------------------------------------------------------------------------------------


def test_a_new_secret_has_32_random_bytes() -> None:
    made = {new_secret() for _ in range(50)}
    assert len(made) == 50
    assert {len(signing_key(one)) for one in made} == {32}
    assert all(one.startswith("whsec_") for one in made)


@pytest.mark.parametrize("length", range(20, 70))
def test_the_document_tells_the_form_of_a_secret(length: int) -> None:
    secret = "whsec_" + base64.b64encode(b"s" * length).decode()
    for text in (secret, secret.rstrip("=")):
        assert bool(re.fullmatch(SECRET_FORM, text)) == (24 <= length <= 64)


@pytest.mark.parametrize("length", [24, 25, 32, 64])
def test_a_secret_may_be_brought(length: int) -> None:
    secret = "whsec_" + base64.b64encode(b"s" * length).decode()
    for text in (secret, secret.rstrip("=")):
        assert signing_key(text) == b"s" * length
        assert WebhookCreate.model_validate({"url": URL, "secret": text}).secret == SecretStr(text)


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "x" * 40, base64.b64encode(b"s" * 32).decode(), "whsec_" + "ä" * 40, "whsec_" + "-_" * 20]
    + ["whsec_" + base64.b64encode(b"s" * length).decode() for length in (1, 23, 65, 200)],
)
def test_what_is_no_secret_is_refused_without_being_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 random bytes"):
        signing_key(secret)
    with pytest.raises(ValidationError):
        RequestWebhook.model_validate({"url": URL, "secret": secret})


@pytest.mark.parametrize("contract", [WebhookCreate, RequestWebhook, SecretRotation])
def test_a_secret_is_in_no_dump_and_no_repr(contract: Any) -> None:
    secret = new_secret()
    given = {"secret": secret} | ({} if contract is SecretRotation else {"url": URL})
    made = contract.model_validate(given)
    assert secret not in made.model_dump_json() + repr(made) + str(made.model_dump())


def test_the_stored_request_has_no_secret() -> None:
    wanted = {"url": URL, "events": [], "secret": new_secret()}
    request = GenerationCreate.model_validate({"model": "local/shapes", "webhook": wanted})
    assert request.model_dump(mode="json", exclude_none=True)["webhook"] == {"url": URL, "events": []}


# Sealing ------------------------------------------------------------------------------------------------------------


def test_what_is_sealed_can_be_opened_by_its_owner_alone() -> None:
    secret = new_secret()
    sealed = SEALER.seal(secret, TENANT)
    assert SEALER.open(sealed, TENANT) == secret
    assert secret not in sealed
    assert sealed != SEALER.seal(secret, TENANT)
    with pytest.raises(SecretUnreadable):
        SEALER.open(sealed, "other")
    with pytest.raises(SecretUnreadable):
        Sealer(b"x" * 32).open(sealed, TENANT)


@pytest.mark.parametrize("sealed", ["", "v1.", "v1.!", "v1.AAAA", "v2.AAAA", "plain"])
def test_what_was_never_sealed_cannot_be_opened(sealed: str) -> None:
    with pytest.raises(SecretUnreadable):
        SEALER.open(sealed, TENANT)


@pytest.mark.parametrize("name", ["signing_key", "admin_key"])
def test_the_key_follows_from_the_settings(name: str) -> None:
    def made(value: str) -> Sealer:
        return sealer(SecuritySettings.model_validate({name: value * 32}))

    sealed = made("a").seal("x", TENANT)
    assert made("a").open(sealed, TENANT) == "x"
    with pytest.raises(SecretUnreadable):
        made("b").open(sealed, TENANT)


# Rotation -----------------------------------------------------------------------------------------------------------


def keeper(secret: str) -> WebhookRow:
    return WebhookRow(
        id="whk_1", tenant_id=TENANT, url=URL, events=[], secret=SEALER.seal(secret, TENANT), created_at=NOW
    )


def test_the_former_secret_signs_until_the_overlap_is_over() -> None:
    row = keeper(old := new_secret())
    assert active_secrets(row, SEALER, at=NOW) == [old]
    new, values = rotated(row, SEALER, SecretRotation(), at=NOW)
    for name, value in values.items():
        setattr(row, name, value)
    day = timedelta(days=1)
    assert active_secrets(row, SEALER, at=NOW) == [new, old]
    assert active_secrets(row, SEALER, at=NOW + day - timedelta(seconds=1)) == [new, old]
    assert active_secrets(row, SEALER, at=NOW + day) == [new]


def test_a_secret_that_got_out_is_replaced_at_once() -> None:
    row = keeper(new_secret())
    mine = new_secret()
    new, values = rotated(row, SEALER, SecretRotation(secret=SecretStr(mine), overlap_seconds=0), at=NOW)
    assert new == mine
    assert (values["previous_secret"], values["previous_until"]) == (None, None)


def test_what_cannot_be_read_any_more_has_no_overlap() -> None:
    new, values = rotated(keeper(new_secret()), Sealer(b"x" * 32), SecretRotation(), at=NOW)
    assert Sealer(b"x" * 32).open(values["secret"], TENANT) == new
    assert values["previous_secret"] is None


# Where events go ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://receiver.test/hook",
        "https://127.0.0.1/hook",
        "https://[::1]/hook",
        "https://10.0.0.1/hook",
        "https://169.254.169.254/latest",
        "https://2130706433/hook",
        "https://user:password@receiver.test/hook",
        "https://receiver.test:22/hook",
    ],
)
def test_an_unsafe_address_is_refused_by_name(url: str) -> None:
    with pytest.raises(UnsafeUrl) as refused:
        Endpoints(SEALER).accept(RequestWebhook.model_validate({"url": url}), TENANT)
    assert refused.value.field == "webhook.url"


def test_development_may_use_what_is_private_and_unprotected() -> None:
    wanted = RequestWebhook.model_validate({"url": "http://127.0.0.1:9000/hook"})
    assert Endpoints(SEALER, allow_private=True).accept(wanted, TENANT) is None


@pytest.mark.parametrize("contract", [RequestWebhook, WebhookCreate])
@pytest.mark.parametrize("events", [["generation.done"], ["webhook.ping"], "generation.failed"])
def test_events_that_there_are_not_are_refused(contract: Any, events: Any) -> None:
    with pytest.raises(ValidationError):
        contract.model_validate({"url": URL, "events": events})


def test_every_status_has_an_event() -> None:
    assert {event_of(status) for status in GenerationStatus} == set(get_args(GenerationEvent))


def test_a_change_of_nothing_is_one() -> None:
    assert WebhookUpdate.model_validate({}).model_dump(exclude_none=True) == {}


# One try ------------------------------------------------------------------------------------------------------------


async def tried(answer: Callable[[httpx.Request], Any]) -> Answer:
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        return await post_event(client, URL, BODY, {"webhook-id": "evt_1"})


def reply(status: int, body: bytes = b"", **headers: str) -> httpx.Response:
    """An answer that has not been read yet."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, stream=httpx.ByteStream(body))


async def test_exactly_the_signed_bytes_are_sent() -> None:
    seen: list[httpx.Request] = []

    def answering(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return reply(200, b"thanks")

    answer = await tried(answering)
    (request,) = seen
    assert (request.method, str(request.url), request.content) == ("POST", URL, BODY)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["webhook-id"] == "evt_1"
    assert (answer.status_code, answer.error, answer.text) == (200, None, "thanks")


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_success(status: int) -> None:
    assert (await tried(lambda _request: reply(status))).error is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 401, 404, 410, 429, 500, 503])
async def test_anything_else_is_none(status: int) -> None:
    asked: list[str] = []

    def answering(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return reply(status, location="https://elsewhere.test/") if status < 400 else reply(status)

    answer = await tried(answering)
    assert answer.error is not None
    assert answer.error.startswith(f"It answered {status}")
    assert ("redirect" in answer.error) == (status < 400)
    assert answer.is_gone == (status == 410)
    assert asked == [URL]


async def test_only_the_beginning_of_an_answer_is_read_and_kept() -> None:
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 1000
            yield b"x\0" * 500

    answer = await tried(lambda _request: httpx.Response(500, content=endless()))
    assert answer.text == ("x�" * 500)[:500]
    assert read < 10_000


async def test_an_answer_that_is_no_text_is_kept_as_far_as_it_is() -> None:
    assert (await tried(lambda _request: reply(500, b"\xff\xfeok"))).text == "��ok"


async def test_a_receiver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.05)

    async def never(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    answer = await tried(never)
    assert (answer.status_code, answer.error) == (None, "It did not answer within 0.05 seconds.")
    assert answer.seconds >= 0.05


async def test_an_answer_that_trickles_is_cut_off_but_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.05)

    async def slowly():
        yield b"ok"
        await asyncio.Event().wait()

    answer = await tried(lambda _request: httpx.Response(200, content=slowly()))
    assert (answer.status_code, answer.error) == (200, None)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (httpx.ConnectError("x"), "No connection could be made."),
        (httpx.ConnectTimeout("x"), "It did not answer within 20 seconds."),
        (httpx.ReadError("x"), "The connection broke before there was an answer."),
        (httpx.RemoteProtocolError("x"), "The connection broke before there was an answer."),
    ],
)
async def test_what_goes_wrong_on_the_way_is_said(error: Exception, sentence: str) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise error

    assert (await tried(fail)).error == sentence


async def test_the_guard_judges_every_try() -> None:
    async def rebound(_host: str, _port: int) -> Any:
        from ipaddress import ip_address

        return [ip_address("127.0.0.1")]

    async with http_client(resolve=rebound) as client:
        answer = await post_event(client, URL, BODY, {})
    assert answer.error is not None
    assert answer.error.startswith("It was not sent: the URL leads to a private")


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "120", 120.0),
        (503, "0", 0.0),
        (503, "99999999999999", 999999999.0),
        (502, "7", 7.0),
        (500, "120", None),
        (429, "soon", None),
        (429, "-5", None),
        (429, "", None),
        (429, "Thu, 01 Jan 2015 00:00:00 GMT", 0.0),
        (429, "Mon, 01 Jan 2024 00:00:00 +99999999999999999", None),
    ],
)
async def test_retry_after(status: int, value: str, seconds: float | None) -> None:
    answer = await tried(lambda _request: reply(status, retry_after=value))
    assert answer.retry_after == seconds


async def test_retry_after_as_a_date() -> None:
    then = (datetime.now(UTC) + timedelta(minutes=10)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    answer = await tried(lambda _request: reply(429, retry_after=then))
    assert answer.retry_after is not None
    assert 500 < answer.retry_after <= 600


# Documents ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", get_args(EventType))
@pytest.mark.parametrize("page", ["docs/webhooks.md", "docs/events.md"])
def test_event_is_documented(event: str, page: str) -> None:
    assert f"`{event}`" in (ROOT / page).read_text("utf-8")


def test_the_schedule_is_documented() -> None:
    words = [_in_words(delay) for delay in DELIVERY_DELAYS]
    assert ", ".join(words) in (ROOT / "docs/webhooks.md").read_text("utf-8").replace("\n", " ")


def _in_words(delay: timedelta) -> str:
    seconds = int(delay.total_seconds())
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
