"""The rules of the limiter, on a clock that the tests move; tests/integration has the same of Redis and real time."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genpulse.limits import GRACE, LEASE, RECHECK, AccountLimits, LimiterState, MemoryLimiter, Permit, Share, limiter
from genpulse.schemas.shares import bounded
from genpulse.schemas.states import Priority
from genpulse.settings import Settings

GRANTED = Permit(timedelta())
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
ONE_A_SECOND = AccountLimits(rate=1)
UNLIMITED = AccountLimits(rate=None)
ALONE = Share(tenant="alone")


@dataclass
class Desk:
    """A limiter, its clock, and one account."""

    now: timedelta = timedelta()
    limiter: MemoryLimiter = field(init=False)

    def __post_init__(self):
        self.limiter = MemoryLimiter(self.time)

    def time(self) -> float:
        return self.now.total_seconds()

    async def ask(self, job: str, limits: AccountLimits = ONE_A_SECOND, share: Share = ALONE) -> timedelta:
        return (await self.limiter.acquire("kling", job, limits, share=share)).wait

    async def state(self, limits: AccountLimits = ONE_A_SECOND) -> LimiterState:
        return await self.limiter.state("kling", limits)


@pytest.fixture
def desk() -> Desk:
    return Desk()


# ------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    "wrong", [{"rate": 0}, {"rate": -1.0}, {"rate": 1, "burst": 0}, {"rate": None, "concurrency": 0}]
)
def test_limits_are_positive(wrong):
    with pytest.raises(ValueError, match="positive"):
        AccountLimits(**wrong)


@given(st.floats(1e-6, 1e6))
def test_the_interval_never_exceeds_the_rate(rate):
    interval = AccountLimits(rate=rate).interval
    assert interval * rate >= 1_000_000 * (1 - 1e-12)
    assert (interval - 1) * rate < 1_000_000 * (1 + 1e-12)


async def test_without_redis_limits_are_kept_in_memory():
    async with limiter(Settings()) as made:
        assert isinstance(made, MemoryLimiter)
        assert (await made.acquire("kling", "a", ONE_A_SECOND, share=ALONE)).granted


# ------------------------------------------------------------------------------------------------------------- tokens


async def test_waiting_callers_are_spread_over_time(desk):
    assert [await desk.ask(job) for job in "abcde"] == [n * SECOND for n in range(5)]


async def test_a_burst_goes_at_once_and_the_rest_waits(desk):
    limits = AccountLimits(rate=2, burst=3)
    assert [await desk.ask(job, limits) for job in "abcde"] == [n * SECOND for n in (0, 0, 0, 0.5, 1)]


async def test_asking_early_returns_the_rest_of_the_wait(desk):
    for job in "abc":
        await desk.ask(job)
    desk.now += 0.75 * SECOND
    assert await desk.ask("c") == 1.25 * SECOND
    assert await desk.ask("b") == 0.25 * SECOND
    assert await desk.ask("d") == 2.25 * SECOND


async def test_newcomers_wait_behind_a_caller_that_is_a_little_late(desk):
    for job in "ab":
        await desk.ask(job)
    desk.now += 3 * SECOND
    assert await desk.ask("newcomer") == SECOND
    assert await desk.ask("b") == timedelta()


async def test_the_token_of_a_caller_that_stays_away_is_not_lost(desk):
    for job in "ab":
        await desk.ask(job)
    desk.now += SECOND + GRACE + MICROSECOND
    assert await desk.ask("newcomer") == timedelta()


async def test_who_is_in_time_does_not_wait_for_who_is_late(desk):
    for job in "abc":
        await desk.ask(job)
    desk.now += 2 * SECOND
    assert await desk.ask("c") == timedelta()


async def test_late_callers_are_spread_again_and_go_before_later_ones(desk):
    for job in "abcdef":
        await desk.ask(job)
    desk.now += 4 * SECOND  # b to e come late, all at once
    assert [await desk.ask(job) for job in "ebcd"] == [n * SECOND for n in (0, 1, 2, 3)]
    desk.now += SECOND
    assert await desk.ask("f") == 3 * SECOND  # behind b, c and d
    assert await desk.ask("b") == timedelta()


async def test_a_caller_keeps_its_rank_however_late(desk):
    for job in "ab":
        await desk.ask(job)
    desk.now += GRACE * 10
    await desk.ask("c")
    await desk.ask("d")
    assert await desk.ask("b") == SECOND
    desk.now += SECOND
    assert await desk.ask("d") == SECOND
    assert await desk.ask("b") == timedelta()


async def test_a_turn_is_forgotten_in_the_end(desk):
    for job in "ab":
        await desk.ask(job)
    desk.now += SECOND + LEASE
    await desk.ask("c")
    await desk.ask("d")
    assert await desk.ask("b") == 2 * SECOND  # a newcomer now


async def test_a_turn_that_is_given_back_is_free_for_newcomers(desk):
    for job in "ab":
        await desk.ask(job)
    await desk.limiter.release("kling", "b")
    assert await desk.ask("c") == SECOND


async def test_without_a_rate_nobody_waits(desk):
    assert {await desk.ask(str(n), UNLIMITED) for n in range(100)} == {timedelta()}
    assert await desk.state(UNLIMITED) == LimiterState(tokens=None, in_flight=100, paused=timedelta())


async def test_accounts_do_not_share(desk):
    await desk.ask("a")
    assert await desk.limiter.acquire("vidu", "b", ONE_A_SECOND, share=ALONE) == GRANTED


# ------------------------------------------------------------------------------------------------------------- places


async def test_no_more_jobs_than_places(desk):
    limits = AccountLimits(rate=None, concurrency=2)
    assert [await desk.ask(job, limits) for job in "abc"] == [timedelta(), timedelta(), RECHECK]
    await desk.limiter.release("kling", "a")
    assert await desk.ask("c", limits) == timedelta()
    assert (await desk.state(limits)).in_flight == 2


async def test_a_job_in_flight_needs_no_second_place(desk):
    limits = AccountLimits(rate=1, burst=2, concurrency=1)
    assert [await desk.ask("a", limits) for _ in range(3)] == [timedelta(), timedelta(), SECOND]
    assert (await desk.state(limits)).in_flight == 1


async def test_without_a_place_no_token_is_taken_or_held(desk):
    limits = AccountLimits(rate=1, burst=3, concurrency=1)
    for job in "abcde":
        await desk.ask(job, limits)
    assert await desk.state(limits) == LimiterState(tokens=2, in_flight=1, paused=timedelta())
    assert [await desk.ask("a", limits) for _ in range(3)] == [timedelta(), timedelta(), SECOND]


async def test_without_a_token_no_place_is_taken(desk):
    limits = AccountLimits(rate=1, concurrency=5)
    for job in "abc":
        await desk.ask(job, limits)
    assert (await desk.state(limits)).in_flight == 1


async def test_a_turn_without_a_place_blocks_nobody(desk):
    limits = AccountLimits(rate=1, concurrency=2)
    for job in "abc":
        await desk.ask(job, limits)
    desk.now += SECOND
    assert await desk.ask("b", limits) == timedelta()
    desk.now += SECOND
    assert await desk.ask("c", limits) == RECHECK
    assert await desk.ask("a", limits) == timedelta()


async def test_who_waits_for_a_place_goes_before_newcomers(desk):
    limits = AccountLimits(rate=None, concurrency=1)
    for job in "ab":
        await desk.ask(job, limits)
    await desk.limiter.release("kling", "a")
    assert await desk.ask("newcomer", limits) > timedelta()
    assert await desk.ask("b", limits) == timedelta()


async def test_newcomers_do_not_wait_for_who_stays_away(desk):
    limits = AccountLimits(rate=None, concurrency=1)
    for job in "ab":
        await desk.ask(job, limits)
    await desk.limiter.release("kling", "a")
    desk.now += RECHECK + GRACE + MICROSECOND
    assert await desk.ask("newcomer", limits) == timedelta()


async def test_however_many_wait_they_look_again_one_by_one(desk):
    limits = AccountLimits(rate=None, concurrency=2)
    waits = [await desk.ask(str(n), limits) for n in range(10)][2:]
    assert waits == [n * RECHECK for n in (1, 1, 1.5, 2, 2.5, 3, 3.5, 4)]


async def test_a_place_is_free_again_when_its_lease_is_not_renewed(desk):
    limits = AccountLimits(rate=None, concurrency=2)
    for job in "ab":
        await desk.ask(job, limits)
    desk.now += LEASE / 2
    await desk.limiter.keep("kling", "a")
    desk.now += LEASE / 2
    assert (await desk.state(limits)).in_flight == 1
    assert [await desk.ask(job, limits) for job in "cd"] == [timedelta(), RECHECK]


async def test_a_place_lost_with_the_count_is_taken_again(desk):
    await desk.limiter.keep("kling", "a")
    assert await desk.ask("b", AccountLimits(rate=None, concurrency=1)) == RECHECK


async def test_releasing_again_is_harmless(desk):
    for job in ("a", "a", "never seen"):
        await desk.limiter.release("kling", job)
    assert await desk.ask("a") == timedelta()


# ------------------------------------------------------------------------------------------------------------- pauses


@pytest.mark.parametrize("limits", [ONE_A_SECOND, UNLIMITED])
async def test_nobody_sends_during_a_pause(desk, limits):
    await desk.limiter.pause("kling", 10)
    await desk.limiter.pause("kling", 3)  # does not shorten it
    assert await desk.ask("a", limits) == 10 * SECOND
    assert await desk.state(limits) == LimiterState(tokens=1 if limits.rate else None, in_flight=0, paused=10 * SECOND)
    desk.now += 10 * SECOND - MICROSECOND
    assert await desk.ask("a", limits) == MICROSECOND
    desk.now += MICROSECOND
    assert await desk.ask("a", limits) == timedelta()


async def test_after_a_pause_callers_come_one_by_one(desk):
    await desk.limiter.pause("kling", 10)
    limits = AccountLimits(rate=1, burst=2)
    assert [await desk.ask(job, limits) for job in "abcd"] == [n * SECOND for n in (10, 10, 11, 12)]


async def test_a_pause_moves_the_turns_that_were_promised(desk):
    for job in "abcd":
        await desk.ask(job)
    await desk.limiter.pause("kling", 10)
    assert await desk.ask("d") == 10 * SECOND + 2 * SECOND
    desk.now += SECOND
    assert await desk.ask("b") == 9 * SECOND


# --------------------------------------------------------------------------------------------------------- properties


@dataclass(frozen=True)
class Caller:
    asks_at: int  # milliseconds
    works_for: int
    late_by: tuple[int, ...]  # at its visits, over and over
    gives_up: bool = False  # after its first refusal, without a word
    share: Share = ALONE


@dataclass
class Story:
    """What happened: the order of asking, the grants, the visits, and how many jobs were in flight at most."""

    grants: list[tuple[timedelta, int]] = field(default_factory=list)
    visits: dict[int, int] = field(default_factory=dict)
    crowd: int = 0


async def play(callers: list[Caller], limits: AccountLimits, pauses: dict[int, float] | None = None) -> Story:
    """Let every caller come back when it was told, or as late as it is."""
    desk, story, numbers = Desk(), Story(), itertools.count()
    lateness = [itertools.cycle(caller.late_by or (0,)) for caller in callers]
    agenda = [(at * SECOND / 1000, next(numbers), "pause", int(seconds)) for at, seconds in (pauses or {}).items()]
    agenda += [(caller.asks_at * SECOND / 1000, next(numbers), "ask", n) for n, caller in enumerate(callers)]
    heapq.heapify(agenda)
    while agenda:
        desk.now, _, what, who = heapq.heappop(agenda)
        if what == "pause":
            await desk.limiter.pause("kling", who)
        elif what == "release":
            await desk.limiter.release("kling", str(who))
        else:
            wait = await desk.ask(str(who), limits, callers[who].share)
            story.visits[who] = story.visits.get(who, 0) + 1
            if not wait:
                story.grants.append((desk.now, who))
                done = desk.now + callers[who].works_for * SECOND / 1000
                heapq.heappush(agenda, (done, next(numbers), "release", who))
            elif not callers[who].gives_up:
                again = desk.now + wait + next(lateness[who]) * SECOND / 1000
                heapq.heappush(agenda, (again, next(numbers), "ask", who))
        story.crowd = max(story.crowd, (await desk.state(limits)).in_flight)
        assert story.visits.get(who, 0) < 500, "never granted"
    return story


def never_over(grants: list[timedelta], limits: AccountLimits) -> bool:
    interval = limits.interval * MICROSECOND
    return all(
        late - early >= (count - limits.burst) * interval
        for i, early in enumerate(grants)
        for count, late in enumerate(grants[i:], start=1)
    )


rates = st.builds(AccountLimits, rate=st.sampled_from([0.3, 1, 3, 7, 20, 1000]), burst=st.integers(1, 5))
limits_of_all_kinds = st.builds(
    AccountLimits,
    rate=st.sampled_from([None, 0.3, 1, 7, 20]),
    burst=st.integers(1, 5),
    concurrency=st.none() | st.integers(1, 5),
)
moments = st.integers(0, 5_000)
shares = st.builds(
    Share,
    tenant=st.sampled_from("abc"),
    weight=st.sampled_from([0.3, 1, 5]),
    priority=st.sampled_from(Priority),
)
steady = st.builds(
    lambda tenant, priority: Share(tenant=tenant, weight={"a": 0.3, "b": 1, "c": 5}[tenant], priority=priority),
    st.sampled_from("abc"),
    st.sampled_from(Priority),
)
punctual = st.builds(Caller, asks_at=moments, works_for=moments, late_by=st.just(()), share=steady)
anyone = st.builds(
    Caller,
    asks_at=moments,
    works_for=moments,
    late_by=st.lists(st.integers(0, 20_000), max_size=4).map(tuple),
    gives_up=st.booleans(),
    share=shares,
)


@given(st.lists(punctual.map(lambda caller: replace(caller, share=ALONE)), max_size=30), rates)
async def test_who_comes_in_time_is_refused_once_at_most_and_served_in_order(callers, limits):
    story = await play(callers, limits)
    assert all(visits <= 2 for visits in story.visits.values())
    served = [who for _, who in story.grants]
    assert served == sorted(range(len(callers)), key=lambda who: callers[who].asks_at)
    assert never_over([at for at, _ in story.grants], limits)


@settings(deadline=None)
@given(
    st.lists(anyone, max_size=30),
    limits_of_all_kinds,
    st.dictionaries(moments, st.integers(0, 20), max_size=3),
)
async def test_nothing_goes_over_a_limit_and_nobody_is_forgotten(callers, limits, pauses):
    story = await play(callers, limits, pauses)
    assert not limits.interval or never_over([at for at, _ in story.grants], limits)
    assert limits.concurrency is None or story.crowd <= limits.concurrency
    for began, seconds in pauses.items():
        start, end = began * SECOND / 1000, began * SECOND / 1000 + seconds * SECOND
        assert not [at for at, _ in story.grants if start < at < end]
    assert {who for _, who in story.grants} >= {who for who, caller in enumerate(callers) if not caller.gives_up}


# ------------------------------------------------------------------------------------------------------- fair turns


@pytest.mark.parametrize("weight", [0, -1, 0.0009, 1000.1])
def test_a_weight_has_bounds(weight):
    with pytest.raises(ValueError, match="weight"):
        Share(tenant="a", weight=weight)
    assert Share(tenant="a", weight=bounded(weight)).cost in (1_000_000_000, 1000)


LIGHT, HEAVY = Share(tenant="light"), Share(tenant="heavy")


def queued(share: Share, count: int, **different: Any) -> list[Caller]:
    """Callers that ask one after the other, and come in time."""
    return [Caller(asks_at=0, works_for=0, late_by=(), share=replace(share, **different)) for _ in range(count)]


async def served(callers: list[Caller], limits: AccountLimits) -> list[Share]:
    """Whose turn came when."""
    return [callers[who].share for _, who in (await play(callers, limits)).grants]


async def test_five_of_one_tenant_are_not_behind_five_hundred_of_another():
    order = await served(queued(HEAVY, 500) + queued(LIGHT, 5), AccountLimits(rate=10))
    assert [n for n, share in enumerate(order) if share == LIGHT] == [1, 3, 5, 7, 9]


async def test_the_promise_of_a_token_gives_way_to_a_tenant_that_has_had_less(desk):
    assert [await desk.ask(job, share=HEAVY) for job in "abc"] == [n * SECOND for n in (0, 1, 2)]
    assert [await desk.ask(job, share=LIGHT) for job in "xy"] == [n * SECOND for n in (1, 3)]
    desk.now += SECOND
    assert await desk.ask("b", share=HEAVY) == SECOND  # x comes at this instant too
    assert await desk.ask("x", share=LIGHT) == timedelta()


async def test_whose_promise_gave_way_waits_no_longer_than_for_one_token(desk):
    for job, share in {"a": HEAVY, "b": HEAVY, "x": LIGHT}.items():
        await desk.ask(job, share=share)
    desk.now += SECOND
    assert await desk.ask("b", share=HEAVY) == SECOND
    desk.now += SECOND  # x stays away
    assert await desk.ask("b", share=HEAVY) == timedelta()


async def test_a_tenant_that_was_away_has_saved_up_nothing(desk):
    for n in range(100):
        await desk.ask(str(n), share=HEAVY)
        desk.now += SECOND
    order = [await desk.ask(f"{share.tenant}{n}", share=share) for n in range(4) for share in (LIGHT, HEAVY)]
    assert order == [n * SECOND for n in range(8)]


async def test_jobs_that_never_come_back_hold_nobody_up(desk):
    for n in range(50):
        await desk.ask(str(n), share=HEAVY)
    desk.now += 50 * SECOND + GRACE
    assert [await desk.ask(job, share=LIGHT) for job in "xyz"] == [n * SECOND for n in range(3)]


@pytest.mark.parametrize("limits", [AccountLimits(rate=10), AccountLimits(rate=None, concurrency=1)])
async def test_the_urgent_goes_first_within_its_tenant_only(limits):
    low, high = queued(HEAVY, 8, priority=Priority.LOW), queued(HEAVY, 4, priority=Priority.HIGH)
    order = await served([*low, *queued(HEAVY, 8), *high, *queued(LIGHT, 8)], limits)
    own = [share.priority for share in order if share.tenant == "heavy"][1:]  # the first found nobody there
    assert own == sorted(own, key=[Priority.HIGH, Priority.NORMAL, Priority.LOW].index)
    assert [share.tenant for share in order[1:17]].count("light") in (7, 8)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.3, 1, 2, 5]), min_size=2, max_size=4),
    st.integers(1, 5),
    st.integers(0, 2**32),
)
async def test_backlogged_tenants_get_their_shares(weights, burst, seed):
    shares = [Share(tenant=str(n), weight=weight) for n, weight in enumerate(weights)]
    callers = [caller for share in shares for caller in queued(share, 40)]
    Random(seed).shuffle(callers)
    order = (await served(callers, AccountLimits(rate=10, burst=burst)))[burst:]
    for n in range(1, len(order)):
        if max(Counter(order[:n]).values()) > 30:
            break  # soon one of them has nobody left
        turns = {share: Counter(order[:n])[share] / share.weight for share in shares}
        for one, other in itertools.permutations(shares, 2):
            assert turns[one] - turns[other] <= (burst + 1) / one.weight + 1 / other.weight


@given(st.lists(punctual, max_size=30), rates)
async def test_whoever_is_served_no_token_is_lost(callers, limits):
    """They are granted at the instants at which a bucket would serve a crowd that never leaves."""
    free, instants = timedelta(), []
    for at in sorted(caller.asks_at * SECOND / 1000 for caller in callers):
        free = max(free, at) + limits.interval * MICROSECOND
        instants.append(max(at, free - limits.burst * limits.interval * MICROSECOND))
    story = await play(callers, limits)
    assert [at for at, _ in story.grants] == instants


@pytest.mark.parametrize("places", [1, 3])
async def test_places_go_round_as_well(places):
    callers = [replace(caller, works_for=10_000) for caller in queued(HEAVY, 60) + queued(LIGHT, 5)]
    order = await served(callers, AccountLimits(rate=None, concurrency=places))
    assert [share.tenant for share in order[: places + 12]].count("light") == 5


async def test_a_weight_is_a_share_of_the_places():
    light = replace(LIGHT, weight=5)
    callers = [replace(caller, works_for=10_000) for caller in queued(HEAVY, 60) + queued(light, 60)]
    order = await served(callers, AccountLimits(rate=None, concurrency=3))
    assert order[3:51].count(light) in range(36, 45)  # 40 of 48, as near as looking now and then comes
