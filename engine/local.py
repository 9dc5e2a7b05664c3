"""The engine of a worker: takes tasks from any thread and runs them one after the other on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from engine import report, runtime
from engine.catalog import Catalog
from engine.fake import FakeEngine
from engine.generate import generate
from engine.interpolate import interpolate_video
from engine.loader import load_network, load_pipeline
from engine.plans import PictureUpscalePlan, plan_generation, plan_interpolation, plan_upscale
from engine.progress import Progress
from engine.slot import Slot
from engine.store import Store
from engine.upscale import upscale_clip, upscale_picture
from genpulse.errors import OutOfMemory
from genpulse.schemas.catalog import EngineModel
from genpulse.schemas.engine import EngineOutput, EngineTask, OnProgress

Result = TypeVar("Result")

#: Pictures in one call of a pipeline: more gain little, and their memory adds up.
_BATCH = 8


class LocalEngine:
    """Implements `genpulse.schemas.engine.Engine` with the models of a catalogue.

    Building one is cheap and imports nothing heavy; `warm_up`, or the first run, does. `cache_bytes` bounds the weights
    kept in memory per device; they stay until others need the room.
    """

    def __init__(
        self,
        models: Mapping[str, EngineModel],
        *,
        cache_bytes: int,
        cache_dir: Path,
        offline: bool = True,
        device: str = "auto",
    ) -> None:
        self._catalog = Catalog(models, offline=offline)
        self._store = Store(cache_bytes)
        self._slot = Slot()
        self._fake = FakeEngine()
        self._cache_dir = cache_dir
        self._device = device

    def warm_up(self) -> None:
        """Import the libraries, so that the first task does not wait for them."""
        runtime.prepare()

    def run(self, task: EngineTask, *, out_dir: Path, on_progress: OnProgress) -> EngineOutput:
        """Run the task in this thread when its turn comes; files `0.png`, `1.png`, … or `0.mp4` go to `out_dir`.

        Every second of waiting for the turn reports progress 0, so that a waiting run can be cancelled too.
        """
        model = self._catalog.model(task.model)
        if model.kind == "fake":
            return self._fake.run(task, out_dir=out_dir, on_progress=on_progress)
        progress = Progress(on_progress)
        progress(0)
        run = {"pipeline": self._generate, "upscaler": self._upscale, "interpolator": self._interpolate}[model.kind]
        output = run(task, model, out_dir, progress)
        progress(1)
        return output

    def _generate(self, task: EngineTask, model: EngineModel, out_dir: Path, progress: Progress) -> EngineOutput:
        runtime.prepare()
        recipe = self._catalog.resolve(task.model)
        plan = plan_generation(task, recipe)
        device = runtime.pick_device(model.device, self._device)

        def attempt(at_once: int) -> EngineOutput:
            with self._store.borrow(
                task.model, device=device, expected=recipe.file_bytes, load=lambda: load_pipeline(recipe, device)
            ) as pipe:
                progress(0)  # loading may have taken minutes
                files = generate(pipe.value, recipe, plan, out_dir, progress, at_once=at_once)
                return EngineOutput(files=files, parameters=report.generation(recipe, plan, pipe))

        return self._on_device(attempt, progress, f"{report.summary(plan)} by {task.model} on {device}")

    def _upscale(self, task: EngineTask, model: EngineModel, out_dir: Path, progress: Progress) -> EngineOutput:
        runtime.prepare()
        plan = plan_upscale(task, model)
        device = runtime.pick_device(model.device, self._device)

        def attempt(_at_once: int) -> EngineOutput:
            with self._store.borrow(
                task.model, device=device, expected=0, load=lambda: load_network(self._cache_dir, device)
            ) as network:
                if isinstance(plan, PictureUpscalePlan):
                    target = out_dir / "0.png"
                    upscale_picture(network.value, plan, target, progress)
                else:
                    target = out_dir / "0.mp4"
                    upscale_clip(network.value, plan, target, progress)
                return EngineOutput(files=(target,), parameters=report.upscale(task, plan, network))

        return self._on_device(attempt, progress, f"{plan.size.width}x{plan.size.height} by {task.model} on {device}")

    def _interpolate(self, task: EngineTask, model: EngineModel, out_dir: Path, progress: Progress) -> EngineOutput:
        """FFmpeg's work, not the device's: it waits for nobody."""
        plan = plan_interpolation(task, model)
        target = out_dir / "0.mp4"
        interpolate_video(plan, target, progress)
        return EngineOutput(files=(target,), parameters=report.interpolation(task, plan))

    def _on_device(self, attempt: Callable[[int], Result], progress: Progress, what: str) -> Result:
        """Wait for the turn and run; when memory runs out, once more with everything else dropped, one by one."""
        reason = ""
        with self._slot.hold(lambda: progress(0)):
            for at_once in (_BATCH, 1):
                try:
                    return attempt(at_once)
                except (MemoryError, RuntimeError, OSError) as error:
                    if not runtime.is_out_of_memory(error):
                        raise
                    reason = str(error).partition("\n")[0]
                self._store.clear()  # only here: within `except` the traceback keeps the tensors alive
        raise OutOfMemory(f"Too little memory for {what}: {reason} Ask for a smaller size, or for fewer at once.")
