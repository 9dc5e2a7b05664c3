"""Catalogue entries as callers see them: JSON Schema of the inputs, limits, price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from genpulse.pricing import marked_up
from genpulse.schemas.catalog import FieldSpec, Health, Model, ModelSpec, OperationSpec

_MEDIA_TYPES = frozenset({"image", "video", "audio"})
_MEDIA_SCHEMA: dict[str, Any] = {
    "type": "object",
    "oneOf": [
        {"title": "asset", "required": ["asset"], "properties": {"asset": {"type": "string"}}},
        {"title": "url", "required": ["url"], "properties": {"url": {"type": "string", "format": "uri"}}},
        {"title": "data", "required": ["data"], "properties": {"data": {"type": "string"}}},
        {
            "title": "step",
            "required": ["step"],
            "properties": {"step": {"type": "string"}, "output": {"type": "integer", "default": 0}},
        },
    ],
}


def public_model(spec: ModelSpec, health: Health, *, markup: Decimal = Decimal(0)) -> Model:
    """What `GET /v1/models` says of a model. Its prices are those that callers pay: the markup is in them."""
    own = {name: operation.price for name, operation in spec.operations.items()}
    return Model(
        id=spec.id,
        object="model",
        provider=spec.provider,
        description=spec.description,
        operations=list(spec.operations),
        input_schema=input_schema(spec),
        limits={operation: _limits(one) for operation, one in spec.operations.items()},
        price=marked_up(spec.price, markup) if spec.price else None,
        operation_prices={name: marked_up(price, markup) for name, price in own.items() if price},
        health=health,
        result_seconds=spec.result_seconds,
        retires_at=spec.retires_at,
        successor=spec.successor,
    )


def input_schema(spec: ModelSpec) -> dict[str, Any]:
    """JSON Schema of `input`; a model with several operations gets one alternative for each, titled with its name."""
    alternatives = [_operation_schema(operation, one) for operation, one in spec.operations.items()]
    if len(alternatives) == 1:
        return alternatives[0]
    properties = {name: schema for one in alternatives for name, schema in one["properties"].items()}
    return {"type": "object", "properties": properties, "anyOf": alternatives}


def _operation_schema(title: str, operation: OperationSpec) -> dict[str, Any]:
    return {
        "title": str(title),
        "type": "object",
        "properties": {name: _field_schema(field) for name, field in operation.fields.items()} | _pixels(operation),
        "required": [name for name, field in operation.fields.items() if field.required],
        "additionalProperties": False,
    }


def _pixels(operation: OperationSpec) -> dict[str, Any]:
    """Which width and height may be given to a model that takes no others."""
    sides = {
        "width": sorted({size.width for size in operation.named_sizes}),
        "height": sorted({size.height for size in operation.named_sizes}),
    }
    return {name: {"type": "integer", "description": "Pixels", "enum": known} for name, known in sides.items() if known}


def _field_schema(field: FieldSpec) -> dict[str, Any]:
    if field.type == "images":
        most = {} if field.maximum is None else {"maxItems": int(field.maximum)}
        return {"type": "array", "items": _MEDIA_SCHEMA, "description": field.description} | most
    if field.type in _MEDIA_TYPES:
        return _MEDIA_SCHEMA | {"description": field.description}
    keywords = {
        "default": field.default,
        "minimum": field.minimum,
        "maximum": field.maximum,
        "multipleOf": field.multiple_of,
        "enum": list(field.enum) or None,
        "maxLength": field.max_length,
    }
    given = {keyword: value for keyword, value in keywords.items() if value is not None}
    return {"type": field.type, "description": field.description} | given


def _limits(operation: OperationSpec) -> dict[str, Any]:
    limits: dict[str, Any] = {"output": operation.output or "any"}
    if operation.sizes is not None:
        limits["sizes"] = operation.sizes.model_dump(mode="json")
    if operation.named_sizes:
        limits["named_sizes"] = [size._asdict() for size in operation.named_sizes]
    if operation.images:
        limits["images"] = {name: rules.model_dump(mode="json") for name, rules in operation.images.items()}
    return limits
