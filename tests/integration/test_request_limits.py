"""How much of a request is read: its head, its query, its body, its parts; on a real connection where that matters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from api import bodies
from api.app import create_app
from api.http_protocol import MAX_HEAD_BYTES, PatientProtocol
from api.request_limits import MAX_HEADER_BYTES, MAX_HEADERS, MAX_TARGET_BYTES
from api.services import Services
from genpulse.db import utc_now
from genpulse.security import link_signer
from genpulse.settings import ProviderSettings, Settings
from genpulse.stack import free_port
from tests.integration.conftest import AUTH, SHAPE, assert_problem, png, submit

MAX_BODY = 200_000  # as the settings of the tests have it
MAX_UPLOAD = 100_000


# The head -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [f"/{'x' * MAX_TARGET_BYTES}", f"/healthz?{'x' * MAX_TARGET_BYTES}", f"/?{'a=1&' * 5000}"]
)
async def test_an_address_that_is_too_long_is_refused(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(path)
    problem = assert_problem(answer, 414, "uri_too_long")
    assert problem["instance"] == "" and len(answer.content) < 1000


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Long", "x" * MAX_HEADER_BYTES)],
        [("X-" + "x" * MAX_HEADER_BYTES, "")],
        [(f"X-{number}", "1") for number in range(MAX_HEADERS)],
        [("Cookie", "a=1; " * 8000)],
        [("Authorization", "Bearer " + "x" * MAX_HEADER_BYTES)],
    ],
)
async def test_headers_that_are_too_many_or_too_long_are_refused(
    api: httpx.AsyncClient, headers: list[tuple[str, str]]
) -> None:
    assert_problem(await api.get("/healthz", headers=headers), 431, "headers_too_large")


async def test_a_head_within_the_limits_is_read(api: httpx.AsyncClient) -> None:
    headers = {f"X-{number}": "x" * 300 for number in range(80)}
    assert (await api.get("/healthz", headers=headers)).status_code == 200


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[int]:
    """The application behind a socket, served as `genpulse api` serves it."""
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, http=PatientProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield port
    finally:
        server.should_exit = True
        await running


@pytest.mark.parametrize("begin", [b"GET /healthz HTTP/1.1\r\nX-Long: ", b"GET /", b"GET / HTTP/1.1\r\n"])
async def test_a_head_without_end_is_not_read_for_ever(app: FastAPI, begin: bytes) -> None:
    more = b"X-Again: 1\r\n" * 1000 if begin.endswith(b"1.1\r\n") else b"x" * 10_000
    async with listening(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begin)
        sent = 0
        try:
            while sent < 100 * MAX_HEAD_BYTES and not reader.at_eof():
                writer.write(more)
                await writer.drain()
                sent += len(more)
        except ConnectionError:
            pass
        writer.close()
    assert sent < 100 * MAX_HEAD_BYTES


async def test_long_bodies_and_many_requests_on_one_connection_are_no_long_head(app: FastAPI) -> None:
    async with listening(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=AUTH) as client:
        for _ in range(8):
            body = SHAPE | {"metadata": {"note": "x" * 400}}
            assert (await client.post("/v1/generations", json=body)).status_code == 202
            large = {"file": ("a.png", png(64, 64) + bytes(MAX_UPLOAD - 10_000))}
            assert (await client.post("/v1/assets", files=large)).status_code in (201, 422)
            assert (await client.get("/healthz")).status_code == 200


# Bodies ---------------------------------------------------------------------------------------------------------------


async def _endless(chunk: bytes, counted: list[int]) -> AsyncIterator[bytes]:
    while True:
        counted[0] += len(chunk)
        yield chunk


@pytest.mark.parametrize(
    ("method", "path", "content_type", "limit"),
    [
        ("POST", "/v1/generations", "application/json", MAX_BODY),
        ("POST", "/v1/generations:batch", "application/json", MAX_BODY),
        ("POST", "/v1/codec/decode", "application/json", MAX_BODY),
        ("POST", "/v1/codec/sign-in", "application/x-www-form-urlencoded", 4096),
        ("POST", "/v1/assets", "multipart/form-data; boundary=b", MAX_UPLOAD + 64 * 1024),
    ],
)
async def test_no_body_without_end_is_read(app: FastAPI, method: str, path: str, content_type: str, limit: int) -> None:
    counted = [0]
    begin = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        if "multipart" in content_type
        else b"["
    )

    async def body() -> AsyncIterator[bytes]:
        yield begin
        async for chunk in _endless(b" " * 10_000, counted):
            yield chunk

    async with listening(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=AUTH) as client:
        with suppress(httpx.TransportError):  # it may hang up while we are still sending
            answer = await client.request(method, path, content=body(), headers={"Content-Type": content_type})
            assert_problem(answer, 413, "payload_too_large")
    assert counted[0] < limit + 4 * 2**20, "what sockets and buffers hold, and no more"


async def test_a_callback_without_end_is_not_read(app: FastAPI, services: Services, api: httpx.AsyncClient) -> None:
    made = await submit(api)
    path = f"/v1/callbacks/fal/{made['id']}"
    query = link_signer(services.settings.security).sign(path, utc_now() + timedelta(hours=1))
    answer = await api.post(f"{path}?{query}", content=b"x" * (4 * 2**20 + 1))
    assert_problem(answer, 413, "payload_too_large")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("DELETE", "/v1/assets/ast_1"),
        ("POST", "/v1/generations/gen_1/cancel"),
        ("POST", "/nothing"),
    ],
)
async def test_who_sends_more_than_is_wanted_is_hung_up_on(app: FastAPI, method: str, path: str) -> None:
    counted = [0]
    async with listening(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=AUTH) as client:
        with suppress(httpx.TransportError):
            await client.request(method, path, content=_endless(b"x" * 10_000, counted))
    assert counted[0] < 16 * 2**20


async def test_a_short_body_that_nobody_reads_costs_no_connection(api: httpx.AsyncClient) -> None:
    made = await submit(api)
    for path in (f"/v1/generations/{made['id']}/cancel", "/nothing"):
        answer = await api.post(path, json={"why": "I changed my mind"})
        assert "connection" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [
        b"[" * MAX_BODY,
        b'{"a":' * (MAX_BODY // 5),
        b'{"input": ' + b"[" * 1000 + b"]" * 1000 + b"}",
        b'{"model": "local/shapes", "input": {"prompt": "x", "seed": ' + b"9" * 5000 + b"}}",
        b'{"model": "local/shapes", "input": {"prompt": "x", "seed": 1e400}}',
        b'{"model": "local/shapes", "input": {"prompt": "x", "strength": -1e400}}',
        b'{"model": "local/shapes", "input": {"prompt": "x"}, "deadline_seconds": ' + b"9" * 400 + b"}",
        b'{"model": "local/shapes", "input": {"prompt": "x"}, "deadline_seconds": 1e308}',
        b'{"model": "local/shapes", "input": {"prompt": "x"}, "metadata": {"a": ' + b"9" * 5000 + b"}}",
        b'{"' + b"k" * 150_000 + b'": 1}',
        b'{"model": "local/shapes", "input": {"' + b"k" * 150_000 + b'": 1}}',
        b'{"model": "local/shapes", "input": {"prompt": "x"}, "metadata": {"' + b"k" * 150_000 + b'": "1"}}',
        b"{" + b",".join(b'"k%d": 1' % number for number in range(15_000)) + b"}",
        b'{"steps": [' + b",".join([b'{"id": "a"}'] * 10_000) + b"]}",
        b'{"generations": [' + b",".join([b"{}"] * 30_000) + b"]}",
        b'{"model": "' + b"x/" * 90_000 + b'"}',
        b'{"model": "local/shapes", "operation": "' + b"x" * 150_000 + b'"}',
        b'"\\ud800"',
        b'{"model": "local/shapes", "input": {"prompt": "\\ud800"}}',
        b'{"model": "\\u0000"}',
        b'{"a\\u0000b": 1}',
        b"\xff\xfe",
        b"NaN",
        b"1" * MAX_BODY,
        b"-" * MAX_BODY,
        b'"' + b"\\" * (MAX_BODY - 3) + b'"',
        b"",
        b"null",
    ],
    ids=lambda body: f"{body[:40]!r}-{len(body)}",
)
@pytest.mark.parametrize("path", ["/v1/generations", "/v1/generations:batch", "/v1/codec/decode"])
async def test_a_hostile_body_is_refused_in_few_words(api: httpx.AsyncClient, path: str, body: bytes) -> None:
    answer = await api.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 404, 413, 422) or (answer.status_code == 200 and path.endswith(":batch"))
    assert len(answer.content) < 20_000, "nothing of what was sent is told at length"
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "value",
    [
        10**19,
        -(10**30),
        10**4000,
        1.7976931348623157e308,
        [[[[1]]]] * 100,
        {"x" * 3000: 1},
        "x" * 50_000,
        [None] * 5000,
    ],
    ids=lambda value: f"{type(value).__name__}-{len(str(value))}",
)
async def test_whatever_options_and_metadata_hold_no_database_fails_at_it(
    with_cloud: httpx.AsyncClient, value: Any
) -> None:
    """They go into rows as they are: each of the databases has numbers and lengths that it does not take."""
    at_cloud: dict[str, Any] = {"model": "fal/flux-schnell", "input": {"prompt": "x"}}
    made = [at_cloud | {"provider_options": {"value": value}}, at_cloud | {"provider_options": {"in": [{"a": value}]}}]
    made += [
        SHAPE | {"metadata": {"value": value}},
        SHAPE | {"input": {"prompt": "x", "workflow_inputs": {"v": value}}},
    ]
    statuses = []
    for body in made:
        content = json.dumps(body).encode()
        answer = await with_cloud.post("/v1/generations", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code in (202, 400, 422), answer.text[:500]
        if answer.status_code == 202:
            read = await with_cloud.get(f"/v1/generations/{answer.json()['id']}")
            assert read.status_code == 200
        statuses.append(answer.status_code)
    if value != 10**4000:
        assert statuses[:2] == [202, 202], "they are the cloud's to judge"


@pytest.mark.parametrize("number", ["9" * 4300, "9" * 4301, "9" * 100_000, "1e-400", "0." + "9" * 100_000, "-0"])
async def test_a_number_of_any_length_is_kept_or_refused(with_cloud: httpx.AsyncClient, number: str) -> None:
    content = f'{{"model": "fal/flux-schnell", "input": {{"prompt": "x"}}, "provider_options": {{"a": {number}}}}}'
    answer = await with_cloud.post("/v1/generations", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (202, 400, 422), answer.text[:500]
    if answer.status_code == 202:
        assert (await with_cloud.get(f"/v1/generations/{answer.json()['id']}")).status_code == 200


@pytest.fixture
async def with_cloud(api_settings: Settings, services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """The API with an account at a cloud, whose options are taken as they are."""
    accounts = {"fal": ProviderSettings(api_key=SecretStr("key"))}
    app = create_app(api_settings.model_copy(update={"providers": accounts}))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=AUTH) as client:
            yield client


# Multipart ------------------------------------------------------------------------------------------------------------

FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def part(name: bytes = b"file", filename: bytes | None = b"a.png", content: bytes = b"x", more: bytes = b"") -> bytes:
    named = b"" if filename is None else b'; filename="%s"' % filename
    return b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n%s\r\n%s\r\n' % (name, named, more, content)


@pytest.mark.parametrize(
    "filename",
    [
        b"../../../etc/passwd",
        b"..\\..\\windows\\system32",
        b"/etc/passwd",
        b"C:\\autoexec.bat",
        b"a\x00.png",
        b"a%00.png",
        b"%2e%2e%2fetc%2fpasswd",
        b"",
        b".",
        b"..",
        b"con",
        b"x" * 3000,
        "ä\u202egnp.exe".encode(),
        b"\xff\xfe",
        b"a.png; name=other",
        b"<script>alert(1)</script>",
    ],
)
async def test_the_name_of_a_file_plays_no_part(api: httpx.AsyncClient, filename: bytes) -> None:
    answer = await api.post("/v1/assets", content=part(filename=filename, content=png()) + b"--b--\r\n", headers=FORM)
    assert answer.status_code == 201, answer.text
    content = await api.get(answer.json()["url"])
    assert content.headers["content-disposition"] == f'inline; filename="{answer.json()["id"]}.png"'
    assert content.content == png()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (part(name=b"other", filename=None) * 2000 + part(content=png()) + b"--b--\r\n", 400),
        (part(content=b"") * 2000 + b"--b--\r\n", 400),
        (b"--b\r\n" * 10_000, 400),
        (b"--b\r\n" + b"X: 1\r\n" * 10_000, 400),
        (b"--b\r\nContent-Disposition: " + b"x" * 80_000, 400),
        (b"--b\r\n" + b"x" * 80_000 + b": 1\r\n\r\n", 400),
        (b"x" * 90_000, 400),
        (b"--b--\r\n", 422),
        (b"", 422),
        (part(content=png())[:-60], 422),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + png() + b"\r\n--b--\r\n", 422),
    ],
)
async def test_a_hostile_form_is_refused(api: httpx.AsyncClient, body: bytes, status: int) -> None:
    answer = await api.post("/v1/assets", content=body, headers=FORM)
    assert answer.status_code in (status, 400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 2000


@pytest.mark.parametrize("boundary", ["", "x" * 5000, '"', "b\x80", "b; boundary=c"])
async def test_a_hostile_boundary_is_refused(api: httpx.AsyncClient, boundary: str) -> None:
    headers = {b"Content-Type": f"multipart/form-data; boundary={boundary}".encode("latin-1")}
    answer = await api.post("/v1/assets", content=b"--b\r\n\r\nx\r\n--b--", headers=headers)
    assert answer.status_code in (400, 415, 422), answer.text


async def test_of_several_files_the_first_is_taken_and_all_are_counted(api: httpx.AsyncClient) -> None:
    first, second = png(8, 8, "red"), png(16, 16, "blue")
    answer = await api.post(
        "/v1/assets", content=part(content=first) + part(content=second) + b"--b--\r\n", headers=FORM
    )
    assert (answer.status_code, answer.json()["width"]) == (201, 8)


def test_the_number_of_parts_is_known_here() -> None:
    assert bodies.MAX_PARTS < 2000
