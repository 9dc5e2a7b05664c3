"""Everything that a storm goes over, as real processes: what can be killed in it, and how it comes back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import httpx
from pydantic import SecretStr
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from genpulse.schemas.queues import WORKFLOW_QUEUE
from genpulse.settings import DatabaseSettings, Settings, StorageSettings
from genpulse.stack import EmbeddedStack, Ports, embedded_stack
from genpulse.stack.ports import free_ports
from tests.faults.storm.plan import PRICE, Plan, unpriced_models
from tests.servers.postgres import PostgresServer, postgres_server
from tests.servers.s3 import S3Server, s3_server
from tests.servers.valkey import ValkeyServer, valkey_server

_PATIENCE = 300.0
_PAUSE = 0.2
_ANSWERS_WITHIN = timedelta(seconds=2)
#: So that turns and places in flight have to be counted, in Valkey.
_LIMITS = {"KLING__RATE": "20", "KLING__BURST": "10", "DASHSCOPE__CONCURRENCY": "30", "VIDU__RATE": "10"}


async def until(look: Callable[[], Awaitable[bool]], *, seconds: float = _PATIENCE) -> None:
    """Return once something is true. Raises TimeoutError when that takes too long."""
    deadline = time.monotonic() + seconds
    while not await look():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(_PAUSE)


class Victim(ABC):
    """Something that is killed, and is there again after a pause."""

    name: ClassVar[str]

    @abstractmethod
    async def kill(self, pause: float) -> None:
        """End it without a warning; return once it is back."""


@dataclass(frozen=True)
class _Server(Victim):
    """One that somebody has to start again."""

    server: PostgresServer | ValkeyServer | S3Server

    async def kill(self, pause: float) -> None:
        await asyncio.to_thread(self._end)
        await asyncio.sleep(pause)
        await asyncio.to_thread(self.server.start)

    def _end(self) -> None:
        self.server.stop()


class _Postgres(_Server):
    name = "PostgreSQL (immediate stop)"

    def _end(self) -> None:
        assert isinstance(self.server, PostgresServer)
        self.server.stop_at_once()


class _Valkey(_Server):
    name = "Valkey"


class _Store(_Server):
    name = "object store"


@dataclass(frozen=True)
class _Process(Victim):
    """One that the stack starts again by itself. Killed only while it works, it is back when it does so again."""

    stack: EmbeddedStack
    process: ClassVar[str]

    async def kill(self, pause: float) -> None:
        """The pause is the stack's own."""
        await until(self._works)
        old = self.stack.pid(self.process)
        assert old is not None
        os.kill(old, signal.SIGKILL)
        await until(lambda: self._works(but=old))

    async def _works(self, but: int | None = None) -> bool:
        pid = self.stack.pid(self.process)
        return pid not in (None, but) and await self.answers(pid)

    @abstractmethod
    async def answers(self, pid: int) -> bool:
        """Whether it does its work."""


class _Temporal(_Process):
    name, process = "Temporal (file database)", "temporal"

    async def answers(self, pid: int) -> bool:
        try:
            client = await Client.connect(self.stack.temporal_address)
            return await client.service_client.check_health(timeout=_ANSWERS_WITHIN)
        except (RPCError, RuntimeError):
            return False


class _Api(_Process):
    name, process = "API", "api"

    async def answers(self, pid: int) -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{self.stack.api_url}/healthz")).is_success
        except httpx.TransportError:
            return False


class _Worker(_Process):
    name, process = "worker", "worker"

    async def answers(self, pid: int) -> bool:
        """Temporal knows who asks it for work."""
        ask = DescribeTaskQueueRequest(namespace="default", task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW)
        ask.task_queue.name = WORKFLOW_QUEUE
        try:
            client = await Client.connect(self.stack.temporal_address)
            queue = await client.workflow_service.describe_task_queue(ask, timeout=_ANSWERS_WITHIN)
        except (RPCError, RuntimeError):
            return False
        return any(poller.identity.startswith(f"{pid}@") for poller in queue.pollers)


@dataclass(frozen=True, kw_only=True)
class World:
    """The running product, and the servers under it."""

    stack: EmbeddedStack
    settings: Settings
    database: str
    victims: list[Victim]


@asynccontextmanager
async def running(plan: Plan) -> AsyncIterator[World]:
    """Start everything; stop everything at the end."""
    with ExitStack() as servers:
        folder = plan.folder or Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="genpulse-storm-")))
        postgres = servers.enter_context(postgres_server(durable=True))
        valkey = servers.enter_context(valkey_server())
        store = servers.enter_context(s3_server())
        url = await postgres.create_database()
        settings = Settings(
            data_dir=folder,
            database=DatabaseSettings(url=url),
            storage=StorageSettings(
                url=f"s3://{store.bucket}/storm",
                endpoint=store.endpoint,
                access_key=SecretStr(store.access_key),
                secret_key=SecretStr(store.secret_key),
            ),
        )
        (api,) = free_ports(1)
        async with embedded_stack(
            folder,
            ports=Ports(api=api),
            environment=_environment(api, url, valkey, store),
            simulate=True,
            niceness=0,  # beside other tests what is killed would else hardly get up again
        ) as stack:
            await stack.stop("worker-gpu")  # no model runs here
            processes: list[Victim] = [_Temporal(stack), _Api(stack), _Worker(stack)]
            victims = [_Postgres(postgres), _Valkey(valkey), _Store(store), *processes]
            yield World(stack=stack, settings=settings, database=url.replace("+asyncpg", ""), victims=victims)


def _environment(api: int, database: str, valkey: ValkeyServer, store: S3Server) -> dict[str, str]:
    limits = {f"GENPULSE_PROVIDERS__{name}": value for name, value in _LIMITS.items()}
    return limits | {
        "GENPULSE_DATABASE__URL": database,
        "GENPULSE_REDIS__URL": valkey.url,
        "GENPULSE_STORAGE__URL": f"s3://{store.bucket}/storm",
        "GENPULSE_STORAGE__ENDPOINT": store.endpoint,
        "GENPULSE_STORAGE__ACCESS_KEY": store.access_key,
        "GENPULSE_STORAGE__SECRET_KEY": store.secret_key,
        "GENPULSE_SERVER__PUBLIC_URL": f"http://127.0.0.1:{api}",
        # All of it has to be paid for, so all of it needs a price.
        "GENPULSE_CREDITS__PRICES": json.dumps(dict.fromkeys(unpriced_models(), PRICE)),
        "GENPULSE_TELEMETRY__LOG_LEVEL": "warning",
    }
