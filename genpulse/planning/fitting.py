"""What a model that takes a step over makes of wishes it cannot honour to the letter: the nearest, or nothing; told."""

from __future__ import annotations

from typing import Any

from genpulse.schemas.catalog import FieldSpec, ModelSpec
from genpulse.schemas.states import Operation

#: Wishes about how something is made. What it is made of, and how many of it, is never changed.
_NUMBERS = ("duration", "fps", "steps", "guidance")
_WORDS = ("aspect_ratio", "resolution")
_DROPPED = ("seed",)


def fit(given: dict[str, Any], model: ModelSpec, operation: Operation) -> tuple[dict[str, Any], list[str]]:
    """The input as this model comes closest to it, and what is different, in words."""
    fields, fitted, changes = model.operations[operation].fields, dict(given), list[str]()
    for name in (*_NUMBERS, *_WORDS, *_DROPPED):
        if name not in given:
            continue
        field = fields.get(name)
        value = _nearest(given[name], field) if field is not None and name in _NUMBERS else given[name]
        if field is None or (field.enum and value not in field.enum):
            del fitted[name]
            changes.append(f"without `{name}`")
        elif value != given[name]:
            fitted[name] = value
            changes.append(f"with `{name}` {value:g} instead of {given[name]:g}")
    return fitted, changes


def _nearest(value: float, field: FieldSpec) -> float:
    """Within the limits, and of the multiples the nearest; of two as near, the larger."""
    step = field.multiple_of
    if step:
        value = step * int(value / step + 0.5)
    if field.minimum is not None:
        value = max(value, field.minimum)
    if field.maximum is not None:
        value = min(value, field.maximum)
    return value
