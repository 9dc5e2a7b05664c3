"""The same facts hold in memory and on a real Valkey, by its clock; and what happens when it is down, slow or new."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from genpulse.errors import DependencyDown
from genpulse.limits import RECHECK, AccountLimits, Limiter, MemoryLimiter, Permit, RedisLimiter, Share, limiter
from genpulse.limits.shared import _SCRIPT, connect
from genpulse.schemas.states import Priority
from genpulse.settings import RedisSettings, Settings
from genpulse.stack import free_port
from tests.servers.valkey import ValkeyServer, valkey_server

GRANTED = Permit(timedelta())
SECOND = timedelta(seconds=1)
UNLIMITED = AccountLimits(rate=None)
ALONE = Share(tenant="alone")
#: A token in a thousand seconds: what a test takes itself does not count.
SLOW = AccountLimits(rate=0.001)
SLOT = 1000 * SECOND


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with valkey_server() as running:
        yield running


@dataclass(frozen=True)
class Desk:
    """A limiter and one account of it."""

    limiter: Limiter
    seconds: Callable[[], Awaitable[float]]  # by the clock that the limiter uses
    account: str = "kling"

    async def ask(self, job: str, limits: AccountLimits = SLOW, share: Share = ALONE) -> timedelta:
        return (await self.limiter.acquire(self.account, job, limits, share=share)).wait

    async def is_granted(self, job: str, limits: AccountLimits) -> bool:
        return not await self.ask(job, limits)

    async def in_flight(self) -> int:
        return (await self.limiter.state(self.account, SLOW)).in_flight


Open = Callable[..., Desk]


@pytest.fixture(params=["memory", "valkey"])
async def open_desk(request) -> AsyncIterator[Open]:
    loop = asyncio.get_running_loop()
    if request.param == "memory":

        async def seconds() -> float:
            return loop.time()

        yield lambda **patience: Desk(MemoryLimiter(loop.time, **patience), seconds)
        return
    async with connect(request.getfixturevalue("server").url) as client:

        async def seconds() -> float:
            whole, micros = await client.time()
            return whole + micros / 1_000_000

        yield lambda **patience: Desk(RedisLimiter(client, prefix=uuid4().hex, **patience), seconds)


@pytest.fixture
def desk(open_desk) -> Desk:
    return open_desk()


async def until(fact: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it."""
    async with asyncio.timeout(60):
        while True:
            if await fact():
                return
            await asyncio.sleep(0.02)


def about(expected: timedelta, wait: timedelta) -> bool:
    """A wait for a slow slot, less what the test took."""
    return expected - 100 * SECOND < wait <= expected


# -------------------------------------------------------------------------------------------------------- both alike


async def test_a_burst_goes_at_once_and_the_rest_waits_in_turn(desk):
    limits = AccountLimits(rate=0.001, burst=3)
    waits = [await desk.ask(job, limits) for job in "abcdef"]
    assert waits[:3] == [timedelta()] * 3
    assert all(about(n * SLOT, wait) for n, wait in enumerate(waits[3:], start=1))


async def test_asking_early_returns_the_rest_of_the_wait(desk):
    first = {job: await desk.ask(job) for job in "abc"}
    again = {job: await desk.ask(job) for job in "cb"}
    assert all(about(first[job], again[job]) for job in again)
    assert about(3 * SLOT, await desk.ask("d"))


async def test_a_turn_comes(desk):
    limits = AccountLimits(rate=10)
    assert [await desk.ask(job, limits) for job in "ab"][1] > timedelta()
    await until(lambda: desk.is_granted("b", limits))


async def test_the_token_of_a_caller_that_stays_away_is_not_lost(open_desk):
    desk, limits = open_desk(grace=timedelta()), AccountLimits(rate=10)
    for job in "ab":
        await desk.ask(job, limits)
    await asyncio.sleep(0.25)
    assert not await desk.ask("newcomer", limits)


async def test_a_caller_is_forgotten_in_the_end(open_desk):
    desk, limits = open_desk(grace=SECOND * 3600, lease=timedelta(seconds=0.1)), AccountLimits(rate=10)
    for job in "ab":
        await desk.ask(job, limits)
    await asyncio.sleep(0.35)
    assert not await desk.ask("newcomer", limits)


async def test_a_job_in_flight_takes_tokens_but_no_second_place(desk):
    limits = AccountLimits(rate=0.001, burst=2, concurrency=1)
    waits = [await desk.ask("a", limits) for _ in range(3)]
    assert waits[:2] == [timedelta()] * 2 and about(SLOT, waits[2])
    assert await desk.in_flight() == 1


async def test_both_or_neither(desk):
    limits = AccountLimits(rate=0.001, burst=3, concurrency=2)
    for job in "abcd":
        await desk.ask(job, limits)
    state = await desk.limiter.state("kling", limits)
    assert (state.tokens, state.in_flight) == (1, 2)
    assert [await desk.ask(job, SLOW) > timedelta() for job in "ef"] == [True, True]
    assert await desk.in_flight() == 2


async def test_a_released_place_goes_to_who_waited(open_desk):
    desk = open_desk(grace=SECOND * 3600)
    limits = AccountLimits(rate=None, concurrency=1)
    began = await desk.seconds()
    waits = [await desk.ask(job, limits) for job in "abc"]
    for _ in range(2):
        await desk.limiter.release("kling", "a")
    waits.append(await desk.ask("newcomer", limits))
    assert await desk.ask("c", limits) == timedelta()
    waits.append(await desk.ask("b", limits))  # asked too early
    took = timedelta(seconds=await desk.seconds() - began)
    for n, wait in zip((0, 1, 2, 3, 1), waits, strict=True):
        assert max(n * RECHECK - took, timedelta()) <= wait <= n * RECHECK


async def test_a_released_turn_is_free(desk):
    for job in "ab":
        await desk.ask(job)
    await desk.limiter.release("kling", "b")
    assert about(SLOT, await desk.ask("c"))


async def test_a_place_is_free_again_when_its_lease_ends(open_desk):
    desk, limits = open_desk(lease=timedelta(seconds=0.2)), AccountLimits(rate=None, concurrency=1)
    await desk.ask("a", limits)
    await until(lambda: desk.is_granted("b", limits))


async def test_a_kept_place_stays(open_desk):
    lease = timedelta(seconds=0.5)
    desk = open_desk(lease=lease)
    await desk.ask("a")
    for _ in range(8):
        await asyncio.sleep(0.1)
        kept = await desk.seconds()
        await desk.limiter.keep("kling", "a")
        if await desk.in_flight() != 1:
            assert await desk.seconds() - kept > lease.total_seconds()


async def test_a_place_lost_with_the_count_is_taken_again(desk):
    await desk.limiter.keep("kling", "a")
    assert await desk.ask("b", AccountLimits(rate=None, concurrency=1)) == RECHECK


@pytest.mark.parametrize("limits", [SLOW, UNLIMITED, AccountLimits(rate=None, concurrency=5)])
async def test_nobody_sends_during_a_pause_and_it_is_never_shortened(desk, limits):
    await desk.ask("a", UNLIMITED)
    await desk.limiter.pause("kling", 500)
    await desk.limiter.pause("kling", 200)
    for job in "ab":  # a holds a place already
        assert await desk.ask(job, limits) > 400 * SECOND
    state = await desk.limiter.state("kling", limits)
    assert about(500 * SECOND, state.paused)
    assert state.in_flight == 1


async def test_a_pause_ends(desk):
    await desk.limiter.pause("kling", 0.2)
    assert await desk.ask("a", UNLIMITED) > timedelta()
    await until(lambda: desk.is_granted("a", UNLIMITED))


async def test_accounts_do_not_share(desk):
    await desk.ask("a")
    assert await desk.limiter.acquire("vidu", "b", SLOW, share=ALONE) == GRANTED


async def test_an_untouched_account_is_full(desk):
    state = await desk.limiter.state("new", AccountLimits(rate=5, burst=7))
    assert (state.tokens, state.in_flight, state.paused) == (7, 0, timedelta())


@dataclass(frozen=True)
class Visit:
    """One question, between two looks at the limiter's clock."""

    job: int
    before: float
    after: float
    wait: float

    @property
    def due(self) -> tuple[float, float]:
        return self.before + self.wait, self.after + self.wait


async def crowd(desk: Desk, limits: AccountLimits, callers: int, light: int = 0) -> list[Visit]:
    """Let callers ask one after the other and come back when they are told; return all their visits.

    The last ones, so many, are another tenant's.
    """
    visits: list[Visit] = []

    async def ask(job: int) -> float:
        before = await desk.seconds()
        share = ALONE if job < callers - light else Share(tenant="light")
        wait = (await desk.ask(str(job), limits, share)).total_seconds()
        visits.append(Visit(job, before, await desk.seconds(), wait))
        return wait

    async def go_on(job: int, wait: float) -> None:
        while wait:
            await asyncio.sleep(wait)
            wait = await ask(job)

    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        for job in range(callers):
            tasks.create_task(go_on(job, await ask(job)))
    return visits


async def test_many_callers_at_once_all_get_through_within_the_rate(desk):
    limits = AccountLimits(rate=20, burst=1)
    grants = [visit for visit in await crowd(desk, limits, 40) if not visit.wait]
    assert sorted(grant.job for grant in grants) == list(range(40))
    grants.sort(key=lambda grant: grant.after)
    for first, last in itertools.combinations(range(40), 2):
        began = min(grant.before for grant in grants[first : last + 1])
        assert last - first + 1 <= limits.burst + 20 * (grants[last].after - began) + 1e-3


async def test_many_callers_go_in_order_unless_they_come_late(desk):
    visits = await crowd(desk, AccountLimits(rate=20, burst=1), 40)
    by_job = [[visit for visit in visits if visit.job == job] for job in range(40)]
    promises = [own[0].due for own in by_job]
    assert all(earlier[0] < later[1] for earlier, later in itertools.pairwise(promises))
    for passed, passing in itertools.combinations(range(40), 2):
        grant = by_job[passing][-1]
        if grant.after < by_job[passed][-1].before:
            known = [visit for visit in by_job[passed] if visit.before < grant.after]
            # Else nobody can say which of the two came first; and who was told to come again had been late.
            if known[-1].after <= grant.before and len(known) == 1:
                assert known[-1].due[0] <= grant.after


async def test_five_of_one_tenant_are_not_behind_sixty_of_another(desk):
    grants = [visit for visit in await crowd(desk, AccountLimits(rate=40), 65, light=5) if not visit.wait]
    order = [grant.job for grant in sorted(grants, key=lambda grant: grant.after)]
    assert max(order.index(job) for job in range(60, 65)) < 40  # 9 for who is never late, 64 behind them all


# ------------------------------------------------------------------------------------------------- each step the same


@pytest.fixture(scope="module")
async def client(server) -> AsyncIterator[Redis]:
    async with connect(server.url) as connected:
        yield connected


class Twins:
    """Both limiters on one clock that the test moves: the script reads it from a key instead of the server's."""

    def __init__(self, client: Redis) -> None:
        self.now = 1_800_000_000 * SECOND
        self._client = client
        self._clock = uuid4().hex
        self._memory = MemoryLimiter(self.time, lease=20 * SECOND)
        self._valkey = RedisLimiter(client, prefix=uuid4().hex, lease=20 * SECOND)
        script = _SCRIPT.replace("redis.call('TIME')", f"{{redis.call('GET', '{self._clock}'), 0}}")
        assert script != _SCRIPT
        self._valkey._script = client.register_script(script)

    def time(self) -> float:
        return self.now.total_seconds()

    async def play(self, step: str, job: str, amount: float, limits: AccountLimits, share: Share) -> None:
        await self._client.set(self._clock, str(self.now / SECOND))
        both: tuple[Limiter, Limiter] = (self._memory, self._valkey)
        match step:
            case "acquire":
                permits = [await limiter.acquire("kling", job, limits, share=share) for limiter in both]
                assert permits[0] == permits[1]
            case "pause":
                for limiter in both:
                    await limiter.pause("kling", amount)
            case "release":
                for limiter in both:
                    await limiter.release("kling", job)
            case "keep":
                for limiter in both:
                    await limiter.keep("kling", job)
            case _:
                self.now += amount * SECOND
                return
        assert await self._memory.state("kling", limits) == await self._valkey.state("kling", limits)


STEPS = {"acquire": 14, "pass": 6, "release": 1.5, "keep": 0.7, "pause": 0.2}
AMOUNTS = {0: 1, 0.25: 3, 0.5: 3, 1: 3, 2: 2, 6: 1, 21: 0.3}
WEIGHTS = {1: 6, 0.3: 2, 5: 2, 0.001: 0.2, 1000: 0.2}


@pytest.mark.parametrize("seed", range(16))
async def test_the_twins_agree_on_every_step(client, seed):
    chance, twins = Random(seed), Twins(client)
    limits = AccountLimits(
        rate=[0.5, 1, None, 2][seed % 4], burst=chance.randint(1, 3), concurrency=[None, 1, 2, 3][seed // 4]
    )
    owners = {job: chance.choice("xyz") for job in "abcdefghijklmnop"}
    urgency = {job: chance.choice(list(Priority)) for job in owners}
    for _ in range(400):
        step = chance.choices(list(STEPS), list(STEPS.values()))[0]
        amount = chance.choices(list(AMOUNTS), list(AMOUNTS.values()))[0]
        weight = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]  # may change at any time
        job = chance.choice(list(owners))
        share = Share(tenant=owners[job], weight=weight, priority=urgency[job])
        await twins.play(step, job, amount, limits, share)


# ------------------------------------------------------------------------------------------------------- only Valkey


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server that is not running yet."""
    server = ValkeyServer(tmp_path)
    yield server
    server.stop()


@asynccontextmanager
async def limiter_on(server: ValkeyServer) -> AsyncIterator[Limiter]:
    async with limiter(Settings(redis=RedisSettings(url=server.url))) as made:
        yield made


async def assert_spending_stops(made: Limiter) -> None:
    calls = [
        made.acquire("kling", "a", SLOW, share=ALONE),
        made.release("kling", "a"),
        made.keep("kling", "a"),
        made.pause("kling", 1),
        made.state("kling", SLOW),
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DependencyDown] * len(calls)


async def test_spending_stops_while_it_is_down_and_goes_on_with_a_full_bucket(restartable):
    limits = AccountLimits(rate=0.001, burst=2, concurrency=5)
    async with limiter_on(restartable) as made:
        await assert_spending_stops(made)  # a worker may start before it
        for _ in range(2):
            restartable.start()
            waits = [(await made.acquire("kling", job, limits, share=ALONE)).wait for job in "abc"]
            assert waits[:2] == [timedelta()] * 2 and about(SLOT, waits[2])
            restartable.stop()
            await assert_spending_stops(made)


async def test_a_server_that_hangs_is_down(restartable):
    restartable.start()
    async with limiter_on(restartable) as made:
        assert (await made.acquire("kling", "a", SLOW, share=ALONE)).granted
        os.kill(restartable.pid, signal.SIGSTOP)
        async with asyncio.timeout(60):
            await assert_spending_stops(made)
        os.kill(restartable.pid, signal.SIGCONT)
        assert not (await made.acquire("kling", "b", SLOW, share=ALONE)).granted


async def test_it_forgets_its_scripts_and_keeps_its_counts(client):
    made = RedisLimiter(client, prefix=uuid4().hex)
    assert (await made.acquire("kling", "a", SLOW, share=ALONE)).granted
    await client.script_flush()
    assert about(SLOT, (await made.acquire("kling", "b", SLOW, share=ALONE)).wait)


async def test_two_processes_share_an_account(server):
    prefix = uuid4().hex
    async with connect(server.url) as one, connect(server.url) as other:
        assert (await RedisLimiter(one, prefix=prefix).acquire("kling", "a", SLOW, share=ALONE)).granted
        assert about(SLOT, (await RedisLimiter(other, prefix=prefix).acquire("kling", "b", SLOW, share=ALONE)).wait)


async def is_ready(client: Redis) -> bool:
    return b"cluster_state:ok" in await client.execute_command("CLUSTER", "INFO")


async def test_a_cluster_finds_the_keys_of_an_account_together(tmp_path):
    server = ValkeyServer(tmp_path, {"cluster-enabled": "yes", "cluster-port": free_port()})
    server.start()
    try:
        async with connect(server.url) as client:
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await until(lambda: is_ready(client))
            made = RedisLimiter(client)
            for account in ("kling", "vidu", "ark/main"):
                waits = [(await made.acquire(account, job, SLOW, share=ALONE)).wait for job in "ab"]
                assert not waits[0] and about(SLOT, waits[1])
                await made.release(account, "a")
                assert (await made.state(account, SLOW)).in_flight == 0
    finally:
        server.stop()
