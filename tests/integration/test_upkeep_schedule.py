"""The schedule of upkeep on a real Temporal: made once, kept up to date, and what its runs learn from each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, ScheduleOverlapPolicy
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.upkeep import UpkeepActivities
from genpulse.db import Database
from genpulse.doctor.running import SENTENCES, check_running
from genpulse.schemas.queues import UPKEEP_QUEUE, WORKFLOW_QUEUE
from genpulse.settings import RetentionSettings, Settings, TemporalSettings, UpkeepSettings
from genpulse.storage import Storage
from genpulse.sweep import Sweeper
from genpulse.temporal import connect
from genpulse.upkeep import SCHEDULE_ID, Reconciler, Retention, keep_schedule, run_now, set_schedule
from tests.servers.temporal import TemporalServer, temporal_server
from tests.tables import create_tables
from workflows.upkeep import RECONCILING, TIDYING, UpkeepWorkflow

WITHIN = timedelta(seconds=60)


@pytest.fixture(scope="module")
def temporal() -> Iterator[TemporalServer]:
    with temporal_server() as server:
        yield server


@pytest.fixture
async def client(temporal: TemporalServer) -> AsyncIterator[Client]:
    connected = await connect(TemporalSettings(address=temporal.address))
    yield connected
    async for schedule in await connected.list_schedules():
        await connected.get_schedule_handle(schedule.id).delete()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite+aiosqlite:///{tmp_path / 'genpulse.db'}")
    await create_tables(made)
    yield made
    await made.dispose()


async def test_several_workers_make_one_schedule(client: Client) -> None:
    await asyncio.gather(*(set_schedule(client, UpkeepSettings()) for _ in range(5)))
    known = await client.get_schedule_handle(SCHEDULE_ID).describe()
    assert [interval.every for interval in known.schedule.spec.intervals] == [timedelta(minutes=5)]
    assert known.schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert known.info.last_updated_at is None, "those who came second had nothing to change"


async def test_a_new_interval_is_taken_and_a_pause_is_kept(client: Client) -> None:
    await set_schedule(client, UpkeepSettings())
    handle = client.get_schedule_handle(SCHEDULE_ID)
    await handle.pause(note="while the storage is moved")
    await set_schedule(client, UpkeepSettings(interval=timedelta(minutes=1)))
    known = await handle.describe()
    assert [interval.every for interval in known.schedule.spec.intervals] == [timedelta(minutes=1)]
    assert (known.schedule.state.paused, known.schedule.state.note) == (True, "while the storage is moved")


async def test_a_schedule_that_is_lost_is_made_again(client: Client) -> None:
    async def connected() -> Client:
        return client

    keeping = asyncio.create_task(keep_schedule(connected, UpkeepSettings(interval=timedelta(seconds=10))))
    try:
        await _until_there(client)
        await client.get_schedule_handle(SCHEDULE_ID).delete()
        await _until_there(client)
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def _until_there(client: Client) -> None:
    deadline = asyncio.get_running_loop().time() + WITHIN.total_seconds()
    while True:
        try:
            await client.get_schedule_handle(SCHEDULE_ID).describe()
        except RPCError:
            assert asyncio.get_running_loop().time() < deadline, "waited in vain"
            await asyncio.sleep(0.05)
        else:
            return


async def test_runs_reconcile_each_time_and_tidy_up_once_an_hour(
    client: Client, temporal: TemporalServer, database: Database, tmp_path: Path
) -> None:
    async def connected() -> Client:
        return client

    duties = UpkeepActivities(
        Reconciler(database, connected, kept_for=timedelta(days=7)),
        Sweeper(database, Storage.open((tmp_path / "assets").as_uri())),
        Retention(database, RetentionSettings()),
    )
    await set_schedule(client, UpkeepSettings())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Worker(client, task_queue=WORKFLOW_QUEUE, workflows=[UpkeepWorkflow]))
        await stack.enter_async_context(Worker(client, task_queue=UPKEEP_QUEUE, activities=duties.all()))
        first = await run_now(client, within=WITHIN)
        second = await run_now(client, within=WITHIN)
    assert list(first.duties) == [*RECONCILING, *TIDYING]
    assert list(second.duties) == [*RECONCILING]
    assert second.tidied_at == first.tidied_at is not None
    settings = Settings(data_dir=tmp_path, temporal=TemporalSettings(address=temporal.address))
    findings = {finding.id: finding async for finding in check_running(settings)}
    assert findings.keys() == SENTENCES.keys()
    assert findings["T05"].line == "T05 Upkeep has been done within three of its intervals: 1 checked, 0 broken"
