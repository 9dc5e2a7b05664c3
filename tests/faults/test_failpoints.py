"""A process is killed at each point at which it leaves itself: nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import api.app  # noqa: F401 - these import whatever has points
import worker  # noqa: F401
from genpulse import failpoints
from genpulse.client import Client
from genpulse.db import Database
from genpulse.doctor import check_stored
from genpulse.schemas.generations import Generation
from genpulse.schemas.states import GenerationStatus
from genpulse.settings import DatabaseSettings, Settings
from genpulse.stack import EmbeddedStack, Ports, embedded_stack, process
from genpulse.stack.ports import free_ports
from tests.faults.conftest import eventually
from tests.faults.scenarios import PASSED_BY, SCENARIOS, Scene, scenario_of
from tests.servers.receiver import Receiver
from tests.servers.valkey import ValkeyServer, valkey_server

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("failpoints")]

POINTS = failpoints.points()
#: Long enough that a decision about a dead letter comes in time, short enough to wait for.
KEPT_SECONDS = 25
SETTLED = {GenerationStatus.DEAD_LETTERED, *(status for status in GenerationStatus if status.is_final)}

_recoveries: dict[str, float] = {}


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer) -> AsyncIterator[EmbeddedStack]:
    folder = tmp_path_factory.mktemp("failpoints")
    (port,) = free_ports(1)
    environment = {
        "GENPULSE_FAILPOINTS__FOLDER": str(folder),
        "GENPULSE_REDIS__URL": valkey.url,
        "GENPULSE_SERVER__PUBLIC_URL": f"http://127.0.0.1:{port}",
        "GENPULSE_BUDGETS__DEAD_LETTER_DAYS": str(KEPT_SECONDS / 86400),
        "GENPULSE_NETWORK__ALLOW_PRIVATE": "true",
    }
    ports = Ports(api=port)
    with pytest.MonkeyPatch.context() as patience:
        # Each death is the first in a while: after several within half a minute the supervisor waits ever longer.
        patience.setattr(process, "_STABLE_SECONDS", 0.0)
        async with embedded_stack(folder / "data", ports=ports, environment=environment, simulate=True) as running:
            await running.stop("worker-gpu")
            yield running


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Print what recovery took, at the end."""
    yield
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        for point, seconds in sorted(_recoveries.items(), key=lambda one: -one[1]):
            print(f"{seconds:6.1f} s  {point}")


@pytest.fixture
async def world(stack: EmbeddedStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{stack.simulator_url}/_control") as controls:
        (await controls.put("/settings", json={"seconds_per_job": 2.5})).raise_for_status()
        yield controls
        (await controls.delete("/faults")).raise_for_status()


@pytest.fixture
async def database(stack: EmbeddedStack) -> AsyncIterator[Database]:
    database = Database(settings_of(stack).database_url)
    yield database
    await database.dispose()


def settings_of(stack: EmbeddedStack) -> Settings:
    return Settings(data_dir=stack.data_dir.path, database=DatabaseSettings(url=""))


def test_there_are_enough_and_each_is_passed_by_a_scenario() -> None:
    assert len(POINTS) == len(set(POINTS)) >= 40
    assert set(PASSED_BY) <= {point.rpartition(".")[0] for point in POINTS}
    assert set(PASSED_BY.values()) | {"polled"} == set(SCENARIOS)


@pytest.mark.parametrize("point", POINTS)
async def test_a_process_dies_here(
    *,
    stack: EmbeddedStack,
    client: Client,
    world: httpx.AsyncClient,
    database: Database,
    receiver: Receiver,
    point: str,
) -> None:
    armed = Path(stack.environment["GENPULSE_FAILPOINTS__FOLDER"]) / point
    before = (await world.get("/jobs")).json()["count"]
    scenario, scene = scenario_of(point), Scene(stack, client, world, database, armed.touch, receiver)
    await scenario.play(scene)

    async def struck() -> bool:
        return not armed.exists()

    await eventually(struck)
    begun = time.monotonic()
    ended = [await scene.until(one, lambda seen: seen.status in SETTLED) for one in scene.made]
    for look in scene.awaited:
        await eventually(look)
    _recoveries[point] = time.monotonic() - begun
    for generation in ended:
        assert _is_fine(generation, scenario.ends), (generation.status, generation.error)
    assert (await world.get("/jobs")).json()["count"] - before <= scenario.jobs
    broken = [finding.line async for finding in check_stored(settings_of(stack)) if not finding.ok]
    assert broken == []


def _is_fine(generation: Generation, ends: Any) -> bool:
    """As the scenario ends, or unknown: it died between sending and hearing, and the cloud can tell nobody."""
    return generation.status in ends or (generation.error is not None and generation.error.code == "outcome_unknown")
