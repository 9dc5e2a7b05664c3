"""What Vidu takes, as strictly as it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

Link = Annotated[str, StringConstraints(pattern=r"^https?://")]
Shape = Literal["16:9", "9:16", "3:4", "4:3", "1:1"]
_PICTURE = ("https://", "http://", "data:image/png;base64,", "data:image/jpeg;base64,", "data:image/webp;base64,")
_SOUNDING = "viduq3"


@dataclass(frozen=True)
class Kind:
    """What a model makes on one path: its lengths, and its resolutions, of which the first is the usual one."""

    seconds: range
    resolutions: tuple[str, ...] = ("720p", "540p", "1080p")
    usual: int = 5


_Q3, _Q2, _Q1 = Kind(range(1, 17)), Kind(range(1, 11)), Kind(range(5, 6), ("1080p",))
_V2 = Kind(range(4, 9, 4), ("360p", "720p", "1080p"), 4)
_PICTURES = Kind(range(1), ("1080p", "2K", "4K"))


def wrong(code: str, said: str) -> PydanticCustomError:
    """What becomes the cloud's own error of that code."""
    return PydanticCustomError(code, "{said}", {"said": said})


class Task(BaseModel):
    """What every path has in common. `kinds` are the models that it knows, `pictures` how many it wants."""

    model_config = ConfigDict(extra="forbid")

    kinds: ClassVar[dict[str, Kind]] = {}
    pictures: ClassVar[tuple[int, int]] = (0, 0)

    model: str = ""
    prompt: str | None = None
    images: list[str] = Field(default_factory=list)
    duration: int | None = None
    seed: int | None = Field(None, ge=0)
    resolution: str | None = None
    payload: str | None = Field(None, max_length=1_048_576)
    callback_url: AnyHttpUrl | None = None

    @property
    def kind(self) -> Kind:
        kind = self.kinds.get(self.model)
        if kind is None:
            raise wrong("ModelUnavailable", f"model {self.model!r} is not available here")
        return kind

    @property
    def seconds(self) -> int:
        return self.duration or self.kind.usual

    @property
    def side(self) -> str:
        return self.resolution or self.kind.resolutions[0]

    @model_validator(mode="after")
    def _of_its_model(self) -> Self:
        kind = self.kind
        if self.duration is not None and self.duration not in kind.seconds:
            raise wrong("FieldInvalid", "duration is out of range for the model")
        if self.resolution is not None and self.resolution not in kind.resolutions:
            raise wrong("FieldInvalid", "resolution is not supported by the model")
        if self.model == "vidu2.0" and self.seconds == 8 and self.resolution not in (None, "720p"):
            raise wrong("FieldInvalid", "8 s are made at 720p")
        if self.prompt is not None and len(self.prompt) > (5000 if _SOUNDING in self.model else 2000):
            raise wrong("FieldInvalid", "prompt is too long")
        return self

    @model_validator(mode="after")
    def _of_its_pictures(self) -> Self:
        least, most = self.pictures
        if not least <= len(self.images) <= most:
            raise wrong("FieldItemCountOutOfRange", f"images has {len(self.images)} items")
        if not all(one.startswith(_PICTURE) for one in self.images):
            raise wrong("ImageFormatInvalid", "images takes URLs and data URIs of png, jpeg and webp")
        return self


class _Video(Task):
    audio: bool | None = None
    audio_type: Literal["all", "speech_only", "sound_effect_only"] | None = None
    bgm: bool | None = None
    off_peak: bool | None = None
    is_rec: bool | None = None
    movement_amplitude: Literal["auto", "small", "medium", "large"] | None = None
    watermark: bool | None = None
    wm_position: int | None = Field(None, ge=1, le=4)
    wm_url: Link | None = None


class Text2Video(_Video):
    kinds = {"viduq3-pro": _Q3, "viduq3-turbo": _Q3, "viduq2": _Q2, "viduq1": _Q1}
    prompt: str = Field(min_length=1)
    aspect_ratio: Shape = "16:9"
    style: Literal["general", "anime"] | None = None


class Img2Video(_Video):
    kinds = {
        "viduq3-pro": _Q3,
        "viduq3-turbo": _Q3,
        "viduq3-pro-fast": Kind(range(1, 17), ("720p", "1080p")),
        "viduq2-pro": _Q2,
        "viduq2-turbo": _Q2,
        "viduq1": _Q1,
        "vidu2.0": _V2,
    }
    pictures = (1, 1)


class StartEnd2Video(_Video):
    kinds = {
        "viduq3-pro": _Q3,
        "viduq3-turbo": _Q3,
        "viduq1": _Q1,
        "vidu2.0": _V2,
        **dict.fromkeys(("viduq2-pro", "viduq2-turbo"), Kind(range(1, 9))),
    }
    pictures = (2, 2)


class Reference2Video(_Video):
    kinds = {"viduq2": _Q2, "viduq1": _Q1, "vidu2.0": Kind(range(4, 5), ("360p", "720p"), 4)}
    pictures = (1, 7)
    prompt: str = Field(min_length=1)
    aspect_ratio: Shape = "16:9"


class Reference2Image(Task):
    kinds = {"viduq2": _PICTURES, "viduq1": Kind(range(1), ("1080p",))}
    pictures = (0, 7)
    prompt: str = Field(min_length=1)
    aspect_ratio: Shape = "16:9"

    @model_validator(mode="after")
    def _needs_pictures(self) -> Self:
        if self.model == "viduq1" and not self.images:
            raise wrong("FieldItemCountOutOfRange", "images has 0 items")
        return self


class Extend(Task):
    kinds = dict.fromkeys(("viduq2-pro", "viduq2-turbo"), Kind(range(1, 8)))
    pictures = (0, 1)
    video_url: Link | None = None
    video_creation_id: str | None = None

    @model_validator(mode="after")
    def _has_a_video(self) -> Self:
        if not (self.video_url or self.video_creation_id):
            raise wrong("FieldLacking", "video_url or video_creation_id is required")
        return self


class Upscale(BaseModel):
    model_config = ConfigDict(extra="forbid")

    video_url: Link | None = None
    video_creation_id: str | None = None
    upscale_resolution: Literal["1080p", "2K", "4K", "8K"] = "1080p"
    payload: str | None = None
    callback_url: AnyHttpUrl | None = None

    @model_validator(mode="after")
    def _has_a_video(self) -> Self:
        if not (self.video_url or self.video_creation_id):
            raise wrong("FieldLacking", "video_url or video_creation_id is required")
        return self


class LipSync(BaseModel):
    model_config = ConfigDict(extra="forbid")

    video_url: Link
    audio_url: Link | None = None
    text: str | None = Field(None, min_length=4, max_length=2000)
    voice_id: str | None = None
    speed: float = Field(1.0, ge=0.5, le=1.5)
    volume: int = Field(0, ge=0, le=10)
    payload: str | None = None
    callback_url: AnyHttpUrl | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.audio_url or self.text):
            raise wrong("FieldLacking", "audio_url or text is required")
        return self


class Text2Audio(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: Literal["audio1.0"]
    prompt: str = Field(min_length=1, max_length=1500)
    duration: float = Field(10, ge=2, le=10)
    seed: int | None = None
    callback_url: AnyHttpUrl | None = None


Body = Task | Upscale | LipSync | Text2Audio
