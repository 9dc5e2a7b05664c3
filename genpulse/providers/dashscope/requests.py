"""What DashScope is sent. The form of a body depends on the family of the model, which the catalogue knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from genpulse.errors import InvalidInput
from genpulse.providers.base import ModelCall
from genpulse.schemas.catalog import Size
from genpulse.schemas.states import MEDIA_FIELDS

#: The sizes that stand behind a resolution and a ratio, where a model is told those and not the size itself.
SHAPES = {
    Size(1280, 720): ("720P", "16:9"),
    Size(720, 1280): ("720P", "9:16"),
    Size(960, 960): ("720P", "1:1"),
    Size(1104, 832): ("720P", "4:3"),
    Size(832, 1104): ("720P", "3:4"),
    Size(1920, 1080): ("1080P", "16:9"),
    Size(1080, 1920): ("1080P", "9:16"),
    Size(1440, 1440): ("1080P", "1:1"),
    Size(1648, 1248): ("1080P", "4:3"),
    Size(1248, 1648): ("1080P", "3:4"),
}

_PARAMETERS = {
    "count": "n",
    "seed": "seed",
    "duration": "duration",
    "strength": "strength",
    "scale": "upscale_factor",
    "aspect_ratio": "ratio",
    "resolution": "resolution",
    "audio": "audio",
    "fps": "video_fps",
}
_TEXTS = ("prompt", "negative_prompt", "voice")

Links = Mapping[str, Sequence[str]]
"""The addresses of input files by input field: URLs, `data:` URLs, or `oss://` for what was uploaded."""


class ModelWire(BaseModel):
    """How a model wants to be called; the `wire` of its catalogue entry.

    `path` is its service. `model` is its name there, if it is not that of the entry. A `synchronous` model answers with
    the result. `form` says where prompt and files stand: by themselves, in a chat message, or the files in a list of
    `{type, url}`. `media` names an input file there; `[]` behind it makes it a list. Files are within the request
    unless `upload` asks for an address; videos and sounds always are uploaded. `size` says how a model is told its
    size. `names` are those of texts in `input`, where they differ from ours. `input` and `always` (in `parameters`) are
    sent with every call, `masked` in addition to `input` with a mask; `own` are options that belong in `input`.
    """

    model_config = ConfigDict(extra="forbid")

    path: str
    model: str = ""
    synchronous: bool = False
    form: Literal["plain", "messages", "media"] = "plain"
    media: dict[str, str] = Field(default_factory=dict)
    upload: bool = False
    size: Literal["size", "resolution"] = "size"
    names: dict[str, str] = Field(default_factory=dict)
    always: dict[str, Any] = Field(default_factory=dict)
    input: dict[str, Any] = Field(default_factory=dict)
    masked: dict[str, Any] = Field(default_factory=dict)
    own: tuple[str, ...] = ()


class Part(BaseModel):
    """One part of a message: either of them."""

    text: str | None = None
    image: str | None = None


class Message(BaseModel):
    role: Literal["user"] = "user"
    content: list[Part]


class MediaItem(BaseModel):
    type: str
    url: str


class Input(BaseModel):
    """Of all families; files that stand by themselves have names of their own."""

    model_config = ConfigDict(extra="allow")

    prompt: str | None = None
    negative_prompt: str | None = None
    messages: list[Message] | None = None
    media: list[MediaItem] | None = None
    function: str | None = None


class Parameters(BaseModel):
    """Of all families, as far as GenPulse has a word for them."""

    model_config = ConfigDict(extra="allow")

    size: str | None = None
    resolution: str | None = None
    ratio: str | None = None
    n: int | None = None
    seed: int | None = None
    duration: int | None = None
    audio: bool | None = None
    negative_prompt: str | None = None
    strength: float | None = None
    upscale_factor: int | None = None
    video_fps: int | None = None
    watermark: bool | None = None


class Creation(BaseModel):
    """A whole request. Some services know no `parameters`."""

    model: str
    input: Input
    parameters: Parameters

    def body(self) -> dict[str, Any]:
        body = self.model_dump(exclude_none=True, warnings=False)  # options may have any form
        return body if body["parameters"] else {name: body[name] for name in ("model", "input")}


def name_of(call: ModelCall, wire: ModelWire, *, abroad: bool) -> str:
    """What the model is called there: beyond mainland China, those of 2.1 have another prefix."""
    name = wire.model or call.model
    return name.replace("wanx2.1-", "wan2.1-") if abroad else name


def creation(call: ModelCall, wire: ModelWire, links: Links, *, abroad: bool = False) -> Creation:
    """The request of a call; the caller's own options win."""
    own = {name: value for name, value in call.options.items() if name in wire.own}
    options = {name: value for name, value in call.options.items() if name not in wire.own}
    return Creation(
        model=name_of(call, wire, abroad=abroad),
        input=Input.model_construct(**_input(call, wire, links) | own),
        parameters=Parameters.model_construct(**_parameters(call, wire) | options),
    )


def _input(call: ModelCall, wire: ModelWire, links: Links) -> dict[str, Any]:
    given = wire.input | (wire.masked if "mask" in links else {})
    texts = {wire.names.get(name, name): call.input[name] for name in _TEXTS if name in call.input}
    ordered = [(name, link) for name in MEDIA_FIELDS for link in links.get(name, ())]
    if wire.form == "messages":
        parts = [Part(text=call.input["prompt"]), *(Part(image=link) for _, link in ordered)]
        return given | {"messages": [Message(content=parts)]}
    if wire.form == "media":
        items = [MediaItem(type=wire.media[name], url=link) for name, link in ordered]
        return given | texts | ({"media": items} if items else {})
    files: dict[str, Any] = {}
    for name, link in ordered:
        theirs = wire.media[name]
        if theirs.endswith("[]"):
            files.setdefault(theirs.removesuffix("[]"), []).append(link)
        else:
            files[theirs] = link
    return given | texts | files


def _parameters(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    given = {_PARAMETERS[name]: value for name, value in call.input.items() if name in _PARAMETERS}
    if wire.form == "messages" and "negative_prompt" in call.input:
        given["negative_prompt"] = call.input["negative_prompt"]
    if "resolution" in given:
        given["resolution"] = given["resolution"].upper()
    if "width" in call.input:
        given |= _size(Size(call.input["width"], call.input["height"]), wire)
    return Parameters.model_validate(wire.always | given).model_dump(exclude_none=True)


def _size(size: Size, wire: ModelWire) -> dict[str, str]:
    if wire.size == "size":
        return {"size": f"{size.width}*{size.height}"}
    if size not in SHAPES:
        raise InvalidInput(f"This model does not make {size.width}x{size.height}.", field="input.width")
    resolution, ratio = SHAPES[size]
    return {"resolution": resolution, "ratio": ratio}
