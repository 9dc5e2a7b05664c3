"""What OpenAI is sent: JSON for a new picture, a form for an edit. What is not set is not sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from genpulse.errors import InvalidInput
from genpulse.providers.base import Media, ModelCall
from genpulse.providers.masks import transparent_where_white
from genpulse.schemas.states import Operation

_GENERATIONS, _EDITS = "/images/generations", "/images/edits"

Part = tuple[str, tuple[str, bytes, str]]


class ModelWire(BaseModel):
    """The `wire` of a catalogue entry."""

    model_config = ConfigDict(extra="forbid")

    model: str


class ImageRequest(BaseModel):
    model: str
    prompt: str
    n: int | None = None
    size: str | None = None


async def sent_for(call: ModelCall) -> tuple[str, dict[str, Any]]:
    """The path, and what goes there. The caller's options come on top."""
    if call.options.get("stream"):
        raise InvalidInput("Pictures come whole here; leave `stream` out.", field="provider_options.stream")
    body = _request(call).model_dump(exclude_none=True) | dict(call.options)
    if call.operation is Operation.TEXT_TO_IMAGE and not call.media:
        return _GENERATIONS, {"json": body}
    files = await asyncio.to_thread(_files, call)
    return _EDITS, {"data": dict(_fields(body)), "files": files}


def _request(call: ModelCall) -> ImageRequest:
    given = call.input
    size = f"{given['width']}x{given['height']}" if "width" in given else None
    model = ModelWire.model_validate(call.wire).model
    return ImageRequest(model=model, prompt=given["prompt"], n=given.get("count"), size=size)


def _fields(body: dict[str, Any]) -> list[tuple[str, str]]:
    """As text; the members of an object have its name before theirs."""
    fields = []
    for name, value in body.items():
        if isinstance(value, dict):
            fields += _fields({f"{name}[{member}]": inner for member, inner in value.items()})
        else:
            fields.append((name, value if isinstance(value, str) else json.dumps(value)))
    return fields


def _files(call: ModelCall) -> list[Part]:
    pictures = [*call.media.get("image", ()), *call.media.get("reference_images", ())]
    name = "image" if len(pictures) == 1 else "image[]"
    parts = [(name, _part(picture, number)) for number, picture in enumerate(pictures)]
    if mask := call.one("mask"):
        parts.append(("mask", ("mask.png", transparent_where_white(mask.path, pictures[0].path), "image/png")))
    return parts


def _part(picture: Media, number: int) -> tuple[str, bytes, str]:
    ending = picture.media_type.partition("/")[2]
    return f"{number}.{ending}", picture.path.read_bytes(), picture.media_type
