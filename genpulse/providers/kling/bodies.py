"""What Kling is sent: the bodies of both generations of its API. What is None is left out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class Sent(BaseModel):
    """A part of a body."""

    def dump(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class Content(Sent):
    type: Literal["prompt", "first_frame", "last_frame", "refer_image", "base_video", "feature_video", "image", "video"]
    id: str | None = None
    """What the prompt cites it by, after an @."""
    text: str | None = None
    url: str | None = None


class Settings(Sent):
    audio: Literal["native", "original", "off"] | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    duration: int | None = None
    character_orientation: Literal["image", "video"] | None = None


class TaskBody(Sent):
    prompt: str | None = None
    contents: list[Content] | None = None
    settings: Settings


class VideoBody(Sent):
    model_name: str | None
    prompt: str | None
    negative_prompt: str | None
    image: str | None
    image_tail: str | None
    sound: Literal["on", "off"] | None
    cfg_scale: float | None
    mode: str | None
    aspect_ratio: str | None
    duration: str | None


class OmniImage(Sent):
    image_url: str
    type: Literal["first_frame", "end_frame"] | None = None


class OmniVideo(Sent):
    video_url: str
    refer_type: Literal["base", "feature"]
    keep_original_sound: Literal["yes", "no"] | None = None


class OmniVideoBody(Sent):
    model_name: str | None
    prompt: str | None
    image_list: list[OmniImage] | None
    video_list: list[OmniVideo] | None
    mode: str | None
    aspect_ratio: str | None
    duration: str | None


class MotionBody(Sent):
    model_name: str | None
    prompt: str | None
    image_url: str | None
    video_url: str | None
    mode: str
    keep_original_sound: Literal["yes", "no"] | None
    character_orientation: Literal["image", "video"] = "video"


class ExtensionBody(Sent):
    """`video_id` comes with the caller's options."""

    prompt: str | None
    negative_prompt: str | None
    cfg_scale: float | None


class EffectInput(Sent):
    image: str | None
    images: list[str] | None


class EffectBody(Sent):
    """`effect_scene` comes with the caller's options."""

    input: EffectInput


class ImageBody(Sent):
    model_name: str | None
    prompt: str | None
    negative_prompt: str | None
    image: str | None
    resolution: str | None
    n: int | None
    aspect_ratio: str | None


class ListedImage(Sent):
    image: str


class Subject(Sent):
    subject_image: str


class OmniImageBody(Sent):
    model_name: str | None
    prompt: str | None
    image_list: list[ListedImage] | None
    resolution: str | None
    n: int | None
    aspect_ratio: str | None


class ReferencesBody(Sent):
    model_name: str | None
    prompt: str | None
    subject_image_list: list[Subject]
    n: int | None
    aspect_ratio: str | None


class ExpansionBody(Sent):
    """By how much of its height or width the picture grows on each side; the caller's options say."""

    image: str | None
    prompt: str | None
    n: int | None
    up_expansion_ratio: float = 0
    down_expansion_ratio: float = 0
    left_expansion_ratio: float = 0
    right_expansion_ratio: float = 0


class TryOnBody(Sent):
    model_name: str | None
    human_image: str | None
    cloth_image: str


class AvatarBody(Sent):
    """`audio_id`, of a speech that Kling made, comes with the caller's options."""

    image: str | None
    prompt: str | None
    sound_file: str | None
    mode: str | None


class SoundtrackBody(Sent):
    """`bgm_prompt` and `asmr_mode` come with the caller's options."""

    video_url: str | None
    sound_effect_prompt: str | None


class SoundBody(Sent):
    prompt: str | None
    duration: float


class SpeechBody(Sent):
    """`voice_language` and `voice_speed` come with the caller's options."""

    text: str | None
    voice_id: str | None


class FaceSearchBody(Sent):
    video_id: str | None = None
    video_url: str | None = None


class FaceChoice(Sent):
    """Who says what, when; times are milliseconds."""

    face_id: str
    audio_id: str | None = None
    sound_file: str | None = None
    sound_start_time: int | None = None
    sound_end_time: int | None = None
    sound_insert_time: int | None = None
    sound_volume: float | None = None
    original_audio_volume: float | None = None


class LipSyncBody(Sent):
    session_id: str
    face_choose: list[FaceChoice]
