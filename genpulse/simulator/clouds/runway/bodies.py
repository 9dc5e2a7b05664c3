"""What Runway takes, as strictly as it does: on each path a union of bodies that the model tells apart."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

_STRICT = ConfigDict(extra="forbid", alias_generator=to_camel)
_MOST_DATA = 5 * 2**20
#: Models whose prompts are counted.
_SHORT = frozenset({"gen4.5", "gen4_turbo", "veo3.1", "veo3.1_fast", "gen4_image", "gen4_image_turbo"})
_MOST_TEXT = 1000
_LENGTHS = {"gen4.5": range(2, 11)}


def wrong(code: str, said: str) -> PydanticCustomError:
    return PydanticCustomError(code, "{said}", {"said": said})


def _checked_uri(uri: str) -> str:
    if uri.startswith("data:") and len(uri) > _MOST_DATA:
        raise wrong("too_big", "Data URIs have at most 5 MB")
    return uri


Uri = Annotated[
    str,
    StringConstraints(pattern=r"^(https://|runway://|data:(image|video|audio)/[\w.+-]+;base64,)"),
    AfterValidator(_checked_uri),
]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Percent = Annotated[int, Field(ge=0, le=100)]


class _Part(BaseModel):
    """Takes the names as they are on the wire, and no others."""

    model_config = _STRICT


class Kind(_Part):
    """A model on a path: fields that it needs, fields that it takes, and the values of those that have a list."""

    needs: frozenset[str]
    takes: frozenset[str]
    choices: dict[str, list[str | int]] = {}
    frames: frozenset[str] = frozenset()


_TABLE = files(__package__ or "").joinpath("models.toml").read_text("utf-8")
KINDS = TypeAdapter(dict[str, dict[str, Kind]]).validate_python(tomllib.loads(_TABLE))


class Frame(_Part):
    uri: Uri
    position: Literal["first", "last"] | None = None


class Reference(_Part):
    uri: Uri
    position: Literal["first", "last"] | None = None
    tag: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]\w{2,15}$")] | None = None
    subject: Literal["object", "human"] | None = None


class Clip(_Part):
    type: Literal["image", "video", "audio"] | None = None
    uri: Uri


class Window(_Part):
    start_seconds: int
    end_seconds: int


class KeyFrame(_Part):
    uri: Uri
    seconds: float | None = None
    at: float | None = Field(None, ge=0, le=1)
    range: Window | None = None


class Moderation(_Part):
    public_figure_threshold: Literal["auto", "low"] = "auto"


class Asked(_Part):
    """Every field that there is; which of them a model takes is in the table."""

    path: ClassVar[str]

    model: str
    prompt_text: str | None = Field(None, min_length=1)
    prompt_image: Uri | list[Frame] | None = None
    prompt_video: Uri | None = None
    video_uri: Uri | None = None
    image_uri: Uri | None = None
    mask_uri: Uri | None = None
    references: Uri | list[Reference] | None = None
    reference_images: Annotated[list[Reference], Field(min_length=1)] | None = None
    reference_videos: list[Clip] | None = None
    reference_audio: list[Clip] | None = None
    keyframes: Annotated[list[KeyFrame], Field(max_length=5)] | None = None
    character: Clip | None = None
    reference: Clip | None = None
    negative_prompt: str | None = None
    ratio: str | None = None
    target_aspect_ratio: str | None = None
    resolution: str | None = None
    duration: int | Literal["auto"] | None = None
    seed: Seed | None = None
    audio: bool | None = None
    draft: bool | None = None
    draft_task_id: str | None = None
    mode: str | None = None
    cfg_scale: float | None = Field(None, ge=0, le=1)
    output_count: int | None = Field(None, ge=1)
    output_format: str | None = None
    prores_profile: str | None = None
    content_moderation: Moderation | None = None
    provider_settings: dict[str, Any] | None = None
    prompt_expansion_mode: str | None = None
    background: str | None = None
    background_color: str | None = None
    colors: list[str] | None = None
    quality: str | None = None
    grounding: bool | None = None
    edit: bool | None = None
    precise_edit: bool | None = None
    thinking_level: str | None = None
    creativity: Percent | None = None
    flavor: str | None = None
    sharpen: Percent | None = None
    smart_grain: Percent | None = None
    ultra_detail: Percent | None = None
    fps_boost: bool | None = None
    scale_factor: int | None = None
    target_framerate: str | None = None
    body_control: bool | None = None
    expression_intensity: int | None = Field(None, ge=1, le=5)

    @property
    def kind(self) -> Kind:
        kind = KINDS[self.path].get(self.model)
        if kind is None:
            raise wrong("invalid_union_discriminator", f"Invalid discriminator value for model: {self.model}")
        return kind

    @model_validator(mode="after")
    def _of_its_model(self) -> Self:
        kind, given = self.kind, {to_camel(name): getattr(self, name) for name in self.model_fields_set - {"model"}}
        if unknown := sorted(given.keys() - kind.needs - kind.takes):
            raise wrong("unrecognized_keys", f"Unrecognized keys in object: {', '.join(unknown)}")
        if missing := sorted(kind.needs - given.keys()):
            raise wrong("invalid_type", f"Required: {', '.join(missing)}")
        for name, known in kind.choices.items():
            if name in given and given[name] not in known:
                raise wrong("invalid_enum_value", f"Invalid enum value for {name}: {given[name]}")
        return self

    @model_validator(mode="after")
    def _within_its_limits(self) -> Self:
        if self.model in _SHORT and len((self.prompt_text or "").encode("utf-16-le")) > 2 * _MOST_TEXT:
            raise wrong("too_big", f"promptText has at most {_MOST_TEXT} characters")
        lengths = _LENGTHS.get(self.model)
        if lengths and self.duration is not None and self.duration not in lengths:
            raise wrong("too_big", f"duration is from {lengths[0]} to {lengths[-1]}")
        placed = self.prompt_image if isinstance(self.prompt_image, list) else []
        if not {frame.position or "" for frame in placed} <= self.kind.frames:
            raise wrong("invalid_enum_value", "promptImage has a position that the model does not know")
        return self

    def uris(self) -> Iterator[str]:
        """Every address in it."""
        yield from _uris(self.model_dump(exclude_none=True))


class TextToVideo(Asked):
    path = "text_to_video"


class ImageToVideo(Asked):
    path = "image_to_video"


class VideoToVideo(Asked):
    path = "video_to_video"


class TextToImage(Asked):
    path = "text_to_image"


class VideoUpscale(Asked):
    path = "video_upscale"


class ImageUpscale(Asked):
    path = "image_upscale"


class CharacterPerformance(Asked):
    path = "character_performance"


class NewUpload(_Part):
    filename: str = Field(min_length=1, max_length=255)
    type: Literal["ephemeral"]


def _uris(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from (
                [inner] if name.endswith(("uri", "_image", "_video")) and isinstance(inner, str) else _uris(inner)
            )
    elif isinstance(value, list):
        for inner in value:
            yield from _uris(inner)
