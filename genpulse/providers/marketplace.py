"""Clouds that run other people's models: every model has input names of its own, which the catalogue knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from genpulse.providers.base import ModelCall


class ModelWire(BaseModel):
    """How a model wants its input; the `wire` of its catalogue entry.

    `fields` renames common fields; `size` names an object that holds width and height, where they do not stand alone;
    `as_text` are numbers that the model wants as text; `always` is sent with every call.
    """

    model_config = ConfigDict(extra="forbid")

    endpoint: str
    fields: dict[str, str] = Field(default_factory=dict)
    size: str = ""
    as_text: tuple[str, ...] = ()
    always: dict[str, Any] = Field(default_factory=dict)


def model_input(call: ModelCall, wire: ModelWire, links: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The model's own input object: what is always sent, then the common fields, then the caller's own options.

    `links` are addresses of the input files, by field.
    """
    given = dict(call.input)
    body = dict(wire.always)
    if wire.size and {"width", "height"} <= given.keys():
        body[wire.size] = {"width": given.pop("width"), "height": given.pop("height")}
    for name, value in given.items():
        body[wire.fields.get(name, name)] = f"{value:g}" if name in wire.as_text else value
    for name, addresses in links.items():
        body[wire.fields.get(name, f"{name}_url")] = [*addresses] if name == "reference_images" else addresses[0]
    return body | dict(call.options)
