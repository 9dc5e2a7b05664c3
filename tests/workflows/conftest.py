"""A real Temporal server with virtual time, and a worker of our own whose engine does what a test tells it."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.engine import EngineActivities
from activities.providers import ProviderActivities
from activities.records import RecordActivities
from engine.fake import FakeEngine
from genpulse.assets import Assets
from genpulse.calls import Calls
from genpulse.catalog import engine_models, load_catalog
from genpulse.circuits import Circuits
from genpulse.db import Database, utc_now
from genpulse.dispatch import ticket_of
from genpulse.limits import MemoryLimiter
from genpulse.links import CloudLinks
from genpulse.media import MediaLimits
from genpulse.models import GenerationRow, StepRow
from genpulse.net import http_client
from genpulse.planning import plan_generation
from genpulse.providers.registry import Accounts
from genpulse.records import Records
from genpulse.repositories import generations, steps
from genpulse.schemas import attributes
from genpulse.schemas.engine import EngineOutput, EngineTask, OnProgress
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.plans import GenerationResult, GenerationTicket
from genpulse.schemas.queues import WORKFLOW_QUEUE, provider_queue
from genpulse.settings import BudgetSettings, ProviderSettings, UploadSettings
from genpulse.signing import LinkSigner, SigningKey
from genpulse.simulator import clouds as simulated_clouds
from genpulse.simulator.app import create_simulator
from genpulse.simulator.core import Settings as SimulatorSettings
from genpulse.simulator.core import Simulator
from genpulse.storage import Storage
from genpulse.submissions import Submission, accept
from genpulse.temporal import DATA_CONVERTER
from tests.servers.temporal import temporal_binary
from tests.tables import create_tables
from workflows.generation import GenerationWorkflow

TENANT = "default"
#: The accounts at the simulated clouds.
CLOUDS = {
    cloud.name: ProviderSettings.model_validate(
        {"base_url": f"http://127.0.0.1:1/{cloud.name}{cloud.base_path}"} | asdict(cloud.credentials)
    )
    for cloud in simulated_clouds.CLOUDS
}
FAKE = {"model": "local/fake", "operation": "text-to-image", "input": {"prompt": "x"}}

Behaviour = Callable[[EngineTask, OnProgress], None]


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[WorkflowEnvironment]:
    """Virtual time for each workflow: waiting costs none."""
    async with await _started() as environment:
        yield environment


async def _started(tries: int = 5) -> WorkflowEnvironment:
    """The SDK gives its server a few seconds to start, which a busy machine may not have the first time."""
    try:
        return await WorkflowEnvironment.start_time_skipping_v2(
            dev_server_existing_path=str(temporal_binary()),
            data_converter=DATA_CONVERTER,
            search_attributes=list(attributes.ALL),
            dev_server_extra_args=["--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"],
        )
    except RuntimeError:
        if tries == 1:
            raise
        return await _started(tries - 1)


@dataclass
class ScriptedEngine:
    """The product's fake engine, before which a test may put what happens first: an error, a wait."""

    behaviour: list[Behaviour] = field(default_factory=list)
    tasks: list[EngineTask] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)

    def run(self, task: EngineTask, *, out_dir: Path, on_progress: OnProgress) -> EngineOutput:
        self.tasks.append(task)
        self.started.set()
        if self.behaviour:
            self.behaviour.pop(0)(task, on_progress)
        return FakeEngine().run(task, out_dir=out_dir, on_progress=on_progress)


def virtual_now() -> datetime:
    """The time of the workflow whose activity this is; what a test asks itself is asked now."""
    return activity.info().current_attempt_scheduled_time if activity.in_activity() else utc_now()


@dataclass
class House:
    """Everything a generation needs, built fresh for one test."""

    environment: WorkflowEnvironment
    database: Database
    storage: Storage
    engine: ScriptedEngine
    activities: EngineActivities
    world: Simulator
    clouds: ProviderActivities
    queue: str

    async def accept(self, **request: object) -> GenerationTicket:
        """Accept a request as the API does, for this house's queues."""
        create = GenerationCreate.model_validate(request or FAKE)
        plan = plan_generation(create, self.activities.catalog)
        for step in plan.steps:
            step.queue = self.queue
            for choice in step.fallbacks:
                choice.queue = self.queue
        submission = Submission(tenant_id=TENANT, request=create, plan=plan, request_id="req")
        generation_id = await accept(self.database, submission)
        return ticket_of(*await self.rows(generation_id), BudgetSettings())

    def worker_of(self, cloud: str) -> Worker:
        """One on the cloud's real queue, for what is planned while it runs."""
        work = self.clouds
        return Worker(
            self.environment.client,
            task_queue=provider_queue(cloud),
            activities=[work.submit, work.poll, work.cancel],
        )

    def workflow_worker(self, queue: str = WORKFLOW_QUEUE) -> Worker:
        """One on the real queue, for runs that the dispatcher starts."""
        local = RecordActivities(Records(self.database))
        return Worker(
            self.environment.client,
            task_queue=queue,
            workflows=[GenerationWorkflow],
            activities=[local.submit_step, local.park, local.resume, local.expire, local.finish],
            no_remote_activities=True,
        )

    async def start(self, ticket: GenerationTicket) -> WorkflowHandle[GenerationWorkflow, GenerationResult]:
        return await self.environment.client.start_workflow(
            GenerationWorkflow.run, ticket, id=ticket.generation_id, task_queue=f"{self.queue}-workflows"
        )

    async def run(self, **request: object) -> tuple[str, GenerationResult]:
        ticket = await self.accept(**request)
        return ticket.generation_id, await (await self.start(ticket)).result()

    async def rows(self, generation_id: str) -> tuple[GenerationRow, list[StepRow]]:
        async with self.database.reading() as session:
            row = await generations.get(session, TENANT, generation_id)
            assert row is not None
            return row, (await steps.of_generations(session, [generation_id]))[generation_id]


@pytest.fixture
async def house(temporal: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[House]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'genpulse.db'}")
    await create_tables(database)
    async with furnished(temporal, database, tmp_path) as built:
        yield built
    await database.dispose()


@asynccontextmanager
async def furnished(
    temporal: WorkflowEnvironment, database: Database, folder: Path, *, after: House | None = None
) -> AsyncIterator[House]:
    """A house whose workers work. One `after` another has its clouds and its queue."""
    storage = Storage.open((folder / "assets").as_uri())
    catalog = load_catalog(engine_models({}), CLOUDS)
    records, engine, queue = Records(database), ScriptedEngine(), after.queue if after else f"test-{uuid.uuid4()}"
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(http_client(allow_private=True))
        assets = Assets(database, storage, client, MediaLimits(**UploadSettings().model_dump()))
        threads = stack.enter_context(ThreadPoolExecutor(4))
        activities = EngineActivities(records, assets, catalog, engine, threads)
        world = (
            after.world
            if after
            else Simulator(SimulatorSettings(seconds_per_job=0.05), transport=_called_back(temporal))
        )
        if after is None:
            stack.push_async_callback(world.aclose)
        wire = httpx.AsyncClient(transport=httpx.ASGITransport(create_simulator(world)))
        await stack.enter_async_context(wire)
        clouds = ProviderActivities(
            calls=Calls(database, records),
            records=records,
            assets=assets,
            catalog=catalog,
            accounts=Accounts(CLOUDS, dict.fromkeys(CLOUDS, wire)),
            limiter=MemoryLimiter(lambda: virtual_now().timestamp()),
            circuits=Circuits(database),
            links=CloudLinks("http://public", LinkSigner(SigningKey("1", b"k" * 32))),
            now=virtual_now,
        )
        await stack.enter_async_context(
            Worker(
                temporal.client,
                task_queue=queue,
                activities=[activities.run, clouds.submit, clouds.poll, clouds.cancel],
                max_heartbeat_throttle_interval=timedelta(milliseconds=200),
                default_heartbeat_throttle_interval=timedelta(milliseconds=200),
            )
        )
        built = House(temporal, database, storage, engine, activities, world, clouds, queue)
        await stack.enter_async_context(built.workflow_worker(f"{queue}-workflows"))
        yield built


def _called_back(temporal: WorkflowEnvironment) -> httpx.AsyncBaseTransport:
    """The API's end of callbacks, where no API runs: a challenge is repeated, anything else wakes the workflow."""

    async def answer(request: httpx.Request) -> httpx.Response:
        if b"challenge" in request.content:
            return httpx.Response(200, content=request.content)
        with suppress(RPCError):  # it has ended meanwhile
            generation_id = request.url.path.rpartition("/")[2]
            await temporal.client.get_workflow_handle(generation_id).signal("called_back")
        return httpx.Response(204)

    return httpx.MockTransport(answer)


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for something that is about to be true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await asyncio.sleep(0.02)
