"""What OpenAI takes, as strictly as it does. A form's fields are text, from which numbers and booleans are read."""

from __future__ import annotations

import io
import re
from typing import Annotated, Any, Literal, Self

from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from genpulse.simulator.wire import FormFile

MODELS = (
    "gpt-image-1-mini",
    "gpt-image-1.5",
    "gpt-image-2",
    "gpt-image-2-2026-04-21",
    "gpt-image-2.5-sunburst",
    "gpt-image-2.5-sunburst-2026-09-08",
    "gpt-image-2.5-flare",
    "gpt-image-2.5-flare-2026-09-08",
    "gpt-image-2.6-sunburst",
    "gpt-image-2.6-flare",
    "chatgpt-image-latest",
)
_FIXED = frozenset({"1024x1024", "1536x1024", "1024x1536"})
_LARGEST, _STEP, _STEEPEST = (3840, 2160), 16, 3
_MOST_IMAGES, _MOST_BYTES = 16, 50 * 10**6


def need(condition: object, said: str) -> None:
    """Raise what becomes the cloud's own error."""
    if not condition:
        raise ValueError(said)


class Generation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str
    prompt: str = Field(min_length=1, max_length=32000)
    n: int = Field(1, ge=1, le=10)
    size: Annotated[str, StringConstraints(pattern=r"^(auto|\d{2,4}x\d{2,4})$")] = "auto"
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max"] = "auto"
    background: Literal["auto", "transparent", "opaque"] = "auto"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: int | None = Field(None, ge=0, le=100)
    moderation: Literal["auto", "low"] = "auto"
    complexity: Literal["low", "medium", "high"] | None = None
    stream: bool = False
    partial_images: int = Field(0, ge=0, le=3)
    safety_identifier: str | None = None
    user: str | None = None

    @property
    def sides(self) -> tuple[int, int]:
        width, height = ("1024x1024" if self.size == "auto" else self.size).split("x")
        return int(width), int(height)

    @property
    def _is_new(self) -> bool:
        return bool(re.match(r"gpt-image-[2-9]", self.model))

    @model_validator(mode="after")
    def _together(self) -> Self:
        need(self.background != "transparent" or self.output_format != "jpeg", "transparent needs png or webp")
        need(self.output_compression is None or self.output_format != "png", "compression needs jpeg or webp")
        need(self.quality not in ("xhigh", "max") or "-2.5-" in self.model, "this model has no such quality")
        if self.size != "auto" and not self._is_new:
            need(self.size in _FIXED, "this model makes 1024x1024, 1536x1024 and 1024x1536")
        long, short = max(self.sides), min(self.sides)
        need(long % _STEP == 0 == short % _STEP, "both sides must be divisible by 16")
        need(long <= _STEEPEST * short, "the ratio must be between 1:3 and 3:1")
        need(long <= _LARGEST[0] and long * short <= _LARGEST[0] * _LARGEST[1], "at most 3840x2160")
        return self


class Edit(Generation):
    input_fidelity: Literal["high", "low"] | None = None


def edited(fields: dict[str, Any], files: list[FormFile]) -> Edit:
    """Read a form; its pictures are `image`, or `image[]` again and again."""
    asked = Edit.model_validate(fields)
    pictures = [_opened(file) for file in files if file.name in ("image", "image[]")]
    masks = [_opened(file) for file in files if file.name == "mask"]
    need(len(pictures) + len(masks) == len(files), "unknown file")
    need(1 <= len(pictures) <= _MOST_IMAGES, "1 to 16 images are needed")
    need(len(pictures) == 1 or all(file.name != "image" for file in files), "several images are sent as image[]")
    for mask in masks:
        need(mask.format == "PNG" and "A" in mask.getbands(), "the mask must be a PNG with an alpha channel")
        need(mask.size == pictures[0].size, "the mask must be of the first image's size")
    return asked


def _opened(file: FormFile) -> Image.Image:
    need(len(file.content) < _MOST_BYTES, "the image is too large")
    try:
        image = Image.open(io.BytesIO(file.content))
    except UnidentifiedImageError as error:
        raise ValueError("invalid image file") from error
    need(image.format in ("PNG", "JPEG", "WEBP"), "unsupported image format")
    return image
