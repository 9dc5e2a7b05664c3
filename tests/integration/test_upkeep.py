"""Database and Temporal that no longer agree, by real causes: a run terminated, Temporal's data lost, rows deleted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlmodel import col
from temporalio import workflow
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from genpulse.circuits import FAILURES_TO_OPEN
from genpulse.db import Database, utc_now
from genpulse.deadletters import decide, discarding, retrying
from genpulse.dispatch import Dispatcher
from genpulse.doctor.running import check_running
from genpulse.errors import InvalidInput, InvariantBroken, OutOfMemory
from genpulse.models import AttemptRow, CreditAccountRow, CreditTransactionRow, EventRow, GenerationRow, metadata
from genpulse.records import Records
from genpulse.repositories import steps, upkeep
from genpulse.runs import Fate, ask, open_runs
from genpulse.schemas.engine import EngineTask, OnProgress
from genpulse.schemas.plans import Ending
from genpulse.schemas.queues import WORKFLOW_QUEUE
from genpulse.schemas.states import GenerationStatus, StepStatus
from genpulse.schemas.upkeep import DutyReport
from genpulse.settings import DatabaseSettings, Settings, TemporalSettings
from genpulse.simulator.core import Simulator
from genpulse.simulator.faults import FAULTS
from genpulse.temporal import DATA_CONVERTER
from genpulse.upkeep import Reconciler
from tests.integration.conftest import database_url
from tests.servers.temporal import TemporalServer, temporal_server
from tests.tables import create_tables
from tests.workflows.conftest import TENANT, Behaviour, House, furnished
from tests.workflows.test_generation import CHAIN, fails, hangs

pytestmark = pytest.mark.timeout(300)

PATIENCE = 60.0
KEPT_DAYS = 7
OUT_OF_MEMORY = OutOfMemory("The device is full.")
FAL: dict[str, Any] = {"model": "fal/flux-schnell", "input": {"prompt": "a red circle"}}

S = GenerationStatus


@pytest.fixture(scope="module")
def temporal() -> Iterator[TemporalServer]:
    with temporal_server() as server:
        yield server


@pytest.fixture(scope="module")
def fresh() -> Iterator[TemporalServer]:
    """Another one, which knows nothing of what ran on the first."""
    with temporal_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(await database_url(request, tmp_path))
    await create_tables(made)
    yield made
    await made.dispose()


@dataclass
class Plant:
    """A house on a real Temporal, with its dispatcher, and the reconciler that takes nothing for too fresh."""

    house: House
    client: Client
    reconciler: Reconciler
    dispatching: asyncio.Task[None]
    settings: Settings

    async def complaints(self) -> dict[str | None, tuple[str, ...]]:
        """What the doctor finds between this database and this Temporal."""
        findings = [finding async for finding in check_running(self.settings, lately=timedelta(0))]
        return {finding.id: finding.examples for finding in findings if not finding.ok}

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Its Temporal is gone, as far as the dispatcher can tell."""
        await _stopped(self.dispatching)
        await _all_ended(self.client)
        yield

    @property
    def database(self) -> Database:
        return self.house.database

    async def submit(self, **request: object) -> str:
        """Accept a generation, which the dispatcher starts."""
        return (await self.house.accept(**request)).generation_id

    async def until(self, generation_id: str, *status: GenerationStatus) -> GenerationRow:
        async def look() -> bool:
            if self.dispatching.done():
                self.dispatching.result()
            return (await self.row(generation_id)).status in status

        await eventually(look)
        return await self.row(generation_id)

    async def until_hanging(self, generation_id: str, tasks: int = 1) -> None:
        """The engine is at work, and Temporal lists the run."""

        async def look() -> bool:
            return len(self.house.engine.tasks) == tasks and generation_id in await self.open_ids()

        await eventually(look)

    async def until_closed(self, generation_id: str) -> Fate:
        """How the run ended, once Temporal does not list it as open any more either."""

        async def look() -> bool:
            return generation_id not in await self.open_ids()

        await eventually(look)
        return (await ask(self.client, generation_id)).fate

    async def open_ids(self) -> set[str]:
        return {run.generation_id async for run in open_runs(self.client)}

    async def row(self, generation_id: str) -> GenerationRow:
        return (await self.house.rows(generation_id))[0]

    async def statuses(self, generation_id: str) -> list[StepStatus]:
        return [step.status for step in (await self.house.rows(generation_id))[1]]

    async def attempts(self, generation_id: str) -> Sequence[AttemptRow]:
        async with self.database.reading() as session:
            return (await steps.attempts_of(session, [generation_id])).get(generation_id, [])

    async def decide(self, generation_id: str, how: Any) -> None:
        async with self.database.transaction() as session:
            await decide(session, TENANT, generation_id, how)

    async def retry(self, generation_id: str) -> None:
        await self.decide(generation_id, retrying(self.house.activities.catalog))


@asynccontextmanager
async def plant(
    server: TemporalServer,
    database: Database,
    folder: Path,
    *,
    after: Plant | None = None,
    works_on_workflows: bool = True,
) -> AsyncIterator[Plant]:
    client = await Client.connect(server.address, data_converter=DATA_CONVERTER)

    async def connect() -> Client:
        return client

    async with AsyncExitStack() as stack:
        environment = WorkflowEnvironment.from_client(client)
        house = await stack.enter_async_context(
            furnished(environment, database, folder, after=after.house if after else None)
        )
        if works_on_workflows:
            await stack.enter_async_context(house.workflow_worker())
        stack.push_async_callback(_all_ended, client)
        dispatching = asyncio.create_task(Dispatcher(database, connect, interval=timedelta(milliseconds=50)).run())
        stack.push_async_callback(_stopped, dispatching)
        kept_for = timedelta(days=KEPT_DAYS)
        reconciler = Reconciler(database, connect, kept_for=kept_for, quiet_for=timedelta(0))
        settings = Settings(
            data_dir=folder,
            database=DatabaseSettings(url=database.engine.url.render_as_string(hide_password=False)),
            temporal=TemporalSettings(address=server.address),
        )
        yield Plant(house, client, reconciler, dispatching, settings)


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


async def _all_ended(client: Client) -> None:
    """Nothing is left to the next test on this server."""

    async def look() -> bool:
        left = [run.generation_id async for run in open_runs(client)]
        for one in left:
            with suppress(RPCError):
                await client.get_workflow_handle(one).terminate()
        return not left

    await eventually(look)


@pytest.fixture
async def works(temporal: TemporalServer, database: Database, tmp_path: Path) -> AsyncIterator[Plant]:
    async with plant(temporal, database, tmp_path) as made:
        yield made


async def eventually(look: Callable[[], Awaitable[bool]], *, patience: float = PATIENCE) -> None:
    deadline = asyncio.get_running_loop().time() + patience
    while not await look():
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await asyncio.sleep(0.05)


Backup = dict[str, list[dict[str, Any]]]


async def backup(database: Database) -> Backup:
    """Every table as it is now."""
    async with database.reading() as session:
        return {
            table.name: [dict(row) for row in (await session.execute(select(table))).mappings()]
            for table in metadata.sorted_tables
        }


async def restore(database: Database, tables: Backup) -> None:
    """Back to what it was, whatever has happened since."""
    async with database.transaction() as session:
        for table in reversed(metadata.sorted_tables):
            await session.execute(delete(table))
        for table in metadata.sorted_tables:
            if rows := tables[table.name]:
                await session.execute(insert(table), rows)


# Rows without a workflow ---------------------------------------------------------------------------------------------


async def test_what_is_well_is_left_alone(works: Plant) -> None:
    works.house.engine.behaviour = [fails(OUT_OF_MEMORY), hangs]
    kept = await works.submit()
    await works.until(kept, S.DEAD_LETTERED)
    running = await works.submit()
    await works.until_hanging(running, tasks=2)
    before = await backup(works.database)
    assert await works.complaints() == {}
    assert await works.reconciler.rows() == DutyReport(counts={"looked_at": 2})
    assert await works.reconciler.runs() == DutyReport(counts={"looked_at": 2})
    assert await works.reconciler.attempts() == DutyReport(counts={"closed": 0, "unanswered": 0})
    assert await backup(works.database) == before
    assert await works.open_ids() == {kept, running}


async def test_a_run_that_was_terminated_leaves_a_dead_letter_that_can_go_on(works: Plant) -> None:
    works.house.engine.behaviour = [lambda *_: None, hangs]
    generation_id = await works.submit(**CHAIN)
    await works.until_hanging(generation_id, tasks=2)
    await works.client.get_workflow_handle(generation_id).terminate(reason="the wrong one")
    await works.until_closed(generation_id)

    assert await works.complaints() == {"T02": (generation_id,)}
    assert (await works.reconciler.rows()).counts == {"looked_at": 1, "dead_lettered": 1}
    row = await works.row(generation_id)
    assert (row.status, row.resolution) == (S.DEAD_LETTERED, None)
    assert row.error is not None and row.error["code"] == "internal"
    assert row.error["message"] == (
        "Somebody terminated its workflow in Temporal (“the wrong one”). A retry goes on from step 'clip'."
    )
    assert row.kept_until is not None and row.kept_until > utc_now() + timedelta(days=KEPT_DAYS - 1)
    assert await works.statuses(generation_id) == [StepStatus.SUCCEEDED, StepStatus.FAILED]

    async def waits_in_a_workflow_of_its_own() -> bool:
        return [run.status async for run in open_runs(works.client)] == ["dead_lettered"]

    await eventually(waits_in_a_workflow_of_its_own)
    await eventually(lambda: _was_dispatched(works, generation_id))
    assert (await works.reconciler.rows()).counts == {"looked_at": 1}, "once is enough"
    assert await works.complaints() == {}
    await works.retry(generation_id)
    await works.until(generation_id, S.SUCCEEDED)
    assert [task.operation for task in works.house.engine.tasks] == [
        "text-to-image", "image-to-video", "image-to-video",
    ], "the first step is not repeated"  # fmt: skip
    assert await works.until_closed(generation_id) is Fate.COMPLETED


async def test_a_dead_letter_whose_run_is_gone_waits_in_a_new_one_for_as_long_as_before(works: Plant) -> None:
    works.house.engine.behaviour = [fails(OUT_OF_MEMORY)]
    generation_id = await works.submit()
    before = await works.until(generation_id, S.DEAD_LETTERED)
    await works.client.get_workflow_handle(generation_id).terminate()
    await works.until_closed(generation_id)
    assert (await works.reconciler.rows()).counts == {"looked_at": 1, "started_again": 1}
    await eventually(lambda: _is_open(works, generation_id))
    row = await works.row(generation_id)
    assert (row.status, row.error, row.kept_until) == (before.status, before.error, before.kept_until)
    await works.decide(generation_id, discarding)
    assert await works.until_closed(generation_id) is Fate.FAILED
    assert len(works.house.engine.tasks) == 1, "nothing is tried again by itself"


async def test_a_dead_letter_whose_time_ran_out_with_its_run_gone_ends(works: Plant) -> None:
    works.house.engine.behaviour = [fails(OUT_OF_MEMORY)]
    generation_id = await works.submit()
    await works.until(generation_id, S.DEAD_LETTERED)
    await works.client.get_workflow_handle(generation_id).terminate()
    await works.until_closed(generation_id)
    async with works.database.transaction() as session:
        await session.execute(update(GenerationRow).values(kept_until=utc_now() - timedelta(seconds=1)))
    await works.reconciler.rows()
    row = await works.until(generation_id, S.FAILED)
    assert row.error is not None and row.error["code"] == "engine_out_of_memory"


async def test_what_was_being_cancelled_and_is_terminated_is_cancelled(works: Plant) -> None:
    works.house.engine.behaviour = [hangs]
    generation_id = await works.submit()
    await works.until_hanging(generation_id)
    await works.client.get_workflow_handle(generation_id).terminate()
    await works.until_closed(generation_id)
    async with works.database.transaction() as session:  # and the dispatcher has told a run that was there still
        values = {"status": S.CANCELING, "cancel_requested_at": utc_now(), "cancel_sent_at": utc_now()}
        await session.execute(update(GenerationRow).values(values))
    assert (await works.reconciler.rows()).counts == {"looked_at": 1, "canceled": 1}
    assert (await works.row(generation_id)).status is S.CANCELED
    assert [one.status for one in await works.attempts(generation_id)] == ["canceled"]


async def test_a_run_that_is_terminated_before_it_begins_leaves_a_dead_letter_too(
    temporal: TemporalServer, database: Database, tmp_path: Path
) -> None:
    async with plant(temporal, database, tmp_path, works_on_workflows=False) as works:
        generation_id = await works.submit()
        await eventually(lambda: _is_open(works, generation_id))
        await works.client.get_workflow_handle(generation_id).terminate(reason="not today")
        await works.until_closed(generation_id)
        assert (await works.reconciler.rows()).counts == {"looked_at": 1, "dead_lettered": 1}
        await works.retry(generation_id)
        async with works.house.workflow_worker():
            await works.until(generation_id, S.SUCCEEDED)


async def test_endings_that_the_database_has_lost_are_taken_from_temporal(works: Plant) -> None:
    """It was restored from a backup that is older than these endings."""
    release = threading.Event()
    works.house.engine.behaviour = [waits(release, then=InvalidInput("A wrong one.")), hangs]
    failing = await works.submit()
    await works.until_hanging(failing)
    cancelled = await works.submit()
    await works.until_hanging(cancelled, tasks=2)
    older = await backup(works.database)
    release.set()
    await works.client.get_workflow_handle(cancelled).cancel()
    assert await works.until_closed(failing) is Fate.FAILED
    assert await works.until_closed(cancelled) is Fate.CANCELED
    await restore(works.database, older)
    assert (await works.reconciler.rows()).counts == {"looked_at": 2, "failed": 1, "canceled": 1}
    row = await works.row(failing)
    assert (row.status, row.error and row.error["code"]) == (S.FAILED, "invalid_input")
    assert (await works.row(cancelled)).status is S.CANCELED


async def test_a_success_of_which_the_database_knows_every_step_is_one(works: Plant) -> None:
    generation_id = await works.submit()
    done = await works.until(generation_id, S.SUCCEEDED)
    await works.until_closed(generation_id)
    async with works.database.transaction() as session:  # the last transaction of the run, undone
        last_two = (col(EventRow.generation_id) == generation_id, col(EventRow.seq) > done.version - 2)
        await session.execute(delete(EventRow).where(*last_two))
        undone = {"status": S.RUNNING, "version": done.version - 2, "finished_at": None}
        await session.execute(update(GenerationRow).values(undone))
        await session.execute(delete(CreditTransactionRow).where(col(CreditTransactionRow.kind) == "capture"))
        await session.execute(update(CreditAccountRow).values(held=1, spent=0, version=1))
    assert (await works.reconciler.rows()).counts == {"looked_at": 1, "succeeded": 1}
    assert (await works.row(generation_id)).version == done.version


async def test_a_success_whose_outputs_the_database_has_lost_is_for_a_person_to_decide(works: Plant) -> None:
    release = threading.Event()
    works.house.engine.behaviour = [waits(release)]
    generation_id = await works.submit()
    await works.until_hanging(generation_id)
    older = await backup(works.database)
    release.set()
    assert await works.until_closed(generation_id) is Fate.COMPLETED
    await restore(works.database, older)
    assert (await works.reconciler.rows()).counts == {"looked_at": 1, "dead_lettered": 1}
    row = await works.row(generation_id)
    assert row.error is not None and "what it made is not in the database" in row.error["message"]
    await works.retry(generation_id)
    await works.until(generation_id, S.SUCCEEDED)


async def test_what_has_happened_since_it_was_looked_at_counts(works: Plant) -> None:
    works.house.engine.behaviour = [hangs]
    generation_id = await works.submit()
    await works.until_hanging(generation_id)

    async def look() -> list[upkeep.Quiet]:
        async with works.database.reading() as session:
            return await upkeep.quiet(session, before=utc_now(), after="", limit=10)

    [seen] = await look()
    assert await _claim(works, seen)
    await works.client.get_workflow_handle(generation_id).cancel()
    await works.until(generation_id, S.CANCELED)
    assert not await _claim(works, seen)
    assert await look() == []


async def _claim(works: Plant, row: upkeep.Quiet) -> bool:
    async with works.database.transaction() as session:
        return await upkeep.claim(session, row)


# Temporal has lost its data ------------------------------------------------------------------------------------------


async def test_everything_goes_on_with_an_empty_temporal(
    temporal: TemporalServer, fresh: TemporalServer, database: Database, tmp_path: Path
) -> None:
    async with plant(temporal, database, tmp_path) as before:
        before.house.engine.behaviour = [lambda *_: None, hangs, fails(OUT_OF_MEMORY)]
        chain = await before.submit(**CHAIN)
        await before.until_hanging(chain, tasks=2)
        kept = await before.submit()
        await before.until(kept, S.DEAD_LETTERED)
    async with plant(fresh, database, tmp_path, after=before) as works:
        assert (await works.reconciler.rows()).counts == {"looked_at": 2, "started_again": 2}
        await works.until(chain, S.SUCCEEDED)
        assert [task.operation for task in works.house.engine.tasks] == ["image-to-video"], "only what was not done"
        await eventually(lambda: _is_open(works, kept))
        assert (await works.row(kept)).status is S.DEAD_LETTERED, "nobody has decided about it"
        await works.retry(kept)
        await works.until(kept, S.SUCCEEDED)


async def test_a_job_that_is_under_way_is_waited_for_and_not_paid_again(
    temporal: TemporalServer, fresh: TemporalServer, database: Database, tmp_path: Path
) -> None:
    async with plant(temporal, database, tmp_path) as before:
        world = before.house.world
        world.faults.put("fal", FAULTS.validate_python([{"type": "stuck", "times": 1}]))
        generation_id = await before.submit(**FAL)
        await eventually(lambda: _has(before, generation_id, lambda call: call.provider_job_id is not None))
        await _until_listed(before, generation_id)
        async with before.stopped(), plant(fresh, database, tmp_path, after=before) as works:
            await works.reconciler.rows()
            await eventually(lambda: _is_open(works, generation_id))
            [job] = world.find_jobs()
            job.stuck = False
            await works.until(generation_id, S.SUCCEEDED)
            assert world.find_jobs() == [job]
            [attempt] = await works.attempts(generation_id)
            assert attempt.status == "succeeded"


async def test_a_call_whose_answer_never_came_is_not_sent_again(
    temporal: TemporalServer, fresh: TemporalServer, database: Database, tmp_path: Path
) -> None:
    async with plant(temporal, database, tmp_path) as before:
        world = before.house.world
        world.faults.put("fal", FAULTS.validate_python([{"type": "lost_answer", "times": 1}]))
        generation_id = await before.submit(**FAL)
        await eventually(lambda: _has(before, generation_id, lambda call: call.sent_at is not None))
        await eventually(lambda: _has_jobs(world, 1))
        async with before.stopped(), plant(fresh, database, tmp_path, after=before) as works:
            await works.reconciler.rows()
            row = await works.until(generation_id, S.DEAD_LETTERED)
            assert row.error is not None and row.error["code"] == "outcome_unknown"
            assert len(world.find_jobs()) == 1


async def test_the_model_whose_job_is_under_way_goes_before_the_one_that_was_asked_for(
    temporal: TemporalServer, fresh: TemporalServer, database: Database, tmp_path: Path
) -> None:
    async with plant(temporal, database, tmp_path) as before:
        world, circuits = before.house.world, before.house.clouds.circuits
        for _ in range(FAILURES_TO_OPEN):
            await circuits.failed("fal", "fal answered 503")
        world.faults.put("replicate", FAULTS.validate_python([{"type": "stuck", "times": 1}]))
        generation_id = await before.submit(**FAL, fallbacks=["replicate/flux-schnell"])
        await eventually(lambda: _has(before, generation_id, lambda call: call.provider_job_id is not None))
        await circuits.worked("fal")
        async with before.stopped(), plant(fresh, database, tmp_path, after=before) as works:
            await works.reconciler.rows()
            await eventually(lambda: _is_open(works, generation_id))
            [job] = world.find_jobs()
            job.stuck = False
            await works.until(generation_id, S.SUCCEEDED)
            assert [one.cloud for one in world.find_jobs()] == ["replicate"]


# Workflows without a row ---------------------------------------------------------------------------------------------


async def test_a_run_whose_row_is_gone_is_cancelled(works: Plant) -> None:
    works.house.engine.behaviour = [hangs, hangs]
    lost, known = await works.submit(), await works.submit()
    await works.until_hanging(lost, tasks=2)
    await _until_listed(works, known)
    async with works.database.transaction() as session:
        await session.execute(delete(GenerationRow).where(col(GenerationRow.id) == lost))
    assert await works.complaints() == {"T01": (lost,)}
    assert (await works.reconciler.runs()).counts == {"looked_at": 2, "cancelled": 1}
    assert await works.until_closed(lost) is Fate.CANCELED
    assert await works.open_ids() == {known}


async def test_a_run_that_goes_on_after_its_generation_has_ended_is_cancelled(works: Plant) -> None:
    works.house.engine.behaviour = [hangs]
    generation_id = await works.submit()
    await works.until_hanging(generation_id)
    ending = Ending(generation_id=generation_id, status=S.CANCELED)
    await Records(works.database).finish(ending)
    assert await works.complaints() == {"T01": (generation_id,)}
    assert (await works.reconciler.runs()).counts == {"looked_at": 1, "cancelled": 1}
    assert await works.until_closed(generation_id) is Fate.CANCELED


async def test_a_run_that_does_not_heed_is_terminated_the_next_time(
    temporal: TemporalServer, database: Database, tmp_path: Path
) -> None:
    async with plant(temporal, database, tmp_path, works_on_workflows=False) as works:
        generation_id = await works.submit()
        await _until_listed(works, generation_id)
        async with works.database.transaction() as session:
            await session.execute(delete(GenerationRow))
        assert (await works.reconciler.runs()).counts == {"looked_at": 1, "cancelled": 1}
        assert (await works.reconciler.runs()).counts == {"looked_at": 1, "terminated": 1}
        assert await works.until_closed(generation_id) is Fate.TERMINATED
        assert (await ask(works.client, generation_id)).why == "Its generation is not in the database."


async def test_a_database_that_knows_next_to_nothing_must_be_the_wrong_one(
    temporal: TemporalServer, database: Database, tmp_path: Path
) -> None:
    async with plant(temporal, database, tmp_path, works_on_workflows=False) as works:
        ids = {await works.submit() for _ in range(11)}
        for one in ids:
            await _until_listed(works, one)
        async with works.database.transaction() as session:
            await session.execute(delete(GenerationRow))
        with pytest.raises(InvariantBroken, match="11 of 11 open workflows"):
            await works.reconciler.runs()
        assert not any([(await ask(works.client, one)).is_canceling for one in ids])


# What only a person can set right ------------------------------------------------------------------------------------


async def test_a_dead_letter_of_which_only_one_side_knows_is_found(works: Plant) -> None:
    works.house.engine.behaviour = [fails(OUT_OF_MEMORY), hangs]
    in_temporal = await works.submit()
    await works.until(in_temporal, S.DEAD_LETTERED)
    in_database = await works.submit()
    await works.until_hanging(in_database, tasks=2)
    await eventually(lambda: _agrees(works))
    async with works.database.transaction() as session:
        for one, status in ((in_temporal, S.RUNNING), (in_database, S.DEAD_LETTERED)):
            await session.execute(update(GenerationRow).where(col(GenerationRow.id) == one).values(status=status))
    found = await works.complaints()
    assert found.keys() == {"T03"}
    assert set(found["T03"]) == {in_temporal, in_database}


async def _agrees(works: Plant) -> bool:
    return await works.complaints() == {}


@workflow.defn(name="GenerationWorkflow", sandboxed=False)
class Broken:
    """As a workflow is whose code was changed without heed of those under way."""

    @workflow.run
    async def run(self, _ticket: dict[str, Any]) -> None:
        raise ValueError("no failure that a workflow may end with")


@pytest.mark.slow
async def test_a_workflow_that_cannot_go_on_is_found(temporal: TemporalServer, tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'genpulse.db'}")
    await create_tables(database)
    async with (
        plant(temporal, database, tmp_path, works_on_workflows=False) as works,
        Worker(works.client, task_queue=WORKFLOW_QUEUE, workflows=[Broken]),
    ):
        generation_id = await works.submit()

        async def look() -> bool:
            return await works.complaints() == {"T04": (generation_id,)}

        await eventually(look, patience=150)
    await database.dispose()


# Attempts without an answer ------------------------------------------------------------------------------------------


async def test_attempts_that_nobody_is_on_are_closed_and_the_others_counted(works: Plant) -> None:
    long_ago = utc_now() - timedelta(hours=1)
    fresh = {"error": None, "billing": None}
    open_attempt = {"status": "running", "started_at": long_ago, "finished_at": None, **fresh}
    works.house.engine.behaviour = [lambda *_: None, fails(OUT_OF_MEMORY), hangs]
    done = await works.submit()
    await works.until(done, S.SUCCEEDED)
    kept = await works.submit()
    await works.until(kept, S.DEAD_LETTERED)
    running = await works.submit()
    await works.until_hanging(running, tasks=3)
    async with works.database.transaction() as session:
        await session.execute(update(AttemptRow).values(open_attempt))
        sent = update(AttemptRow).where(col(AttemptRow.generation_id).in_([kept, running]))
        await session.execute(sent.values(sent_at=long_ago))
    assert await works.reconciler.attempts() == DutyReport(counts={"closed": 2, "unanswered": 1})
    [never_sent], [unknown], [going_on] = [await works.attempts(one) for one in (done, kept, running)]
    assert (never_sent.status, never_sent.billing) == ("failed", "none")
    assert (unknown.status, unknown.billing, unknown.error and unknown.error["code"]) == (
        "failed", "possible", "outcome_unknown",
    )  # fmt: skip
    assert (going_on.status, going_on.billing) == ("running", None)
    assert await works.reconciler.attempts() == DutyReport(counts={"closed": 0, "unanswered": 1})


# ---------------------------------------------------------------------------------------------------------------------


def waits(release: threading.Event, *, then: Exception | None = None) -> Behaviour:
    """Works until it is let go, and then succeeds or fails."""

    def behave(_task: EngineTask, on_progress: OnProgress) -> None:
        while not release.wait(0.02):
            on_progress(0.5)
        if then is not None:
            raise then

    return behave


async def _has(works: Plant, generation_id: str, is_so: Callable[[AttemptRow], bool]) -> bool:
    return any(is_so(attempt) for attempt in await works.attempts(generation_id))


async def _was_dispatched(works: Plant, generation_id: str) -> bool:
    return (await works.row(generation_id)).dispatched_at is not None


async def _has_jobs(world: Simulator, count: int) -> bool:
    return len(world.find_jobs()) == count


async def _until_listed(works: Plant, generation_id: str) -> None:
    await eventually(lambda: _is_open(works, generation_id))


async def _is_open(works: Plant, generation_id: str) -> bool:
    return generation_id in await works.open_ids()
