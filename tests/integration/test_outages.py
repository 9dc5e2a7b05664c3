"""The database stops at the worst moments of a step: nothing that a cloud has said, or a model made, is forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.engine import EngineActivities
from activities.providers import ProviderActivities
from engine.fake import FakeEngine
from genpulse.assets import Assets
from genpulse.calls import Calls
from genpulse.catalog import engine_models, load_catalog
from genpulse.circuits import Circuits
from genpulse.db import Database, utc_now
from genpulse.limits import MemoryLimiter
from genpulse.links import CloudLinks
from genpulse.media import MediaLimits
from genpulse.migrations import upgrade
from genpulse.models import AttemptRow
from genpulse.planning import plan_generation
from genpulse.providers.registry import Accounts
from genpulse.records import Records
from genpulse.repositories import steps
from genpulse.schemas.engine import EngineOutput, EngineTask, OnProgress
from genpulse.schemas.generations import GenerationCreate
from genpulse.schemas.plans import StepOrder
from genpulse.settings import UploadSettings
from genpulse.signing import LinkSigner, SigningKey
from genpulse.simulator import Settings, Simulator, create_simulator
from genpulse.simulator.faults import FAULTS
from genpulse.storage import Storage
from genpulse.submissions import Submission, accept
from tests.servers.postgres import PostgresServer, postgres_server
from tests.workflows.conftest import CLOUDS

TENANT = "default"
#: A cloud that answers with a job, one that answers with the picture itself, and one that knows a call by its key.
WITH_A_JOB, AT_ONCE, KEPT_BY_KEY = "fal/flux-schnell", "openai/gpt-image-2", "tencent/kling-3.0"


@dataclass
class Plug(httpx.AsyncBaseTransport):
    """The way to the clouds; pulled, the database stops while the next paid call is answered, and is then started."""

    world: httpx.AsyncBaseTransport
    server: PostgresServer
    pulled: bool = False
    starting: list[asyncio.Task[None]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.world.handle_async_request(request)
        if self.pulled and request.method == "POST":
            self.pulled = False
            await response.aread()
            await asyncio.to_thread(self.server.stop_at_once)
            self.starting.append(asyncio.create_task(asyncio.to_thread(self.server.start)))
        return response


@dataclass
class Unplugged:
    """An engine during whose run the database stops, and is started again when it is done."""

    server: PostgresServer
    runs: int = 0

    def run(self, task: EngineTask, *, out_dir: Path, on_progress: OnProgress) -> EngineOutput:
        self.runs += 1
        self.server.stop_at_once()
        made = FakeEngine().run(task, out_dir=out_dir, on_progress=on_progress)
        threading.Timer(1, self.server.start).start()
        return made


@dataclass
class Desk:
    """Runs one step as a worker does."""

    database: Database
    activities: ProviderActivities
    engine: EngineActivities
    simulator: Simulator
    plug: Plug

    async def order(self, model: str) -> StepOrder:
        operation = "text-to-video" if model == KEPT_BY_KEY else "text-to-image"
        request = GenerationCreate.model_validate(
            {"model": model, "operation": operation, "input": {"prompt": "a red circle"}}
        )
        plan = plan_generation(request, self.activities.catalog)
        submission = Submission(tenant_id=TENANT, request=request, plan=plan, request_id="req")
        generation_id = await accept(self.database, submission)
        order = StepOrder(generation_id=generation_id, tenant_id=TENANT, position=0, model=model, total=1)
        await self.activities.records.submit_step(order)
        return order

    async def send(self, order: StepOrder) -> Any:
        return await ActivityEnvironment().run(self.activities.submit, order)

    async def attempt(self, order: StepOrder) -> AttemptRow:
        async with self.database.reading() as session:
            (attempt,) = (await steps.attempts_of(session, [order.generation_id]))[order.generation_id]
        return attempt


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server(durable=True) as running:
        yield running


@pytest.fixture
async def desk(server: PostgresServer, tmp_path: Path) -> AsyncIterator[Desk]:
    url = await server.create_database()
    await upgrade(url)
    database = Database(url)
    simulator = Simulator(Settings(seconds_per_job=0))
    plug = Plug(httpx.ASGITransport(create_simulator(simulator)), server)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.dispose)
        stack.push_async_callback(simulator.aclose)
        wire = await stack.enter_async_context(httpx.AsyncClient(transport=plug))
        storage = Storage.open((tmp_path / "assets").as_uri())
        records = Records(database)
        activities = ProviderActivities(
            calls=Calls(database, records),
            records=records,
            assets=Assets(database, storage, wire, MediaLimits(**UploadSettings().model_dump())),
            catalog=load_catalog(engine_models({}), CLOUDS),
            accounts=Accounts(CLOUDS, dict.fromkeys(CLOUDS, wire)),
            limiter=MemoryLimiter(),
            circuits=Circuits(database),
            links=CloudLinks("", LinkSigner(SigningKey("1", b"k" * 32))),
            now=utc_now,
        )
        threads = stack.enter_context(ThreadPoolExecutor(1))
        engine = EngineActivities(records, activities.assets, activities.catalog, Unplugged(server), threads)
        yield Desk(database, activities, engine, simulator, plug)
        await asyncio.gather(*plug.starting)


async def test_the_job_is_kept(desk: Desk) -> None:
    order = await desk.order(WITH_A_JOB)
    desk.plug.pulled = True
    await desk.send(order)
    (job,) = desk.simulator.find_jobs()
    assert (await desk.attempt(order)).provider_job_id == job.id


async def test_the_picture_is_kept(desk: Desk) -> None:
    order = await desk.order(AT_ONCE)
    desk.plug.pulled = True
    accepted = await desk.send(order)
    assert len(accepted.outcome.outputs) == 1
    assert (await desk.attempt(order)).status == "succeeded"


async def test_a_refusal_is_known_to_be_one(desk: Desk) -> None:
    """Forgotten, it would be a call with an unknown outcome, which nobody may repeat."""
    order = await desk.order(WITH_A_JOB)
    desk.simulator.faults.put("fal", FAULTS.validate_python([{"type": "rate_limited", "times": 1}]))
    desk.plug.pulled = True
    with pytest.raises(ApplicationError) as error:
        await desk.send(order)
    assert error.value.type == "not_yet"
    assert (await desk.attempt(order)).sent_at is None


async def test_a_call_that_may_be_repeated_is_repeated_until_it_is_answered(desk: Desk) -> None:
    order = await desk.order(KEPT_BY_KEY)
    resets = [{"type": "connection_reset", "kinds": ["submit"], "times": 2}]
    desk.simulator.faults.put("tencent", FAULTS.validate_python(resets))
    for _ in range(2):
        with pytest.raises(ApplicationError) as error:
            await desk.send(order)
        assert (error.value.type, error.value.non_retryable) == ("outcome_unknown", False)
    await desk.send(order)
    (job,) = desk.simulator.find_jobs()
    attempt = await desk.attempt(order)
    assert (attempt.number, attempt.provider_job_id) == (1, job.id)


async def test_what_a_model_has_made_is_kept(desk: Desk) -> None:
    order = await desk.order("local/fake")
    made = await ActivityEnvironment().run(desk.engine.run, order)
    assert len(made.outputs) == 1
    attempt = await desk.attempt(order)
    assert (attempt.number, attempt.status) == (1, "succeeded")
    assert isinstance(desk.engine.engine, Unplugged)
    assert desk.engine.engine.runs == 1
