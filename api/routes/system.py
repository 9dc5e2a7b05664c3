"""Is it alive, is it ready, what has it done: for those who run it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Literal

import structlog
from fastapi import APIRouter, Response
from pydantic import BaseModel

from api.deps import ServicesDep
from api.metrics import CONTENT_TYPE
from api.openapi import problems
from api.routing import OpenRoute
from api.services import Services
from genpulse.errors import DependencyDown
from genpulse.migrations import is_current

_PATIENCE_SECONDS = 3.0

log = structlog.get_logger(__name__)
router = APIRouter(tags=["system"], route_class=OpenRoute, responses=problems(422))


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Dependency(BaseModel):
    """One server that this one needs. `reason` is null while it is up."""

    status: Literal["up", "down"]
    latency_ms: float
    reason: str | None


class Readiness(BaseModel):
    """Everything that a submission needs is there."""

    status: Literal["ready"]
    dependencies: dict[str, Dependency]


@router.get("/healthz")
async def healthz() -> Health:
    """The process is alive, whatever its dependencies do. For liveness probes."""
    return Health(status="ok")


@router.get("/readyz", responses=problems(503))
async def readyz(services: ServicesDep) -> Readiness:
    """A submission would be accepted and would run. The 503 says in `details` which dependency is down."""
    checks = {"database": _database, "storage": _storage, "temporal": _temporal}
    results = await asyncio.gather(*(_look(name, check(services)) for name, check in checks.items()))
    found = dict(zip(checks, results, strict=True))
    down = [f"{name} ({one.reason})" for name, one in found.items() if one.status == "down"]
    if down:
        raise DependencyDown(
            f"Not ready: {', '.join(down)}.",
            dependencies={name: one.model_dump() for name, one in found.items()},
        )
    return Readiness(status="ready", dependencies=found)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(services: ServicesDep) -> Response:
    """Counters in Prometheus' text form."""
    return Response(services.metrics.page(), media_type=CONTENT_TYPE)


async def _look(name: str, check: Awaitable[None]) -> Dependency:
    begun = time.perf_counter()
    reason = None
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await check
    except TimeoutError:
        reason = f"no answer within {_PATIENCE_SECONDS:g} s"
    except DependencyDown as error:
        reason = error.message
    except Exception as error:  # noqa: BLE001 - whatever a driver raises, its server cannot be used
        log.warning("readyz.failed", dependency=name, error=str(error))
        reason = "does not answer"
    latency = round((time.perf_counter() - begun) * 1000, 1)
    return Dependency(status="down" if reason else "up", latency_ms=latency, reason=reason)


async def _database(services: Services) -> None:
    if not await is_current(services.database.engine):
        raise DependencyDown("its schema is of another version; `genpulse migrate` brings it up to date")


async def _storage(services: Services) -> None:
    await services.storage.check()


async def _temporal(services: Services) -> None:
    client = await services.temporal()
    await client.service_client.check_health()
