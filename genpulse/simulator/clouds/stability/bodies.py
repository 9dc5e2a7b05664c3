"""What Stability AI takes, as strictly as it does. A form's fields are text, from which numbers are read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field, model_validator

from genpulse.simulator.media import Format, Media
from genpulse.simulator.wire import FormFile

_FORMATS = {"png": Format.PNG, "jpeg": Format.JPEG, "webp": Format.WEBP}
_UPSCALED = 4 * 2**20
Size = tuple[int, int]
Text = Annotated[str, Field(min_length=1, max_length=10_000)]
Style = Literal[
    "3d-model", "analog-film", "anime", "cinematic", "comic-book", "digital-art", "enhance", "fantasy-art",
    "isometric", "line-art", "low-poly", "modeling-compound", "neon-punk", "origami", "photographic", "pixel-art",
    "tile-texture",
]  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """Which pictures a path takes; `steepest` is the longer side by the shorter."""

    sides: tuple[int, int] = (64, 16384)
    most: int = 9_437_184
    steepest: float = 1000


class Body(BaseModel):
    """What every path takes; `rules` where it takes a picture."""

    model_config = ConfigDict(extra="forbid")

    rules: ClassVar[Rules | None] = None
    needs_picture: ClassVar[bool] = False

    seed: int = Field(0, ge=0, le=4_294_967_294)
    output_format: Literal["png", "jpeg", "webp"] = "png"

    def media(self, picture: Size | None) -> Media:
        return Media(_FORMATS[self.output_format], *self.size(picture))

    def size(self, picture: Size | None) -> Size:
        return picture or (1024, 1024)


class _Prompted(Body):
    prompt: Text
    negative_prompt: str | None = Field(None, max_length=10_000)


class Core(_Prompted):
    aspect_ratio: Literal["16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21"] = "1:1"
    style_preset: Style | None = None

    def size(self, picture: Size | None) -> Size:
        if picture is not None:
            return picture
        width, height = map(int, self.aspect_ratio.split(":"))
        factor = (2**20 / (width * height)) ** 0.5
        return round(width * factor), round(height * factor)


class Ultra(Core):
    rules = Rules()
    strength: float | None = Field(None, ge=0, le=1)


class Sd3(Ultra):
    model: Literal["sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash"] = "sd3.5-large"
    mode: Literal["text-to-image", "image-to-image"] = "text-to-image"
    cfg_scale: float | None = Field(None, ge=1, le=10)

    @model_validator(mode="after")
    def _of_its_mode(self) -> Self:
        if self.mode == "image-to-image" and "aspect_ratio" in self.model_fields_set:
            raise ValueError("aspect_ratio: is for text-to-image only")
        if self.model == "sd3.5-large-turbo" and self.negative_prompt:
            raise ValueError("negative_prompt: is not supported by this model")
        return self


class Fast(Body):
    rules = Rules((32, 1536), 2**20)
    needs_picture = True

    def size(self, picture: Size | None) -> Size:
        width, height = picture or (256, 256)
        return width * 4, height * 4


class Conservative(_Prompted):
    rules = Rules(steepest=2.5)
    needs_picture = True
    creativity: float = Field(0.35, ge=0.2, le=0.5)

    def size(self, picture: Size | None) -> Size:
        width, height = picture or (256, 256)
        factor = (_UPSCALED / (width * height)) ** 0.5
        return round(width * factor), round(height * factor)


class Creative(Conservative):
    rules = Rules(most=2**20, steepest=2.5)
    creativity: float = Field(0.3, ge=0.1, le=0.5)
    style_preset: Style | None = None


def measured(asked: Body, files: Sequence[FormFile]) -> Size | None:
    """The size of the picture in a form. Raises ValueError where it is not what the path wants."""
    if [file.name for file in files] != ["image"] * len(files) or len(files) > (asked.rules is not None):
        raise ValueError("unknown file")
    drawn = bool(files)
    if asked.needs_picture and not drawn:
        raise ValueError("image: required")
    if isinstance(asked, Sd3) and drawn != (asked.mode == "image-to-image"):
        raise ValueError("mode: image-to-image goes with an image")
    if isinstance(asked, Ultra) and drawn != (asked.strength is not None):
        raise ValueError("strength: goes with an image")
    return _size(files[0], asked.rules) if files and asked.rules else None


def _size(file: FormFile, rules: Rules) -> Size:
    try:
        image = Image.open(io.BytesIO(file.content))
    except UnidentifiedImageError as error:
        raise ValueError("image: invalid file") from error
    if image.format not in ("PNG", "JPEG", "WEBP"):
        raise ValueError("image: must be jpeg, png or webp")
    least, most = rules.sides
    if not least <= min(image.size) <= max(image.size) <= most or image.width * image.height > rules.most:
        raise ValueError(f"image: sides from {least} to {most}, at most {rules.most} pixels")
    if max(image.size) > rules.steepest * min(image.size):
        raise ValueError(f"image: aspect ratio at most {rules.steepest}:1")
    return image.size
