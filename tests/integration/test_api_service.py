"""The service around the resources: health, ids, errors, logs, the OpenAPI document, and life when others are down."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI
from opentelemetry import trace
from pydantic import SecretStr

from api.app import create_app
from api.services import Services
from genpulse import telemetry
from genpulse.errors import DependencyDown
from genpulse.migrations import upgrade
from genpulse.repositories import generations
from genpulse.settings import (
    DatabaseSettings,
    SecuritySettings,
    Settings,
    StorageSettings,
    TelemetrySettings,
    TemporalSettings,
)
from genpulse.storage import Storage
from tests.integration.conftest import AUTH, KEY, SHAPE, assert_problem, png, prepare_tables, submit
from tests.servers.temporal import TemporalServer

UNREACHABLE = "postgresql+asyncpg://nobody@127.0.0.1:1/nothing"


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """An application of its own, whose unexpected exceptions are answered as in production."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=AUTH) as client:
            yield client


def settings_at(folder: Path, **groups: Any) -> Settings:
    given = {
        "security": SecuritySettings(admin_key=SecretStr(KEY)),
        "temporal": TemporalSettings(address="127.0.0.1:1"),
        "telemetry": TelemetrySettings(log_level="error"),
    }
    return Settings(data_dir=folder, **(given | groups))


# Dependencies -------------------------------------------------------------------------------------------------------


async def test_alive_whatever_else_is_down(tmp_path: Path) -> None:
    async with serving(settings_at(tmp_path, database=DatabaseSettings(url=UNREACHABLE))) as client:
        assert (await client.get("/healthz", headers={"Authorization": ""})).json() == {"status": "ok"}


async def test_ready_once_everything_answers(tmp_path: Path) -> None:
    server = TemporalServer(tmp_path)
    await asyncio.to_thread(server.start)
    try:
        settings = settings_at(tmp_path, temporal=TemporalSettings(address=server.address))
        await upgrade(settings.database_url)
        async with serving(settings) as client:
            answer = await client.get("/readyz")
            assert answer.status_code == 200, answer.text
            assert answer.json()["status"] == "ready"
            assert set(answer.json()["dependencies"]) == {"database", "storage", "temporal"}
    finally:
        await asyncio.to_thread(server.stop)


async def test_what_is_down_is_named(tmp_path: Path) -> None:
    database, storage = (
        DatabaseSettings(url=UNREACHABLE),
        StorageSettings(
            url="s3://bucket", endpoint="http://127.0.0.1:1", access_key=SecretStr("a"), secret_key=SecretStr("b")
        ),
    )
    async with serving(settings_at(tmp_path, database=database, storage=storage)) as client:
        answer = await client.get("/readyz")
        found = assert_problem(answer, 503, "dependency_down")["details"]["dependencies"]
        assert {name: one["status"] for name, one in found.items()} == dict.fromkeys(found, "down")
        assert int(answer.headers["retry-after"]) > 0
        # No secret and no address of ours in what strangers may read.
        assert "127.0.0.1" not in answer.text


async def test_a_database_without_our_tables_is_not_ready(tmp_path: Path) -> None:
    async with serving(settings_at(tmp_path)) as client:
        assert "genpulse migrate" in assert_problem(await client.get("/readyz"), 503, "dependency_down")["detail"]


async def test_without_temporal_a_submission_is_accepted(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    await prepare_tables(settings)
    async with serving(settings) as client:
        made = await submit(client)
        assert (await client.get(f"/v1/generations/{made['id']}")).json()["status"] == "queued"


async def test_without_the_database_the_answer_is_to_come_again(tmp_path: Path) -> None:
    async with serving(settings_at(tmp_path, database=DatabaseSettings(url=UNREACHABLE))) as client:
        for answer in (await client.post("/v1/generations", json=SHAPE), await client.get("/v1/generations")):
            assert_problem(answer, 503, "dependency_down")
            assert answer.headers["retry-after"] == "2"
        assert (await client.get("/v1/models")).status_code == 200


async def test_without_storage_only_files_are_missed(
    api: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_given: object) -> None:
        raise DependencyDown("storage does not answer")

    monkeypatch.setattr(Storage, "put_file", down)
    assert_problem(await api.post("/v1/assets", files={"file": ("a.png", png())}), 503, "dependency_down")
    await submit(api)


async def test_without_an_admin_key_nobody_gets_in(tmp_path: Path) -> None:
    async with serving(settings_at(tmp_path, security=SecuritySettings())) as client:
        assert_problem(await client.get("/v1/models"), 401, "unauthenticated")


# Errors -------------------------------------------------------------------------------------------------------------


async def test_an_unexpected_exception_is_answered_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(settings_at(tmp_path)) as client:

        def broken(_self: object) -> None:
            raise RuntimeError("password=hunter2")

        monkeypatch.setattr("genpulse.catalog.Catalog.all", broken)
        answer = await client.get("/v1/models", headers={"X-Request-Id": "abc-1"})
    problem = assert_problem(answer, 500, "internal")
    assert problem["request_id"] == "abc-1"
    assert "hunter2" not in answer.text
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"http.crashed"' in line]
    assert [(one["request_id"], one["level"]) for one in logged] == [("abc-1", "error")]
    assert "RuntimeError" in logged[0]["exception"]


async def test_an_unknown_address_is_not_found(api: httpx.AsyncClient) -> None:
    for path in ("/v1/nothing", "/nothing", "/v1/generations/", "/v1/models/local"):
        assert_problem(await api.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/generations", "GET, POST"),
        ("PUT", "/v1/assets/ast_1", "GET, DELETE"),
        ("POST", "/v1/assets/ast_1/content", "GET, HEAD"),
        ("GET", "/v1/generations:batch", "POST"),
    ],
)
async def test_a_method_that_is_not_there_hears_which_are(
    api: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await api.request(method, path)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


async def test_every_error_page_anchor_exists(api: httpx.AsyncClient) -> None:
    page = (await api.get("/docs/errors")).text
    problem = (await api.get("/v1/generations/gen_1")).json()
    assert f'id="{problem["type"].partition("#")[2]}"' in page
    for code in ("method_not_allowed", "unsupported_media_type"):
        assert f'id="{code}"' in page


async def test_the_front_page_leads_to_the_reference(api: httpx.AsyncClient) -> None:
    answer = await api.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
    assert "swagger" in (await api.get("/docs")).text.lower()


@pytest.mark.parametrize(
    ("given", "echoed"),
    [("abc.1:2-3_4", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("a\tb", False), ("{}", False)],
)
async def test_a_request_id_is_taken_over_where_it_is_safe(api: httpx.AsyncClient, given: str, echoed: bool) -> None:
    answer = await api.get("/healthz", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) is echoed
    assert re.fullmatch(r"[\w.:-]{1,128}", answer.headers["x-request-id"])


async def test_metrics_count_by_pattern_not_by_id(api: httpx.AsyncClient) -> None:
    made = await submit(api)
    await api.get(f"/v1/generations/{made['id']}")
    text = (await api.get("/metrics")).text
    assert 'route="/v1/generations/{generation_id}",status="200"' in text
    assert 'genpulse_generations_accepted_total{model="local/shapes",operation="text-to-image"}' in text
    assert made["id"] not in text


# Logs ---------------------------------------------------------------------------------------------------------------


async def test_logs_are_json_with_the_request_id_and_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_at(tmp_path, telemetry=TelemetrySettings(log_level="info"))
    await prepare_tables(settings)
    async with serving(settings) as client:
        asset = (await client.post("/v1/assets", files={"file": ("a.png", png())})).json()
        await client.get(asset["url"], headers={"X-Request-Id": "look"})
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    [line] = [one for one in lines if one.get("request_id") == "look"]
    assert (line["event"], line["status"], line["path"]) == ("http.request", 200, f"/v1/assets/{asset['id']}/content")
    assert KEY not in text
    assert httpx.URL(asset["url"]).params["signature"] not in text


def test_secrets_are_hidden_by_their_names_and_by_their_looks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    telemetry.configure(settings_at(tmp_path), service="test")
    hidden = {
        "api_key": "one-secret",
        "nested": {"Authorization": "two-secret", "list": ["Bearer three-secret"]},
        "url": "postgresql://user:four-secret@host/name?signature=five-secret&key=1",
        "text": "whsec_six-secret and gp_live_seven-secret",
    }
    structlog.get_logger("test").error("told", **hidden, address="http://127.0.0.1:8000/path")
    logging.getLogger("library").error("with %s", "Bearer eight-secret")
    text = capsys.readouterr().err
    assert "secret" not in text
    ours, theirs = [json.loads(line) for line in text.splitlines()]
    assert (ours["event"], ours["level"], ours["address"]) == ("told", "error", "http://127.0.0.1:8000/path")
    assert ours["url"] == "postgresql://user:[hidden]@host/name?signature=[hidden]&key=1"
    assert (theirs["event"], theirs["logger"]) == ("with Bearer [hidden]", "library")


async def test_the_callers_trace_goes_on_in_the_generation(api: httpx.AsyncClient, services: Services) -> None:
    span = trace.NonRecordingSpan(trace.SpanContext(0xA1, 0xB2, is_remote=True, trace_flags=trace.TraceFlags(1)))
    with trace.use_span(span):
        made = await submit(api)
    async with services.database.reading() as session:
        row = await generations.get(session, "default", made["id"])
    assert row is not None
    assert row.traceparent == f"00-{0xA1:032x}-{0xB2:016x}-01"


# The document -------------------------------------------------------------------------------------------------------


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    made: dict[str, Any] = app.openapi()
    return made


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for one in node.values():
            yield from references(one)
    elif isinstance(node, list):
        for one in node:
            yield from references(one)


def test_every_reference_leads_somewhere_and_no_schema_is_idle(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    used = {one.removeprefix("#/components/schemas/") for one in references(document)}
    assert used == schemas.keys()


def test_operation_ids_are_function_names_and_unique(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert {"create_generation", "list_generations", "watch_generation", "upload_asset", "get_model"} <= set(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)


def test_every_refusal_is_declared_as_a_problem(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        refusals = {status for status in operation["responses"] if status >= "400"}
        assert "422" in refusals, where
        for status in refusals:
            assert operation["responses"][status]["content"].keys() == {"application/problem+json"}, where
        if operation.get("security"):
            assert {"401", "403"} <= refusals, where
        assert operation["tags"], where
        assert operation["summary"] and operation["description"], where


def test_everything_of_a_tenant_needs_the_key(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        signed = where.endswith(("/content", "/poster")) or "/v1/callbacks/" in where
        open_to_all = "/v1/" not in where or signed
        assert bool(operation.get("security")) is not open_to_all, where


def test_answers_have_no_optional_fields(document: dict[str, Any]) -> None:
    for name in ("Generation", "Step", "Attempt", "Asset", "Model", "Links", "Page_Generation_"):
        schema = document["components"]["schemas"][name]
        assert set(schema["required"]) == schema["properties"].keys(), name


async def test_the_document_is_served(api: httpx.AsyncClient, document: dict[str, Any]) -> None:
    assert (await api.get("/openapi.json")).json() == json.loads(json.dumps(document))
    assert document["openapi"].startswith("3.1")
