"""A small one of the storms that `make faults` goes through, and what the plan of every one of them promises."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults.storm.kills import moments
from tests.faults.storm.plan import Plan
from tests.faults.storm.run import storm

pytestmark = pytest.mark.timeout(600)

VICTIMS = ("a", "b", "c", "d", "e", "f")


async def test_nothing_is_lost_and_nothing_paid_twice(tmp_path: Path) -> None:
    plan = Plan(generations=60, kills=2, seconds=30, hang=5, patience=300, folder=tmp_path)
    seen = await storm(plan)
    assert not seen.verdict.complaints
    assert set(seen.killed.times.values()) == {2}
    assert len(seen.killed.times) == 6
    assert seen.verdict.statuses.total() == len(seen.seen.ids) == 60
    assert seen.verdict.statuses["succeeded"] > 30, "most get through all of it"
    assert seen.verdict.faults.total() > 0


def test_a_plan_follows_from_its_seed() -> None:
    plan = Plan(generations=500)
    assert list(plan.wishes()) == list(plan.wishes())
    assert list(plan.wishes()) != list(Plan(generations=500, seed=2).wishes())


def test_no_two_wishes_can_be_taken_for_each_other() -> None:
    wishes = list(Plan().wishes())
    assert len({wish.key for wish in wishes}) == len({wish.prompt for wish in wishes}) == len(wishes) == 2000
    for wish in wishes:
        assert wish.prompt in str(wish.request)


def test_each_is_killed_as_often_as_every_other_all_along() -> None:
    plan = Plan()
    kills = list(moments(plan, VICTIMS))
    assert Counter(victim for victim, _ in kills) == dict.fromkeys(VICTIMS, plan.kills)
    times = [at for _, at in kills]
    assert times == sorted(times)
    for third in range(3):
        within = [victim for victim, at in kills if third <= at / plan.generations * 3 < third + 1]
        assert set(Counter(within)) == set(VICTIMS)
    assert all(one != another for (one, _), (another, _) in pairwise(kills))
