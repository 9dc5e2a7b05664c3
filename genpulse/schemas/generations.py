"""Contracts of a generation: what a caller submits and what every answer shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, HttpUrl, JsonValue, Tag, model_validator

from genpulse.schemas.assets import Asset
from genpulse.schemas.states import MEDIA_FIELDS, Billing, GenerationStatus, Operation, Priority, StepStatus
from genpulse.schemas.strict import Flag, Number, Strict, Whole
from genpulse.schemas.webhooks import RequestWebhook

MAX_STEPS = 16
MAX_DEADLINE_SECONDS = 7 * 24 * 3600
DEFAULT_DEADLINE_SECONDS = 3600

GenerationId = Annotated[str, Field(pattern=r"^gen_[0-9a-z]{26}$")]
StepId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="Name of a step within its chain")]
ModelId = Annotated[str, Field(pattern=r"^[a-z0-9]+/[A-Za-z0-9._:-]{1,120}$", examples=["local/shapes"])]
MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class AssetRef(Strict):
    """An uploaded file or an earlier output."""

    asset: str = Field(pattern=r"^ast_[0-9a-z]{26}$")


class UrlRef(Strict):
    """A file on the web; it is fetched when the step runs."""

    url: HttpUrl


class DataRef(Strict):
    """A file within the request, as a `data:` URL in base64."""

    data: str = Field(pattern=r"^data:[a-z]+/[a-z0-9.+-]+;base64,")


class StepRef(Strict):
    """An output of an earlier step of the same chain."""

    step: str
    output: Whole = Field(0, ge=0)


def _media_form(value: Any) -> str | None:
    """Which of the four forms it is, told by its key, so that an error speaks of that form alone."""
    keys = value.keys() if isinstance(value, dict) else type(value).model_fields if isinstance(value, BaseModel) else ()
    return next((key for key in ("asset", "url", "data", "step") if key in keys), None)


MediaInput = Annotated[
    Annotated[AssetRef, Tag("asset")]
    | Annotated[UrlRef, Tag("url")]
    | Annotated[DataRef, Tag("data")]
    | Annotated[StepRef, Tag("step")],
    Discriminator(
        _media_form,
        custom_error_type="media_input",
        custom_error_message='give one of {"asset": "ast_…"}, {"url": "https://…"}, {"data": "data:…;base64,…"}, '
        '{"step": "id", "output": 0}',
    ),
]


class GenerationInput(Strict):
    """The common input fields; which of them a model takes, and within which limits, its catalogue entry says."""

    prompt: str | None = Field(None, max_length=20_000)
    negative_prompt: str | None = Field(None, max_length=20_000)
    image: MediaInput | None = None
    last_image: MediaInput | None = None
    reference_images: list[MediaInput] | None = Field(None, max_length=16)
    video: MediaInput | None = None
    mask: MediaInput | None = None
    audio: MediaInput | Flag | None = None
    width: Whole | None = Field(None, ge=1, le=16384)
    height: Whole | None = Field(None, ge=1, le=16384)
    aspect_ratio: str | None = Field(None, pattern=r"^[1-9]\d{0,4}:[1-9]\d{0,4}$")
    resolution: str | None = Field(None, max_length=20)
    count: Whole | None = Field(None, ge=1, le=100)
    seed: Whole | None = Field(None, ge=0, le=2**63 - 1)
    steps: Whole | None = Field(None, ge=1, le=1000)
    guidance: Number | None = Field(None, ge=0, le=100)
    strength: Number | None = Field(None, ge=0, le=1)
    duration: Number | None = Field(None, gt=0, le=3600)
    fps: Number | None = Field(None, gt=0, le=240)
    scale: Number | None = Field(None, ge=1, le=16)
    voice: str | None = Field(None, max_length=200)
    workflow: dict[str, JsonValue] | None = None
    workflow_inputs: dict[str, JsonValue] | None = None

    def given(self) -> dict[str, JsonValue]:
        """The fields that the caller set, as plain JSON."""
        return self.model_dump(mode="json", exclude_none=True)


def media_references(given: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each media input of plain JSON fields, with where it stands: `image`, or `reference_images.0` in a list."""
    for name in MEDIA_FIELDS:
        value = given.get(name)
        if isinstance(value, list):
            yield from ((f"{name}.{index}", one) for index, one in enumerate(value))
        elif isinstance(value, dict):
            yield name, value


class StepCreate(Strict):
    """One model call of a chain."""

    id: StepId
    model: ModelId | None = None
    operation: Operation | None = None
    input: GenerationInput = Field(default_factory=GenerationInput)
    fallbacks: list[ModelId] = Field(default_factory=list, max_length=8)
    provider_options: dict[str, JsonValue] = Field(default_factory=dict)


class GenerationCreate(Strict):
    """One model call (`model`, `operation`, `input`) or a chain (`steps`)."""

    model: ModelId | None = None
    operation: Operation | None = None
    input: GenerationInput | None = None
    fallbacks: list[ModelId] = Field(default_factory=list, max_length=8)
    provider_options: dict[str, JsonValue] = Field(default_factory=dict)
    steps: list[StepCreate] | None = Field(None, min_length=1, max_length=MAX_STEPS)
    webhook: RequestWebhook | None = None
    adapt: Flag = True
    priority: Priority = Priority.NORMAL
    deadline_seconds: Whole = Field(DEFAULT_DEADLINE_SECONDS, ge=1, le=MAX_DEADLINE_SECONDS)
    start_seconds: Whole | None = Field(
        None,
        ge=1,
        le=MAX_DEADLINE_SECONDS,
        description="How long a step may wait for its turn; then a fallback takes it",
    )
    run_seconds: Whole | None = Field(
        None, ge=1, le=MAX_DEADLINE_SECONDS, description="How long a step may take once it has begun"
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=50)

    @model_validator(mode="after")
    def _one_form(self) -> GenerationCreate:
        single = {"model", "operation", "input", "fallbacks", "provider_options"} & self.model_fields_set
        if self.steps is not None and single:
            raise ValueError(f"give either `steps` or `{min(single)}`, not both")
        if self.steps is None and not {"model", "operation"} & self.model_fields_set:
            raise ValueError("give `model` or `operation`, or a chain in `steps`")
        return self

    def as_steps(self) -> list[StepCreate]:
        """The chain; a single call is a chain of one step named `main`."""
        if self.steps is not None:
            return self.steps
        return [
            StepCreate(
                id="main",
                model=self.model,
                operation=self.operation,
                input=self.input or GenerationInput(),
                fallbacks=self.fallbacks,
                provider_options=self.provider_options,
            )
        ]


class GenerationFault(BaseModel):
    """Why a generation, step or attempt failed; `code` is one of docs/errors.md."""

    code: str
    message: str
    retryable: bool
    provider: str | None
    details: dict[str, JsonValue]


class Adaption(BaseModel):
    """Something that was added or converted so that the request could run.

    `added_step` names the step that was put in; it is null where an input was converted in place, or where a model that
    may take over does not honour a wish to the letter.
    """

    kind: Literal["text-to-image-before", "upscale-after", "image-fitted", "fallback-fitted"]
    step: str
    added_step: str | None
    message: str


class Attempt(BaseModel):
    """One try of a step at one provider. `billing` is known of those that came to nothing."""

    number: int
    provider: str
    model: str
    status: Literal["running", "succeeded", "failed", "canceled"]
    provider_job_id: str | None
    started_at: datetime
    finished_at: datetime | None
    billing: Billing | None
    error: GenerationFault | None


class Step(BaseModel):
    """One model call within a generation. `progress` runs from 0 to 1.

    `parameters` are those really used, as far as the model tells: the seed that was drawn, an id at the provider.
    """

    id: str
    operation: Operation
    model: str
    status: StepStatus
    progress: float
    attempts: list[Attempt]
    parameters: dict[str, Any]
    outputs: list[Asset]
    error: GenerationFault | None
    started_at: datetime | None
    finished_at: datetime | None


class DeadLetter(BaseModel):
    """What waits for somebody to `retry` or `discard` it: since when, and until when it is kept."""

    since: datetime
    until: datetime


class Cost(BaseModel):
    """Credits held for and charged to a generation."""

    held: int
    charged: int
    unit: Literal["credit"]


class EstimatedStep(BaseModel):
    """A step that would run, the models that may do it, and the most that it may cost; null where that is unknown."""

    id: str
    operation: Operation
    model: str
    fallbacks: list[str]
    held: int | None


class EstimatedCost(BaseModel):
    """What would be held; null where something has no price, so that only an unlimited account can run it."""

    held: int | None
    unit: Literal["credit"]


class Estimate(BaseModel):
    """What a request would run and hold, without running it. `affordable` by the balance of this moment."""

    object: Literal["estimate"]
    steps: list[EstimatedStep]
    adaptions: list[Adaption]
    cost: EstimatedCost
    affordable: bool


class Links(BaseModel):
    """Where to go from here; `temporal` is null where no Web UI is configured."""

    self: str
    events: str
    cancel: str
    temporal: str | None


class Generation(BaseModel):
    """A generation as every answer shows it. `progress` runs from 0 to 1; `outputs` are those of the last step."""

    id: str
    object: Literal["generation"]
    status: GenerationStatus
    operation: Operation
    model: str
    progress: float
    queue_position: int | None
    steps: list[Step]
    adaptions: list[Adaption]
    outputs: list[Asset]
    error: GenerationFault | None
    dead_letter: DeadLetter | None
    cost: Cost
    priority: Priority
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deadline_at: datetime
    idempotency_key: str | None
    metadata: dict[str, str]
    links: Links
