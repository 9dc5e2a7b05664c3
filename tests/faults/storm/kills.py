"""Who is killed when: every server as often as every other, in an order by chance, one or two at a time."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tests.faults.storm.plan import Plan
from tests.faults.storm.world import Victim

T = TypeVar("T")

_AT_ONCE = 2
_TOGETHER = 0.25
"""So many of the kills come at the same moment as the one before."""
_SHORTEST, _LONGEST = 0.2, 3.0


@dataclass
class Killed:
    """How often each was killed, how long each was away, and when the last one was back."""

    times: Counter[str] = field(default_factory=Counter)
    away: dict[str, list[float]] = field(default_factory=dict)
    over_at: float = 0.0
    turns: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """What is not back yet is not killed again."""


async def kill(
    plan: Plan, victims: Sequence[Victim], reached: Callable[[float], Awaitable[None]], killed: Killed
) -> None:
    """Kill as the plan says. `reached` returns once so many generations are accepted; `killed` keeps the count."""
    chance, slots = plan.chance("pauses"), asyncio.Semaphore(_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for victim, at in moments(plan, victims):
            await reached(at)
            await asyncio.sleep(chance.random() / 2)
            await slots.acquire()
            group.create_task(_kill(victim, chance.uniform(_SHORTEST, _LONGEST), killed, slots))


async def _kill(victim: Victim, pause: float, killed: Killed, slots: asyncio.Semaphore) -> None:
    try:
        async with killed.turns[victim.name]:
            begun = time.monotonic()
            await victim.kill(pause)
            killed.over_at = time.monotonic()
        killed.times[victim.name] += 1
        killed.away.setdefault(victim.name, []).append(killed.over_at - begun)
    except TimeoutError:
        raise RuntimeError(f"{victim.name} did not come back") from None
    finally:
        slots.release()


def moments(plan: Plan, victims: Sequence[T]) -> Iterator[tuple[T, float]]:
    """Each kill, and after how many accepted generations, so that they are spread alike on slow and fast machines."""
    chance, total, at = plan.chance("moments"), plan.kills * len(victims), 0.0
    order: list[T] = []
    for number in range(total):
        if number % len(victims) == 0:
            order += _round(victims, order[-1:], chance)
        if number == 0 or chance.random() >= _TOGETHER:
            at = (number + chance.random()) / total * plan.generations
        yield order[number], at


def _round(victims: Sequence[T], last: Sequence[T], chance: random.Random) -> list[T]:
    """Each of them once, and none right after it was killed `last`."""
    round_ = chance.sample(victims, len(victims))
    return round_[::-1] if round_[:1] == last else round_
