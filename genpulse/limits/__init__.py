"""How fast and how much may be sent to one provider account, shared by all workers.

With Redis the account is shared by every process; without it by one, which is what the embedded stack has. When Redis
does not answer, spending stops: nothing falls back to memory, because two counts of one account would both be wrong.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from genpulse.limits.contract import (
    GRACE,
    LEASE,
    RECHECK,
    AccountLimits,
    Limiter,
    LimiterState,
    Permit,
)
from genpulse.limits.memory import MemoryLimiter
from genpulse.limits.shared import RedisLimiter, connect
from genpulse.schemas.shares import Share
from genpulse.settings import Settings

__all__ = [
    "GRACE",
    "LEASE",
    "RECHECK",
    "AccountLimits",
    "Limiter",
    "LimiterState",
    "MemoryLimiter",
    "Permit",
    "RedisLimiter",
    "Share",
    "limiter",
]


@asynccontextmanager
async def limiter(settings: Settings) -> AsyncIterator[Limiter]:
    """The limiter that the settings ask for. Opening it asks nothing of Redis: a worker may start before it."""
    if not settings.redis.url:
        yield MemoryLimiter()
        return
    async with connect(settings.redis.url) as client:
        yield RedisLimiter(client)
