"""Running one step on the local engine: inputs fetched and fitted, the model run, every output stored and recorded."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from temporalio import activity

from activities.failures import fault, to_temporal
from activities.pacing import outlast
from genpulse.errors import AlreadyFinished, GenPulseError
from genpulse.failpoints import Failpoint
from genpulse.schemas.engine import EngineOutput, EngineTask
from genpulse.schemas.plans import StepOrder, StepOutcome

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from genpulse.assets import Assets, Staged
    from genpulse.catalog import Catalog
    from genpulse.records import Records, StepWork
    from genpulse.schemas.engine import Engine

_PROVIDER = "local"
_RUNNING = Failpoint("engine.run")
_BEAT_SECONDS = 1.0
_TASK_FIELDS = frozenset(EngineTask.__dataclass_fields__) - {"model", "operation"}


class _Stopped(Exception):
    """Raised within the engine to end a run that nobody waits for any more."""


@dataclass
class _Run:
    """What the engine's thread and the activity share while a step runs."""

    step_id: str = ""
    fraction: float = 0.0
    stop: threading.Event = field(default_factory=threading.Event)

    def on_progress(self, fraction: float) -> None:
        """Called from the engine's thread."""
        if self.stop.is_set():
            raise _Stopped
        self.fraction = fraction


@dataclass(frozen=True)
class EngineActivities:
    """Steps of the local engine. `threads` runs the engine; how many steps at once is the worker's to say."""

    records: Records
    assets: Assets
    catalog: Catalog
    engine: Engine
    threads: Executor

    @activity.defn(name="engine.run")
    async def run(self, order: StepOrder) -> StepOutcome:
        """Run a step. A step that has succeeded already is not run again: its outputs are the answer.

        While the database or the storage is away it waits, with what the model has made.
        """
        run = _Run()
        async with self._heartbeat(order, run):
            try:
                work = await outlast(lambda: self.records.begin_step(order))
                if work.outputs:
                    return StepOutcome(outputs=list(work.outputs))
                run.step_id = work.step_id
                return StepOutcome(outputs=await self._make(order, work, run))
            except GenPulseError as error:
                if not isinstance(error, AlreadyFinished):
                    failed = fault(error, _PROVIDER)
                    await outlast(lambda: self.records.fail_attempt(order, failed))
                raise to_temporal(error, _PROVIDER) from error

    async def _make(self, order: StepOrder, work: StepWork, run: _Run) -> list[str]:
        with TemporaryDirectory(prefix="genpulse-step-") as scratch:
            folder = Path(scratch)
            staged = await outlast(lambda: self._stage(work, folder))
            async with _RUNNING:
                made = await self._run_engine(_task(work, staged.files), folder, run)
            rows = await outlast(lambda: self.assets.ingest_outputs(made.files, order))
            return await outlast(
                lambda: self.records.finish_step(order, rows, parameters=made.parameters, adaptions=staged.adaptions)
            )

    async def _stage(self, work: StepWork, folder: Path) -> Staged:
        spec = self.catalog.get(work.model).operations[work.operation]
        return await self.assets.stage(work, spec.images, folder)

    async def _run_engine(self, task: EngineTask, folder: Path, run: _Run) -> EngineOutput:
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(
            self.threads, lambda: self.engine.run(task, out_dir=folder, on_progress=run.on_progress)
        )
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            run.stop.set()
            await asyncio.wait([running])  # the device is free, and the scratch folder unused, only when it has ended
            if not running.cancelled():
                running.exception()  # seen: it is the stop that we asked for, or a failure that no longer matters
            raise

    @contextlib.asynccontextmanager
    async def _heartbeat(self, order: StepOrder, run: _Run) -> AsyncIterator[None]:
        """Tell Temporal that we live, and readers how far we are, for as long as the step runs.

        Apart from each other: the heart must not stop while the database takes its time.
        """
        both = [asyncio.create_task(self._beat(run)), asyncio.create_task(self._show(order, run))]
        try:
            yield
        finally:
            for one in both:
                one.cancel()
            await asyncio.wait(both)

    async def _beat(self, run: _Run) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            activity.heartbeat(round(run.fraction, 3))

    async def _show(self, order: StepOrder, run: _Run) -> None:
        shown = 0.0
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            if run.fraction > shown:
                shown = run.fraction
                with contextlib.suppress(GenPulseError):  # a reader's comfort only, for which no step ends
                    await self.records.progress(order, run.step_id, shown)


def _task(work: StepWork, files: dict[str, Path]) -> EngineTask:
    given: dict[str, Any] = {name: value for name, value in work.input.items() if name in _TASK_FIELDS} | files
    return EngineTask(model=work.model.partition("/")[2], operation=work.operation, **given)
