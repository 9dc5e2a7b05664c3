"""`make histories`: act every path out, and keep what Temporal wrote down; and the order of commands beside it.

Not collected with the other tests, because it writes.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.client import Client, WorkflowExecution
from temporalio.testing import WorkflowEnvironment

from tests.replay import fingerprints, histories
from tests.replay.paths import PATHS, Act


def _recording(workflow_type: str, path: str, act: Act) -> Callable[..., Awaitable[None]]:
    """The test itself, with the same fixtures, after which the runs that it has started are kept."""

    async def record(*, temporal: WorkflowEnvironment, **fixtures: Any) -> None:
        before = {run.run_id for run in await _runs(temporal.client)}
        await act(**fixtures)
        runs = [run for run in await _settled(temporal.client) if run.run_id not in before]
        by_type = defaultdict(list)
        for run in sorted(runs, key=lambda one: one.start_time):
            handle = temporal.client.get_workflow_handle(run.id, run_id=run.run_id)
            by_type[run.workflow_type].append(await handle.fetch_history())
        histories.write(workflow_type, path, by_type[workflow_type])
        assert by_type[workflow_type], f"no {workflow_type} has run"

    wanted = inspect.signature(act).parameters.values()
    own = inspect.Parameter("temporal", inspect.Parameter.KEYWORD_ONLY)
    others = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in wanted if one.name != "temporal"]
    record.__signature__ = inspect.Signature([*others, own])  # type: ignore[attr-defined]
    return record


async def _runs(client: Client) -> list[WorkflowExecution]:
    return [run async for run in client.list_workflows()]


async def _settled(client: Client) -> list[WorkflowExecution]:
    """What the server lists, once that has stopped to grow: it comes to its lists a moment late."""
    seen = await _runs(client)
    while True:
        await asyncio.sleep(1)
        now = await _runs(client)
        if len(now) == len(seen):
            return now
        seen = now


for _type, _paths in PATHS.items():
    for _path, _act in _paths.items():
        globals()[f"test_{_type}_{_path}".replace("-", "_")] = _recording(_type, _path, _act)


def test_order_of_commands() -> None:
    fingerprints.write()
