"""The whole product as real processes, to be killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from genpulse.client import Client, Unreachable
from genpulse.schemas.generations import Generation, Step
from genpulse.schemas.states import StepStatus
from genpulse.stack import EmbeddedStack, embedded_stack
from tests.faults.recoveries import WRITING, keep, lines, recoveries

PATIENCE = 120.0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what recovery from each failpoint took."""
    found = recoveries(terminalreporter.getreports("passed"))
    if found:
        terminalreporter.section("recovery from each failpoint")
        terminalreporter.write("\n".join(lines(found)) + "\n")
    if found and WRITING:
        keep(found)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[EmbeddedStack]:
    async with embedded_stack(tmp_path / "data") as running:
        yield running


@pytest.fixture
async def client(stack: EmbeddedStack) -> AsyncIterator[Client]:
    async with Client(stack.api_url, stack.admin_key) as connected:
        yield connected


async def eventually(look: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is true; an API that is being restarted is not yet."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            if await look():
                return
        except Unreachable:
            pass
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await asyncio.sleep(0.05)


async def ended(client: Client, generation_id: str) -> Generation:
    """The generation, once it has ended."""
    await eventually(lambda: _has_ended(client, generation_id))
    return await client.get(generation_id)


async def _has_ended(client: Client, generation_id: str) -> bool:
    return (await client.get(generation_id)).status.is_final


async def running_step(client: Client, generation_id: str, step_id: str) -> None:
    """Wait until a step runs, or has run: a kill that comes late must not fail the test by itself."""

    async def look() -> bool:
        step = step_of(await client.get(generation_id), step_id)
        return step.status in (StepStatus.RUNNING, StepStatus.SUCCEEDED, StepStatus.FAILED)

    await eventually(look)


def step_of(generation: Generation, step_id: str) -> Step:
    return next(step for step in generation.steps if step.id == step_id)


def kill(stack: EmbeddedStack, name: str) -> None:
    """End a process as the out-of-memory killer would."""
    pid = stack.pid(name)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
