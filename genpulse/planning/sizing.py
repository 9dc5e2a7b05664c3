"""Which size a request asks for, and which size of a model comes nearest to it. Pixels; aspect is width / height."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from genpulse.errors import InvalidInput
from genpulse.schemas.catalog import NamedSize, Size, SizeRules

#: Sizes count as one aspect ratio within this; 1366x768 is 16:9 to anybody.
ASPECT_TOLERANCE = 0.02
SIZE_FIELDS = ("width", "height", "aspect_ratio", "resolution")

_SHORT_SIDE = re.compile(r"^(\d{2,4})p$")
_BOTH_SIDES = re.compile(r"^(\d{2,5})x(\d{2,5})$")
_NAMED = {"1k": 1024, "1.5k": 1536, "2k": 2048, "3k": 3072, "4k": 4096}


def wanted_size(given: dict[str, Any], rules: SizeRules, path: str) -> Size | None:
    """The exact size that the fields ask for; None where they leave it to the model."""
    if not any(name in given for name in SIZE_FIELDS):
        return None
    if "resolution" in given and ("width" in given or "height" in given):
        raise InvalidInput("Give `resolution` or `width` and `height`, not both.", field=f"{path}.resolution")
    if "width" in given and "height" in given:
        if "aspect_ratio" in given:
            raise InvalidInput("`width` and `height` fix the aspect ratio already.", field=f"{path}.aspect_ratio")
        return Size(given["width"], given["height"])
    aspect = _asked_aspect(given, rules)
    if "width" in given:
        return Size(given["width"], _even(given["width"] / aspect))
    if "height" in given:
        return Size(_even(given["height"] * aspect), given["height"])
    if "resolution" in given:
        return _from_resolution(given["resolution"], aspect, path)
    return _of_shape(aspect, rules, f"{path}.aspect_ratio")


def nearest_size(wanted: Size, rules: SizeRules, *, path: str) -> Size:
    """The largest size of the same aspect that the model makes and that is not larger than wanted.

    Raises InvalidInput where the model makes no such size.
    """
    if rules.allows(wanted):
        return wanted
    if rules.sizes:
        return _from_list(wanted, rules, path)
    return _from_range(wanted, rules, path)


def asks_pixels(given: Mapping[str, Any]) -> bool:
    return "width" in given or "height" in given


def in_words(given: dict[str, Any], known: Sequence[NamedSize], *, path: str) -> dict[str, Any]:
    """The fields with the model's own words in place of the pixels that they ask for.

    Raises InvalidInput where the model has no words for exactly these.
    """
    words = {Size(one.width, one.height): one.words for one in known}
    wanted = wanted_size(given, SizeRules(native=next(iter(words)), sizes=tuple(words)), path)
    if wanted not in words:
        listed = ", ".join(f"{size.width}x{size.height}" for size in words)
        raise InvalidInput(
            f"In pixels this model makes {listed}; ask for anything else by `aspect_ratio` and `resolution`.",
            field=f"{path}.{'width' if 'width' in given else 'height'}",
        )
    return without_size(given) | words[wanted]


def without_size(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in SIZE_FIELDS}


def _asked_aspect(given: dict[str, Any], rules: SizeRules) -> float:
    if "aspect_ratio" in given:
        width, height = given["aspect_ratio"].split(":")
        return int(width) / int(height)
    return rules.native.width / rules.native.height


def _from_resolution(text: str, aspect: float, path: str) -> Size:
    if both := _BOTH_SIDES.match(text.lower()):
        return Size(int(both[1]), int(both[2]))
    short = _NAMED.get(text.lower())
    if match := _SHORT_SIDE.match(text.lower()):
        short = int(match[1])
    if short is None:
        raise InvalidInput(
            f"{text!r} is no resolution: write the shorter side as 720p, 1K, 2K, 4K, or both as 1280x720.",
            field=f"{path}.resolution",
        )
    return Size(_even(short * aspect), short) if aspect >= 1 else Size(short, _even(short / aspect))


def _of_area(aspect: float, native: Size) -> Size:
    area = native.width * native.height
    return Size(_even(math.sqrt(area * aspect)), _even(math.sqrt(area / aspect)))


def _of_shape(aspect: float, rules: SizeRules, path: str) -> Size:
    """How large it is when only the shape is asked for: about as large as the model's native size."""
    wanted = _of_area(aspect, rules.native)
    if not rules.sizes:
        return nearest_size(wanted, rules, path=path)
    area = rules.native.width * rules.native.height
    return min(_alike(wanted, rules, path), key=lambda size: abs(size.width * size.height - area))


def _alike(wanted: Size, rules: SizeRules, path: str) -> list[Size]:
    alike = [size for size in rules.sizes if _same_aspect(size, wanted)]
    if not alike:
        known = ", ".join(f"{size.width}x{size.height}" for size in rules.sizes)
        raise InvalidInput(f"This model makes {known}; no other shape.", field=path)
    return alike


def _from_list(wanted: Size, rules: SizeRules, path: str) -> Size:
    alike = _alike(wanted, rules, path)
    fitting = [size for size in alike if size.width <= wanted.width]
    if not fitting:
        least = min(alike)
        raise InvalidInput(f"The least size of this shape is {least.width}x{least.height}.", field=path)
    return max(fitting)


def _from_range(wanted: Size, rules: SizeRules, path: str) -> Size:
    factor = min(1.0, rules.max_side / max(wanted), math.sqrt(rules.max_pixels / (wanted.width * wanted.height)))
    sides = [max(math.floor(side * factor / rules.multiple_of), 1) * rules.multiple_of for side in wanted]
    size = Size(*sides)
    if max(size) > rules.max_aspect * min(size):
        raise InvalidInput(f"The longer side is at most {rules.max_aspect:g} times the shorter one.", field=path)
    if size.width * size.height < rules.min_pixels:
        raise InvalidInput(
            f"This model makes pictures of at least {rules.min_pixels:,} pixels; {wanted.width}x{wanted.height} cannot "
            "be reached.",
            field=path,
        )
    if min(size) < rules.min_side:
        raise InvalidInput(
            f"Sides of this model run from {rules.min_side} to {rules.max_side} in steps of {rules.multiple_of}; "
            f"{wanted.width}x{wanted.height} cannot be reached.",
            field=path,
        )
    return size


def _same_aspect(one: Size, other: Size) -> bool:
    return abs(one.width * other.height / (one.height * other.width) - 1) <= ASPECT_TOLERANCE


def _even(side: float) -> int:
    return max(2, round(side / 2) * 2)
