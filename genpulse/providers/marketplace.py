"""Clouds that run other people's models: every model has input names of its own, which the catalogue knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from genpulse.providers.base import ModelCall

Links = Mapping[str, Sequence[str]]
"""Addresses of the input files, by field."""


class ModelWire(BaseModel):
    """How a model wants its input; the `wire` of its catalogue entry.

    `fields` renames common fields; `pictures` names a list of the picture to work on and the references, where they are
    one; `size` names an object that holds width and height, where they do not stand alone, and `sized` goes along with
    them; `written` tells how a number is written that the model wants as text; `listed` are the only values of a
    number; `always` is sent with every call.
    """

    model_config = ConfigDict(extra="forbid")

    endpoint: str
    fields: dict[str, str] = Field(default_factory=dict)
    pictures: str = ""
    size: str = ""
    sized: dict[str, Any] = Field(default_factory=dict)
    written: dict[str, str] = Field(default_factory=dict)
    listed: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    always: dict[str, Any] = Field(default_factory=dict)


def check(call: ModelCall, wire: ModelWire) -> None:
    """Raise InvalidInput for a number that the model does not list, before any file is sent."""
    for name, known in wire.listed.items():
        call.check_listed(name, known)


def model_input(call: ModelCall, wire: ModelWire, links: Links) -> dict[str, Any]:
    """The model's own input object: what is always sent, then the common fields, then the caller's own options."""
    given = dict(call.input)
    body = dict(wire.always)
    if {"width", "height"} <= given.keys():
        body |= wire.sized
        if wire.size:
            body[wire.size] = {"width": given.pop("width"), "height": given.pop("height")}
    for name, value in given.items():
        body[wire.fields.get(name, name)] = _written(value, wire.written.get(name))
    return body | _addresses(wire, links) | dict(call.options)


def _written(value: Any, form: str | None) -> Any:
    if form is not None:
        return form.format(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _addresses(wire: ModelWire, links: Links) -> dict[str, Any]:
    together = ("image", "reference_images") if wire.pictures else ()
    pictures = [address for name in together for address in links.get(name, ())]
    body: dict[str, Any] = {wire.pictures: pictures} if pictures else {}
    for name, addresses in links.items():
        if name not in together:
            body[wire.fields.get(name, f"{name}_url")] = [*addresses] if name == "reference_images" else addresses[0]
    return body
