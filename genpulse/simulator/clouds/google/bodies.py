"""What Google takes, as strictly as it does; names may be in camelCase or in snake_case, as in proto JSON."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel


def _base64(text: str) -> str:
    """Of either alphabet, as in proto JSON."""
    try:
        base64.b64decode(text, altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True)
    except binascii.Error as error:
        raise ValueError("Base64 decoding failed") from error
    return text


def need(condition: object, said: str) -> None:
    """Raise what becomes the cloud's own error."""
    if not condition:
        raise ValueError(said)


File = Annotated[str, Field(min_length=1), AfterValidator(_base64)]
ImageType = Literal["image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"]
Ratio = Literal[
    "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9", "1:4", "4:1", "1:8", "8:1"
]  # fmt: skip


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class _Inline(_Body):
    mime_type: ImageType
    data: File


class _Part(_Body):
    text: str | None = None
    inline_data: _Inline | None = None

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        need((self.text is None) != (self.inline_data is None), "a part holds exactly one of its members")
        return self


class _Contents(_Body):
    role: Literal["user", "model"] = "user"
    parts: list[_Part] = Field(min_length=1)


class _ImageConfig(_Body):
    aspect_ratio: Ratio | None = None
    image_size: Literal["512", "1K", "2K", "4K"] | None = None


class _GenerationConfig(_Body):
    response_modalities: list[Literal["TEXT", "IMAGE"]] | None = None
    image_config: _ImageConfig | None = None
    candidate_count: Literal[1] | None = None
    seed: int | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = None
    top_k: float | None = None


class GenerateContent(_Body):
    contents: list[_Contents] = Field(min_length=1)
    generation_config: _GenerationConfig | None = None
    system_instruction: dict[str, Any] | None = None
    safety_settings: list[dict[str, Any]] | None = None

    @property
    def prompt(self) -> str:
        return " ".join(part.text for one in self.contents for part in one.parts if part.text)

    @property
    def image(self) -> _ImageConfig:
        return (self.generation_config and self.generation_config.image_config) or _ImageConfig()


class _Content(_Body):
    type: Literal["text", "image", "video"]
    text: str | None = None
    data: File | None = None
    uri: str | None = None
    mime_type: str | None = None

    @model_validator(mode="after")
    def _own_member(self) -> Self:
        if self.type == "text":
            need(self.text, "text is required")
        else:
            need((self.data is None) != (self.uri is None), "one of data and uri is required")
            need(self.data is None or (self.mime_type or "").startswith(f"{self.type}/"), "mime_type does not fit")
        return self


class _Turn(_Body):
    type: Literal["user_input"]
    content: list[_Content] = Field(min_length=1)


class _VideoFormat(_Body):
    type: Literal["video"]
    aspect_ratio: Literal["16:9", "9:16"] | None = None
    resolution: Literal["360p", "720p", "1080p", "4k"] = "720p"
    duration: Annotated[str, StringConstraints(pattern=r"^([3-9]|1[0-5])s$")] | None = None
    delivery: Literal["inline", "uri"] = "inline"
    gcs_uri: str | None = None


class _ImageFormat(_Body):
    type: Literal["image"]
    aspect_ratio: Ratio | None = None
    image_size: Literal["512", "1K", "2K", "4K"] | None = None
    mime_type: Literal["image/jpeg"] = "image/jpeg"
    delivery: Literal["inline", "uri"] = "inline"


class _VideoConfig(_Body):
    task: Literal["text_to_video", "image_to_video", "reference_to_video", "edit", "extend", "upscale"] | None = None


class _InteractionConfig(_Body):
    seed: int | None = None
    temperature: float | None = None
    video_config: _VideoConfig | None = None


class _Webhook(_Body):
    uris: list[Annotated[str, StringConstraints(pattern=r"^https?://")]] = Field(min_length=1, max_length=1)
    user_metadata: dict[str, Any] | None = None


class Interaction(_Body):
    model: str
    input: str | list[_Turn] = Field(min_length=1)
    response_format: Annotated[_VideoFormat | _ImageFormat, Field(discriminator="type")]
    background: bool = False
    stream: Literal[False] = False
    store: bool = True
    generation_config: _InteractionConfig | None = None
    previous_interaction_id: str | None = None
    webhook_config: _Webhook | None = None

    @property
    def contents(self) -> list[_Content]:
        return [] if isinstance(self.input, str) else [one for turn in self.input for one in turn.content]

    @property
    def prompt(self) -> str:
        return self.input if isinstance(self.input, str) else " ".join(one.text or "" for one in self.contents).strip()

    @property
    def task(self) -> str | None:
        config = self.generation_config and self.generation_config.video_config
        return config.task if config else None

    @model_validator(mode="after")
    def _for_the_task(self) -> Self:
        kinds = {one.type for one in self.contents}
        need(self.store or not self.background, "background needs store")
        need(self.task not in ("image_to_video", "reference_to_video") or "image" in kinds, "the task needs an image")
        edits = self.task in ("edit", "extend", "upscale")
        need(not edits or "video" in kinds or self.previous_interaction_id, "the task needs a video")
        need(self.prompt or self.task == "upscale", "the input needs a text")
        return self


class _Image(_Body):
    bytes_base64_encoded: File | None = None
    gcs_uri: str | None = None
    mime_type: str

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        need((self.bytes_base64_encoded is None) != (self.gcs_uri is None), "give bytesBase64Encoded or gcsUri")
        return self


class _Reference(_Body):
    image: _Image
    reference_type: Literal["ASSET"]


class _Shot(_Body):
    prompt: str | None = None
    image: _Image | None = None
    last_frame: _Image | None = None
    reference_images: list[_Reference] | None = Field(None, max_length=3)
    video: _Image | None = None


class _VideoParameters(_Body):
    sample_count: int = Field(1, ge=1, le=4)
    duration_seconds: Literal[4, 6, 8] = 8
    aspect_ratio: Literal["16:9", "9:16"] = "16:9"
    resolution: Literal["720p", "1080p", "4k"] = "720p"
    negative_prompt: str | None = None
    person_generation: Literal["allow_all", "allow_adult", "dont_allow"] | None = None
    seed: int | None = Field(None, ge=0, le=4294967295)
    generate_audio: bool = True
    fps: Literal[24] | None = None
    storage_uri: Annotated[str, StringConstraints(pattern=r"^gs://")] | None = None


class Videos(_Body):
    instances: list[_Shot] = Field(min_length=1, max_length=1)
    parameters: _VideoParameters = Field(default_factory=_VideoParameters)

    @model_validator(mode="after")
    def _together(self) -> Self:
        one, asked = self.instances[0], self.parameters
        need(one.prompt or one.image or one.video, "prompt is required")
        need(one.last_frame is None or one.image, "lastFrame needs an image")
        need(not (one.reference_images and one.image), "referenceImages and image exclude each other")
        need(asked.resolution != "1080p" or asked.duration_seconds == 8, "1080p takes 8 seconds")
        return self


class _Prompt(_Body):
    prompt: str = Field(min_length=1)


class _OutputOptions(_Body):
    mime_type: Literal["image/png", "image/jpeg"] = "image/png"
    compression_quality: int | None = None


class _ImageParameters(_Body):
    sample_count: int = Field(1, ge=1, le=4)
    aspect_ratio: Literal["1:1", "3:4", "4:3", "9:16", "16:9"] = "1:1"
    output_options: _OutputOptions = Field(default_factory=_OutputOptions)
    negative_prompt: str | None = None
    seed: int | None = None
    person_generation: str | None = None
    safety_setting: str | None = None
    language: str | None = None
    add_watermark: bool | None = None
    sample_image_size: Literal["1K", "2K"] | None = None
    include_rai_reason: bool | None = None
    include_safety_attributes: bool | None = None


class Images(_Body):
    instances: list[_Prompt] = Field(min_length=1, max_length=1)
    parameters: _ImageParameters = Field(default_factory=_ImageParameters)


class Fetch(_Body):
    operation_name: str
