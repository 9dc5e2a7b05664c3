"""Holds a step's input fields against what its model takes; every refusal names the field and the fix."""

from __future__ import annotations

from typing import Any

from genpulse.errors import InvalidInput
from genpulse.providers.comfyui.graph import Graph
from genpulse.schemas.catalog import FieldSpec, ModelSpec
from genpulse.schemas.states import MEDIA_FIELDS, Operation

_MEDIA = frozenset({"image", "video", "audio"})


def check_input(given: dict[str, Any], model: ModelSpec, operation: Operation, path: str) -> None:
    """Raise InvalidInput for the first field of `given` that the model cannot honour, and for one that is missing."""
    fields = model.operations[operation].fields
    for name, value in given.items():
        if name not in fields:
            raise InvalidInput(
                f"{model.id} does not take `{name}` for {operation}. It takes: {', '.join(sorted(fields))}.",
                field=f"{path}.{name}",
            )
        _check_value(value, fields[name], f"{path}.{name}", f"`{name}` of {model.id}")
    for name, field in fields.items():
        if field.required and name not in given:
            raise InvalidInput(
                f"{model.id} needs `{name}` for {operation}: {field.description}.", field=f"{path}.{name}"
            )
    if operation is Operation.COMFY_WORKFLOW:
        _check_workflow(given, path)


def _check_workflow(given: dict[str, Any], path: str) -> None:
    """What goes where, a workflow itself says: that it is one, and has a place for everything."""
    files = {
        name: len(value) if isinstance(value, list) else 1 for name, value in given.items() if name in MEDIA_FIELDS
    }
    Graph.of({name: value for name, value in given.items() if name not in files}, files, path)


def missing_media(given: dict[str, Any], model: ModelSpec, operation: Operation) -> list[str]:
    """Required media fields that the caller left out, for the chain to fill."""
    fields = model.operations[operation].fields
    return [name for name, field in fields.items() if field.required and field.type in _MEDIA and name not in given]


def _check_value(value: Any, field: FieldSpec, path: str, what: str) -> None:
    if field.type == "string":
        _check_text(value, field, path, what)
    elif field.type in ("integer", "number"):
        _check_number(value, field, path, what)
    elif field.type == "boolean" and not isinstance(value, bool):
        raise InvalidInput(f"{what} is true or false.", field=path)
    elif field.type == "audio" and isinstance(value, bool):
        raise InvalidInput(f"{what} is a file.", field=path)
    elif field.type == "images" and field.maximum is not None and len(value) > field.maximum:
        raise InvalidInput(f"{what} has at most {field.maximum:g} images; these are {len(value)}.", field=path)


def _check_text(value: str, field: FieldSpec, path: str, what: str) -> None:
    if field.enum and value not in field.enum:
        raise InvalidInput(f"{what} is one of {', '.join(field.enum)}.", field=path)
    if field.max_length is not None and len(value) > field.max_length:
        raise InvalidInput(f"{what} has at most {field.max_length} characters; this has {len(value)}.", field=path)
    if field.required and not value.strip():
        raise InvalidInput(f"{what} is empty: {field.description}.", field=path)


def _check_number(value: float, field: FieldSpec, path: str, what: str) -> None:
    if field.minimum is not None and value < field.minimum:
        raise InvalidInput(f"{what} is at least {field.minimum:g}, not {value:g}.", field=path)
    if field.maximum is not None and value > field.maximum:
        raise InvalidInput(f"{what} is at most {field.maximum:g}, not {value:g}.", field=path)
    if field.multiple_of is not None and value % field.multiple_of:
        raise InvalidInput(f"{what} is a multiple of {field.multiple_of}, not {value:g}.", field=path)
