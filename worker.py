"""Runs the workers of some task queues: builds settings, clients and activities, and stops gently.

`python worker.py --queues gp-workflows,gp-gpu`, the same as `genpulse worker`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import partial

import structlog
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import PollerBehaviorAutoscaling, UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.delivery import DeliveryActivities
from activities.engine import EngineActivities
from activities.providers import ProviderActivities
from activities.records import RecordActivities
from activities.upkeep import UpkeepActivities
from genpulse import failpoints, telemetry
from genpulse.assets import Assets
from genpulse.calls import Calls
from genpulse.catalog import Catalog, engine_models, load_catalog
from genpulse.circuits import Circuits
from genpulse.db import Database, utc_now
from genpulse.dispatch import Dispatcher
from genpulse.limits import limiter
from genpulse.links import CloudLinks
from genpulse.media import MediaLimits
from genpulse.net import http_client
from genpulse.providers.registry import open_accounts
from genpulse.records import Records
from genpulse.schemas.engine import Engine
from genpulse.schemas.queues import (
    ENGINE_QUEUE,
    FAKE_QUEUE,
    PROVIDER_QUEUES,
    QUEUES,
    UPKEEP_QUEUE,
    WEBHOOK_QUEUE,
    WORKFLOW_QUEUE,
    provider_queue,
)
from genpulse.security import link_signer, sealer
from genpulse.settings import Settings
from genpulse.storage import Storage
from genpulse.sweep import Sweeper
from genpulse.temporal import TemporalConnection
from genpulse.upkeep import Reconciler, Retention, keep_schedule
from genpulse.webhooks.deliveries import Deliveries
from genpulse.webhooks.endpoints import Endpoints
from workflows.delivery import DeliveryWorkflow
from workflows.generation import GenerationWorkflow
from workflows.upkeep import UpkeepWorkflow

_RECONNECT_SECONDS = 2.0
#: Cancellation reaches an activity with the answer to a heartbeat, so heartbeats must not be held back for long.
_HEARTBEAT_THROTTLE = timedelta(seconds=2)
_TAKE_OVER_AFTER = timedelta(seconds=5)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Services:
    """What activities work with; built once per process."""

    settings: Settings
    database: Database
    storage: Storage
    records: Records
    assets: Assets
    catalog: Catalog


async def run_worker(settings: Settings, queues: Sequence[str]) -> None:
    """Work on these task queues until SIGTERM or SIGINT; then take no new work and finish, or hand back, what runs."""
    telemetry.configure(settings, service="genpulse-worker")
    failpoints.arm_from(settings.failpoints.folder)
    stop = _stop_on_signal()
    connection = TemporalConnection(settings.temporal, tracing=telemetry.is_tracing(settings))
    async with AsyncExitStack() as stack:
        services = await _services(settings, stack)
        builders = [build for queue in queues for build in await _builders(queue, services, stack)]
        client = await _connected(connection, stop)
        if client is None:
            return
        if WORKFLOW_QUEUE in queues:
            await _start_upkeep(services, connection, stack)
        workers = [await stack.enter_async_context(build(client)) for build in builders]
        gc.collect()
        gc.freeze()  # as in the API: collections need not walk what stays
        log.info("worker.ready", queues=list(queues), version=_version(settings))
        await stop.wait()
        log.info("worker.stopping", queues=list(queues))
        # All at once: one after the other each would have its grace, and those that wait for it would take new work.
        await asyncio.gather(*(one.shutdown() for one in workers))
    log.info("worker.stopped", queues=list(queues))


def _stop_on_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _connected(connection: TemporalConnection, stop: asyncio.Event) -> Client | None:
    """The client, once Temporal answers; None when told to stop before."""
    while not stop.is_set():
        try:
            return await connection()
        except RuntimeError as error:
            log.warning("worker.waiting_for_temporal", reason=str(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _RECONNECT_SECONDS)
    return None


async def _services(settings: Settings, stack: AsyncExitStack) -> Services:
    database = Database(settings.database_url, pool_size=settings.database.pool_size)
    stack.push_async_callback(database.dispose)
    client = await stack.enter_async_context(http_client(allow_private=settings.network.allow_private))
    storage = Storage.from_settings(settings)
    limits = MediaLimits(**settings.uploads.model_dump())
    return Services(
        settings=settings,
        database=database,
        storage=storage,
        records=Records(database),
        assets=Assets(database, storage, client, limits),
        catalog=load_catalog(engine_models(settings.engine.models), settings.providers, settings.credits),
    )


async def _start_upkeep(services: Services, connection: TemporalConnection, stack: AsyncExitStack) -> None:
    """Besides workflows: take over what an API process accepted before it died, and have upkeep run again and again."""
    dispatcher = Dispatcher(
        services.database,
        connection,
        interval=_TAKE_OVER_AFTER,
        min_age=_TAKE_OVER_AFTER,
        budgets=services.settings.budgets,
    )
    for work in (dispatcher.run(), keep_schedule(connection, services.settings.upkeep)):
        stack.push_async_callback(_cancelled, asyncio.create_task(work))


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


WorkerBuilder = Callable[[Client], Worker]


async def _builders(queue: str, services: Services, stack: AsyncExitStack) -> list[WorkerBuilder]:
    """Prepare all that a queue's worker needs, so that it polls only when it can work. Some names stand for several."""
    grace = timedelta(seconds=services.settings.worker.graceful_seconds)
    if queue == WORKFLOW_QUEUE:
        return [lambda client: _workflow_worker(client, services, grace)]
    if queue == WEBHOOK_QUEUE:
        return [await _webhook_builder(services, grace, stack)]
    if queue == UPKEEP_QUEUE:
        return [lambda client: _upkeep_worker(client, services, grace)]
    if clouds := _clouds_of(queue, services.settings):
        return await _provider_builders(clouds, services, grace, stack)
    if fnmatchcase(queue, PROVIDER_QUEUES):
        log.warning("worker.no_account", queue=queue)
        return []
    engine, threads, at_once = await _engine(queue, services, stack)
    activities = EngineActivities(services.records, services.assets, services.catalog, engine, threads)
    return [
        lambda client: Worker(
            client,
            task_queue=queue,
            activities=[activities.run],
            max_concurrent_activities=at_once,
            max_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
            default_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
            graceful_shutdown_timeout=grace,
        )
    ]


def _clouds_of(queue: str, settings: Settings) -> list[str]:
    """The clouds with an account here whose calls this queue, or pattern of queues, carries."""
    return [cloud for cloud in sorted(settings.providers) if queue in (PROVIDER_QUEUES, provider_queue(cloud))]


def _workflow_worker(client: Client, services: Services, grace: timedelta) -> Worker:
    records = RecordActivities(services.records)
    return Worker(
        client,
        task_queue=WORKFLOW_QUEUE,
        workflows=[GenerationWorkflow, DeliveryWorkflow, UpkeepWorkflow],
        activities=[records.submit_step, records.park, records.resume, records.expire, records.finish],
        no_remote_activities=True,
        workflow_runner=SandboxedWorkflowRunner() if services.settings.worker.sandbox else UnsandboxedWorkflowRunner(),
        max_cached_workflows=2000,
        graceful_shutdown_timeout=grace,
        deployment_config=deployment(services.settings),
    )


def deployment(settings: Settings) -> WorkerDeploymentConfig | None:
    """Which version of the workflows' code this is; for workers that run workflows, and for them alone.

    A run ends on the version on which it began (docs/decisions/0015-versions-of-workflows.md). Activities have no
    version: the steps of all runs go to whoever has the device or the account.
    """
    if not settings.worker.deployment_name:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.worker.deployment_name, settings.worker.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )


def _version(settings: Settings) -> str | None:
    """As Temporal's commands and lists name it."""
    worker = settings.worker
    return f"{worker.deployment_name}:{worker.build_id}" if worker.deployment_name else None


async def _webhook_builder(services: Services, grace: timedelta, stack: AsyncExitStack) -> WorkerBuilder:
    settings = services.settings
    private = settings.network.allow_private
    deliveries = Deliveries(
        database=services.database,
        endpoints=Endpoints(sealer(settings.security), private),
        client=await stack.enter_async_context(http_client(allow_private=private)),
        now=utc_now,
    )
    activities = DeliveryActivities(deliveries)
    return lambda client: Worker(
        client,
        task_queue=WEBHOOK_QUEUE,
        activities=[activities.attempt],
        max_concurrent_activities=settings.worker.webhook_concurrency,
        activity_task_poller_behavior=PollerBehaviorAutoscaling(minimum=1, initial=1, maximum=5),
        graceful_shutdown_timeout=grace,
    )


def _upkeep_worker(client: Client, services: Services, grace: timedelta) -> Worker:
    async def connected() -> Client:
        return client

    settings, database = services.settings, services.database
    kept_for = timedelta(days=settings.budgets.dead_letter_days)
    duties = UpkeepActivities(
        Reconciler(database, connected, kept_for=kept_for),
        Sweeper(database, services.storage),
        Retention(database, settings.retention),
    )
    return Worker(
        client,
        task_queue=UPKEEP_QUEUE,
        activities=duties.all(),
        max_concurrent_activities=1,
        graceful_shutdown_timeout=grace,
    )


async def _provider_builders(
    clouds: Sequence[str], services: Services, grace: timedelta, stack: AsyncExitStack
) -> list[WorkerBuilder]:
    """A worker for each cloud; they share the limits."""
    settings = services.settings
    activities = ProviderActivities(
        calls=Calls(services.database, services.records),
        records=services.records,
        assets=services.assets,
        catalog=services.catalog,
        accounts=await stack.enter_async_context(open_accounts(settings)),
        limiter=await stack.enter_async_context(limiter(settings)),
        circuits=Circuits(services.database),
        links=CloudLinks(settings.server.public_url, link_signer(settings.security)),
        now=utc_now,
    )
    return [partial(_provider_worker, cloud, activities, settings, grace) for cloud in clouds]


def _provider_worker(
    cloud: str, activities: ProviderActivities, settings: Settings, grace: timedelta, client: Client
) -> Worker:
    return Worker(
        client,
        task_queue=provider_queue(cloud),
        activities=[activities.submit, activities.poll, activities.cancel],
        max_concurrent_activities=settings.worker.provider_concurrency,
        # Most of a score of clouds are idle most of the time.
        activity_task_poller_behavior=PollerBehaviorAutoscaling(minimum=1, initial=1, maximum=5),
        max_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
        default_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
        graceful_shutdown_timeout=grace,
    )


async def _engine(queue: str, services: Services, stack: AsyncExitStack) -> tuple[Engine, Executor, int]:
    """The queue's engine, the threads it runs in, and how many steps at once."""
    if queue == FAKE_QUEUE:
        from engine.fake import FakeEngine

        at_once = services.settings.worker.fake_concurrency
        return FakeEngine(), stack.enter_context(ThreadPoolExecutor(at_once)), at_once
    if queue != ENGINE_QUEUE:
        raise ValueError(f"There is no queue {queue!r}; there are {', '.join(QUEUES)}.")
    from engine.local import LocalEngine

    settings = services.settings
    engine = LocalEngine(
        engine_models(settings.engine.models),
        cache_bytes=settings.engine.cache_megabytes * 2**20,
        offline=settings.engine.offline,
        device=settings.engine.device,
        cache_dir=settings.data_dir.absolute() / "cache",
    )
    await asyncio.to_thread(engine.warm_up)
    # Two steps at once on one device: while one computes, the other fetches its inputs or stores its outputs.
    return engine, stack.enter_context(ThreadPoolExecutor(2)), 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of `python worker.py`."""
    parser = argparse.ArgumentParser(description="Run GenPulse workers.")
    parser.add_argument("--queues", default=",".join(QUEUES), help="comma-separated task queues (default: all)")
    queues = parser.parse_args(arguments).queues.split(",")
    asyncio.run(run_worker(Settings(), queues))


if __name__ == "__main__":
    main()
