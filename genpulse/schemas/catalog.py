"""Contracts of the model catalogue: what a model accepts, makes, costs, and how the engine loads it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from genpulse.schemas.states import MediaKind, Operation


class Size(NamedTuple):
    """Pixels."""

    width: int
    height: int


class Frozen(BaseModel):
    """Immutable, strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldSpec(Frozen):
    """One input field of a model, in the terms of JSON Schema; media types stand for a media input."""

    type: Literal["string", "integer", "number", "boolean", "object", "image", "video", "audio", "images"]
    description: str
    required: bool = False
    default: JsonValue = None
    minimum: float | None = None
    maximum: float | None = None
    multiple_of: int | None = None
    enum: tuple[str, ...] = ()
    max_length: int | None = None


Encoding = Literal["asset", "url", "base64"]


class ImageRules(Frozen):
    """Which images a model accepts as input; an image outside these is fitted by the adapter.

    `sizes` lists the only sizes accepted; left empty, any size within the side limits is.
    Pixels are width x height, aspect ratios width / height.
    """

    media_types: tuple[str, ...] = ("image/png", "image/jpeg", "image/webp")
    encodings: tuple[Encoding, ...] = ("asset",)
    sizes: tuple[Size, ...] = ()
    min_side: int = 1
    max_side: int = 16384
    max_pixels: int = 16384 * 16384
    multiple_of: int = 1
    min_aspect: float = 0.0
    max_aspect: float = 1000.0
    max_bytes: int = 64 * 2**20

    @property
    def by_url_only(self) -> bool:
        """Whether the cloud fetches them itself, and takes them in no other way."""
        return self.encodings == ("url",)


class SizeRules(Frozen):
    """Which sizes a model can make: those of `sizes`, or, left empty, any within the limits.

    Pixels are width x height; `max_aspect` is longer / shorter side.
    """

    native: Size
    sizes: tuple[Size, ...] = ()
    min_side: int = 64
    max_side: int = 2048
    multiple_of: int = 8
    min_pixels: int = 0
    max_pixels: int = 16384 * 16384
    max_aspect: float = 1000.0

    def allows(self, size: Size) -> bool:
        """Tell whether the model can make exactly this size."""
        if self.sizes:
            return size in self.sizes
        if not self.min_pixels <= size.width * size.height <= self.max_pixels:
            return False
        if max(size) > self.max_aspect * min(size):
            return False
        return all(self.min_side <= side <= self.max_side and side % self.multiple_of == 0 for side in size)


class NamedSize(NamedTuple):
    """Pixels, and the words for exactly these of a model that takes no pixels."""

    width: int
    height: int
    aspect_ratio: str
    resolution: str

    @property
    def words(self) -> dict[str, JsonValue]:
        return {"aspect_ratio": self.aspect_ratio, "resolution": self.resolution}


class OperationSpec(Frozen):
    """One operation of a model. `sizes` is absent where the output size follows from the input.

    Without an `output`, files of any kind may come out.
    """

    output: MediaKind | None = None
    fields: dict[str, FieldSpec]
    sizes: SizeRules | None = None
    named_sizes: tuple[NamedSize, ...] = ()
    """Of a model that takes no pixels: those that it makes nevertheless. The first is what it makes unasked."""
    images: dict[str, ImageRules] = Field(default_factory=dict)
    wire: dict[str, JsonValue] = Field(default_factory=dict)
    """What differs from the model's own `wire`."""
    price: Price | None = None
    """Where it differs from the model's."""


PriceUnit = Literal["image", "second", "megapixel", "character", "call"]


class Rate(Frozen):
    """What a unit costs where the call is like this: `when` its input has these values, in at most `max_pixels`.

    A name with `options.` before it is that of a provider option; of values in a list, any will do. A file of the input
    is `true` where it is given. `first` is what the first unit of each output costs, where that is something else.
    """

    when: dict[str, JsonValue] = Field(default_factory=dict)
    max_pixels: int | None = Field(None, ge=1)
    credits: int = Field(ge=0)
    first: int | None = Field(None, ge=0)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it is that of a call with these values."""
        return all(_is(values.get(name), wanted) for name, wanted in self.when.items())

    def fits(self, pixels: int | None) -> bool:
        """Whether it is that of an output of this size; of one of unknown size it is not known that it is small."""
        return self.max_pixels is None or (pixels is not None and pixels <= self.max_pixels)

    def of(self, units: int) -> int:
        """What an output of so many units costs."""
        if self.first is None or units == 0:
            return self.credits * units
        return self.first + self.credits * (units - 1)


class Price(Frozen):
    """Credits for `per` units of output: those of the first rate that applies, or else `credits`.

    Units are whole ones, begun is billed: seconds, megapixels of 1024 x 1024, characters of the prompt. Each image of
    the input costs `inputs` as well. `at_most` is how many units an output has at most where the input does not tell.
    """

    unit: PriceUnit
    credits: int = Field(ge=0)
    first: int | None = Field(None, ge=0)
    per: int = Field(1, ge=1)
    rates: tuple[Rate, ...] = ()
    inputs: int = Field(0, ge=0)
    at_most: int | None = Field(None, ge=1)


def _is(value: Any, wanted: JsonValue) -> bool:
    if isinstance(wanted, list):
        return any(_is(value, one) for one in wanted)
    if isinstance(value, (dict, list)):  # files
        value = bool(value)
    return bool(value == wanted and isinstance(value, bool) is isinstance(wanted, bool))


class Poll(Frozen):
    """How often to ask for a job, in seconds: after a tenth of the time that it has taken already, within limits."""

    least: float = 2.0
    most: float = 15.0


class ModelSpec(Frozen):
    """One model of the catalogue."""

    provider: str
    name: str
    description: str
    queue: str
    """Task queue of the workers that run it."""
    operations: dict[Operation, OperationSpec]
    wire: dict[str, JsonValue] = Field(default_factory=dict)
    """What the provider's client has to know of it; the client says in which form."""
    needs: tuple[str, ...] = ()
    """Which credentials an account must have for it, where not every account reaches every model of its cloud: names of
    `GENPULSE_PROVIDERS__<NAME>__…`, one within the options as `options.bucket`; any of those joined by `|` will do."""
    poll: Poll = Poll()
    result_seconds: int | None = Field(None, gt=0)
    """How long the provider keeps what it has made, where it says so: until then it can be fetched again."""
    price: Price | None = None
    options: tuple[str, ...] = ()
    """Provider options that its price depends on."""
    retires_at: date | None = None
    successor: str | None = None
    hidden: bool = False
    """Never chosen by the router; used only when named."""

    @property
    def id(self) -> str:
        return f"{self.provider}/{self.name}"

    def wire_of(self, operation: Operation) -> dict[str, JsonValue]:
        """What the provider's client has to know for this operation."""
        return self.wire | self.operations[operation].wire

    def price_of(self, operation: Operation) -> Price | None:
        return self.operations[operation].price or self.price


class EngineModel(Frozen):
    """How the local engine loads and limits one model; an entry of `GENPULSE_ENGINE__MODELS`.

    `source` is a folder, a hub id, or `package:NAME` for one that ships with GenPulse. `frames` and `fps` are what the
    pipeline makes natively; another duration or frame rate is reached by interpolation.
    """

    kind: Literal["pipeline", "upscaler", "interpolator", "fake"] = "pipeline"
    source: str = ""
    revision: str | None = None
    variant: str | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    device: str = "auto"
    operations: tuple[Operation, ...] = (Operation.TEXT_TO_IMAGE,)
    description: str = "A diffusers model on the local engine"
    native: Size = Size(512, 512)
    sizes: tuple[Size, ...] = ()
    min_side: int = Field(64, ge=8)
    max_side: int = Field(1024, le=8192)
    multiple_of: int = Field(8, ge=1)
    steps: int = Field(25, ge=1)
    max_steps: int = Field(100, ge=1)
    guidance: float = Field(5.0, ge=0)
    max_count: int = Field(4, ge=1)
    frames: int = Field(16, ge=1)
    fps: int = Field(8, ge=1)
    max_seconds: float = Field(4.0, gt=0)
    price: Price = Price(unit="call", credits=1)
    hidden: bool = False


Health = Literal["healthy", "degraded", "down", "unknown"]


class Model(BaseModel):
    """A model as `GET /v1/models` shows it; `input_schema` is JSON Schema."""

    id: str
    object: Literal["model"]
    provider: str
    description: str
    operations: list[Operation]
    input_schema: dict[str, Any]
    limits: dict[str, Any]
    price: Price | None
    operation_prices: dict[Operation, Price]
    """Of the operations that cost something else."""
    health: Health
    result_seconds: int | None
    """How long its provider keeps what it has made; GenPulse's own copy stays."""
    retires_at: date | None
    successor: str | None
