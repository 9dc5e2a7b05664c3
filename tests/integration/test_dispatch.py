"""What the dispatcher does with errors: it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from api.services import Services
from genpulse.dispatch import Dispatcher
from genpulse.temporal import DATA_CONVERTER
from tests.integration.conftest import submit
from tests.servers.temporal import TemporalServer, temporal_server

PATIENCE = 60.0


@pytest.fixture(scope="module")
def temporal() -> Iterator[TemporalServer]:
    with temporal_server() as running:
        yield running


@pytest.mark.parametrize("error", [RuntimeError("no connection"), KeyError("nobody foresaw this")])
async def test_no_error_ends_the_deliveries(
    api: httpx.AsyncClient, services: Services, temporal: TemporalServer, error: Exception
) -> None:
    connected = await Client.connect(temporal.address, data_converter=DATA_CONVERTER)
    errors = [error]

    async def client() -> Client:
        if errors:
            raise errors.pop()
        return connected

    generation_id = (await submit(api))["id"]
    delivering = asyncio.create_task(Dispatcher(services.database, client).run())
    try:
        await until_started(connected, generation_id)
    finally:
        delivering.cancel()
        await asyncio.wait([delivering])


async def until_started(client: Client, generation_id: str) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            await client.get_workflow_handle(generation_id).describe()
        except RPCError:
            assert asyncio.get_running_loop().time() < deadline, "never started"
            await asyncio.sleep(0.05)
        else:
            return
