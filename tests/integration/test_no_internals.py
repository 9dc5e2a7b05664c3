"""Whatever breaks, in whichever layer: the answer says that it broke, and nothing of how this is built or where."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.service import RPCError, RPCStatusCode

from api.app import create_app
from api.services import Services
from genpulse.assets import Assets
from genpulse.db import utc_now
from genpulse.keyring import KeyRing
from genpulse.links import callback_path
from genpulse.security import link_signer
from genpulse.settings import DatabaseSettings, Settings, StorageSettings, TemporalSettings
from genpulse.stack import free_port
from genpulse.storage import Storage
from genpulse.temporal import TemporalConnection
from tests.integration.conftest import AUTH, ROOT, SHAPE, Run, assert_problem, png, prepare_tables, submit
from tests.servers.postgres import PostgresServer

SECRET = "hunter2"
HOST = "db.internal.example"
SQL = "SELECT tenant_secret FROM generation WHERE id = %s"

INTERNAL = re.compile(
    rf"{SECRET}|{re.escape(HOST)}|SELECT|INSERT|Traceback|\.py\b|/site-packages/|{re.escape(str(ROOT))}|/srv/|/tmp/"
    r"|127\.0\.0\.1|sqlalchemy|asyncpg"
    r"|temporalio|RuntimeError|Exception|(?<![0-9a-z])0x[0-9a-f]{6}|postgres|sqlite",
    re.IGNORECASE,
)

#: The same for every request, and full of words of other people's.
SWAGGER = {"/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"}


def assert_says_nothing(answer: httpx.Response) -> None:
    """Neither the body nor a header tells of the inside."""
    told = answer.text + " ".join(f"{name}: {value}" for name, value in answer.headers.items())
    assert not (found := INTERNAL.search(told)), f"{answer.request.method} {answer.request.url} told {found!r}: {told}"


def _bug() -> Exception:
    return RuntimeError(f"password={SECRET} at {HOST}")


def _sql(kind: type[DBAPIError]) -> Exception:
    return kind(SQL, {"id": SECRET}, Exception(f"could not connect to {HOST}"))


BROKEN: dict[str, Callable[[], Exception]] = {
    "a bug": _bug,
    "a wrong statement": lambda: _sql(ProgrammingError),
    "a broken constraint": lambda: _sql(IntegrityError),
    "a driver's own": lambda: asyncpg.PostgresError(f"{SQL} at {HOST}"),
    "a missing file": lambda: FileNotFoundError(2, "No such file", f"/srv/{SECRET}"),
    "a stack that is full": lambda: RecursionError(f"maximum recursion depth exceeded in {SECRET}"),
    "an assertion": lambda: AssertionError(f"{SECRET} must not be"),
    "a group": lambda: ExceptionGroup(SECRET, [_bug()]),
}


def raising(error: Callable[[], Exception]) -> Any:
    async def broken(*_given: object, **_named: object) -> None:
        raise error()

    return broken


@pytest.mark.parametrize("how", BROKEN)
async def test_every_route_over_a_database_that_breaks(
    app: FastAPI, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    made = await submit(api)
    asset = (await api.post("/v1/assets", files={"file": ("a.png", png())})).json()
    ids = {"generation_id": made["id"], "asset_id": asset["id"], "provider": "local", "name": "shapes", "cloud": "fal"}
    ids |= {"webhook_id": f"whk_{'0' * 26}", "delivery_id": f"evt_{'0' * 26}"}
    ids |= {"key_id": f"key_{'0' * 26}", "tenant_id": "default"}
    monkeypatch.setattr(AsyncSession, "execute", raising(BROKEN[how]))
    monkeypatch.setattr(AsyncSession, "connection", raising(BROKEN[how]))
    broken = 0
    for route in iter_route_contexts(app.routes):
        for method in (route.methods or ()) if route.path not in SWAGGER else ():
            path = re.sub(
                r"\{(\w+)\}", lambda found: ids.get(found[1], "whk_01k9d2x8f6v3q7m5r0ha4tjwbe"), route.path or ""
            )
            body = {"json": SHAPE} if (method, path) == ("POST", "/v1/generations") else {}
            answer = await api.request(method, path, **body)  # type: ignore[arg-type]
            assert_says_nothing(answer)
            broken += answer.status_code >= 500
            if answer.status_code == 500 and method != "HEAD":
                assert_problem(answer, 500, "internal")
    assert broken >= 6


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize(
    "place",
    [
        (Storage, "put_file"),
        (Storage, "size"),
        (Assets, "ingest"),
        (TemporalConnection, "__call__"),
    ],
    ids=lambda place: f"{place[0].__name__}.{place[1]}",
)
async def test_what_the_services_fail_with(
    api: httpx.AsyncClient,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[type, str],
    how: str,
) -> None:
    where, what = place
    asset = (await api.post("/v1/assets", files={"file": ("a.png", png())})).json()
    made = await submit(api)
    path = callback_path("fal", made["id"])
    query = link_signer(services.settings.security).sign(path, utc_now() + timedelta(hours=1))
    monkeypatch.setattr(where, what, raising(BROKEN[how]))
    for method, address, sent in (
        ("POST", "/v1/assets", {"files": {"file": ("a.png", png(32, 32))}}),
        ("GET", asset["url"], {}),
        ("POST", f"{path}?{query}", {"content": b"{}"}),
        ("GET", "/v1/system", {}),
        ("GET", "/readyz", {}),
        ("GET", "/v1/models", {}),
    ):
        assert_says_nothing(await api.request(method, address, **sent))


async def test_a_key_that_cannot_be_checked(api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_self: KeyRing, secret: str | None) -> None:
        raise RuntimeError(f"{secret} {SECRET}")

    monkeypatch.setattr(KeyRing, "identify", broken)
    answer = await api.get("/v1/models")
    assert_problem(answer, 500, "internal")
    assert_says_nothing(answer)
    assert AUTH["Authorization"].partition(" ")[2] not in answer.text


async def test_what_temporal_says_is_not_repeated(
    api: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await submit(api)
    path = callback_path("fal", made["id"])
    query = link_signer(services.settings.security).sign(path, utc_now() + timedelta(hours=1))
    refused = RPCError(f"{HOST}:7233 refused {SECRET}", RPCStatusCode.UNAVAILABLE, b"")
    monkeypatch.setattr(TemporalConnection, "__call__", raising(lambda: refused))
    answer = await api.post(f"{path}?{query}", content=b"{}")
    assert_problem(answer, 503, "dependency_down")
    assert_says_nothing(answer)


async def test_a_stream_that_breaks_ends_without_a_word(
    api: httpx.AsyncClient, run: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await submit(api)
    await run(made["id"]).begin()
    monkeypatch.setattr("genpulse.repositories.events.after", raising(_bug))
    # The server's side sees the exception, logs it and cuts the connection; so it reaches this test, which is both.
    with pytest.raises(RuntimeError, match=SECRET):
        async with api.stream("GET", f"/v1/generations/{made['id']}/events") as answer:
            assert_says_nothing(await _read(answer))


async def _read(answer: httpx.Response) -> httpx.Response:
    await answer.aread()
    return answer


# With servers that are really down ------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=AUTH) as client:
            yield client


async def test_everything_is_down(tmp_path: Path, api_settings: Settings) -> None:
    """No database, no object store, no Temporal: each address answers in its own words, and in no others."""
    port = free_port()
    storage = StorageSettings(
        url="s3://bucket",
        endpoint=f"http://127.0.0.1:{port}",
        access_key=SecretStr("access-" + SECRET),
        secret_key=SecretStr("secret-" + SECRET),
    )
    settings = api_settings.model_copy(
        update={
            "data_dir": tmp_path,
            "database": DatabaseSettings(url=f"postgresql+asyncpg://me:{SECRET}@127.0.0.1:{port}/{SECRET}"),
            "storage": storage,
            "temporal": TemporalSettings(address=f"127.0.0.1:{port}"),
        }
    )
    async with serving(settings) as client:
        for method, path, sent in (
            ("POST", "/v1/generations", {"json": SHAPE}),
            ("GET", "/v1/generations", {}),
            ("GET", "/v1/assets/ast_01k9d2x8f6v3q7m5r0ha4tjwbe", {}),
            ("POST", "/v1/assets", {"files": {"file": ("a.png", png())}}),
            ("GET", "/readyz", {}),
            ("GET", "/v1/system", {}),
        ):
            answer = await client.request(method, path, **sent)
            assert_problem(answer, 503, "dependency_down")
            assert_says_nothing(answer)


async def test_the_database_goes_away_in_between(
    api_settings: Settings, postgres: PostgresServer, tmp_path: Path
) -> None:
    settings = api_settings.model_copy(
        update={"data_dir": tmp_path, "database": DatabaseSettings(url=await postgres.create_database())}
    )
    await prepare_tables(settings)
    async with serving(settings) as client:
        made = await submit(client)
        await _drop_tables(settings)
        for path in (f"/v1/generations/{made['id']}", "/v1/generations", "/v1/assets"):
            answer = await client.get(path)
            assert answer.status_code in (500, 503)
            assert_says_nothing(answer)


async def _drop_tables(settings: Settings) -> None:
    connection = await asyncpg.connect(settings.database_url.replace("+asyncpg", ""))
    await connection.execute("DROP SCHEMA public CASCADE")
    await connection.close()
