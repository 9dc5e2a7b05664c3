"""How many requests a tenant may send in a minute: a bucket that holds as many, and fills up evenly (GCRA).

With Redis all API processes count together; without it each counts for itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Protocol, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

from genpulse.errors import DependencyDown
from genpulse.failpoints import Failpoint
from genpulse.settings import Settings

WINDOW_SECONDS = 60

_SECOND = 1_000_000
#: A count that comes late holds up every request, and is not worth it.
_ANSWER_SECONDS = 0.25
#: After a failure it is not asked for so long, so that one request in a while waits for it, and not all.
_REST_SECONDS = 1.0
_SCRIPT = files(__package__).joinpath("requests.lua").read_text(encoding="utf-8")
#: Tenants that a process remembers before it looks which of them have sent nothing for a minute.
_MANY = 10_000


@dataclass(frozen=True)
class _Bucket:
    """What a limit means in microseconds: in which time one request more may come, and as many as may come at once."""

    interval: int
    window: int

    @classmethod
    def of(cls, per_minute: int) -> Self:
        interval = -(-WINDOW_SECONDS * _SECOND // per_minute)  # rounded up, so that the rate is never exceeded
        return cls(interval, interval * per_minute)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What came of asking for one request: whether it may go on, and what is left. Seconds are rounded up."""

    granted: bool
    remaining: int
    more_in: int
    """Seconds until there is one more."""

    @classmethod
    def of(cls, bucket: _Bucket, *, until_full: int, late: int) -> Self:
        """From what both counters know, in microseconds: `late` is how much too early the request came."""
        left = bucket.window - until_full
        wait = late or bucket.interval - left % bucket.interval
        remaining = 0 if late else left // bucket.interval
        return cls(granted=not late, remaining=remaining, more_in=math.ceil(wait / _SECOND))


class RequestCounter(Protocol):
    """Counts the requests of each tenant."""

    async def take(self, tenant_id: str, per_minute: int) -> Taken:
        """Take one request. Raises DependencyDown while the count cannot be reached."""
        ...


class MemoryRequests(RequestCounter):
    """Counts within this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_at: dict[str, int] = {}

    async def take(self, tenant_id: str, per_minute: int) -> Taken:
        bucket, now = _Bucket.of(per_minute), round(self._clock() * _SECOND)
        full_at = max(self._full_at.get(tenant_id, 0), now)
        late = full_at + bucket.interval - now - bucket.window
        if late > 0:
            return Taken.of(bucket, until_full=full_at - now, late=late)
        if len(self._full_at) >= _MANY:
            self._full_at = {one: at for one, at in self._full_at.items() if at > now}
        self._full_at[tenant_id] = full_at + bucket.interval
        return Taken.of(bucket, until_full=full_at + bucket.interval - now, late=0)


class RedisRequests(RequestCounter):
    """Counts in Redis or Valkey, by its clock."""

    def __init__(
        self, client: Redis, *, prefix: str = "genpulse:requests", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._script = client.register_script(_SCRIPT)  # sent again when the server has forgotten it
        self._prefix = prefix
        self._clock = clock
        self._rests_until = float("-inf")

    @Failpoint("limits.take")
    async def take(self, tenant_id: str, per_minute: int) -> Taken:
        if self._clock() < self._rests_until:
            raise DependencyDown("The count of requests (Redis) did not answer a moment ago.")
        bucket = _Bucket.of(per_minute)
        try:
            until_full, late = await self._script(
                keys=[f"{self._prefix}:{tenant_id}"], args=[bucket.interval, bucket.window]
            )
        except (RedisError, OSError) as error:
            self._rests_until = self._clock() + _REST_SECONDS
            raise DependencyDown("The count of requests (Redis) does not answer.") from error
        return Taken.of(bucket, until_full=until_full, late=late)


@asynccontextmanager
async def request_counter(settings: Settings) -> AsyncIterator[RequestCounter]:
    """The counter that the settings ask for. Opening it asks nothing of Redis."""
    if not settings.redis.url:
        yield MemoryRequests()
        return
    client = Redis.from_url(
        settings.redis.url,
        socket_timeout=_ANSWER_SECONDS,
        socket_connect_timeout=_ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
    )
    async with client:
        yield RedisRequests(client)
