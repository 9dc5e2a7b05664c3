"""What exactly is to be done: a task checked against its model's limits, with every default filled in.

Everything wrong with a task is found here, before the device is touched.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm
from pathlib import Path

from engine import limits, pictures, video
from engine.catalog import Recipe
from engine.families import arguments
from genpulse.errors import InvalidInput
from genpulse.schemas.catalog import EngineModel, Size
from genpulse.schemas.engine import EngineTask
from genpulse.schemas.states import Operation

DEFAULT_STRENGTH = 0.6
DEFAULT_SCALE = 2.0

_FROM_IMAGE = frozenset({Operation.IMAGE_TO_IMAGE, Operation.IMAGE_TO_VIDEO})
_TO_VIDEO = frozenset({Operation.TEXT_TO_VIDEO, Operation.IMAGE_TO_VIDEO})
_UPSCALES = frozenset({Operation.IMAGE_UPSCALE, Operation.VIDEO_UPSCALE})
_INTERPOLATES = frozenset({Operation.VIDEO_INTERPOLATE})


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How a generated clip is shown."""

    fps: Fraction
    frames: int


@dataclass(frozen=True, kw_only=True)
class GenerationPlan:
    """One call of a diffusers pipeline; `motion` is there for a video only, `seeds` holds one for each file."""

    operation: Operation
    prompt: str
    negative_prompt: str
    image: Path | None
    size: Size
    steps: int
    guidance: float
    strength: float | None
    seeds: tuple[int, ...]
    motion: Motion | None


@dataclass(frozen=True, kw_only=True)
class PictureUpscalePlan:
    """From a picture to one of exactly `size`."""

    source: Path
    size: Size


@dataclass(frozen=True, kw_only=True)
class ClipUpscalePlan:
    """From a clip of about `frames` frames to one of exactly `size`."""

    source: Path
    size: Size
    fps: Fraction
    frames: int


@dataclass(frozen=True, kw_only=True)
class InterpolationPlan:
    """From a clip to exactly `frames` at `fps`."""

    source: Path
    fps: Fraction
    frames: int


def plan_generation(task: EngineTask, recipe: Recipe) -> GenerationPlan:
    """Check a task for a pipeline."""
    model = recipe.model
    limits.operation(task, model, recipe.family.classes)
    limits.prompts(task)
    takes = arguments(recipe.family.classes[task.operation]) - recipe.family.ignores
    for field in ("negative_prompt", "strength"):
        if getattr(task, field) and field not in takes:
            raise InvalidInput(f"{task.model} has no use for {field} in {task.operation}; leave it out.", field=field)
    image = limits.given(task.image, "image", task) if task.operation in _FROM_IMAGE else None
    steps = limits.within("steps", model.steps if task.steps is None else task.steps, 1, model.max_steps)
    return GenerationPlan(
        operation=task.operation,
        prompt=task.prompt,
        negative_prompt=task.negative_prompt,
        image=image,
        size=_size(task, recipe, image),
        steps=steps,
        guidance=limits.within(
            "guidance", model.guidance if task.guidance is None else task.guidance, 0, limits.MAX_GUIDANCE
        ),
        strength=_strength(task, steps) if "strength" in takes else None,
        seeds=_seeds(task, model),
        motion=_motion(task, model) if task.operation in _TO_VIDEO else None,
    )


def plan_upscale(task: EngineTask, model: EngineModel) -> PictureUpscalePlan | ClipUpscalePlan:
    """Check a task for the upscaler; `max_side` of its entry limits what comes out."""
    limits.operation(task, model, _UPSCALES)
    field = "scale" if task.width is None and task.height is None else "width"
    if task.operation is Operation.IMAGE_UPSCALE:
        image = limits.given(task.image, "image", task)
        size = limits.target(task, pictures.size_of(image), DEFAULT_SCALE)
        return PictureUpscalePlan(source=image, size=limits.longest_side(size, model, field))
    source, clip = _clip(task, model)
    width, height = limits.target(task, clip.size, DEFAULT_SCALE)
    size = limits.longest_side(Size(video.even(width), video.even(height)), model, field)
    return ClipUpscalePlan(source=source, size=size, fps=clip.fps, frames=clip.frames)


def plan_interpolation(task: EngineTask, model: EngineModel) -> InterpolationPlan:
    """Check a task for the interpolator; without a rate the frames are doubled."""
    limits.operation(task, model, _INTERPOLATES)
    source, clip = _clip(task, model)
    limits.longest_side(clip.size, model, "video")
    fps = min(clip.fps * 2, Fraction(limits.MAX_FPS)) if task.fps is None else limits.frame_rate(task.fps)
    return InterpolationPlan(source=source, fps=fps, frames=max(1, round(clip.duration * fps)))


def _size(task: EngineTask, recipe: Recipe, image: Path | None) -> Size:
    """Return the output's size: asked for, else the input picture's, else the model's own."""
    found = pictures.size_of(image) if image else None
    usual = found or recipe.model.native
    wanted = Size(
        usual.width if task.width is None else task.width, usual.height if task.height is None else task.height
    )
    size = limits.size(wanted, recipe.model, lcm(recipe.model.multiple_of, recipe.family.multiple_of))
    if found:
        limits.same_size(found, size)
    return size


def _strength(task: EngineTask, steps: int) -> float | None:
    """Return how much of the input picture is redone; for a video the class's own default is left alone."""
    if task.strength is None:
        # A single step cannot be run in part.
        return max(DEFAULT_STRENGTH, 1 / steps) if task.operation is Operation.IMAGE_TO_IMAGE else None
    strength = limits.within("strength", task.strength, 0, 1)
    if int(steps * strength) < 1:
        least = ceil(100 / steps) / 100
        raise InvalidInput(
            f"strength {strength:g} of {steps} steps leaves none to run; use at least {least:g}, or more steps.",
            field="strength",
        )
    return strength


def _seeds(task: EngineTask, model: EngineModel) -> tuple[int, ...]:
    count = limits.within("count", task.count, 1, model.max_count)
    first = secrets.randbits(32) if task.seed is None else limits.within("seed", task.seed, 0, limits.MAX_SEED)
    return tuple(first + index for index in range(count))


def _motion(task: EngineTask, model: EngineModel) -> Motion:
    fps = Fraction(model.fps) if task.fps is None else limits.frame_rate(task.fps)
    natural = min(model.frames / model.fps, model.max_seconds)
    duration = limits.within("duration", natural if task.duration is None else task.duration, 0, model.max_seconds)
    return Motion(fps=fps, frames=max(1, round(duration * fps)))


def _clip(task: EngineTask, model: EngineModel) -> tuple[Path, video.Clip]:
    source = limits.given(task.video, "video", task)
    clip = video.probe(source)
    if clip.duration > model.max_seconds:
        raise InvalidInput(
            f"video lasts {clip.duration:.1f} s; {task.model} takes up to {model.max_seconds:g} s.", field="video"
        )
    return source, clip
