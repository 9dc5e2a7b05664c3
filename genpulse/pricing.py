"""What a call costs, in whole credits: at most, before it is made, and really, from what came out of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from fnmatch import fnmatchcase
from math import ceil, gcd, prod
from typing import Any, NamedTuple

from genpulse.schemas.catalog import ModelSpec, OperationSpec, Price, Rate
from genpulse.schemas.credits import Quote, Terms
from genpulse.schemas.states import MEDIA_FIELDS, MediaKind

MEGAPIXEL = 1024 * 1024
#: Frames are whole: a clip of five seconds may last 5.04, and is one of five seconds to whoever bills it.
_SURPLUS_SECONDS = 0.1
#: Two characters each, to whoever bills speech by the character.
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
OPTION = "options."
#: Provider options that make nothing more and nothing dearer, at whatever cloud: the letters of their last names.
FREE_OPTIONS = frozenset({
    "addwatermark", "aigcwatermark", "cfg", "cfgscale", "disablesafetychecker", "emotion", "enablesafetychecker",
    "enhanceprompt", "guidance", "guidancescale", "imagestrength", "languageboost", "logoadd", "loop", "moderation",
    "movementamplitude", "negativeprompt", "outputcompression", "outputformat", "outputquality", "persongeneration",
    "pitch", "promptenhance", "promptextend", "promptoptimizer", "promptstrength", "promptupsampling", "revise",
    "safetytolerance", "seed", "strength", "style", "stylepreset", "styletype", "user", "voicelanguage", "vol",
    "watermark",
})  # fmt: skip
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

    @property
    def pixels(self) -> int | None:
        return None if self.width is None or self.height is None else self.width * self.height


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
    field's default or the model's native size; where that leaves it open, as for a picture that gets the size of
    another, as the model makes them at most. There always is such a bound: the catalogue takes no price without one.
    What provider options change is counted only where a rate of the price names them.
    """
    return Terms(
        unit=price.unit,
        rates=_rates(price, operation, given, options),
        per=price.per,
        added=_images(given) * price.inputs,
        units=_units(price, operation, given),
        pixels=_pixels(operation, given),
        outputs=_value("count", operation, given) or 1 if price.unit in COUNTED_IN else 1,
        is_fixed=price.unit == "second" and _seconds(operation, given) is not None,
    )


def most(terms: Terms) -> int:
    """The most that a call can cost, in credits; rounded up once, at the end."""
    return _total(terms, [_rate(terms, terms.pixels).of(terms.units)] * terms.outputs)


def held_for(quotes: Iterable[Quote]) -> int:
    """The most that a step may be charged, with the dearest of the models that may do it."""
    return max((most(quote.charge) for quote in quotes), default=0)


def used(terms: Terms, outputs: Sequence[Made]) -> int:
    """What a call has cost, in credits, from what came out of it; never more than the most, and nothing for nothing.

    Images and clips are counted as they came out, at the rate that the input asked for and that their size has. A clip
    has the seconds that were asked for, or else its own; an image has its own megapixels. Calls and characters cost the
    same whatever came out.
    """
    if terms.unit not in COUNTED_IN:
        costs = [_rate(terms, terms.pixels).of(terms.units)] if outputs else []
    else:
        counted = [one for one in outputs if one.kind in COUNTED_IN[terms.unit]]
        costs = [_rate(terms, one.pixels or terms.pixels).of(_units_of(one, terms)) for one in counted]
    return min(_total(terms, costs), most(terms))


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


def unpriced_options(model: ModelSpec, options: Mapping[str, Any], free: Iterable[str] = ()) -> list[str]:
    """Provider options of which nobody knows what they make of the price, as paths: `video.hdr`.

    Known are those that a rate of the price goes by, those that change no price anywhere, and those that a pattern of
    `free` fits, such as `kling/*:camera_control.*`.
    """
    return [
        path
        for path in dict.fromkeys(_paths(options))
        if path not in model.options
        and _letters(path.rpartition(".")[2]) not in FREE_OPTIONS
        and not any(fnmatchcase(f"{model.id}:{path}", pattern) for pattern in free)
    ]


def _letters(name: str) -> str:
    """The same for `negative_prompt` and `negativePrompt`."""
    return "".join(filter(str.isalnum, name)).lower()


def _paths(value: Any, at: str = "") -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _paths(inner, f"{at}.{name}" if at else name)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _paths(inner, at)
    elif at:
        yield at


# -- how much of it -------------------------------------------------------------------------------------------------


def _total(terms: Terms, outputs: Sequence[int]) -> int:
    """Of all outputs together, with what went in; nothing where nothing came out."""
    return -(-(sum(outputs) + terms.added) // terms.per) if outputs else 0


def _images(given: Mapping[str, Any]) -> int:
    files = [given[name] for name, kind in MEDIA_FIELDS.items() if kind is MediaKind.IMAGE and given.get(name)]
    return sum(len(one) if isinstance(one, list) else 1 for one in files)


def _units(price: Price, operation: OperationSpec, given: Mapping[str, Any]) -> int:
    """How many units each output has, from the input; the most where it does not tell."""
    match price.unit:
        case "character":
            return _characters(given.get("prompt") or "")
        case "second":
            return _seconds(operation, given) or _longest(price, operation)
        case "megapixel":
            pixels = _pixels(operation, given)
            return price.at_most or 1 if pixels is None else _megapixels(pixels)
    return 1


def _characters(prompt: str) -> int:
    return len(prompt) + len(_IDEOGRAPH.findall(prompt))


def _units_of(one: Made, terms: Terms) -> int:
    if terms.unit == "second" and one.duration is not None and not terms.is_fixed:
        return max(ceil(one.duration - _SURPLUS_SECONDS), 1)
    if terms.unit == "megapixel" and one.pixels is not None:
        return _megapixels(one.pixels)
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
        of_picture = operation.output is MediaKind.IMAGE and "image" in given and not rules.sizes
        return largest if asked or of_picture or "width" in given or "height" in given else prod(rules.native)
    if operation.named_sizes:
        asked = asked or {"resolution": operation.named_sizes[0].resolution}
        named = [one for one in operation.named_sizes if asked.items() <= one.words.items()]
        return max(one.width * one.height for one in named or operation.named_sizes)
    return None


# -- at which rate --------------------------------------------------------------------------------------------------


def _rate(terms: Terms, pixels: int | None) -> Rate:
    return next(rate for rate in terms.rates if rate.fits(pixels))


def _rates(price: Price, operation: OperationSpec, given: Mapping[str, Any], options: Mapping[str, Any]) -> list[Rate]:
    """Those that hold for the call, by the size of what comes out; the last one for any size."""
    named = {name for rate in price.rates for name in rate.when}
    values = {
        name: _option(name, options) if name.startswith(OPTION) else _value(name, operation, given) for name in named
    }
    holding = [rate.model_copy(update={"when": {}}) for rate in price.rates if rate.holds(values)]
    return [*holding, Rate(credits=price.credits, first=price.first)]


def _value(name: str, operation: OperationSpec, given: Mapping[str, Any]) -> Any:
    """What the input says, or else the field's default."""
    field = operation.fields.get(name)
    return given.get(name, field.default if field else None)


def _option(name: str, options: Mapping[str, Any]) -> Any:
    found: Any = options
    for part in name.removeprefix(OPTION).split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
