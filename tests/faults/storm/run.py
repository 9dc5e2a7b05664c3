"""One storm from beginning to end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import httpx

from genpulse.stack import EmbeddedStack
from tests.faults.storm import kills, world
from tests.faults.storm.callers import Callers, Seen
from tests.faults.storm.kills import Killed
from tests.faults.storm.plan import CREDITS, Plan
from tests.faults.storm.verdict import Verdict, judge


@dataclass(frozen=True, kw_only=True)
class Storm:
    """What was planned, what happened, and what was left."""

    plan: Plan
    seen: Seen
    killed: Killed
    verdict: Verdict
    seconds: float
    settled_after: float
    """Seconds from the return of the last that was killed until the last generation had come to rest."""


async def storm(plan: Plan) -> Storm:
    """Start the world, let callers ask and servers die, and judge what is left."""
    async with world.running(plan) as running:
        await _set_faults(running.stack, plan)
        await _give_credits(running.stack)
        callers = Callers(running.stack.api_url, running.stack.admin_key, plan)
        started = time.monotonic()
        killed, complaint = Killed(), None
        try:
            async with asyncio.timeout(plan.seconds + plan.patience), asyncio.TaskGroup() as group:
                group.create_task(kills.kill(plan, running.victims, callers.reached, killed))
                group.create_task(callers.call())
        except TimeoutError:
            complaint = f"It was not over after {plan.seconds + plan.patience:.0f} s"
        over = time.monotonic()
        await running.stack.wait_until_ready()
        verdict = await judge(plan, running, callers.seen)
        if complaint is not None:
            verdict.complaints.insert(0, complaint)
        return Storm(
            plan=plan,
            seen=callers.seen,
            killed=killed,
            verdict=verdict,
            seconds=over - started,
            settled_after=max(0.0, over - killed.over_at),
        )


async def _give_credits(stack: EmbeddedStack) -> None:
    """From here on nothing is free."""
    headers = {"Authorization": f"Bearer {stack.admin_key}"}
    async with httpx.AsyncClient(base_url=stack.api_url, headers=headers) as api:
        granted = await api.post("/v1/admin/tenants/default/credits", json={"amount": CREDITS})
        granted.raise_for_status()


async def _set_faults(stack: EmbeddedStack, plan: Plan) -> None:
    async with httpx.AsyncClient(base_url=f"{stack.simulator_url}/_control") as control:
        (await control.put("/faults/*", json=plan.faults())).raise_for_status()
