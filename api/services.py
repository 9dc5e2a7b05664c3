"""What requests are answered with: built once per application, and taken down in reverse order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from api.metrics import Metrics
from api.stopping import on_stop_signal
from genpulse import failpoints, telemetry
from genpulse.assets import Assets
from genpulse.catalog import Catalog, engine_models, load_catalog
from genpulse.circuits import Circuits
from genpulse.codec import EncryptionCodec
from genpulse.db import Database
from genpulse.dispatch import Dispatcher
from genpulse.health import HealthWatch
from genpulse.keyring import KeyRing
from genpulse.limits import Limiter, limiter
from genpulse.limits.requests import RequestCounter, request_counter
from genpulse.media import MediaLimits
from genpulse.net import http_client
from genpulse.providers.registry import Accounts, open_accounts
from genpulse.security import key_digester, link_signer, sealer
from genpulse.settings import Settings
from genpulse.signing import LinkSigner
from genpulse.storage import Storage
from genpulse.temporal import TemporalConnection
from genpulse.tenancy import TenantKeys
from genpulse.watch import Watch
from genpulse.webhooks.endpoints import Endpoints


@dataclass(frozen=True, kw_only=True)
class Services:
    """The core, as the API uses it. None of it needs its server to be up when it is built."""

    settings: Settings
    database: Database
    storage: Storage
    assets: Assets
    catalog: Catalog
    temporal: TemporalConnection
    codec: EncryptionCodec | None
    accounts: Accounts
    limiter: Limiter
    circuits: Circuits
    health: HealthWatch
    dispatcher: Dispatcher
    watch: Watch
    keys: KeyRing
    tenant_keys: TenantKeys
    requests: RequestCounter
    signer: LinkSigner
    endpoints: Endpoints
    metrics: Metrics


@asynccontextmanager
async def running(settings: Settings, metrics: Metrics) -> AsyncIterator[Services]:
    """Build the services, deliver what was accepted while they are in use, and let go of everything at the end."""
    failpoints.arm_from(settings.failpoints.folder)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, telemetry.flush)
        database = Database(settings.database_url, pool_size=settings.database.pool_size)
        stack.push_async_callback(database.dispose)
        keys = KeyRing(settings.security, database)
        stack.push_async_callback(keys.close)
        storage = Storage.from_settings(settings)
        client = await stack.enter_async_context(http_client(allow_private=settings.network.allow_private))
        temporal = TemporalConnection(settings.temporal, tracing=telemetry.is_tracing(settings))
        dispatcher = Dispatcher(database, temporal, budgets=settings.budgets)
        await stack.enter_async_context(_in_background(dispatcher))
        watch = Watch(database)
        stack.push_async_callback(watch.close)
        stack.enter_context(on_stop_signal(watch.stop))
        catalog = load_catalog(engine_models(settings.engine.models), settings.providers, settings.credits)
        circuits = Circuits(database)
        yield Services(
            settings=settings,
            database=database,
            storage=storage,
            assets=Assets(database, storage, client, MediaLimits(**settings.uploads.model_dump())),
            catalog=catalog,
            temporal=temporal,
            codec=EncryptionCodec.of(settings.temporal),
            # Asked for nothing but the keys that clouds sign their callbacks with.
            accounts=await stack.enter_async_context(open_accounts(settings)),
            limiter=await stack.enter_async_context(limiter(settings)),
            circuits=circuits,
            health=HealthWatch(catalog, circuits, temporal),
            dispatcher=dispatcher,
            watch=watch,
            keys=keys,
            tenant_keys=TenantKeys(key_digester(settings.security)),
            requests=await stack.enter_async_context(request_counter(settings)),
            signer=link_signer(settings.security),
            endpoints=Endpoints(sealer(settings.security), settings.network.allow_private),
            metrics=metrics,
        )


@asynccontextmanager
async def _in_background(dispatcher: Dispatcher) -> AsyncIterator[None]:
    task = asyncio.create_task(dispatcher.run(), name="dispatcher")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
