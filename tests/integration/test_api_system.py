"""`GET /v1/system` and the health of models: what waits, who works, how the accounts do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from api.app import create_app
from api.services import Services
from genpulse.circuits import FAILURES_TO_OPEN
from genpulse.migrations import upgrade
from genpulse.settings import (
    ProviderSettings,
    RedisSettings,
    SecuritySettings,
    Settings,
    TelemetrySettings,
    TemporalSettings,
)
from tests.integration.conftest import AUTH, KEY, SHAPE
from tests.servers.temporal import TemporalServer, temporal_server
from tests.servers.valkey import ValkeyServer, valkey_server
from workflows.generation import GenerationWorkflow

FAL = ProviderSettings(api_key=SecretStr("key"), rate=2, concurrency=8)


@asynccontextmanager
async def serving(folder: Path, **groups: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Services]]:
    given: dict[str, Any] = {
        "security": SecuritySettings(admin_key=SecretStr(KEY)),
        "temporal": TemporalSettings(address="127.0.0.1:1"),
        "telemetry": TelemetrySettings(log_level="error"),
        "providers": {"fal": FAL},
    }
    settings = Settings(data_dir=folder, **(given | groups))
    await upgrade(settings.database_url)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=AUTH) as client:
            yield client, app.state.services


@pytest.fixture(scope="module")
def temporal() -> Iterator[TemporalServer]:
    with temporal_server() as server:
        yield server


@pytest.fixture
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@activity.defn(name="nothing")
async def _nothing() -> None:
    """Never called: it is there so that somebody works on the queue."""


async def until(api: httpx.AsyncClient, condition: Callable[[Any], Any]) -> Any:
    """The system once this is true of it."""
    answer = None
    for _ in range(300):
        answer = await api.get("/v1/system")
        assert answer.status_code == 200, answer.text
        if condition(answer.json()):
            return answer.json()
        await asyncio.sleep(0.1)
    raise AssertionError(f"waited in vain: {answer and answer.text}")


async def test_everything_at_a_glance(tmp_path: Path, temporal: TemporalServer, valkey: ValkeyServer) -> None:
    address = TemporalSettings(address=temporal.address)
    async with serving(tmp_path, temporal=address, redis=RedisSettings(url=valkey.url)) as (api, services):
        for _ in range(FAILURES_TO_OPEN):
            await services.circuits.failed("fal", "fal answered 503")
        made = await api.post("/v1/generations", json=SHAPE)
        assert made.status_code == 202
        await until(api, lambda seen: (seen["queues"][0]["depth"] or 0) >= 1)  # Temporal's own figure is approximate
        async with Worker(
            await Client.connect(temporal.address), task_queue="gp-workflows", workflows=[GenerationWorkflow]
        ):
            seen = await until(api, lambda seen: seen["queues"][0]["workers"])
    assert seen["generations"] == {"queued": 1}
    queues = [queue["name"] for queue in seen["queues"]]
    assert queues == ["gp-workflows", "gp-gpu", "gp-fake", "gp-webhooks", "gp-upkeep", "gp-provider-fal"]
    (fal,) = seen["providers"]
    assert (fal["endpoint"], fal["in_flight"], fal["paused_seconds"]) == ("https://queue.fal.run", 0, 0)
    assert fal["limits"] == {"rate": 2.0, "burst": 1, "concurrency": 8}
    assert (fal["circuit"]["state"], fal["circuit"]["failures"]) == ("open", FAILURES_TO_OPEN)
    assert fal["circuit"]["last_error"] == "fal answered 503"
    assert {name: one["status"] for name, one in seen["dependencies"].items()} == dict.fromkeys(
        ("database", "storage", "temporal", "redis"), "up"
    )


async def test_what_is_down_is_said_and_hides_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path, redis=RedisSettings(url="redis://127.0.0.1:1")) as (api, _):
        seen = (await api.get("/v1/system")).json()
    assert {name: one["status"] for name, one in seen["dependencies"].items()} == {
        "database": "up",
        "storage": "up",
        "temporal": "down",
        "redis": "down",
    }
    assert {(queue["depth"], queue["workers"]) for queue in seen["queues"]} == {(None, None)}


async def test_strangers_see_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as (api, _):
        assert (await api.get("/v1/system", headers={"Authorization": ""})).status_code == 401


async def health(api: httpx.AsyncClient, model: str) -> str:
    answer = await api.get(f"/v1/models/{model}")
    found: str = answer.json()["health"]
    return found


async def test_the_health_of_a_model_follows_its_workers_and_its_account(
    tmp_path: Path, temporal: TemporalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genpulse.health._FRESH_SECONDS", 0)
    async with serving(tmp_path, temporal=TemporalSettings(address=temporal.address)) as (api, services):
        assert await health(api, "fal/flux-dev") == "down", "nobody works for it"
        client = await Client.connect(temporal.address)
        async with Worker(client, task_queue="gp-provider-fal", activities=[_nothing]):
            await until(api, lambda seen: seen["queues"][-1]["workers"])
            assert await health(api, "fal/flux-dev") == "healthy"
            await services.circuits.failed("fal", "down")
            assert await health(api, "fal/flux-dev") == "degraded"
            for _ in range(FAILURES_TO_OPEN):
                await services.circuits.failed("fal", "down")
            assert await health(api, "fal/flux-dev") == "down"
            routed = await api.post("/v1/generations", json={"operation": "text-to-image", "input": {"prompt": "x"}})
            assert not routed.json()["steps"][0]["model"].startswith("fal/")


async def test_health_is_unknown_while_temporal_is_down(tmp_path: Path) -> None:
    async with serving(tmp_path) as (api, _):
        assert await health(api, "local/shapes") == "unknown"
        listed = (await api.get("/v1/models")).json()["data"]
    assert {model["health"] for model in listed} == {"unknown"}
