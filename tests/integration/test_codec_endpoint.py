"""The codec server for Temporal's Web UI and command: who may decode, from which page, and what comes of it."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload

from api.app import create_app
from genpulse.codec import EncryptionCodec
from genpulse.db import utc_now
from genpulse.settings import SecuritySettings, ServerSettings, Settings, TelemetrySettings, TemporalSettings
from genpulse.stack import free_port
from genpulse.stack.temporal import temporal_program
from genpulse.temporal import connect
from tests.integration.conftest import AUTH, KEY, assert_problem
from tests.servers.temporal import TemporalServer

UI = "http://127.0.0.1:8233"
OLD, NEW = "the-former-key-of-32-characters-and-more", "the-present-key-of-32-characters-and-more"
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"a red kite"')
NOBODY = {"Authorization": ""}


def temporal(key: str | None = NEW, *retired: str, address: str = "127.0.0.1:1") -> TemporalSettings:
    return TemporalSettings(
        address=address,
        ui_url=UI,
        encryption_key=SecretStr(key) if key else None,
        retired_keys=tuple(SecretStr(one) for one in retired),
    )


def settings_at(folder: Path, of_temporal: TemporalSettings, public_url: str = "") -> Settings:
    return Settings(
        data_dir=folder,
        security=SecuritySettings(admin_key=SecretStr(KEY)),
        temporal=of_temporal,
        server=ServerSettings(public_url=public_url),
        telemetry=TelemetrySettings(log_level="error"),
    )


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        base_url = settings.server.public_url or "http://127.0.0.1"
        async with httpx.AsyncClient(transport=transport, base_url=base_url, headers=AUTH) as client:
            yield client


@pytest.fixture
async def codec(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(settings_at(tmp_path, temporal(NEW, OLD))) as client:
        yield client


def told(*payloads: Payload) -> dict[str, Any]:
    """As protobuf's JSON has it."""
    return {
        "payloads": [
            {
                "metadata": {name: base64.b64encode(value).decode() for name, value in one.metadata.items()},
                "data": base64.b64encode(one.data).decode(),
            }
            for one in payloads
        ]
    }


async def sealed(*payloads: Payload, key: str = NEW) -> list[Payload]:
    made = EncryptionCodec.of(temporal(key))
    assert made is not None
    return await made.encode(payloads)


async def decode(client: httpx.AsyncClient, *payloads: Payload, **sent: Any) -> httpx.Response:
    return await client.post("/v1/codec/decode", json=told(*payloads), **sent)


# What it does ---------------------------------------------------------------------------------------------------------


async def test_what_any_of_the_keys_encrypted_is_decoded_in_its_order(codec: httpx.AsyncClient) -> None:
    given = [*await sealed(PLAIN), PLAIN, *await sealed(PLAIN, key=OLD)]
    answer = await decode(codec, *given, params={"preserveStorageRefs": "true"}, headers={"X-Namespace": "default"})
    assert answer.json() == told(PLAIN, PLAIN, PLAIN)


async def test_what_is_encoded_is_encrypted_under_the_present_key(codec: httpx.AsyncClient) -> None:
    answer = await codec.post("/v1/codec/encode", json=told(PLAIN), params={"preserveStorageRefs": "true"})
    [payload] = answer.json()["payloads"]
    assert base64.b64decode(payload["metadata"]["encoding"]) == b"binary/encrypted"
    assert "kite" not in base64.b64decode(payload["data"]).decode("latin-1")
    assert (await codec.post("/v1/codec/decode", json={"payloads": [payload]})).json() == told(PLAIN)


async def test_a_payload_without_data_stays_one(codec: httpx.AsyncClient) -> None:
    given = {"payloads": [{"metadata": {"encoding": "YmluYXJ5L251bGw="}}, {}]}
    answer = (await codec.post("/v1/codec/decode", json=given)).json()
    assert answer["payloads"] == [
        {"metadata": {"encoding": "YmluYXJ5L251bGw="}, "data": ""},
        {"metadata": {}, "data": ""},
    ]


async def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with serving(settings_at(tmp_path, temporal(NEW))) as client:
        problem = assert_problem(await decode(client, *await sealed(PLAIN, key=OLD)), 422, "invalid_input", "/payloads")
    assert "GENPULSE_TEMPORAL__RETIRED_KEYS" in problem["detail"]
    assert OLD not in problem["detail"] and NEW not in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [{}, [], {"payloads": 1}, {"payloads": [1]}, {"payloads": [{"data": "%"}]}, {"payloads": [{"metadata": {"a": 1}}]}],
)
async def test_what_is_no_list_of_payloads_is_refused(codec: httpx.AsyncClient, body: Any) -> None:
    answer = await codec.post("/v1/codec/decode", json=body)
    assert answer.status_code == 422, answer.text


async def test_a_payload_that_was_changed_is_refused(codec: httpx.AsyncClient) -> None:
    [payload] = await sealed(PLAIN)
    payload.data = secrets.token_bytes(60)
    assert "damaged" in assert_problem(await decode(codec, payload), 422, "invalid_input", "/payloads")["detail"]


async def test_without_a_key_there_is_nothing_to_decode(tmp_path: Path) -> None:
    async with serving(settings_at(tmp_path, temporal(None))) as client:
        assert_problem(await decode(client, PLAIN), 404, "not_found")


async def test_it_is_bounded(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, temporal())
    settings = settings.model_copy(update={"server": ServerSettings(max_body_bytes=2000)})
    async with serving(settings) as client:
        large = Payload(data=bytes(3000))
        assert_problem(await decode(client, large), 413, "payload_too_large")


# Who may --------------------------------------------------------------------------------------------------------------


async def test_nobody_decodes_without_a_key(codec: httpx.AsyncClient) -> None:
    given = await sealed(PLAIN)
    for headers in (NOBODY, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
        assert_problem(await decode(codec, *given, headers=headers), 401, "unauthenticated")
        assert_problem(await codec.post("/v1/codec/encode", json=told(PLAIN), headers=headers), 401, "unauthenticated")


async def test_a_cookie_of_the_sign_in_decodes_and_does_nothing_else(codec: httpx.AsyncClient) -> None:
    given = await sealed(PLAIN)
    page = await codec.get("/v1/codec/sign-in", headers=NOBODY)
    assert f"{str(codec.base_url).rstrip('/')}/v1/codec</code>" in page.text
    assert 'type="password"' in page.text and "form-action 'self'" in page.headers["content-security-policy"]
    answer = await codec.post("/v1/codec/sign-in", data={"key": KEY}, headers=NOBODY)
    assert answer.status_code == 200 and "signed in" in answer.text and UI in answer.text
    cookie = answer.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=strict", "path=/v1/codec", "max-age=28800"):
        assert part in cookie
    assert KEY not in cookie and KEY not in answer.text
    assert (await decode(codec, *given, headers=NOBODY)).json() == told(PLAIN)
    for path in ("/v1/models", "/v1/system"):
        assert_problem(await codec.get(path, headers=NOBODY), 401, "unauthenticated")


async def test_over_https_a_web_ui_on_another_site_gets_the_cookie_too(tmp_path: Path) -> None:
    async with serving(settings_at(tmp_path, temporal(), public_url="https://api.example")) as client:
        answer = await client.post("/v1/codec/sign-in", data={"key": KEY}, headers=NOBODY)
        cookie = answer.headers["set-cookie"].lower()
        assert "secure" in cookie and "samesite=none" in cookie
        assert (await decode(client, *await sealed(PLAIN), headers=NOBODY)).json() == told(PLAIN)


@pytest.mark.parametrize("key", ["wrong", "", "<script>"])
async def test_a_wrong_key_signs_nobody_in(codec: httpx.AsyncClient, key: str) -> None:
    answer = await codec.post("/v1/codec/sign-in", data={"key": key}, headers=NOBODY)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers and "<script" not in answer.text


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "x",
        "expires=9999999999&key=1&signature=0",
        '"expires=9999999999&key=1&signature="',
        "expires=&key=&signature=",
    ],
)
async def test_a_cookie_that_is_not_ours_opens_nothing(codec: httpx.AsyncClient, cookie: str) -> None:
    headers = NOBODY | {"Cookie": f"genpulse_codec={cookie}"}
    assert_problem(await decode(codec, *await sealed(PLAIN), headers=headers), 401, "unauthenticated")


async def test_the_cookie_ends(codec: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await codec.post("/v1/codec/sign-in", data={"key": KEY}, headers=NOBODY)
    later = utc_now() + timedelta(hours=8)
    monkeypatch.setattr("api.routes.codec.utc_now", lambda: later)
    problem = assert_problem(await decode(codec, *await sealed(PLAIN), headers=NOBODY), 401, "unauthenticated")
    assert "sign-in" in problem["detail"]


async def test_a_form_of_another_kind_or_size_is_refused(codec: httpx.AsyncClient) -> None:
    assert_problem(await codec.post("/v1/codec/sign-in", json={"key": KEY}), 415, "unsupported_media_type")
    assert_problem(await codec.post("/v1/codec/sign-in", data={"key": "x" * 5000}), 413, "payload_too_large")


# From which page ------------------------------------------------------------------------------------------------------


async def preflight(client: httpx.AsyncClient, origin: str, path: str = "/v1/codec/decode") -> httpx.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-namespace,authorization-extras,authorization",
    }
    return await client.options(path, headers=NOBODY | asked)


async def test_pages_of_the_web_ui_may_ask_with_the_cookie(codec: httpx.AsyncClient) -> None:
    allowed = await preflight(codec, UI)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == UI
    assert allowed.headers["access-control-allow-credentials"] == "true"
    assert "x-namespace" in allowed.headers["access-control-allow-headers"].lower()
    await codec.post("/v1/codec/sign-in", data={"key": KEY}, headers=NOBODY)
    answer = await decode(codec, *await sealed(PLAIN), headers=NOBODY | {"Origin": UI})
    assert answer.json() == told(PLAIN)
    assert answer.headers["access-control-allow-origin"] == UI
    refused = await decode(codec, PLAIN, headers={"Origin": UI, "Authorization": "Bearer wrong"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, UI)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:8233",
        "https://127.0.0.1:8233",
        f"{UI}0",
        f"{UI}.elsewhere.example",
        "null",
        "http://127.0.0.1",
    ],
)
async def test_no_other_page_may(codec: httpx.AsyncClient, origin: str) -> None:
    assert "access-control-allow-origin" not in (await preflight(codec, origin)).headers
    answer = await decode(codec, PLAIN, headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers


async def test_where_the_web_ui_is_not_known_no_page_may(tmp_path: Path) -> None:
    unknown = temporal().model_copy(update={"ui_url": ""})
    async with serving(settings_at(tmp_path, unknown)) as client:
        for origin in (UI, "://", "null"):
            assert "access-control-allow-origin" not in (await preflight(client, origin)).headers


# With the real command ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="on"))
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


async def test_the_temporal_command_shows_a_history_only_to_who_has_the_key(tmp_path: Path) -> None:
    server = TemporalServer(tmp_path)
    await asyncio.to_thread(server.start)
    try:
        of_temporal = temporal(address=server.address)
        client = await connect(of_temporal)
        await client.start_workflow("Nobody", {"colour": "a red kite"}, id="kite", task_queue="nobody")
        async with listening(create_app(settings_at(tmp_path, of_temporal))) as url:
            shown = [
                await asyncio.to_thread(_show, server.address, *options)
                for options in (
                    (),
                    ("--codec-endpoint", f"{url}/v1/codec", "--codec-auth", f"Bearer {KEY}"),
                    ("--codec-endpoint", f"{url}/v1/codec", "--codec-auth", "Bearer wrong"),
                )
            ]
    finally:
        await asyncio.to_thread(server.stop)
    assert ["a red kite" in one for one in shown] == [False, True, False]


def _show(address: str, *options: str) -> str:
    command = [
        temporal_program(),
        "workflow",
        "show",
        "--workflow-id",
        "kite",
        "--address",
        address,
        "--output",
        "json",
    ]
    shown = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=60)
    text = shown.stdout
    for event in json.loads(text)["events"] if text.startswith("{") else ():
        for payload in event.get("workflowExecutionStartedEventAttributes", {}).get("input", {}).get("payloads", []):
            text += base64.b64decode(payload["data"]).decode("latin-1") if isinstance(payload.get("data"), str) else ""
    return text + shown.stderr
