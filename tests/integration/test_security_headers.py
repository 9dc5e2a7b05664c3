"""Every answer tells browsers what they may do with it: each route, each kind of error, streams and redirects."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr

from api.app import create_app
from api.security_headers import DEFAULTS
from genpulse.settings import SecuritySettings, ServerSettings, Settings, TelemetrySettings, TemporalSettings
from tests.integration.conftest import AUTH, KEY, Run, png, prepare_tables, submit

UI = "http://127.0.0.1:8233"


def assert_secure(answer: httpx.Response) -> None:
    """The answer has all the headers, whatever else it is."""
    headers = answer.headers
    where = f"{answer.request.method} {answer.request.url}: {answer.status_code}"
    for name in DEFAULTS:
        assert len(headers.get_list(name)) == 1, f"{where} has {name} {headers.get_list(name)}"
    assert headers["x-content-type-options"] == "nosniff", where
    assert headers["x-frame-options"] == "DENY", where
    assert headers["referrer-policy"] == "no-referrer", where
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ") and "frame-ancestors 'none'" in policy, where
    assert "unsafe" not in policy and "*" not in policy, where
    if answer.request.url.path != "/docs":
        assert "script-src" not in policy, where
    assert "=()" in headers["permissions-policy"], where
    assert "server" not in headers and "x-powered-by" not in headers, where


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and address of the application, with ids in it that lead nowhere."""
    for route in iter_route_contexts(app.routes):
        path = re.sub(r"\{(\w+)\}", "gen_01k9d2x8f6v3q7m5r0ha4tjwbe", route.path or "")
        yield from ((method, path) for method in route.methods or ())


async def test_every_route_answers_with_them_with_a_key_and_without(app: FastAPI, api: httpx.AsyncClient) -> None:
    asked = set()
    for method, path in routes(app):
        for headers in (AUTH, {"Authorization": ""}):
            assert_secure(await api.request(method, path, headers=headers))
        asked.add(path)
    assert {
        "/docs",
        "/v1/generations",
        "/v1/codec/decode",
        "/v1/assets/gen_01k9d2x8f6v3q7m5r0ha4tjwbe/content",
    } <= asked


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/generations", 405),
        ("OPTIONS", "/v1/generations", 405),
        ("TRACE", "/", 405),
        ("GET", "/v1/generations?nothing=1", 422),
        ("GET", f"/v1/generations?model={'x' * 17_000}", 414),
        ("GET", "/", 307),
        ("POST", "/v1/generations", 415),
        ("POST", "/v1/assets", 415),
    ],
)
async def test_every_kind_of_refusal_has_them(api: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await api.request(method, path)
    assert answer.status_code == status
    assert_secure(answer)


async def test_a_request_with_too_many_headers_hears_them(api: httpx.AsyncClient) -> None:
    answer = await api.get("/healthz", headers={"X-Long": "x" * 40_000})
    assert answer.status_code == 431
    assert_secure(answer)


async def test_an_unexpected_exception_has_them(app: FastAPI, api: httpx.AsyncClient, monkeypatch) -> None:
    monkeypatch.setattr("genpulse.catalog.Catalog.all", lambda _self: 1 / 0)
    answer = await api.get("/v1/models")
    assert answer.status_code == 500
    assert_secure(answer)


async def test_streams_have_them(api: httpx.AsyncClient, run) -> None:
    made = await submit(api)
    work: Run = run(made["id"])
    await work.succeed()
    answer = await api.get(f"/v1/generations/{made['id']}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert_secure(answer)


async def test_a_file_may_be_shown_elsewhere_and_kept_by_who_has_its_link(api: httpx.AsyncClient) -> None:
    asset = (await api.post("/v1/assets", files={"file": ("a.png", png())})).json()
    for headers in ({}, {"Range": "bytes=0-3"}, {"If-None-Match": "*"}):
        answer = await api.get(asset["url"], headers={"Authorization": ""} | headers)
        assert answer.status_code in (200, 206, 304)
        assert_secure(answer)
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert answer.headers["cache-control"].startswith("private")
        assert "sandbox" in answer.headers["content-security-policy"]


async def test_what_holds_links_or_keys_is_kept_by_nobody(api: httpx.AsyncClient) -> None:
    await api.post("/v1/assets", files={"file": ("a.png", png())})
    made = await submit(api)
    for path in ("/v1/assets", "/v1/generations", f"/v1/generations/{made['id']}", "/v1/codec/sign-in"):
        assert (await api.get(path)).headers["cache-control"] == "no-store"


async def test_the_reference_loads_its_own_two_files_and_nothing_else(api: httpx.AsyncClient) -> None:
    answer = await api.get("/docs")
    policy, page = answer.headers["content-security-policy"], answer.text
    loaded = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert loaded == ["docs/swagger-ui.css", "docs/swagger-ui-bundle.js"]
    types = [(await api.get(f"/{name}")).headers["content-type"].partition(";")[0] for name in loaded]
    assert types == ["text/css", "text/javascript"]
    assert not re.findall(r"https?:", page + policy)
    [inline] = re.findall(r"<script>(.+?)</script>", page)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'" in policy
    assert "style=" not in page and "<style" not in page, "the policy would not let it in"


@asynccontextmanager
async def serving(folder: Path, public_url: str = "") -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(
        data_dir=folder,
        security=SecuritySettings(admin_key=SecretStr(KEY)),
        temporal=TemporalSettings(address="127.0.0.1:1", ui_url=UI),
        server=ServerSettings(public_url=public_url),
        telemetry=TelemetrySettings(log_level="error"),
    )
    await prepare_tables(settings)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=AUTH) as client:
            yield client


@pytest.mark.parametrize(
    ("public_url", "told"), [("https://api.example", True), ("http://api.example", False), ("", False)]
)
async def test_browsers_are_kept_to_https_only_where_that_is_how_we_are_reached(
    tmp_path: Path, public_url: str, told: bool
) -> None:
    async with serving(tmp_path, public_url=public_url) as client:
        for path in ("/healthz", "/nothing", "/docs"):
            answer = await client.get(path)
            assert ("strict-transport-security" in answer.headers) is told
            assert_secure(answer)


async def test_no_page_of_another_origin_may_read_anything(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        for origin in (UI, "https://elsewhere.example", "null"):
            for path in ("/v1/generations", "/v1/models", "/v1/codec/sign-in", "/openapi.json"):
                answer = await client.get(path, headers={"Origin": origin})
                assert not [name for name in answer.headers if name.startswith("access-control-")]
