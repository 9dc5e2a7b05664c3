"""What the client has to know of a model: the `wire` of its catalogue entry."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from genpulse.errors import InvalidInput
from genpulse.providers.base import Media, ModelCall


class Product(StrEnum):
    """Which interface a model stands behind: the first five at Qianfan, the last two at the Open AI platform."""

    PICTURE = "picture"
    MUSE = "muse"
    K_SERIES = "k-series"
    OMNI = "omni"
    V_SERIES = "v-series"
    VOD = "vod"
    PROCESS = "process"
    PAINTING = "painting"


class ModelWire(BaseModel):
    """`model` is Baidu's name, and `path` where it is asked for, where a product has several."""

    model_config = ConfigDict(extra="forbid")

    product: Product
    model: str = ""
    path: str = ""
    seconds: tuple[int, ...] = ()
    """The only durations, where the catalogue cannot say it as a range."""


def wire_of(call: ModelCall) -> ModelWire:
    return ModelWire.model_validate(call.wire)


def seconds(call: ModelCall, wire: ModelWire) -> int | None:
    """Raises InvalidInput for a duration that cannot be had."""
    given = call.input.get("duration")
    if given is None:
        return None
    if wire.seconds and given not in wire.seconds:
        known = " or ".join(map(str, wire.seconds))
        raise InvalidInput(f"`duration` of {call.model} is {known}, not {given:g}.", field="input.duration")
    return int(given)


def size(call: ModelCall, sign: str) -> str | None:
    """Width and height with a sign between them."""
    return f"{call.input['width']}{sign}{call.input['height']}" if "width" in call.input else None


def needed(call: ModelCall, name: str) -> Media:
    """A file without which this model cannot do."""
    file = call.one(name)
    if file is None:
        raise InvalidInput(f"{call.model} needs `{name}`.", field=f"input.{name}")
    return file


def address(file: Media, name: str) -> str:
    """Of a file that is taken by URL only."""
    if file.url is None:
        raise InvalidInput(f"Baidu fetches `{name}` itself: give a URL that is open to it.", field=f"input.{name}")
    return file.url


def sound(call: ModelCall) -> bool | None:
    """Whether sound is wanted, where that is told."""
    given: Any = call.input.get("audio")
    return given if isinstance(given, bool) else None
