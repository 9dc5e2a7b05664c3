"""A process is killed at each point at which it leaves itself: nothing is lost, and nothing is paid twice."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
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
from tests.faults.recoveries import Recovery
from tests.faults.scenarios import (
    LOOKED_FOR,
    OF_A_PAID_CALL,
    PASSED_BY,
    SCENARIOS,
    TOLD_BY_THE_CLOUD,
    Scene,
    scenarios_of,
)
from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.receiver import Receiver
from tests.servers.valkey import ValkeyServer, valkey_server

pytestmark = pytest.mark.timeout(400)

POINTS = failpoints.points()
#: Where what was promised, or paid for, hangs by a thread: killed on PostgreSQL, too.
DEAREST = (
    "submissions.accept",
    "dispatch.start",
    "calls.sending",
    "providers.submit",
    "calls.accepted",
    "storage.put",
    "records.finish_step",
    "records.finish",
    "providers.cancel",
    "dispatch.resolve",
    "deliveries.send",
)
#: Of these, the ones that every run of the tests has the time for.
ALWAYS = ("submissions.accept", "providers.submit", "calls.accepted", "records.finish_step")
#: So many stacks may run side by side: most of the time each waits for its dead.
_STACKS = 4
#: Long enough that a decision about a dead letter comes in time, short enough to wait for.
KEPT_SECONDS = 25
SETTLED = {GenerationStatus.DEAD_LETTERED, *(status for status in GenerationStatus if status.is_final)}


def _cases() -> Iterator[Any]:
    """Each point with its scenarios; those of a scenario together, so that it is played undisturbed only once."""
    every = [("sqlite", point, scenario) for point in POINTS for scenario in scenarios_of(point)]
    dearest = [one for one in every if one[1].rpartition(".")[0] in DEAREST]
    on_postgres = [("postgresql", point, scenario) for _, point, scenario in dearest]
    cases = sorted([*every, *on_postgres], key=lambda one: (one[0], list(SCENARIOS).index(one[2])))
    for number, case in enumerate(cases):
        marks = [pytest.mark.xdist_group(f"failpoints-{number * _STACKS // len(cases)}")]
        always = case[1].rpartition(".")[0] in ALWAYS and case[2] == scenarios_of(case[1])[0]
        if case[0] == "postgresql" or not always:
            marks.append(pytest.mark.slow)
        yield pytest.param(*case, marks=marks, id="-".join(case))


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
async def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer
) -> AsyncIterator[EmbeddedStack]:
    folder = tmp_path_factory.mktemp("failpoints")
    (port,) = free_ports(1)
    environment = {
        "GENPULSE_FAILPOINTS__FOLDER": str(folder),
        "GENPULSE_REDIS__URL": valkey.url,
        "GENPULSE_SERVER__PUBLIC_URL": f"http://127.0.0.1:{port}",
        "GENPULSE_BUDGETS__DEAD_LETTER_DAYS": str(KEPT_SECONDS / 86400),
        "GENPULSE_NETWORK__ALLOW_PRIVATE": "true",
    }
    if request.param == "postgresql":
        environment["GENPULSE_DATABASE__URL"] = await request.getfixturevalue("postgres").create_database()
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


@pytest.fixture
async def world(stack: EmbeddedStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{stack.simulator_url}/_control") as controls:
        yield controls
        (await controls.post("/reset")).raise_for_status()


@pytest.fixture
async def database(stack: EmbeddedStack) -> AsyncIterator[Database]:
    database = Database(settings_of(stack).database_url)
    yield database
    await database.dispose()


def settings_of(stack: EmbeddedStack) -> Settings:
    url = stack.environment.get("GENPULSE_DATABASE__URL", "")
    return Settings(data_dir=stack.data_dir.path, database=DatabaseSettings(url=url))


@pytest.fixture(scope="module")
def undisturbed(stack: EmbeddedStack) -> dict[str, float]:
    """How many seconds each scenario takes on this stack when nobody dies, as far as it has been played."""
    return {}


@pytest.fixture
def begin(
    stack: EmbeddedStack, client: Client, world: httpx.AsyncClient, database: Database, receiver: Receiver
) -> Callable[[Callable[[], None]], Scene]:
    return lambda arm: Scene(stack, client, world, database, arm, receiver)


def test_there_are_enough_and_each_is_passed_by_a_scenario() -> None:
    names = {point.rpartition(".")[0] for point in POINTS}
    assert len(POINTS) == len(set(POINTS)) >= 40
    assert {*PASSED_BY, *DEAREST} <= names
    assert set(ALWAYS) <= set(DEAREST)
    assert {*PASSED_BY.values(), *OF_A_PAID_CALL} == set(SCENARIOS)


@pytest.mark.parametrize(("stack", "point", "name"), list(_cases()), indirect=["stack"])
async def test_a_process_dies_here(
    *,
    begin: Callable[[Callable[[], None]], Scene],
    undisturbed: dict[str, float],
    record_property: Callable[[str, object], None],
    point: str,
    name: str,
) -> None:
    if name not in undisturbed:
        undisturbed[name] = await _play(name, begin)
    took = await _play(name, begin, point)
    cost = took - undisturbed[name] - LOOKED_FOR.get((point, name), 0.0)
    record_property(Recovery.PROPERTY, [point, name, cost])


async def _play(name: str, begin: Callable[[Callable[[], None]], Scene], point: str = "") -> float:
    """Play a scenario, with a process that dies at the point, if one is given. Return how many seconds it took."""
    scenario, begun, armed = SCENARIOS[name], 0.0, Path()

    def arm() -> None:
        nonlocal begun
        begun = time.monotonic()
        if point:
            armed.touch()

    scene = begin(arm)
    armed = Path(scene.stack.environment["GENPULSE_FAILPOINTS__FOLDER"]) / point
    # Jobs of an earlier play, sent a moment ago, could be taken for those of this one.
    (await scene.world.post("/reset")).raise_for_status()
    await scene.pace(2.5)
    await scenario.play(scene)

    async def struck() -> bool:
        return not point or not armed.exists()

    await eventually(struck)
    ended = [await scene.until(one, lambda seen: seen.status in SETTLED) for one in scene.made]
    for look in scene.awaited:
        await eventually(look)
    took = time.monotonic() - begun
    for generation in ended:
        assert _is_fine(generation, name, point), (generation.status, generation.error)
    assert (await scene.world.get("/jobs")).json()["count"] <= scenario.jobs
    broken = [finding.sentence async for finding in check_stored(settings_of(scene.stack)) if not finding.ok]
    assert broken == []
    return took


def _is_fine(generation: Generation, name: str, point: str) -> bool:
    """As the scenario ends. Or unknown, where it died between sending and hearing at a cloud that can tell nobody."""
    if generation.status in SCENARIOS[name].ends:
        return True
    is_unknown = generation.error is not None and generation.error.code == "outcome_unknown"
    return is_unknown and (name not in TOLD_BY_THE_CLOUD or (point, name) in LOOKED_FOR)
