"""Runs that began with other code go on with this one: recorded histories of every path are replayed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from types import ModuleType

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError, _Definition

import workflows
from genpulse.temporal import DATA_CONVERTER
from tests.replay import fingerprints, reorders
from tests.replay.histories import PRESENT, Recorded, recorded
from tests.replay.paths import PATHS

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("replay")]

HISTORIES = recorded()
HINT = "`make histories` records what is missing; docs/upgrades.md says when that is right, and when it hides a fault"


def _types_in(module: ModuleType) -> dict[str, type]:
    """The workflows that a module defines, by their names."""
    found = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    return {str(named.name): one for one in found if (named := _Definition.from_class(one))}


MODULES = {
    name: importlib.import_module(f"{workflows.__name__}.{name}")
    for _, name, _ in pkgutil.iter_modules(workflows.__path__)
}
TYPES = {name: one for module in MODULES.values() for name, one in _types_in(module).items()}


async def failures(
    types: Iterable[type], histories: Iterable[Recorded], runner: WorkflowRunner
) -> AsyncGenerator[BaseException | None]:
    """What becomes of each history with these workflows: nothing, or an error."""

    async def loaded() -> AsyncIterator[WorkflowHistory]:
        for one in histories:
            yield one.load()

    replayer = Replayer(
        workflows=list(types),
        data_converter=DATA_CONVERTER,
        workflow_runner=runner,
        debug_mode=True,  # a busy machine is no deadlock
    )
    async with replayer.workflow_replay_iterator(loaded()) as results:
        async for result in results:
            yield result.replay_failure


@pytest.mark.parametrize("one", HISTORIES, ids=lambda one: one.name)
async def test_a_recorded_run_goes_on(one: Recorded) -> None:
    (failure,) = [failure async for failure in failures(TYPES.values(), [one], SandboxedWorkflowRunner())]
    assert failure is None, f"{one.name} does not replay: docs/upgrades.md says what to do.\n{failure}"


@pytest.mark.parametrize("name", TYPES)
def test_every_path_of_a_workflow_is_recorded(name: str) -> None:
    here = {one.path for one in recorded(PRESENT) if one.type == name}
    assert here, f"{name} has no history. {HINT}"
    assert here == PATHS.get(name, {}).keys(), HINT


def test_nothing_is_recorded_of_a_workflow_that_is_gone() -> None:
    assert {one.type for one in HISTORIES} <= TYPES.keys()
    assert PATHS.keys() <= TYPES.keys()


def test_the_order_of_commands_changes_on_purpose_only() -> None:
    assert fingerprints.present() == fingerprints.known(), HINT


# Deliberate reorders ------------------------------------------------------------------------------------------------


def every(*changes: reorders.Change) -> list[reorders.Reorder]:
    found = [name for name, module in MODULES.items() if _types_in(module)]
    return [one for name in found for one in reorders.reorders(name, *changes)]


async def is_noticed(reorder: reorders.Reorder) -> bool:
    """Whether a recorded history does not replay with it."""
    with reorder.compiled() as module:
        types = _types_in(module)
        candidates = [one for one in recorded(PRESENT) if one.type in types]
        async with aclosing(failures(types.values(), candidates, UnsandboxedWorkflowRunner())) as found:
            async for failure in found:
                if isinstance(failure, NondeterminismError):
                    return True
    return False


@pytest.mark.parametrize("reorder", every(reorders.one_more, reorders.left_out), ids=lambda one: one.what)
async def test_a_command_more_or_less_is_noticed(reorder: reorders.Reorder) -> None:
    assert await is_noticed(reorder), (
        f"no recorded history goes through here: add its path to tests/replay/paths.py. {HINT}"
    )


async def test_a_command_that_is_put_off_is_noticed() -> None:
    """Where the order matters to Temporal: a quick database step and a search attribute may change places."""
    assert [one.what for one in every(reorders.put_off) if await is_noticed(one)]


@pytest.mark.parametrize("reorder", every(reorders.put_off), ids=lambda one: one.what)
def test_the_fingerprint_notices_every_change_of_order(reorder: reorders.Reorder) -> None:
    assert fingerprints.order_in(reorder.tree) != fingerprints.known()[reorder.module]


@pytest.mark.parametrize("change", every(reorders.patched), ids=lambda one: one.what)
async def test_a_patched_change_goes_on(change: reorders.Reorder) -> None:
    with change.compiled() as module:
        types = _types_in(module)
        candidates = [one for one in recorded(PRESENT) if one.type in types]
        found = [failure async for failure in failures(types.values(), candidates, UnsandboxedWorkflowRunner())]
    assert found == [None] * len(candidates)
