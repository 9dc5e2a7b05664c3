"""Whether the prices of the catalogue fit their models, and which of the settings go in their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from genpulse.errors import GenPulseError
from genpulse.pricing import COUNTED_IN, OPTION
from genpulse.schemas.catalog import FieldSpec, ModelSpec, OperationSpec, Price, Rate
from genpulse.schemas.states import Operation


class BadPrice(GenPulseError, branch=True):
    """A price that does not fit its model, or is of none; said to whoever starts the process."""


def repriced(models: Iterable[ModelSpec], prices: Mapping[str, Price]) -> list[ModelSpec]:
    """The models, with the prices given for `provider/name`, or for one operation as `provider/name:operation`.

    A price of a model is that of all its operations but those with one of their own here. Raises BadPrice for a price
    that is of no model, and for one, of whatever origin, that does not fit.
    """
    unknown, found = set(prices), list[ModelSpec]()
    for model in models:
        own = {name: f"{model.id}:{name}" for name in model.operations}
        found.append(_repriced(model, prices.get(model.id), {name: prices.get(key) for name, key in own.items()}))
        unknown -= {model.id, *own.values()}
    if unknown:
        raise BadPrice(f"GENPULSE_CREDITS__PRICES has prices of what there is not: {', '.join(sorted(unknown))}.")
    for model in found:
        check(model)
    return found


def check(model: ModelSpec) -> None:
    """Raise BadPrice where a price speaks of what its model does not have, or leaves open how much a call may cost."""
    for name, operation in model.operations.items():
        if (price := model.price_of(name)) is not None:
            for problem in _misfits(price, operation):
                raise BadPrice(f"The price of {model.id} for {name} {problem}.")
    for where, price, operations in _stated(model):
        for rate in price.rates:
            for problem in _misfits_of_rate(rate, price, model, operations):
                raise BadPrice(f"A rate of {where} {problem}.")


def _repriced(model: ModelSpec, price: Price | None, own: Mapping[Operation, Price | None]) -> ModelSpec:
    if price is None and not any(own.values()):
        return model
    operations = {
        name: operation.model_copy(update={"price": own[name] or (None if price else operation.price)})
        for name, operation in model.operations.items()
    }
    return model.model_copy(update={"price": price or model.price, "operations": operations})


def _stated(model: ModelSpec) -> Iterator[tuple[str, Price, list[OperationSpec]]]:
    """Each price of a model, in words, and the operations that it is of."""
    others = [one for one in model.operations.values() if one.price is None]
    if model.price is not None and others:
        yield f"the price of {model.id}", model.price, others
    for name, operation in model.operations.items():
        if operation.price is not None:
            yield f"the price of {model.id} for {name}", operation.price, [operation]


def _misfits(price: Price, operation: OperationSpec) -> Iterator[str]:
    kinds, output = COUNTED_IN.get(price.unit), operation.output
    if kinds is not None and output is not None and output not in kinds:
        yield f"is by the {price.unit}, and what comes out is {output}"
    if price.unit == "character" and "prompt" not in operation.fields:
        yield "is by the character, and there is no `prompt`"
    if price.at_most is not None:
        return
    if price.unit == "second" and getattr(operation.fields.get("duration"), "maximum", None) is None:
        yield "needs `at_most`: nothing says how many seconds there may be"
    if price.unit == "megapixel" and operation.sizes is None and not operation.named_sizes:
        yield "needs `at_most`: nothing says how many megapixels there may be"


def _misfits_of_rate(rate: Rate, price: Price, model: ModelSpec, operations: Sequence[OperationSpec]) -> Iterator[str]:
    for name, wanted in rate.when.items():
        if unknown := _unknown(name, wanted, model, operations):
            yield unknown
    if rate.credits > price.credits and any(name.startswith(OPTION) for name in rate.when):
        yield "makes it dearer by an option, and no rate would apply to another spelling of it"


def _unknown(name: str, wanted: Any, model: ModelSpec, operations: Sequence[OperationSpec]) -> str | None:
    if name.startswith(OPTION):
        known = name.removeprefix(OPTION) in model.options
        return None if known else f"speaks of `{name}`, which is none of its `options`"
    fields = [one.fields[name] for one in operations if name in one.fields]
    if not fields:
        return f"speaks of `{name}`, a field that it does not have"
    values = wanted if isinstance(wanted, list) else [wanted]
    if strange := [one for one in values if not any(_may_be(one, field) for field in fields)]:
        return f"speaks of a `{name}` of {strange[0]!r}, which it cannot have"
    return None


def _may_be(value: Any, field: FieldSpec) -> bool:
    if field.type in ("image", "images", "video"):
        return value is True
    if field.type in ("boolean", "audio"):
        return isinstance(value, bool)
    if field.type == "string":
        return isinstance(value, str) and (not field.enum or value in field.enum)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return (field.minimum is None or field.minimum <= value) and (field.maximum is None or value <= field.maximum)
