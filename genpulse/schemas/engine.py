"""Contract between whoever wants something generated locally and the engine that does it: paths in, paths out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from genpulse.schemas.states import Operation

OnProgress = Callable[[float], None]
"""Called from the device's thread with the fraction done, 0 to 1, at least once per denoising step or frame.
An exception that it raises ends the run and comes out of `Engine.run`: that is how a run is cancelled."""


@dataclass(frozen=True, kw_only=True)
class EngineTask:
    """One model call. Sizes in pixels, `duration` in seconds; None means the model's default.

    `model` is the catalogue name without its provider.
    """

    model: str
    operation: Operation
    prompt: str = ""
    negative_prompt: str = ""
    image: Path | None = None
    video: Path | None = None
    width: int | None = None
    height: int | None = None
    count: int = 1
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    strength: float | None = None
    duration: float | None = None
    fps: float | None = None
    scale: float | None = None


@dataclass(frozen=True, kw_only=True)
class EngineOutput:
    """The files made, in order, and the parameters really used (seed, size, steps, library versions)."""

    files: tuple[Path, ...]
    parameters: dict[str, str | int | float] = field(default_factory=dict)


class Engine(Protocol):
    """Runs one task at a time per call, in the calling thread.

    Raises errors of `genpulse.errors`: InvalidInput, OutOfMemory, ModelUnavailable; and whatever `on_progress` raises.
    """

    def run(self, task: EngineTask, *, out_dir: Path, on_progress: OnProgress) -> EngineOutput: ...
