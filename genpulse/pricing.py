"""What a call costs, in whole credits: at most, before it is made, and really, from what came out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import ceil, gcd, prod
from typing import Any, NamedTuple

from genpulse.schemas.catalog import OperationSpec, Price, Rate
from genpulse.schemas.credits import Quote, Terms
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind

MEGAPIXEL = 1024 * 1024
#: Frames are whole: a clip of five seconds may last 5.04, and is one of five seconds to whoever bills it.
_SURPLUS_SECONDS = 0.1
OPTION = "options."
#: In which kinds of output a unit is counted; the others are counted by call.
COUNTED_IN = {
    "image": {MediaKind.IMAGE},
    "megapixel": {MediaKind.IMAGE},
    "second": {MediaKind.VIDEO, MediaKind.AUDIO},
}


class Made(NamedTuple):
    """An output as far as its price is concerned; what is not known of it, or does not apply, is None."""

    kind: MediaKind
    width: int | None = None
    height: int | None = None
    duration: float | None = None


def quote(
    price: Price,
    operation: OperationSpec,
    given: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    markup: Decimal = Decimal(0),
) -> Quote:
    """What a call with this input and these provider options is charged, with the markup, and costs us, without it."""
    return Quote(
        charge=terms(marked_up(price, markup), operation, given, options),
        cost=terms(price, operation, given, options),
    )


def terms(price: Price, operation: OperationSpec, given: Mapping[str, Any], options: Mapping[str, Any]) -> Terms:
    """What a call with this input and these provider options costs, at most and by what will have come out of it.

    At most as many outputs as `count` says, each as long and as large as the input says; where it does not, as the
    field's default or the model's native size; where that leaves it open, as the model makes them at most. There always
    is such a bound: the catalogue takes no price without one. What provider options change is counted only where a rate
    of the price names them.
    """
    rate = _rate(price, operation, given, options)
    return Terms(
        unit=price.unit,
        rate=Rate(credits=rate.credits, first=rate.first),
        per=price.per,
        added=_images(given) * price.inputs,
        units=_units(price, operation, given),
        outputs=_value("count", operation, given) or 1 if price.unit in COUNTED_IN else 1,
        is_fixed=price.unit == "second" and _seconds(operation, given) is not None,
    )


def most(terms: Terms) -> int:
    """The most that a call can cost, in credits; rounded up once, at the end."""
    return _total(terms, [terms.units] * terms.outputs)


def held_for(quotes: Iterable[Quote]) -> int:
    """The most that a step may be charged, with the dearest of the models that may do it."""
    return max((most(quote.charge) for quote in quotes), default=0)


def used(terms: Terms, outputs: Sequence[Made]) -> int:
    """What a call has cost, in credits, from what came out of it; never more than the most, and nothing for nothing.

    Images and clips are counted as they came out, at the rate that the input asked for. A clip has the seconds that
    were asked for, or else its own; an image has its own megapixels. Calls and characters cost the same whatever came
    out.
    """
    if terms.unit not in COUNTED_IN:
        units = [terms.units] if outputs else []
    else:
        units = [_units_of(one, terms) for one in outputs if one.kind in COUNTED_IN[terms.unit]]
    return min(_total(terms, units), most(terms))


def marked_up(price: Price, markup: Decimal) -> Price:
    """The price with a markup of, for example, 0.2, exactly: 3 credits for an image become 18 for 5."""
    numerator, denominator = (1 + markup).as_integer_ratio()
    parts: list[Price | Rate] = [price, *price.rates]
    figures = [part.credits for part in parts] + [part.first or 0 for part in parts] + [price.inputs]
    shared = gcd(price.per * denominator, *(figure * numerator for figure in figures))

    def scaled(part: Price | Rate) -> dict[str, int | None]:
        first = None if part.first is None else part.first * numerator // shared
        return {"credits": part.credits * numerator // shared, "first": first}

    rates = tuple(rate.model_copy(update=scaled(rate)) for rate in price.rates)
    others = {"inputs": price.inputs * numerator // shared, "per": price.per * denominator // shared, "rates": rates}
    return price.model_copy(update={**scaled(price), **others})


# -- how much of it -------------------------------------------------------------------------------------------------


def _total(terms: Terms, outputs: Sequence[int]) -> int:
    """Of all outputs together, with what went in; nothing where nothing came out."""
    return -(-(sum(map(terms.rate.of, outputs)) + terms.added) // terms.per) if outputs else 0


def _images(given: Mapping[str, Any]) -> int:
    files = [given[name] for name, kind in MEDIA_FIELDS.items() if kind is MediaKind.IMAGE and given.get(name)]
    return sum(len(one) if isinstance(one, list) else 1 for one in files)


def _units(price: Price, operation: OperationSpec, given: Mapping[str, Any]) -> int:
    """How many units each output has, from the input; the most where it does not tell."""
    match price.unit:
        case "character":
            return len(given.get("prompt") or "")
        case "second":
            return _seconds(operation, given) or _longest(price, operation)
        case "megapixel":
            pixels = _pixels(operation, given)
            return price.at_most or 1 if pixels is None else _megapixels(pixels)
    return 1


def _units_of(one: Made, terms: Terms) -> int:
    if terms.unit == "second" and one.duration is not None and not terms.is_fixed:
        return max(ceil(one.duration - _SURPLUS_SECONDS), 1)
    if terms.unit == "megapixel" and one.width is not None and one.height is not None:
        return _megapixels(one.width * one.height)
    return terms.units


def _seconds(operation: OperationSpec, given: Mapping[str, Any]) -> int | None:
    """As long as was asked for; None where that is left to the model, or follows from a video."""
    asked = _value("duration", operation, given)
    return None if asked is None else ceil(asked)


def _longest(price: Price, operation: OperationSpec) -> int:
    duration = operation.fields.get("duration")
    longest = price.at_most if duration is None or duration.maximum is None else ceil(duration.maximum)
    return longest or 1


def _megapixels(pixels: int) -> int:
    return max(-(-pixels // MEGAPIXEL), 1)


def _pixels(operation: OperationSpec, given: Mapping[str, Any]) -> int | None:
    """How large an output is at most; None where only what comes out will tell."""
    if "width" in given and "height" in given:
        return int(given["width"]) * int(given["height"])
    asked = {name: given[name] for name in ("aspect_ratio", "resolution") if name in given}
    if operation.sizes is not None:
        rules = operation.sizes
        largest = max(map(prod, rules.sizes)) if rules.sizes else min(rules.max_pixels, rules.max_side**2)
        return largest if asked or "width" in given or "height" in given else prod(rules.native)
    if operation.named_sizes:
        asked = asked or {"resolution": operation.named_sizes[0].resolution}
        named = [one for one in operation.named_sizes if asked.items() <= one.words.items()]
        return max(one.width * one.height for one in named or operation.named_sizes)
    return None


# -- at which rate --------------------------------------------------------------------------------------------------


def _rate(price: Price, operation: OperationSpec, given: Mapping[str, Any], options: Mapping[str, Any]) -> Rate:
    named = {name for rate in price.rates for name in rate.when}
    values = {
        name: _option(name, options) if name.startswith(OPTION) else _value(name, operation, given) for name in named
    }
    return price.rate(values, _pixels(operation, given))


def _value(name: str, operation: OperationSpec, given: Mapping[str, Any]) -> Any:
    """What the input says, or else the field's default."""
    field = operation.fields.get(name)
    return given.get(name, field.default if field else None)


def _option(name: str, options: Mapping[str, Any]) -> Any:
    found: Any = options
    for part in name.removeprefix(OPTION).split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
