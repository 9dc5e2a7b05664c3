"""What BFL's models take. An unknown field is refused, so that none is sent by mistake."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Annotated, ClassVar, Literal, Self

from PIL import Image, UnidentifiedImageError
from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, Field, model_validator

from genpulse.simulator.media import Format, Media

_MOST_PIXELS = 4 * 2**20
_MOST_INPUT = 20 * 10**6
_STEEPEST = 21 / 9
_FORMATS = {"png": Format.PNG, "jpeg": Format.JPEG, "webp": Format.WEBP}
Size = tuple[int, int]


def opened(text: str) -> Image.Image:
    """The picture in base64."""
    try:
        image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    except (binascii.Error, UnidentifiedImageError) as error:
        raise ValueError("not a base64-encoded image") from error
    if image.width * image.height > _MOST_INPUT:
        raise ValueError("image dimensions exceed 20 megapixels")
    return image


def _encoded(text: str) -> str:
    opened(text)
    return text


def _linked_or_encoded(text: str) -> str:
    return text if text.startswith(("https://", "http://")) else _encoded(text)


def _between(text: str) -> str:
    width, height = map(int, text.split(":"))
    if not 1 / _STEEPEST <= width / height <= _STEEPEST:
        raise ValueError("aspect ratio must be between 21:9 and 9:21")
    return text


Encoded = Annotated[str, AfterValidator(_encoded)]
Picture = Annotated[str, AfterValidator(_linked_or_encoded)]
Aspect = Annotated[str, Field(pattern=r"^[1-9]\d*:[1-9]\d*$"), AfterValidator(_between)]
Side = Annotated[int, Field(ge=256, le=1440, multiple_of=32)]
Fine = Annotated[int, Field(ge=64, multiple_of=16)]
Added = Annotated[int, Field(ge=0, le=2048)]


class Body(BaseModel):
    """What every model takes. `size` is that of the result."""

    model_config = ConfigDict(extra="forbid")

    prompt: str | None = ""
    prompt_upsampling: bool | None = None
    seed: int | None = None
    safety_tolerance: int = Field(2, ge=0, le=6)
    output_format: Literal["jpeg", "png", "webp"] = "jpeg"
    webhook_url: AnyHttpUrl | None = None
    webhook_secret: str | None = None

    @property
    def size(self) -> Size:
        return 1024, 1024

    def inputs(self) -> list[str]:
        """The pictures that were sent."""
        names = ("image", "image_prompt", "input_image", *(f"input_image_{number}" for number in range(2, 9)))
        return [value for name in names if (value := getattr(self, name, None))]

    @property
    def media(self) -> Media:
        return Media(_FORMATS[self.output_format], *self.size)


class _Numbered(Body):
    prompt: str
    input_image: Picture | None = None
    input_image_2: Picture | None = None
    input_image_3: Picture | None = None
    input_image_4: Picture | None = None


class Klein(_Numbered):
    safety_tolerance: int = Field(2, ge=0, le=5)
    width: Fine | None = None
    height: Fine | None = None

    @property
    def size(self) -> Size:
        first = self.input_image
        usual = opened(first).size if first and not first.startswith("http") else (1024, 1024)
        return self.width or usual[0], self.height or usual[1]

    @model_validator(mode="after")
    def _not_too_large(self) -> Self:
        if (self.width or 1) * (self.height or 1) > _MOST_PIXELS:
            raise ValueError("at most 4 megapixels")
        return self


class Flux2(Klein):
    input_image_5: Picture | None = None
    input_image_6: Picture | None = None
    input_image_7: Picture | None = None
    input_image_8: Picture | None = None


class Flex(Flux2):
    steps: int | None = Field(None, ge=1, le=50)
    guidance: float | None = Field(None, ge=1.5, le=10)


class _Older(Body):
    output_format: Literal["jpeg", "png"] = "jpeg"


class _Shaped(BaseModel):
    """Made by aspect ratio; `pixels` in all."""

    pixels: ClassVar[int] = 2**20
    aspect_ratio: Aspect | None = None

    @property
    def size(self) -> Size:
        width, height = map(int, (self.aspect_ratio or "1:1").split(":"))
        factor = (self.pixels / (width * height)) ** 0.5
        return round(width * factor), round(height * factor)


class Kontext(_Shaped, _Numbered):
    output_format: Literal["jpeg", "png"] = "png"


class Ultra(_Shaped, _Older):
    pixels = 4 * 2**20
    aspect_ratio: Aspect = "16:9"
    raw: bool = False
    image_prompt: Encoded | None = None
    image_prompt_strength: float = Field(0.1, ge=0, le=1)


class Pro11(_Older):
    image_prompt: Encoded | None = None
    width: Side = 1024
    height: Side = 768

    @property
    def size(self) -> Size:
        return self.width, self.height


class Dev(Pro11):
    steps: int | None = Field(None, ge=1, le=50)
    guidance: float | None = Field(None, ge=1.5, le=5)


class _Edit(_Older):
    image: Encoded
    steps: int | None = Field(None, ge=15, le=50)
    guidance: float | None = Field(None, ge=1.5, le=100)

    @property
    def size(self) -> Size:
        return opened(self.image).size


class Fill(_Edit):
    mask: Encoded | None = None

    @model_validator(mode="after")
    def _masked(self) -> Self:
        image = opened(self.image)
        if self.mask is None and not image.has_transparency_data:
            raise ValueError("a mask is needed, or an image with an alpha channel")
        if self.mask is not None and opened(self.mask).size != image.size:
            raise ValueError("the mask must have the dimensions of the image")
        return self


class Expand(_Edit):
    top: Added = 0
    bottom: Added = 0
    left: Added = 0
    right: Added = 0

    @property
    def size(self) -> Size:
        width, height = opened(self.image).size
        return width + self.left + self.right, height + self.top + self.bottom

    @model_validator(mode="after")
    def _expands(self) -> Self:
        if not any((self.top, self.bottom, self.left, self.right)):
            raise ValueError("at least one side must be expanded")
        if min(opened(self.image).size) < 256:
            raise ValueError("image dimensions must be at least 256x256 pixels")
        return self


MODELS: dict[str, type[Body]] = {
    "flux-2-max": Flux2,
    "flux-2-pro": Flux2,
    "flux-2-pro-preview": Flux2,
    "flux-2-flex": Flex,
    "flux-2-klein-4b": Klein,
    "flux-2-klein-9b": Klein,
    "flux-2-klein-9b-preview": Klein,
    "flux-kontext-pro": Kontext,
    "flux-kontext-max": Kontext,
    "flux-pro-1.1": Pro11,
    "flux-pro-1.1-ultra": Ultra,
    "flux-dev": Dev,
    "flux-pro-1.0-fill": Fill,
    "flux-pro-1.0-expand": Expand,
}
