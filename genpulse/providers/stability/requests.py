"""What Stability AI is sent: a form, even where there is no file in it. What is not set is not sent."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from genpulse.providers.base import Media, ModelCall
from genpulse.schemas.states import Operation

Field = tuple[None, str]
File = tuple[str, bytes, str]
Part = tuple[str, Field | File]


class ModelWire(BaseModel):
    """The `wire` of a catalogue entry.

    `model` names one of several behind a path. `later`: the picture is asked for with an id, which is a property of the
    path. `strength` is sent with a picture where the caller leaves it out and the cloud does not.
    """

    model_config = ConfigDict(extra="forbid")

    path: str
    model: str | None = None
    later: bool = False
    strength: float | None = None


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: str | None = None
    negative_prompt: str | None = None
    aspect_ratio: str | None = None
    seed: int | None = None


class MakeRequest(_Sent):
    model: str | None = None
    mode: Literal["image-to-image"] | None = None
    strength: float | None = None
    cfg_scale: float | None = None


class UpscaleRequest(_Sent):
    creativity: float | None = None


def form_of(call: ModelCall, wire: ModelWire) -> list[Part]:
    """The whole form. The caller's options come on top. Reads files."""
    given = dict(call.input)
    request = _upscale(given) if call.operation is Operation.IMAGE_UPSCALE else _make(call, wire, given)
    fields: dict[str, Any] = request.model_dump(exclude_none=True) | dict(call.options)
    parts: list[Part] = [(name, (None, _text(value))) for name, value in fields.items()]
    if picture := call.one("image"):
        parts.append(("image", _file(picture)))
    return parts


def _make(call: ModelCall, wire: ModelWire, given: dict[str, Any]) -> MakeRequest:
    guidance, strength = given.pop("guidance", None), given.pop("strength", wire.strength)
    drawn = call.one("image") is not None
    return MakeRequest(
        **given,
        model=wire.model,
        mode="image-to-image" if drawn and wire.model else None,
        strength=strength if drawn else None,
        cfg_scale=guidance,
    )


def _upscale(given: dict[str, Any]) -> UpscaleRequest:
    return UpscaleRequest(creativity=given.pop("strength", None), **given)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _file(picture: Media) -> File:
    return f"image.{picture.media_type.partition('/')[2]}", picture.path.read_bytes(), picture.media_type
