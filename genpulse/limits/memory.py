"""The limiter of a single process; the twin of limits.lua, step by step."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

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

_RECHECK = RECHECK // MICROSECOND

#: By so many little steps tenants begin apart; the shortest turn is of a thousand.
_APART = 100

#: Within its tenant: the priority, then who asked earlier.
_Rank = tuple[int, int]


@dataclass(frozen=True)
class _Waiting:
    """A job that comes again at `at`: because its token will be there, or to look for a place."""

    at: int
    tenant: str
    rank: _Rank


_Queue = dict[str, _Waiting]


@dataclass
class _Account:
    """All times are whole microseconds, so that no rounding lets one request too many through."""

    full_at: int = 0  # when the bucket will be full: each token taken moves it by one interval
    open_at: int = 0  # end of the pause
    places: dict[str, int] = field(default_factory=dict)  # jobs in flight and the ends of their leases
    turns: _Queue = field(default_factory=dict)  # jobs that wait for a token
    line: _Queue = field(default_factory=dict)  # jobs that wait for a place
    asked: int = 0  # how many have asked, which numbers them
    virtual: int = 0  # the tag of the last one served
    tags: dict[str, int] = field(default_factory=dict)  # of each tenant's next job; the smallest goes first
    costs: dict[str, int] = field(default_factory=dict)  # by how much each grant moves a tenant's tag
    looks: dict[tuple[str, int], int] = field(default_factory=dict)  # the last one of each tenant and priority

    def last(self, share: Share) -> _Rank:
        """The rank of one who asks now."""
        return share.order, self.asked

    def join(self, queue: _Queue, job: str, waiting: _Waiting) -> None:
        self.leave(job)
        self.asked += 1
        queue[job] = waiting

    def leave(self, job: str) -> None:
        self.turns.pop(job, None)
        self.line.pop(job, None)


class MemoryLimiter(Limiter):
    """Counts within this process, for one event loop."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, lease: timedelta = LEASE, grace: timedelta = GRACE
    ) -> None:
        self._clock = clock
        self._lease = lease // MICROSECOND
        self._grace = grace // MICROSECOND
        self._accounts: defaultdict[str, _Account] = defaultdict(_Account)

    async def acquire(self, account: str, job: str, limits: AccountLimits, *, share: Share) -> Permit:
        held, now = self._accounts[account], self._now()
        self._forget(held, now)
        self._enter(held, now, share)
        at = self._earliest(held, now, job, limits, share)
        if at <= now:
            held.full_at = max(held.full_at, now) + limits.interval
            held.places[job] = now + self._lease
            held.leave(job)
            held.virtual = max(held.virtual, held.tags[share.tenant])
            held.tags[share.tenant] += share.cost
        return Permit(max(at - now, 0) * MICROSECOND)

    async def release(self, account: str, job: str) -> None:
        held = self._accounts[account]
        held.places.pop(job, None)
        held.leave(job)

    async def keep(self, account: str, job: str) -> bool:
        places = self._accounts[account].places
        had_one = job in places
        places[job] = self._now() + self._lease
        return had_one

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
        held.turns = {job: one for job, one in held.turns.items() if one.at > now - self._lease}
        held.line = {job: one for job, one in held.line.items() if one.at > now - self._lease}
        if not held.turns and not held.line:
            held.tags = {tenant: tag for tenant, tag in held.tags.items() if tag > held.virtual}
            held.costs, held.looks = {}, {}

    def _enter(self, held: _Account, now: int, share: Share) -> None:
        """A tenant of which nobody waits begins where the others are: it has saved up nothing while it was away."""
        held.costs[share.tenant] = share.cost
        tag = held.tags.get(share.tenant)
        if tag is not None and tag >= held.virtual + _APART:
            return
        waiting = [one for queue in (held.turns, held.line) for one in queue.values() if one.at >= now - self._grace]
        if not any(one.tenant == share.tenant for one in waiting):
            held.asked += 1
            begin = held.virtual + held.asked % _APART  # in the order in which they come, and not as equals
            held.tags[share.tenant] = max(tag or 0, begin)

    def _earliest(self, held: _Account, now: int, job: str, limits: AccountLimits, share: Share) -> int:
        """When the job should ask again; not after now if it may go ahead."""
        start = max(now, held.open_at)
        turn = held.turns.get(job)
        if turn and turn.at > start:
            return turn.at
        if job not in held.places and not self._has_place(held, now, job, limits, share):
            return self._look_later(held, now, job, limits, share)
        if not limits.interval:
            return start
        if turn:  # those ahead that come later have tokens of their own
            here = [one for one in held.turns.values() if one.at <= now]
            index, others = _expected(here, share, turn.rank, self._since(now, turn))
            if _due(held, start, limits, _ahead(held, share, index, others)) <= now:
                return now
        rank = turn.rank if turn else held.last(share)
        index, others = _expected(held.turns.values(), share, rank, self._since(now, turn))
        due = _due(held, start, limits, _ahead(held, share, index, others))
        if due > now:
            held.join(held.turns, job, _Waiting(due, share.tenant, rank))
        return due

    def _has_place(self, held: _Account, now: int, job: str, limits: AccountLimits, share: Share) -> bool:
        """Whether more are free than are left to those who go before: for a newcomer all, for others who looks next."""
        if limits.concurrency is None:
            return True
        free = limits.concurrency - len(held.places)
        if free <= 0:
            return False
        waiting = held.turns.get(job) or held.line.get(job)
        if waiting is None:
            index, others = _expected(held.line.values(), share, held.last(share), self._since(now, None))
            return free > _ahead(held, share, index, others)
        since, until = self._since(now, waiting), now + _RECHECK // limits.concurrency
        soon = [one for one in held.line.values() if one.at <= until]
        index, others = _expected(soon, share, (share.order, -1), since)  # of equals any may have it
        return free > _ahead(held, share, index, others)

    def _since(self, now: int, waiting: _Waiting | None) -> int:
        """Who should have come before this is late: newcomers wait for them a while, others only for who is later."""
        return max(min(waiting.at, now), now - self._grace) if waiting else now - self._grace

    def _look_later(self, held: _Account, now: int, job: str, limits: AccountLimits, share: Share) -> int:
        """Have it look for a place after the others of its tenant, which has its share of all looks."""
        waiting = held.line.get(job)
        if waiting and waiting.at > max(now, held.open_at):
            return waiting.at
        held.leave(job)
        own, others = _expected(held.line.values(), share, held.last(share), now - self._grace)
        between = sum(min(n * _RECHECK, _RECHECK * share.cost // held.costs[one]) for one, n in others.items())
        gap = (_RECHECK + between) // (limits.concurrency or 1)
        last = min(held.looks.get((share.tenant, share.order), 0), now + own * gap)
        look = max(now + _RECHECK, last + gap)
        held.looks[share.tenant, share.order] = look
        at = max(look, held.open_at)
        held.join(held.line, job, _Waiting(at, share.tenant, held.last(share)))
        return at


def _due(held: _Account, start: int, limits: AccountLimits, ahead: int) -> int:
    """When there will be a token for one with so many ahead."""
    return max(start, max(start, held.full_at) + (ahead + 1 - limits.burst) * limits.interval)


def _expected(queue: Iterable[_Waiting], share: Share, rank: _Rank, since: int) -> tuple[int, Counter[str]]:
    """How many of the tenant go before that rank, and how many of each other wait. Who is late by then is left out."""
    expected = [one for one in queue if one.at >= since]
    index = sum(one.tenant == share.tenant and one.rank < rank for one in expected)
    return index, Counter(one.tenant for one in expected if one.tenant != share.tenant)


def _ahead(held: _Account, share: Share, index: int, others: Counter[str]) -> int:
    """How many go before the tenant's next but `index`: those, and of each other tenant all with a smaller tag."""
    tag, ahead = held.tags[share.tenant] + index * share.cost, index
    for tenant, count in others.items():
        ahead += max(0, min(count, -((held.tags[tenant] - tag) // held.costs[tenant])))
    return ahead
