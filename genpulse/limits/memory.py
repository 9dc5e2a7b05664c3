"""The limiter of a single process; the twin of limits.lua, step by step."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from genpulse.limits.contract import GRACE, LEASE, MICROSECOND, RECHECK, AccountLimits, Limiter, LimiterState, Permit


@dataclass(frozen=True)
class _Turn:
    due: int  # when the token will be there
    rank: int  # the first promise: who asked earlier goes first, also when late


@dataclass
class _Account:
    """All times are whole microseconds, so that no rounding lets one request too many through."""

    full_at: int = 0  # when the bucket will be full: each token taken moves it by one interval
    open_at: int = 0  # end of the pause
    places: dict[str, int] = field(default_factory=dict)  # jobs in flight and the ends of their leases
    turns: dict[str, _Turn] = field(default_factory=dict)  # jobs that wait for a token
    line: dict[str, int] = field(default_factory=dict)  # jobs that wait for a place and when they look again


class MemoryLimiter(Limiter):
    """Counts within this process, for one event loop."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, lease: timedelta = LEASE, grace: timedelta = GRACE
    ) -> None:
        self._clock = clock
        self._lease = lease // MICROSECOND
        self._grace = grace // MICROSECOND
        self._accounts: defaultdict[str, _Account] = defaultdict(_Account)

    async def acquire(self, account: str, job: str, limits: AccountLimits) -> Permit:
        held, now = self._accounts[account], self._now()
        self._forget(held, now)
        at = self._earliest(held, now, job, limits)
        if at <= now:
            held.full_at = max(held.full_at, now) + limits.interval
            held.places[job] = now + self._lease
            held.turns.pop(job, None)
            held.line.pop(job, None)
        return Permit(max(at - now, 0) * MICROSECOND)

    async def release(self, account: str, job: str) -> None:
        held = self._accounts[account]
        for jobs in (held.places, held.turns, held.line):
            jobs.pop(job, None)

    async def keep(self, account: str, job: str) -> None:
        self._accounts[account].places[job] = self._now() + self._lease

    async def pause(self, account: str, seconds: float) -> None:
        held = self._accounts[account]
        held.open_at = max(held.open_at, self._now() + math.ceil(seconds * 1_000_000))

    async def state(self, account: str, limits: AccountLimits) -> LimiterState:
        held, now = self._accounts[account], self._now()
        self._forget(held, now)
        return LimiterState.of(
            limits, until_full=held.full_at - now, in_flight=len(held.places), until_open=held.open_at - now
        )

    def _now(self) -> int:
        return round(self._clock() * 1_000_000)

    def _forget(self, held: _Account, now: int) -> None:
        held.places = {job: end for job, end in held.places.items() if end > now}
        held.turns = {job: turn for job, turn in held.turns.items() if turn.due > now - self._lease}
        held.line = {job: at for job, at in held.line.items() if at > now - self._lease}

    def _earliest(self, held: _Account, now: int, job: str, limits: AccountLimits) -> int:
        """When the job should ask again; not after now if it may go ahead."""
        start = max(now, held.open_at)
        turn = held.turns.get(job)
        if turn and turn.due > start:
            return turn.due
        if job not in held.places and not self._has_place(held, now, job, limits):
            held.turns.pop(job, None)
            held.line[job] = now  # counts itself
            waiting = self._in_line(held, now)
            held.line[job] = max(start, now + self._pace(limits, waiting))
            return held.line[job]
        due = start
        if limits.interval:
            ahead = self._ahead(held, now, turn)
            due = max(start, max(start, held.full_at) + (ahead + 1 - limits.burst) * limits.interval)
        if due > now:
            held.turns[job] = _Turn(due, turn.rank if turn else due)
            held.line.pop(job, None)
        return due

    def _has_place(self, held: _Account, now: int, job: str, limits: AccountLimits) -> bool:
        if limits.concurrency is None:
            return True
        newcomer = job not in held.turns and job not in held.line
        return limits.concurrency - len(held.places) > (self._in_line(held, now) if newcomer else 0)

    def _in_line(self, held: _Account, now: int) -> int:
        return sum(at >= now - self._grace for at in held.line.values())

    def _pace(self, limits: AccountLimits, waiting: int) -> int:
        places = limits.concurrency or 1
        return (RECHECK // MICROSECOND) * max(places, waiting) // places

    def _ahead(self, held: _Account, now: int, turn: _Turn | None) -> int:
        """How many tokens are spoken for: for a newcomer all, for others those of who goes first and is not late."""
        if turn is None:
            return sum(other.due >= now - self._grace for other in held.turns.values())
        return sum(other.rank < turn.rank and other.due >= now for other in held.turns.values())
