"""What BFL is sent. What is not set is not sent; the caller's options come on top."""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from genpulse.errors import InvalidInput
from genpulse.providers.base import ModelCall
from genpulse.providers.masks import white_on_black

_STEEPEST = 21 / 9
_SIDES = ("top", "bottom", "left", "right")


class Pictures(StrEnum):
    """How a model is given its pictures."""

    NUMBERED = "numbered"
    """One after another, the one to be edited first."""
    PROMPT = "prompt"
    """One that stands beside the prompt."""
    EDITED = "edited"
    """One, with a mask of what may change."""
    EXPANDED = "expanded"
    """One, with so many pixels to be added at each side."""


class ModelWire(BaseModel):
    """The `wire` of a catalogue entry; `model` is its path too."""

    model_config = ConfigDict(extra="forbid")

    model: str
    pictures: Pictures


class FluxRequest(BaseModel):
    """What the models have in common; each takes some of it."""

    model_config = ConfigDict(extra="forbid")

    prompt: str | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    aspect_ratio: str | None = None
    steps: int | None = None
    guidance: float | None = None
    webhook_url: str | None = None
    webhook_secret: str | None = None


def body_of(
    call: ModelCall, wire: ModelWire, *, webhook_url: str | None = None, webhook_secret: str | None = None
) -> dict[str, Any]:
    """The whole request. Reads files."""
    request = FluxRequest(**call.input, webhook_url=webhook_url, webhook_secret=webhook_secret)
    if request.aspect_ratio is not None:
        _check_aspect(request.aspect_ratio)
    if wire.pictures is Pictures.EXPANDED and not any(call.options.get(side) for side in _SIDES):
        raise InvalidInput(f"Say by how many pixels the picture grows: {', '.join(_SIDES)}.", field="provider_options")
    return request.model_dump(exclude_none=True) | _pictures(call, wire) | dict(call.options)


def _pictures(call: ModelCall, wire: ModelWire) -> dict[str, str]:
    files = [*call.media.get("image", ()), *call.media.get("reference_images", ())]
    if wire.pictures is Pictures.NUMBERED:
        names = ["input_image", *(f"input_image_{number}" for number in range(2, len(files) + 1))]
        return {name: file.base64() for name, file in zip(names, files, strict=False)}
    if wire.pictures is Pictures.PROMPT:
        return {"image_prompt": files[0].base64()} if files else {}
    sent = {"image": files[0].base64()}
    if mask := call.one("mask"):
        sent["mask"] = base64.b64encode(white_on_black(mask.path, files[0].path)).decode("ascii")
    return sent


def _check_aspect(text: str) -> None:
    width, height = map(int, text.split(":"))
    if not 1 / _STEEPEST <= width / height <= _STEEPEST:
        raise InvalidInput("`aspect_ratio` lies between 21:9 and 9:21.", field="input.aspect_ratio")
