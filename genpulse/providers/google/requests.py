"""What Google is sent: camelCase to Gemini and Vertex, snake_case to Interactions. What is not set is not sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from genpulse.errors import InvalidInput
from genpulse.providers.base import Media, ModelCall


class Product(StrEnum):
    """Which of the services a model belongs to."""

    GEMINI = "gemini"
    INTERACTION = "interaction"
    VEO = "veo"
    IMAGEN = "imagen"


class ModelWire(BaseModel):
    """The `wire` of a catalogue entry. `task` is what an interaction is to do with what it is given."""

    model_config = ConfigDict(extra="forbid")

    product: Product
    model: str
    task: str | None = None


class _Camel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class _Inline(_Camel):
    mime_type: str
    data: str = Field(repr=False)


class _Part(_Camel):
    text: str | None = None
    inline_data: _Inline | None = None


class _Contents(_Camel):
    role: Literal["user"] = "user"
    parts: list[_Part]


class _ImageConfig(_Camel):
    aspect_ratio: str | None = None
    image_size: str | None = None


class _GenerationConfig(_Camel):
    response_modalities: tuple[str, ...] = ("TEXT", "IMAGE")
    image_config: _ImageConfig | None = None


class GenerateContent(_Camel):
    contents: list[_Contents]
    generation_config: _GenerationConfig


class _Content(BaseModel):
    type: Literal["text", "image", "video"]
    text: str | None = None
    data: str | None = Field(None, repr=False)
    mime_type: str | None = None


class _Input(BaseModel):
    type: Literal["user_input"] = "user_input"
    content: list[_Content]


class _Format(BaseModel):
    type: Literal["video"] = "video"
    aspect_ratio: str | None = None
    resolution: str | None = None
    duration: str | None = None
    delivery: Literal["uri"] = "uri"


class _VideoConfig(BaseModel):
    task: str | None = None


class _VideoGeneration(BaseModel):
    seed: int | None = None
    video_config: _VideoConfig


class _Webhook(BaseModel):
    uris: list[str]


class CreateInteraction(BaseModel):
    model: str
    background: Literal[True] = True
    store: Literal[True] = True
    input: str | list[_Input]
    response_format: _Format
    generation_config: _VideoGeneration
    webhook_config: _Webhook | None = None


class _File(_Camel):
    bytes_base64_encoded: str = Field(repr=False)
    mime_type: str


class _Reference(_Camel):
    image: _File
    reference_type: Literal["ASSET"] = "ASSET"


class _Instance(_Camel):
    prompt: str | None = None
    image: _File | None = None
    last_frame: _File | None = None
    reference_images: list[_Reference] | None = None
    video: _File | None = None


class _Parameters(_Camel):
    sample_count: int = 1
    duration_seconds: int | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None


class Predict(_Camel):
    """The body of Veo and of Imagen."""

    instances: list[_Instance]
    parameters: _Parameters


def body_of(call: ModelCall, wire: ModelWire) -> dict[str, Any]:
    """The whole request. Options that are objects join ours, at every depth."""
    body = _MADE_BY[wire.product](call, wire).model_dump(mode="json", by_alias=True, exclude_none=True)
    return _joined(body, call.options)


def _joined(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(ours)
    for name, value in theirs.items():
        both = isinstance(value, Mapping) and isinstance(joined.get(name), Mapping)
        joined[name] = _joined(joined[name], value) if both else value
    return joined


def _pictures(call: ModelCall) -> list[Media]:
    return [*call.media.get("image", ()), *call.media.get("reference_images", ())]


def _gemini(call: ModelCall, wire: ModelWire) -> GenerateContent:  # noqa: ARG001 - the model is in the path
    parts = [_Part(text=call.input["prompt"])]
    parts += [_Part(inline_data=_Inline(mime_type=one.media_type, data=one.base64())) for one in _pictures(call)]
    ratio, resolution = call.input.get("aspect_ratio"), call.input.get("resolution")
    size = resolution.removesuffix("p").upper() if resolution else None
    config = _ImageConfig(aspect_ratio=ratio, image_size=size) if ratio or size else None
    return GenerateContent(contents=[_Contents(parts=parts)], generation_config=_GenerationConfig(image_config=config))


def _interaction(call: ModelCall, wire: ModelWire) -> CreateInteraction:
    given = call.input
    seconds = given.get("duration")
    task = "reference_to_video" if wire.task == "text_to_video" and call.media else wire.task
    return CreateInteraction(
        model=wire.model,
        input=[_Input(content=list(_contents(call)))] if call.media else given["prompt"],
        response_format=_Format(
            aspect_ratio=given.get("aspect_ratio"),
            resolution=given.get("resolution"),
            duration=f"{int(seconds)}s" if seconds is not None else None,
        ),
        generation_config=_VideoGeneration(seed=given.get("seed"), video_config=_VideoConfig(task=task)),
        webhook_config=_Webhook(uris=[call.callback_url]) if call.callback_url else None,
    )


def _contents(call: ModelCall) -> Iterator[_Content]:
    if prompt := call.input.get("prompt"):
        yield _Content(type="text", text=prompt)
    for file in _pictures(call):
        yield _Content(type="image", data=file.base64(), mime_type=file.media_type)
    if video := call.one("video"):
        yield _Content(type="video", data=video.base64(), mime_type=video.media_type)


def _veo(call: ModelCall, wire: ModelWire) -> Predict:  # noqa: ARG001
    given = call.input
    seconds, resolution = given.get("duration"), given.get("resolution")
    call.check_listed("duration", (4, 6, 8))
    if resolution == "1080p" and seconds not in (None, 8):
        raise InvalidInput("1080p is made at a `duration` of 8 only.", field="input.duration")
    references = [_Reference(image=_file(one)) for one in call.media.get("reference_images", ())]
    instance = _Instance(
        prompt=given.get("prompt"),
        image=_optional(call.one("image")),
        last_frame=_optional(call.one("last_image")),
        reference_images=references or None,
        video=_optional(call.one("video")),
    )
    parameters = _Parameters(
        sample_count=given.get("count", 1),
        duration_seconds=int(seconds) if seconds is not None else None,
        aspect_ratio=given.get("aspect_ratio"),
        resolution=resolution,
        negative_prompt=given.get("negative_prompt"),
        seed=given.get("seed"),
    )
    return Predict(instances=[instance], parameters=parameters)


def _imagen(call: ModelCall, wire: ModelWire) -> Predict:  # noqa: ARG001
    parameters = _Parameters(sample_count=call.input.get("count", 1), aspect_ratio=call.input.get("aspect_ratio"))
    return Predict(instances=[_Instance(prompt=call.input["prompt"])], parameters=parameters)


def _file(media: Media) -> _File:
    return _File(bytes_base64_encoded=media.base64(), mime_type=media.media_type)


def _optional(media: Media | None) -> _File | None:
    return _file(media) if media else None


_MADE_BY = {Product.GEMINI: _gemini, Product.INTERACTION: _interaction, Product.VEO: _veo, Product.IMAGEN: _imagen}
