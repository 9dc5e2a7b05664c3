"""What a limiter promises, whether it counts in Redis or in memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, Self

from genpulse.schemas.shares import Share

MICROSECOND = timedelta(microseconds=1)

#: A place in flight that is not renewed is free again after this: a worker that died must not block an account.
LEASE = timedelta(minutes=15)
#: How late a caller may come for its turn before newcomers get its token.
GRACE = timedelta(seconds=5)
#: About one caller a place looks again this often when all places are taken, however many wait.
RECHECK = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class AccountLimits:
    """What an account at a provider allows."""

    rate: float | None  # requests per second; None: unlimited
    burst: int = 1  # requests that may come at once
    concurrency: int | None = None  # jobs in flight; None: unlimited

    def __post_init__(self) -> None:
        if any(limit is not None and limit <= 0 for limit in (self.rate, self.burst, self.concurrency)):
            raise ValueError(f"limits must be positive: {self}")

    @property
    def interval(self) -> int:
        """Microseconds in which a token grows, rounded up so that the rate is never exceeded; 0 without a rate."""
        return math.ceil(1_000_000 / self.rate) if self.rate else 0


@dataclass(frozen=True)
class Permit:
    """Granted: go ahead; or not yet."""

    wait: timedelta  # zero: granted

    @property
    def granted(self) -> bool:
        return not self.wait


@dataclass(frozen=True, kw_only=True)
class LimiterState:
    """An account at this instant."""

    tokens: int | None  # None: unlimited
    in_flight: int
    paused: timedelta  # zero: not paused

    @classmethod
    def of(cls, limits: AccountLimits, *, until_full: int, in_flight: int, until_open: int) -> Self:
        """From what both limiters know, in microseconds from now; what is past is negative."""
        missing = -(-max(until_full, 0) // limits.interval) if limits.interval else 0
        return cls(
            tokens=max(limits.burst - missing, 0) if limits.interval else None,
            in_flight=in_flight,
            paused=max(until_open, 0) * MICROSECOND,
        )


class Limiter(Protocol):
    """Counts what is sent to each account. Every method raises DependencyDown while the count cannot be reached."""

    async def acquire(self, account: str, job: str, limits: AccountLimits, *, share: Share) -> Permit:
        """Take a token, and a place in flight for the job unless it holds one: both or neither.

        A refused caller has a turn: it should ask again after `wait`, which is when its token will be there. Asking
        earlier returns the rest of the wait. A caller that is late keeps its rank, but not the token, which others may
        take. Where only a place is missing there is no turn; callers look again, spread over time, before newcomers.

        Tenants that wait are served in fair turns, in proportion to their weights; within a tenant the more urgent goes
        first, then who asked first. A newcomer of a tenant that has had less goes before others that were promised a
        token: these wait again when they come.
        """
        ...

    async def release(self, account: str, job: str) -> None:
        """Give the job's place and turn back: it is over. Harmless when repeated."""
        ...

    async def keep(self, account: str, job: str) -> bool:
        """Renew the lease of a job that is still in flight; a place that was lost with the count is taken again.

        Return whether it had one: where not, it may have been given back, and the job be over.
        """
        ...

    async def pause(self, account: str, seconds: float) -> None:
        """Let nobody send for so long, because the provider said so. A longer pause is never shortened."""
        ...

    async def state(self, account: str, limits: AccountLimits) -> LimiterState:
        """What is left at this instant."""
        ...
