"""Fifty identical requests at once, at two API processes on one database: one generation, one workflow, one answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle

import httpx
import pytest
from sqlalchemy import select
from sqlmodel import col
from temporalio.client import Client

from api.services import Services
from genpulse.models import GenerationRow, IdempotencyRow, StepRow
from genpulse.settings import Settings, TemporalSettings
from genpulse.temporal import DATA_CONVERTER
from tests.integration.conftest import AUTH, CHAIN, ApiServer
from tests.servers.temporal import TemporalServer, temporal_server

AT_ONCE = 50
PATIENCE = 60.0


@pytest.fixture(scope="module")
def temporal() -> Iterator[TemporalServer]:
    with temporal_server() as running:
        yield running


@pytest.fixture(scope="module")
def two_servers(
    api_settings: Settings, temporal: TemporalServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[str]]:
    """The addresses of two API processes that share everything."""
    settings = api_settings.model_copy(update={"temporal": TemporalSettings(address=temporal.address)})
    with ExitStack() as stack:
        servers = [ApiServer(settings, tmp_path_factory.mktemp("server") / "log") for _ in range(2)]
        for server in servers:
            stack.callback(server.kill)
        for server in servers:
            server.wait_until_up()
        yield [server.url for server in servers]


@pytest.mark.parametrize("number", range(3))
async def test_fifty_identical_requests_make_one_generation(
    two_servers: list[str], temporal: TemporalServer, services: Services, number: int
) -> None:
    # One name for both, as behind a load balancer: links begin with it.
    headers = AUTH | {"Idempotency-Key": f"race-{number}", "Host": "api.test"}
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(headers=headers, timeout=60, limits=limits) as client:
        targets = [url for url, _ in zip(cycle(two_servers), range(AT_ONCE), strict=False)]
        answers = await asyncio.gather(*(client.post(f"{url}/v1/generations", json=CHAIN) for url in targets))
    assert Counter(answer.status_code for answer in answers) == {202: AT_ONCE}
    generation = answers[0].json()
    assert all(answer.json() == generation for answer in answers)
    assert {answer.headers["location"] for answer in answers} == {generation["links"]["self"]}
    assert ["idempotency-replayed" in answer.headers for answer in answers].count(False) == 1, "one of them made it"
    await assert_kept_once(services, generation["id"])
    await assert_started_once(temporal, services, generation["id"])


async def assert_kept_once(services: Services, generation_id: str) -> None:
    async with services.database.reading() as session:
        rows = (await session.execute(select(GenerationRow))).scalars().all()
        keys = (await session.execute(select(IdempotencyRow))).scalars().all()
        steps = (await session.execute(select(StepRow))).scalars().all()
    assert [row.id for row in rows] == [key.generation_id for key in keys] == [generation_id]
    assert [step.generation_id for step in steps] == [generation_id] * len(CHAIN["steps"])


async def assert_started_once(temporal: TemporalServer, services: Services, generation_id: str) -> None:
    """Whichever processes told Temporal of it: there is one run of this name, and nothing more to tell."""
    client = await Client.connect(temporal.address, data_converter=DATA_CONVERTER)

    async def is_told_and_listed() -> bool:
        async with services.database.reading() as session:
            query = select(col(GenerationRow.dispatched_at)).where(col(GenerationRow.id) == generation_id)
            told = (await session.execute(query)).scalar_one()
        return told is not None and bool(await runs_of(client, generation_id))

    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not await is_told_and_listed():
        assert asyncio.get_running_loop().time() < deadline, "never started"
        await asyncio.sleep(0.05)
    assert await runs_of(client, generation_id) == [generation_id]


async def runs_of(client: Client, generation_id: str) -> list[str]:
    return [run.id async for run in client.list_workflows(f"WorkflowId = '{generation_id}'")]
