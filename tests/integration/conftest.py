"""The API on both databases: within this process for most, as a real server for what a stream and a signal need."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image
from pydantic import SecretStr

from api.app import create_app
from api.services import Services
from genpulse.db import Database, utc_now
from genpulse.ids import new_id
from genpulse.models import AssetRow
from genpulse.records import Records
from genpulse.repositories import assets, steps
from genpulse.schemas.catalog import Price
from genpulse.schemas.generations import GenerationFault
from genpulse.schemas.plans import Ending, StepOrder
from genpulse.schemas.states import GenerationStatus, MediaKind
from genpulse.settings import (
    CreditSettings,
    DatabaseSettings,
    SecuritySettings,
    ServerSettings,
    Settings,
    TelemetrySettings,
    TemporalSettings,
    UploadSettings,
)
from genpulse.stack import free_port
from tests.servers.postgres import PostgresServer, postgres_server
from tests.tables import create_tables, empty_tables

KEY = "gp_live_a_key_for_tests_of_32_characters_and_more"
AUTH = {"Authorization": f"Bearer {KEY}"}
TENANT = "default"
ROOT = Path(__file__).parents[2]

SHAPE = {"model": "local/shapes", "operation": "text-to-image", "input": {"prompt": "a red circle"}}
CHAIN = {
    "steps": [
        {"id": "still", "model": "local/shapes", "operation": "text-to-image", "input": {"prompt": "a red circle"}},
        {"id": "clip", "model": "local/motion", "input": {"image": {"step": "still", "output": 0}, "duration": 2}},
        {"id": "hd", "operation": "video-upscale", "input": {"video": {"step": "clip"}, "scale": 2}},
    ]
}


def png(width: int = 64, height: int = 64, colour: str = "red") -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


async def database_url(request: pytest.FixtureRequest, folder: Path) -> str:
    """An empty database of the engine that is the fixture's parameter: `sqlite` or `postgresql`."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{folder / 'genpulse.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return await server.create_database()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
async def api_settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of an API whose Temporal is down, and whose tables are there."""
    folder = tmp_path_factory.mktemp("api")
    settings = Settings(
        data_dir=folder,
        database=DatabaseSettings(url=await database_url(request, folder)),
        security=SecuritySettings(admin_key=SecretStr(KEY)),
        temporal=TemporalSettings(address="127.0.0.1:1", ui_url="http://ui.test"),
        server=ServerSettings(max_body_bytes=200_000),
        uploads=UploadSettings(max_bytes=100_000),
        credits=CreditSettings(prices={"local/fake": Price(unit="call", credits=5)}),
        telemetry=TelemetrySettings(log_level="error"),
    )
    await prepare_tables(settings)
    return settings


async def prepare_tables(settings: Settings) -> None:
    database = Database(settings.database_url)
    await create_tables(database)
    await database.dispose()


@pytest.fixture(scope="session")
async def app(api_settings: Settings) -> AsyncIterator[FastAPI]:
    made = create_app(api_settings)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
async def services(app: FastAPI) -> AsyncIterator[Services]:
    """What the application works with; its tables are empty again afterwards."""
    built: Services = app.state.services
    yield built
    async with built.database.transaction() as session:
        await empty_tables(session)


@pytest.fixture
async def api(app: FastAPI, services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with a key. An unexpected exception in the application fails the test."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=AUTH) as client:
        yield client


@dataclass
class Run:
    """Moves a generation as its workflow and workers would."""

    database: Database
    generation_id: str
    tenant_id: str = TENANT

    @property
    def records(self) -> Records:
        return Records(self.database)

    async def order(self, position: int = 0) -> StepOrder:
        async with self.database.reading() as session:
            chain = (await steps.of_generations(session, [self.generation_id]))[self.generation_id]
        return StepOrder(
            generation_id=self.generation_id,
            tenant_id=self.tenant_id,
            position=position,
            model=chain[position].model,
            total=len(chain),
        )

    async def begin(self, position: int = 0) -> None:
        order = await self.order(position)
        await self.records.submit_step(order)
        await self.records.begin_step(order)

    async def progress(self, *fractions: float, position: int = 0, step: str = "main") -> None:
        order = await self.order(position)
        for fraction in fractions:
            await self.records.progress(order, step, fraction)

    async def finish_step(self, position: int = 0, *outputs: AssetRow) -> None:
        order = await self.order(position)
        made = outputs or (await self._output(order),)
        await self.records.finish_step(order, made, parameters={}, adaptions=[])

    async def _output(self, order: StepOrder) -> AssetRow:
        """What such a step makes: a picture, or two seconds of video."""
        async with self.database.reading() as session:
            step = await steps.get(session, order.generation_id, order.position)
        assert step is not None
        video = {"kind": MediaKind.VIDEO, "media_type": "video/mp4", "duration": 2.0, "fps": 8.0}
        return asset_row(self.tenant_id, made_by=order, **(video if "video" in step.operation else {}))

    async def end(self, status: str, fault: GenerationFault | None = None) -> None:
        await self.records.finish(
            Ending(generation_id=self.generation_id, status=GenerationStatus(status), fault=fault)
        )

    async def succeed(self) -> None:
        """All of it at once."""
        for position in range((await self.order()).total):
            await self.begin(position)
            await self.finish_step(position)
        await self.end("succeeded")


@pytest.fixture
def run(services: Services) -> Callable[[str], Run]:
    return lambda generation_id: Run(services.database, generation_id)


def asset_row(tenant_id: str = TENANT, *, made_by: StepOrder | None = None, **values: Any) -> AssetRow:
    """A row without a file."""
    given: dict[str, Any] = {
        "id": new_id("ast"),
        "tenant_id": tenant_id,
        "sha256": "0" * 64,
        "kind": MediaKind.IMAGE,
        "media_type": "image/png",
        "bytes": 100,
        "width": 64,
        "height": 64,
        "created_at": utc_now(),
    }
    if made_by is not None:
        given |= {"generation_id": made_by.generation_id, "position": made_by.position, "output_index": 0}
    return AssetRow(**(given | values))


async def plant_asset(services: Services, **values: Any) -> AssetRow:
    row = asset_row(**values)
    async with services.database.transaction() as session:
        await assets.add(session, [row])
    return row


async def submit(api: httpx.AsyncClient, body: Mapping[str, Any] = SHAPE, *, key: str = "") -> dict[str, Any]:
    """Submit, and return the generation."""
    headers = {"Idempotency-Key": key} if key else {}
    answer = await api.post("/v1/generations", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    generation: dict[str, Any] = answer.json()
    return generation


def assert_problem(answer: httpx.Response, status: int, code: str, *pointers: str) -> dict[str, Any]:
    """The answer is a well-formed problem that names these fields; return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code, problem
    assert problem["type"] == f"/docs/errors#{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["title"] and problem["detail"]
    assert [one["pointer"] for one in problem["errors"]] == list(pointers)
    return problem


class ApiServer:
    """A real server process on its own port."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = log
        command = [sys.executable, "-m", "uvicorn", "api.app:create_app", "--factory", "--no-access-log"]
        environment = os.environ | {
            "GENPULSE_DATA_DIR": str(settings.data_dir),
            "GENPULSE_DATABASE__URL": settings.database_url,
            "GENPULSE_SECURITY__ADMIN_KEY": KEY,
            "GENPULSE_TEMPORAL__ADDRESS": settings.temporal.address,
        }
        if key := settings.temporal.encryption_key:
            environment["GENPULSE_TEMPORAL__ENCRYPTION_KEY"] = key.get_secret_value()
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "--port", self.url.rpartition(":")[2]], cwd=ROOT, env=environment, stderr=output
            )

    def wait_until_up(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        with httpx.Client(base_url=self.url) as client:
            while time.monotonic() < deadline and self.process.poll() is None:
                try:
                    if client.get("/healthz").is_success:
                        return
                except httpx.TransportError:
                    time.sleep(0.1)
        raise RuntimeError(f"The API did not start:\n{self.log()}")

    def log(self) -> str:
        return self._log.read_text()

    def terminate(self) -> int:
        """Ask it to stop as an operator does; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def api_server(api_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    server = ApiServer(api_settings, tmp_path_factory.mktemp("server") / "log")
    try:
        server.wait_until_up()
        yield server
    finally:
        server.kill()


@pytest.fixture
async def remote(api_server: ApiServer, services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of the real server, which shares its tables with `services`."""
    async with httpx.AsyncClient(base_url=api_server.url, headers=AUTH, timeout=30) as client:
        yield client
