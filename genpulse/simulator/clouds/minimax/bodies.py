"""What MiniMax takes, as strictly as it does."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, StringConstraints, model_validator

ImageLink = Annotated[str, StringConstraints(pattern=r"^(https?://|data:image/(jpeg|png|webp);base64,)")]
FileLink = Annotated[str, StringConstraints(pattern=r"^(https?://|mm_file://|data:)")]
_LATE = frozenset({"MiniMax-Hailuo-2.3", "MiniMax-Hailuo-2.3-Fast", "MiniMax-Hailuo-02"})
_FROM_TEXT = frozenset({"MiniMax-Hailuo-2.3", "MiniMax-Hailuo-02", "T2V-01-Director", "T2V-01"})
_FROM_FRAME = frozenset({*_LATE, "I2V-01-Director", "I2V-01-live", "I2V-01"})
_SUBJECT = "S2V-01"


def need(condition: object, said: str) -> None:
    """Raise what becomes the cloud's own error."""
    if not condition:
        raise ValueError(said)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Subject(_Body):
    type: Literal["character"]
    image: list[ImageLink] = Field(min_length=1, max_length=1)


class Video(_Body):
    model: str
    prompt: str | None = Field(None, max_length=2000)
    prompt_optimizer: bool = True
    fast_pretreatment: bool = False
    duration: Literal[6, 10] = 6
    resolution: Literal["512P", "720P", "768P", "1080P"] | None = None
    first_frame_image: ImageLink | None = None
    last_frame_image: ImageLink | None = None
    subject_reference: list[_Subject] | None = None
    callback_url: AnyHttpUrl | None = None
    aigc_watermark: bool = False

    @model_validator(mode="after")
    def _for_the_model(self) -> Self:
        if self.model == _SUBJECT:
            need(self.subject_reference, "subject_reference is required")
        elif self.first_frame_image is not None:
            need(self.model in _FROM_FRAME, "this model takes no first frame")
        else:
            need(self.model in _FROM_TEXT, "first_frame_image is required")
            need(self.prompt, "prompt is required")
        if self.last_frame_image is not None:
            need(self.model == "MiniMax-Hailuo-02", "this model takes no last frame")
            need(self.resolution != "512P", "no 512P with a last frame")
        self._in_the_matrix()
        return self

    def _in_the_matrix(self) -> None:
        resolution = self.resolution or ("768P" if self.model in _LATE else "720P")
        if self.model not in _LATE:
            need((resolution, self.duration) == ("720P", 6), "this model makes 6 s of 720P")
        elif resolution == "1080P":
            need(self.duration == 6, "1080P takes 6 s")
        elif resolution == "512P":
            need(self.model == "MiniMax-Hailuo-02" and self.first_frame_image, "512P takes a first frame")
        else:
            need(resolution == "768P", "unknown resolution for this model")


class _Link(_Body):
    url: FileLink


class Content(_Body):
    type: Literal["text", "image_url", "video_url", "audio_url"]
    text: str | None = Field(None, max_length=7000)
    image_url: _Link | None = None
    video_url: _Link | None = None
    audio_url: _Link | None = None
    role: Literal["first_frame", "last_frame", "reference_image", "reference_video", "reference_audio"] | None = None

    @model_validator(mode="after")
    def _own_member(self) -> Self:
        need(getattr(self, self.type), f"{self.type} is required")
        return self


class Task(_Body):
    model: Literal["MiniMax-H3", "MiniMax-H3-Max"]
    content: list[Content]
    resolution: Literal["480P", "768P", "2K"]
    duration: int = Field(ge=4, le=15)
    ratio: Literal["adaptive", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16"] | None = None
    callback_url: AnyHttpUrl | None = None

    @property
    def prompt(self) -> str:
        return next((one.text for one in self.content if one.text), "")

    def _roles(self, start: str) -> list[str]:
        return [one.role for one in self.content if one.role and one.role.startswith(start)]

    @model_validator(mode="after")
    def _together(self) -> Self:
        need(self.prompt.strip(), "content needs a text")
        frames = [*self._roles("first"), *self._roles("last")]
        references = self._roles("reference")
        need(not (frames and references), "frames and references exclude each other")
        need(len(frames) == len(set(frames)), "one frame of each kind")
        counts = {role: references.count(role) for role in set(references)}
        need(counts.get("reference_image", 0) <= 9 and counts.get("reference_video", 0) <= 3, "too many references")
        need(references.count("reference_audio") < max(len(references), 1), "audio needs an image or a video")
        need(references or frames or self.ratio not in (None, "adaptive"), "ratio is required for text to video")
        if self.model == "MiniMax-H3-Max":
            need(not references and self.duration >= 5 and self.resolution != "2K", "not by this model")
        else:
            need(self.resolution != "480P", "not by this model")
        return self


class _Face(_Body):
    type: Literal["character"]
    image_file: ImageLink


class Image(_Body):
    model: Literal["image-01", "image-01-live"]
    prompt: str = Field(min_length=1, max_length=1500)
    aspect_ratio: Literal["1:1", "16:9", "4:3", "3:2", "2:3", "3:4", "9:16", "21:9"] | None = None
    width: int | None = Field(None, ge=512, le=2048, multiple_of=8)
    height: int | None = Field(None, ge=512, le=2048, multiple_of=8)
    response_format: Literal["url", "base64"] = "url"
    seed: int | None = None
    n: int = Field(1, ge=1, le=9)
    prompt_optimizer: bool = False
    aigc_watermark: bool = False
    style: dict[str, Any] | None = None
    subject_reference: list[_Face] | None = Field(None, max_length=1)

    @model_validator(mode="after")
    def _for_the_model(self) -> Self:
        need((self.width is None) == (self.height is None), "width and height go together")
        if self.model == "image-01-live":
            need(self.width is None and self.aspect_ratio != "21:9", "not by this model")
        else:
            need(self.style is None, "not by this model")
        return self


class _Voice(_Body):
    voice_id: str = Field(min_length=1)
    speed: float = Field(1, ge=0.5, le=2)
    vol: float = Field(1, gt=0, le=10)
    pitch: int = Field(0, ge=-12, le=12)
    emotion: str | None = None
    text_normalization: bool = False
    latex_read: bool = False


class _Audio(_Body):
    sample_rate: Literal[8000, 16000, 22050, 24000, 32000, 44100] = 32000
    bitrate: Literal[32000, 64000, 128000, 256000] = 128000
    format: Literal["mp3", "wav"] = "mp3"
    channel: Literal[1, 2] = 1
    force_cbr: bool = False


class Speech(_Body):
    model: Annotated[str, StringConstraints(pattern=r"^speech-(2\.8|2\.6|02|01)-(hd|turbo)$")]
    text: str = Field(min_length=1, max_length=9999)
    stream: Literal[False] = False
    voice_setting: _Voice
    audio_setting: _Audio = Field(default_factory=_Audio)
    pronunciation_dict: dict[str, Any] | None = None
    timbre_weights: list[dict[str, Any]] | None = None
    language_boost: str | None = None
    voice_modify: dict[str, Any] | None = None
    subtitle_enable: bool = False
    subtitle_type: str | None = None
    output_format: Literal["hex", "url"] = "hex"
