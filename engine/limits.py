"""Single limits, each with the sentence that says what is allowed."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from genpulse.errors import InvalidInput
from genpulse.schemas.catalog import EngineModel, Size
from genpulse.schemas.engine import EngineTask
from genpulse.schemas.states import Operation

MAX_PROMPT = 4000
#: The largest whole number that every JSON reader keeps exact.
MAX_SEED = 2**53 - 1
MAX_FPS = 60
MAX_GUIDANCE = 50
MAX_SCALE = 4

Number = TypeVar("Number", int, float)


def within(field: str, value: Number, low: float, high: float) -> Number:
    """Return the value if it lies between the limits, both included."""
    if not low <= value <= high:
        raise InvalidInput(f"{field} must be from {low:g} to {high:g}, not {value:g}.", field=field)
    return value


def operation(task: EngineTask, model: EngineModel, able: Collection[Operation]) -> None:
    """Refuse what the model was not entered for, and what its class cannot do whatever the entry says."""
    allowed = [one for one in model.operations if one in able]
    if task.operation not in allowed:
        does = ", ".join(allowed) or "nothing: its entry in GENPULSE_ENGINE__MODELS lists none that it is able to do"
        raise InvalidInput(f"{task.model} does not do {task.operation}; it does {does}.", field="operation")


def prompts(task: EngineTask) -> None:
    """Refuse a prompt of absurd length, which would be cut silently; and none where text is all there is."""
    for field, text in (("prompt", task.prompt), ("negative_prompt", task.negative_prompt)):
        if len(text) > MAX_PROMPT:
            raise InvalidInput(f"{field} has {len(text)} characters; use {MAX_PROMPT} at most.", field=field)
    if task.operation in (Operation.TEXT_TO_IMAGE, Operation.TEXT_TO_VIDEO) and not task.prompt.strip():
        raise InvalidInput(f"prompt is needed for {task.operation}.", field="prompt")


def given(path: Path | None, field: str, task: EngineTask) -> Path:
    """Return the input file."""
    if path is None:
        raise InvalidInput(f"{field} is needed for {task.operation}.", field=field)
    return path


def size(wanted: Size, model: EngineModel, multiple_of: int) -> Size:
    """Return the size if the model makes exactly that one."""
    if model.sizes:
        if wanted not in model.sizes:
            choice = ", ".join(f"{width}x{height}" for width, height in model.sizes)
            raise InvalidInput(f"{wanted.width}x{wanted.height} is not one of {choice}.", field="width")
        return wanted
    for field, side in zip(("width", "height"), wanted, strict=True):
        within(field, side, model.min_side, model.max_side)
        if side % multiple_of:
            below = side - side % multiple_of
            raise InvalidInput(
                f"{field} must be a multiple of {multiple_of}: take {below} or {below + multiple_of}, not {side}.",
                field=field,
            )
    return wanted


def same_size(found: Size, wanted: Size) -> None:
    """Refuse an input picture of another size than the output's."""
    if found != wanted:
        raise InvalidInput(
            f"image is {found.width}x{found.height} and the output {wanted.width}x{wanted.height}; "
            f"resize the image, or ask for its own size.",
            field="image",
        )


def target(task: EngineTask, source: Size, default_scale: float) -> Size:
    """Return the size to upscale to: the sides asked for, else the scale, from 1 to 4 times the source."""
    if task.width is None and task.height is None:
        scale = within("scale", default_scale if task.scale is None else task.scale, 1, MAX_SCALE)
        return Size(round(source.width * scale), round(source.height * scale))
    width = task.width or round(source.width * (task.height or 0) / source.height)
    height = task.height or round(source.height * width / source.width)
    within("width", width, source.width, source.width * MAX_SCALE)
    within("height", height, source.height, source.height * MAX_SCALE)
    return Size(width, height)


def longest_side(made: Size, model: EngineModel, field: str) -> Size:
    """Return the size if neither side is longer than the model allows."""
    if max(made) > model.max_side:
        raise InvalidInput(
            f"{made.width}x{made.height} is more than {model.max_side} pixels a side; ask for less.", field=field
        )
    return made


def frame_rate(fps: float) -> Fraction:
    """Return the rate as the fraction meant: 23.976 is 24000/1001."""
    return Fraction(within("fps", fps, 1, MAX_FPS)).limit_denominator(1001)
