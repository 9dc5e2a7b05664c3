"""Whether the servers that this one needs answer, and how fast."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from api.services import Services
from genpulse.errors import DependencyDown
from genpulse.failpoints import Failpoint
from genpulse.limits import AccountLimits
from genpulse.migrations import is_current
from genpulse.schemas.system import Dependency

_PATIENCE_SECONDS = 3.0
_LOOKING = Failpoint("api.probe")

log = structlog.get_logger(__name__)
Check = Callable[[Services], Awaitable[None]]


async def _database(services: Services) -> None:
    if not await is_current(services.database.engine):
        raise DependencyDown("its schema is of another version; `genpulse migrate` brings it up to date")


async def _storage(services: Services) -> None:
    await services.storage.check()


async def _temporal(services: Services) -> None:
    client = await services.temporal()
    await client.service_client.check_health()


async def _redis(services: Services) -> None:
    await services.limiter.state("readiness", AccountLimits(rate=None))


#: Without these no submission would run. Without Redis it runs, and waits before anything is spent.
NEEDED: dict[str, Check] = {"database": _database, "storage": _storage, "temporal": _temporal}


async def look_at(services: Services, checks: dict[str, Check]) -> dict[str, Dependency]:
    """Ask all of them at once."""
    results = await asyncio.gather(*(_look(name, check(services)) for name, check in checks.items()))
    return dict(zip(checks, results, strict=True))


async def look_at_all(services: Services) -> dict[str, Dependency]:
    """Everything that is configured."""
    return await look_at(services, NEEDED | ({"redis": _redis} if services.settings.redis.url else {}))


async def _look(name: str, check: Awaitable[None]) -> Dependency:
    begun = time.perf_counter()
    reason = None
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), _LOOKING:
            await check
    except TimeoutError:
        reason = f"no answer within {_PATIENCE_SECONDS:g} s"
    except DependencyDown as error:
        reason = error.message
    except Exception as error:  # noqa: BLE001 - whatever a driver raises, its server cannot be used
        log.warning("dependency.failed", dependency=name, error=str(error))
        reason = "does not answer"
    latency = round((time.perf_counter() - begun) * 1000, 1)
    return Dependency(status="down" if reason else "up", latency_ms=latency, reason=reason)
