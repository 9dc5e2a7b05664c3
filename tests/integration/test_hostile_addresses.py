"""Addresses, ids, queries and headers that are meant to confuse: each is refused, none is a server error."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from api.services import Services
from genpulse.db import utc_now
from genpulse.links import callback_path, content_path
from genpulse.security import link_signer
from tests.integration.conftest import AUTH, assert_problem, png, submit
from tests.integration.test_request_limits import listening

IDS = [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%252e%252e%252f",
    "..%5c..%5cwindows",
    "%00",
    "gen_%00",
    "ast_01k9d2x8f6v3q7m5r0ha4tjwbe%00.png",
    "%ff%fe",
    "%c0%ae%c0%ae/",
    "%ed%a0%80",
    "%0d%0aX-Injected:%20yes",
    "gen_01k9d2x8f6v3q7m5r0ha4tjwbe;DROP TABLE generation",
    "' OR '1'='1",
    "1%27%20OR%201=1--",
    "*",
    "%25",
    "a" * 5000,
    "%E2%80%AE",
    "{generation_id}",
    "${jndi:ldap://127.0.0.1/a}",
    "<script>",
    "-1",
    "None",
]


def addresses(app: FastAPI, given: str) -> Iterator[tuple[str, str]]:
    """Every route that takes something in its path, with this in the place of each."""
    for route in iter_route_contexts(app.routes):
        if "{" in (route.path or ""):
            path = re.sub(r"\{\w+\}", lambda _: given, route.path or "")
            yield from ((method, path) for method in route.methods or ())


@pytest.mark.parametrize("given", IDS, ids=lambda given: given[:30])
async def test_an_id_that_is_none_is_refused_by_every_route(app: FastAPI, api: httpx.AsyncClient, given: str) -> None:
    asked = list(addresses(app, given))
    assert len(asked) > 10
    for method, path in asked:
        answer = await api.request(method, path)
        where = f"{method} {path[:100]}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code in (401, 403, 404, 405, 415, 422), where
        assert "x-injected" not in answer.headers, where
        if method != "HEAD":
            assert answer.headers["content-type"] == "application/problem+json", where
            assert len(answer.content) < 12_000, where


@pytest.mark.parametrize(
    "target",
    [
        "/../../etc/passwd",
        "/v1/generations/../../../etc/passwd",
        "/v1/assets/..;/..;/etc/passwd",
        "//etc/passwd",
        "///v1/generations",
        "/v1//generations",
        "/./v1/generations",
        "/v1/generations/%2e%2e/assets",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/docs/../etc/passwd",
        "/docs/errors/../../etc/passwd",
        "/v1%2fgenerations",
        "/V1/GENERATIONS",
        "/v1/generations/",
        "/v1/generations%20",
        "/v1/generations%00",
        "/\\..\\..\\windows",
        "http://127.0.0.1/v1/nothing",
        "http://169.254.169.254/latest/meta-data",
        "*",
        "/static/../api/app.py",
        "/.git/config",
        "/.env",
    ],
)
async def test_no_address_leads_anywhere_but_to_a_route(app: FastAPI, target: str) -> None:
    """As it is sent, because a client's library would tidy it up."""
    async with listening(app) as port:
        status, body = await _raw(port, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert status in (400, 401, 404, 422), body[:300]
    assert b"root:" not in body and b"import " not in body


@pytest.mark.parametrize(
    "head",
    [
        "GET /healthz HTTP/1.1\r\nHost: [::1\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a b\r\n",
        "GET /healthz HTTP/1.1\r\nHost: \r\n",
        "GET /healthz HTTP/1.1\r\nHost: a:99999999\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a:x\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n",
        "POST /v1/generations HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "POST /v1/generations HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Request-Id: \x00\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Request-Id: \xff\xfe\r\n",
        "GET /healthz HTTP/9.9\r\nHost: a\r\n",
        "G\x00T /healthz HTTP/1.1\r\nHost: a\r\n",
        "GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xe9\r\n",
        "GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: \r\n",
        "GET /v1/generations HTTP/1.1\r\nHost: [::1\r\nAuthorization: " + AUTH["Authorization"] + "\r\n",
        "GET /v1/generations HTTP/1.1\r\nHost: a b/c?d#e\r\nAuthorization: " + AUTH["Authorization"] + "\r\n",
        "GET /v1/generations HTTP/1.1\r\nHost: \xff\r\nAuthorization: " + AUTH["Authorization"] + "\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n",
    ],
    ids=lambda head: repr(head[:60]),
)
async def test_no_head_makes_the_server_fail(app: FastAPI, services: Services, head: str) -> None:
    async with listening(app) as port:
        status, body = await _raw(port, f"{head}\r\n")
        again, _ = await _raw(port, "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert status < 500, body[:300]
    assert b"Traceback" not in body
    assert again == 200


async def _raw(port: int, text: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode("latin-1"))
    if writer.can_write_eof():
        writer.write_eof()
    async with asyncio.timeout(30):
        first = await reader.readline()
        body = await reader.read(65536)
    writer.close()
    return (int(first.split()[1]) if first else 0), body


# Queries and headers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "model=%00",
        "model=%ff",
        "model=" + "x" * 10_000,
        "model=%ed%a0%80",
        "status=%00",
        "limit=" + "9" * 5000,
        "limit=-1",
        "limit=1e3",
        "limit=%00",
        "limit=1&limit=2",
        "starting_after=%00",
        "starting_after=gen_" + "0" * 26,
        "starting_after=../../x",
        "created_after=0001-01-01T00:00:00%2B23:59",
        "created_after=9999-12-31T23:59:59-23:59",
        "created_after=" + "9" * 300,
        "created_after=1e308",
        "created_after=inf",
        "created_after=-62135596800",
        "created_after=253402300799",
        "created_after=%00",
        "&".join(f"a{number}=1" for number in range(1500)),
        "=" * 5000,
        "&" * 10_000,
        "%",
        "a[]=1&a[b]=2",
        "operation=text-to-image%00",
    ],
    ids=lambda query: query[:40],
)
@pytest.mark.parametrize("path", ["/v1/generations", "/v1/assets", "/v1/models", "/healthz", "/docs"])
async def test_no_query_makes_the_server_fail(api: httpx.AsyncClient, path: str, query: str) -> None:
    answer = await api.get(f"{path}?{query}")
    assert answer.status_code in (200, 422), answer.text[:300]
    assert len(answer.content) < 200_000


RANGES = [
    "bytes=0-",
    "bytes=-1",
    "bytes=0-0",
    "bytes=" + "9" * 5000 + "-",
    "bytes=0-" + "9" * 5000,
    "bytes=-" + "9" * 5000,
    "bytes=" + ",".join(f"{n}-{n}" for n in range(3000)),
    "bytes=0-0,0-0,0-0",
    "bytes=5-1",
    "bytes=-0",
    "bytes=--1",
    "bytes=1e3-",
    "bytes=\u00b2-",
    "lines=1-2",
    "bytes",
    "=",
    "bytes=0-\x7f",
]


@pytest.mark.parametrize("given", RANGES, ids=lambda given: given[:30])
async def test_no_range_makes_the_server_fail(api: httpx.AsyncClient, given: str) -> None:
    content = png()
    asset = (await api.post("/v1/assets", files={"file": ("a.png", content)})).json()
    answer = await api.get(asset["url"], headers={b"Range": given.encode("latin-1")})
    assert answer.status_code in (200, 206, 416), answer.text[:300]
    assert len(answer.content) <= len(content) or answer.status_code == 416


@pytest.mark.parametrize(
    "headers",
    [
        {"If-None-Match": ",".join(['"x"'] * 5000)},
        {"If-None-Match": "\xff"},
        {"If-Range": "x" * 10_000, "Range": "bytes=0-1"},
        {"Prefer": "wait=" + "9" * 5000},
        {"Prefer": ";" * 20_000},
        {"Prefer": "wait" + " " * 20_000 + "="},
        {"Last-Event-ID": "9" * 5000},
        {"Last-Event-ID": "\u00b2"},
        {"Idempotency-Key": "x" * 5000},
        {"Idempotency-Key": '"' * 5000},
        {"Idempotency-Key": "\xff"},
        {"traceparent": "00-" + "f" * 5000},
        {"traceparent": "\xff"},
        {"Content-Type": "application/" + "+" * 20_000},
        {"Content-Type": "multipart/form-data; " + "a=b; " * 4000},
        {"Accept": "*/*, " * 5000},
        {"Authorization": "Bearer " + "x" * 20_000},
        {"Authorization": "Bearer \xe9"},
        {"Authorization": "\xff \xff"},
        {"Cookie": "genpulse_codec=" + "x" * 20_000},
        {"X-Forwarded-For": "\xff" * 1000, "X-Forwarded-Proto": "javascript"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"Content-Length": "\u00b2"},
    ],
    ids=lambda headers: str(headers)[:50],
)
async def test_no_header_makes_the_server_fail(api: httpx.AsyncClient, headers: dict[str, str]) -> None:
    made = await submit(api)
    asset = (await api.post("/v1/assets", files={"file": ("a.png", png())})).json()
    sent = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    for method, path in (
        ("GET", f"/v1/generations/{made['id']}"),
        ("POST", "/v1/generations"),
        ("POST", "/v1/assets"),
        ("GET", f"/v1/assets/{asset['id']}/content"),
        ("POST", "/v1/codec/decode"),
    ):
        answer = await api.request(method, path, headers=sent)
        assert answer.status_code < 500, f"{method} {path}: {answer.text[:300]}"


# Signed addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "signature=x",
        "expires=9999999999&key=1&signature=" + "0" * 64,
        "expires=" + "9" * 5000 + "&key=1&signature=x",
        "expires=-1&key=1&signature=x",
        "expires=1&key=&signature=%00",
        "expires=%00&key=%00&signature=%00",
        "expires=1&key=1&signature=%ed%a0%80",
        "expires=1&key=1&signature=x&signature=y",
        "expires[]=1&key=1&signature=x",
    ],
)
async def test_a_signature_that_is_not_ours_opens_nothing(api: httpx.AsyncClient, query: str) -> None:
    asset = (await api.post("/v1/assets", files={"file": ("a.png", png())})).json()
    made = await submit(api)
    for method, path in (("GET", content_path(asset["id"])), ("POST", callback_path("fal", made["id"]))):
        answer = await api.request(method, f"{path}?{query}", headers={"Authorization": ""})
        assert answer.status_code in (403, 422), answer.text


@pytest.mark.parametrize("cloud", ["..", "fal/..", "fal%2f..", "FAL", "%00", "nobody"])
async def test_a_callback_is_for_the_cloud_that_it_was_signed_for(
    api: httpx.AsyncClient, services: Services, cloud: str
) -> None:
    made = await submit(api)
    query = link_signer(services.settings.security).sign(
        callback_path("fal", made["id"]), utc_now() + timedelta(hours=1)
    )
    answer = await api.post(f"/v1/callbacks/{cloud}/{made['id']}?{query}", content=b"{}")
    assert answer.status_code in (403, 404, 405), answer.text


@pytest.mark.parametrize(
    "body", [b"[" * 10**6, b'{"a":' * 700_000, b"9" * 10**6, b"\xff", b'{"challenge": "' + b"x" * 10**6 + b'"}', b""]
)
async def test_no_callback_makes_the_server_fail(api: httpx.AsyncClient, services: Services, body: bytes) -> None:
    made = await submit(api)
    path = callback_path("fal", made["id"])
    query = link_signer(services.settings.security).sign(path, utc_now() + timedelta(hours=1))
    answer = await api.post(f"{path}?{query}", content=body)
    # Temporal is down here, and says so; a challenge of any length is repeated to whoever has the signed address.
    assert_problem(answer, 503, "dependency_down") if b"challenge" not in body else answer.raise_for_status()
