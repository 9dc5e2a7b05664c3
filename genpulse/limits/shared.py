"""The limiter of all processes, in Redis or Valkey."""

from __future__ import annotations

import math
from datetime import timedelta
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

from genpulse.errors import DependencyDown
from genpulse.failpoints import Failpoint
from genpulse.limits.contract import (
    GRACE,
    LEASE,
    MICROSECOND,
    RECHECK,
    AccountLimits,
    Limiter,
    LimiterState,
    Permit,
)
from genpulse.schemas.shares import Share

_ANSWER_SECONDS = 2.0
#: The script's keys, in its order.
_PARTS = ("bucket", "places", "jobs", "tags", "costs", "looks", "turns-at", "turns-who", "line-at", "line-who")
_SCRIPT = files(__package__).joinpath("limits.lua").read_text(encoding="utf-8")


def connect(url: str) -> Redis:
    """Connections that fail soon: who asks can wait better than a socket can.

    A connection that broke while it rested is replaced once. At worst this takes a second token for the same request.
    """
    return Redis.from_url(
        url,
        socket_timeout=_ANSWER_SECONDS,
        socket_connect_timeout=_ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
    )


class RedisLimiter(Limiter):
    """Counts in Redis, by its clock. An account's keys share a hash tag, so that a cluster keeps them together."""

    def __init__(
        self, client: Redis, *, prefix: str = "genpulse:limits", lease: timedelta = LEASE, grace: timedelta = GRACE
    ) -> None:
        self._script = client.register_script(_SCRIPT)  # sent again when the server has forgotten it
        self._prefix = prefix
        self._lease = lease // MICROSECOND
        self._grace = grace // MICROSECOND

    @Failpoint("limits.acquire")
    async def acquire(self, account: str, job: str, limits: AccountLimits, *, share: Share) -> Permit:
        patience = (self._lease, self._grace, RECHECK // MICROSECOND)
        allowed = (limits.interval, limits.burst, limits.concurrency or 0)
        asks = (share.tenant, share.order, share.cost)
        return Permit(await self._call(account, "acquire", job, *patience, *allowed, *asks) * MICROSECOND)

    @Failpoint("limits.release")
    async def release(self, account: str, job: str) -> None:
        await self._call(account, "release", job)

    @Failpoint("limits.keep")
    async def keep(self, account: str, job: str) -> bool:
        return bool(await self._call(account, "keep", job, self._lease))

    @Failpoint("limits.pause")
    async def pause(self, account: str, seconds: float) -> None:
        await self._call(account, "pause", math.ceil(seconds * 1_000_000))

    @Failpoint("limits.state")
    async def state(self, account: str, limits: AccountLimits) -> LimiterState:
        until_full, in_flight, until_open = await self._call(account, "state")
        return LimiterState.of(limits, until_full=until_full, in_flight=in_flight, until_open=until_open)

    async def _call(self, account: str, command: str, *values: str | int) -> Any:
        keys = [f"{self._prefix}:{{{account}}}:{part}" for part in _PARTS]
        try:
            return await self._script(keys=keys, args=[command, *values])
        except (RedisError, OSError) as error:
            raise DependencyDown(
                "The count of requests (Redis) does not answer; nothing is sent until it does."
            ) from error
