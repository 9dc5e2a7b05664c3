"""What MiniMax takes, as strictly as it does."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, StringConstraints, model_validator

ImageLink = Annotated[str, StringConstraints(pattern=r"^(https?://|data:image/(jpeg|png|webp);base64,)")]
FileLink = Annotated[str, StringConstraints(pattern=r"^(https?://|mm_file://|data:)")]
_SpeechModel = Annotated[str, StringConstraints(pattern=r"^speech-(2\.8|2\.6|02|01)-(hd|turbo)$")]
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
    role: (
        Literal["first_frame", "last_frame", "reference_image", "reference_video", "reference_audio", "base_video"]
        | None
    ) = None

    @model_validator(mode="after")
    def _own_member(self) -> Self:
        need(getattr(self, self.type), f"{self.type} is required")
        return self


class _Filling(_Body):
    value: str = Field(min_length=1)


class Template(_Body):
    template_id: str = Field(min_length=1)
    text_inputs: list[_Filling] = []
    media_inputs: list[_Filling] = []
    callback_url: AnyHttpUrl | None = None


class Tasks(BaseModel):
    """What is asked of the list of tasks."""

    page_num: int = Field(1, ge=1)
    page_size: int = Field(10, ge=1)
    status: str | None = Field(None, alias="filter.status")
    model: str | None = Field(None, alias="filter.model")
    task_type: str | None = Field(None, alias="filter.task_type")
    task_ids: str | None = Field(None, alias="filter.task_ids")

    def shows(self, task: dict[str, Any]) -> bool:
        asked = {"status": self.status, "model": self.model, "task_type": self.task_type}
        alike = all(wanted in (None, task[name]) for name, wanted in asked.items())
        return alike and (self.task_ids is None or task["id"] in self.task_ids.split(","))


class _Contents(_Body):
    """What a video of the second generation is made from."""

    content: list[Content]
    callback_url: AnyHttpUrl | None = None

    @property
    def prompt(self) -> str:
        return next((one.text for one in self.content if one.text), "")

    def roles(self, *starts: str) -> list[str]:
        return [one.role for one in self.content if one.role and one.role.startswith(starts)]

    @model_validator(mode="after")
    def _together(self) -> Self:
        need(self.prompt.strip(), "content needs a text")
        frames, references = self.roles("first", "last"), self.roles("reference")
        need(not (frames and references), "frames and references exclude each other")
        need(len(frames) == len(set(frames)), "one frame of each kind")
        counts = {role: references.count(role) for role in set(references)}
        need(counts.get("reference_image", 0) <= 9 and counts.get("reference_video", 0) <= 3, "too many references")
        need(counts.get("reference_audio", 0) <= 3 and len(references) <= 12, "too many references")
        need(counts.get("reference_audio", 0) < max(len(references), 1), "audio needs an image or a video")
        return self


class Task(_Contents):
    model: Literal["MiniMax-H3", "MiniMax-H3-Max"]
    resolution: Literal["480P", "768P", "2K"]
    duration: int = Field(ge=4, le=15)
    ratio: Literal["adaptive", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16"] | None = None

    @model_validator(mode="after")
    def _for_the_model(self) -> Self:
        references = self.roles("reference")
        shaped = references or self.roles("first", "last") or self.ratio not in (None, "adaptive")
        need(shaped, "ratio is required for text to video")
        need(not self.roles("base"), "a base_video is for regeneration")
        if self.model == "MiniMax-H3-Max":
            need(not references and self.duration >= 5 and self.resolution != "2K", "not by this model")
        else:
            need(self.resolution != "480P", "not by this model")
        return self


class Regeneration(_Contents):
    model: Literal["MiniMax-H3"]
    resolution: Literal["2K"]

    @model_validator(mode="after")
    def _of_a_video(self) -> Self:
        need(len(self.roles("base")) == 1, "content needs exactly one base_video")
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
    model: _SpeechModel
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


class _ClonePrompt(_Body):
    prompt_audio: int
    prompt_text: str


class Clone(_Body):
    file_id: int
    voice_id: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{6,254}[A-Za-z0-9]$")
    clone_prompt: _ClonePrompt | None = None
    text: str | None = Field(None, max_length=1000)
    model: _SpeechModel | None = None
    language_boost: str | None = None
    need_noise_reduction: bool = False
    need_volume_normalization: bool = False
    aigc_watermark: bool = False

    @model_validator(mode="after")
    def _together(self) -> Self:
        need(self.text is None or self.model, "a demo needs a model")
        return self


class Design(_Body):
    prompt: str = Field(min_length=1)
    preview_text: str = Field(min_length=1, max_length=500)
    voice_id: str | None = None
    aigc_watermark: bool = False


class Voices(_Body):
    voice_type: Literal["system", "voice_cloning", "voice_generation", "all"]


class Music(_Body):
    model: Literal["music-2.6"]
    prompt: str = Field("", max_length=2000)
    lyrics: str = Field("", max_length=3500)
    is_instrumental: bool = False
    lyrics_optimizer: bool = False
    output_format: Literal["hex", "url"] = "hex"
    audio_setting: _Audio = Field(default_factory=_Audio)
    aigc_watermark: bool = False

    @model_validator(mode="after")
    def _has_something(self) -> Self:
        need(self.lyrics or self.prompt, "prompt or lyrics is required")
        need(self.lyrics or self.is_instrumental or self.lyrics_optimizer, "lyrics is required")
        return self
