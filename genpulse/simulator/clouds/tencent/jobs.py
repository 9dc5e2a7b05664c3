"""What the actions of vclm take, as strictly as they do, and how jobs of vclm and aiart are shown."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from genpulse.simulator.clouds.tencent.bodies import Body, decoded, need
from genpulse.simulator.jobs import Failure, Job, State

_DATA = re.compile(r"data:image/[a-z]+;base64,")
Url = Annotated[str, StringConstraints(pattern=r"^https?://")]
Text2500 = Annotated[str, StringConstraints(max_length=2500)]
Text2000 = Annotated[str, StringConstraints(max_length=2000)]
STATUS = {
    State.QUEUED: "WAIT",
    State.RUNNING: "RUN",
    State.SUCCEEDED: "DONE",
    State.FAILED: "FAIL",
    State.CANCELLED: "FAIL",
}
_PICTURE_STATUS = {
    State.QUEUED: "1",
    State.RUNNING: "2",
    State.SUCCEEDED: "5",
    State.FAILED: "4",
    State.CANCELLED: "4",
}


class Image(Body):
    url: Url | None = None
    base64: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        need(self.url or (self.base64 and decoded(self.base64)), "Url or Base64 is required")
        return self


class Submission(Body):
    logo_add: int | None = None
    logo_param: dict[str, Any] | None = None
    prompt: str | None = None
    callback_url: Url | None = None

    @property
    def seconds(self) -> float:
        return float(getattr(self, "duration", None) or 5)

    @property
    def short_side(self) -> int:
        return int((getattr(self, "resolution", None) or "720p")[:-1])


class _Kling(Submission):
    prompt: Text2500 | None = None
    negative_prompt: Text2500 | None = None
    duration: str | None = None
    mode: Literal["std", "pro"] = "std"
    cfg_scale: float | None = Field(None, ge=0, le=1)
    sound: Literal["on", "off"] | None = None
    multi_shot: bool | None = None
    shot_type: Literal["customize", "intelligence"] | None = None
    multi_prompt: list[dict[str, Any]] | None = Field(None, max_length=6)
    camera_control: dict[str, Any] | None = None
    external_task_id: str | None = None

    def check(self, version: str) -> None:
        lengths = range(3, 16) if version == "v3.0" else (5, 10)
        need(self.duration is None or self.duration in map(str, lengths), "Duration is invalid")
        need(self.cfg_scale is None or version not in ("v2.0", "v2.5", "v2.6"), "CfgScale is not supported")
        need(self.sound is None or version in ("v2.6", "v3.0"), "Sound is not supported")
        need(self.sound != "on" or version != "v2.6" or self.mode == "pro", "Sound needs the mode pro")


class TextToVideo(_Kling):
    model: Literal["v1.0", "v1.5", "v1.6", "v2.0", "v2.1m", "v2.5", "v2.6", "v3.0"]
    aspect_ratio: Literal["16:9", "9:16", "1:1"] = "16:9"

    @model_validator(mode="after")
    def _together(self) -> Self:
        need(self.prompt or self.multi_shot, "Prompt is required")
        self.check(self.model)
        return self


class ImageToVideo(_Kling):
    model: Literal["v1.6", "v2.0", "v2.1", "v2.5", "v2.6", "V3.0"]
    image: Image | None = None
    image_tail: Image | None = None
    element_list: list[dict[str, Any]] | None = Field(None, max_length=3)
    voice_list: list[dict[str, Any]] | None = Field(None, max_length=2)
    static_mask: str | None = None
    dynamic_masks: list[dict[str, Any]] | None = Field(None, max_length=6)

    @model_validator(mode="after")
    def _together(self) -> Self:
        need(self.image or self.image_tail, "Image or ImageTail is required")
        need(not self.image_tail or not self.multi_shot, "no MultiShot with ImageTail")
        self.check(self.model.lower())
        return self


class _Vidu(Submission):
    prompt: Text2000 | None = None
    duration: int = 5
    resolution: Literal["540p", "720p", "1080p"] = "720p"
    audio: bool | None = None
    bgm: bool | None = None
    movement_amplitude: Literal["auto", "small", "medium", "large"] | None = None
    meta_data: str | None = None
    payload: str | None = None
    off_peak: bool | None = None

    def check(self, model: str, most: int) -> None:
        need(1 <= self.duration <= (16 if model.startswith("viduq3") else most), "Duration is invalid")


class TextToVidu(_Vidu):
    model: Literal["viduq2", "viduq3-turbo", "viduq3-pro"] = "viduq2"
    aspect_ratio: Literal["16:9", "9:16", "4:3", "3:4", "1:1"] | None = None
    style: Literal["general", "anime"] | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        need(self.prompt, "Prompt is required")
        need(self.audio is None or self.model != "viduq2", "Audio is not supported")
        self.check(self.model, 10)
        return self


class ImageToVidu(_Vidu):
    model: Literal["viduq2-pro", "viduq2-turbo", "viduq3-turbo", "viduq3-pro"] = "viduq2-turbo"
    images: list[str] = Field(min_length=1, max_length=2)
    is_rec: bool | None = None
    voice_id: str | None = None
    audio_type: Literal["all", "speech_only", "sound_effect_only"] | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        check_links(self.images)
        need(self.resolution != "540p" or self.model.startswith("viduq3"), "Resolution is invalid")
        self.check(self.model, 8 if len(self.images) == 2 else 10)
        return self


class ReferenceToVidu(_Vidu):
    model: Literal["viduq2"] = "viduq2"
    images: list[str] = Field(min_length=1, max_length=7)
    aspect_ratio: Literal["16:9", "9:16", "4:3", "3:4", "1:1"] | None = None

    @model_validator(mode="after")
    def _together(self) -> Self:
        check_links(self.images)
        need(self.prompt, "Prompt is required")
        self.check(self.model, 10)
        return self


class General(Submission):
    image: Image
    prompt: str | None = Field(None, max_length=200)
    resolution: Literal["480p", "720p", "1080p"] | None = None
    fps: Literal[16, 24, 30] = 30


class Actor(Submission):
    image_url: Url | None = None
    image_base64: str | None = None
    audio_url: Url
    prompt: str | None = Field(None, max_length=5000)
    resolution: Literal["720p", "1080p"] = "1080p"
    frame_rate: Literal[25, 50] = 50

    @model_validator(mode="after")
    def _face(self) -> Self:
        need(
            self.image_url or (self.image_base64 and decoded(self.image_base64)), "ImageUrl or ImageBase64 is required"
        )
        return self


class Singer(Submission):
    image_url: Url | None = None
    image_base64: str | None = None
    audio_url: Url
    mode: Literal["Person", "Pet"] = "Person"
    resolution: Literal["512:512"] | None = None

    @property
    def short_side(self) -> int:
        return 512

    @model_validator(mode="after")
    def _face(self) -> Self:
        need(
            self.image_url or (self.image_base64 and decoded(self.image_base64)), "ImageUrl or ImageBase64 is required"
        )
        return self


class Motion(Submission):
    model: Literal["kling-v2-6", "kling-v3"]
    prompt: Text2500 | None = None
    external_task_id: str | None = None
    image: str = Field(min_length=1)
    video: Url
    mode: Literal["std", "pro"]
    keep_original_sound: Literal["yes", "no"] | None = None
    character_orientation: Literal["image", "video"]
    element_list: list[dict[str, Any]] | None = None


class ReferVideo(Body):
    video_url: Url
    refer_type: Literal["feature", "base"] = "base"
    keep_original_sound: Literal["yes", "no"] | None = None


class Edit(Submission):
    model: Literal["kling-video-o1", "kling-v3-omni"] = "kling-video-o1"
    prompt: Text2500 = Field(min_length=1)
    external_task_id: str | None = None
    image_list: list[dict[str, str]] | None = None
    video_list: list[ReferVideo] | None = Field(None, max_length=1)
    aspect_ratio: Literal["16:9", "9:16", "1:1"] | None = None
    duration: int | None = Field(None, ge=3, le=10)
    mode: Literal["std", "pro"] | None = None
    sound: Literal["on", "off"] | None = None
    multi_shot: bool | None = None
    shot_type: Literal["customize"] | None = None
    multi_prompt: list[dict[str, Any]] | None = None
    element_list: list[dict[str, Any]] | None = None


SUBMISSIONS: dict[str, type[Submission]] = {
    "TextToVideoJob": TextToVideo,
    "ImageToVideoJob": ImageToVideo,
    "TextToVideoViduJob": TextToVidu,
    "ImageToVideoViduJob": ImageToVidu,
    "ReferenceToVideoViduJob": ReferenceToVidu,
    "ImageToVideoGeneralJob": General,
    "HumanActorJob": Actor,
    "PortraitSingJob": Singer,
    "MotionControlKlingJob": Motion,
    "VideoEditKlingJob": Edit,
}


class JobQuery(Body):
    job_id: str


def check_links(links: list[str]) -> None:
    for link in links:
        need(link.startswith(("http://", "https://")) or decoded(_DATA.sub("", link)), "Images are not valid")


def described(job: Job, state: State) -> dict[str, Any]:
    """Of one action the status has another name; each vendor adds what it has spent."""
    action: str = job.extra["action"]
    done = state is State.SUCCEEDED
    told: dict[str, Any] = {
        ("StatusCode" if action == "PortraitSingJob" else "Status"): STATUS[state],
        "ErrorCode": "",
        "ErrorMessage": "",
        "ResultVideoUrl": job.files[0].url if done and job.files else "",
    }
    if state is State.FAILED:
        moderated = job.failure is Failure.CONTENT
        told["ErrorCode"] = "FailedOperation.ModerationFailed" if moderated else "FailedOperation.DriverFailed"
        told["ErrorMessage"] = "The content did not pass moderation." if moderated else "The driver failed."
    if "Vidu" in action:
        told |= {"Credits": 4 if done else 0, "Payload": job.body.get("Payload", "")}
    elif "Kling" in action or action in ("TextToVideoJob", "ImageToVideoJob"):
        spent = {"VideoId": job.id, "Duration": str(job.media[0].seconds), "FinalUnitDeduction": "2.5"}
        told |= spent if done else {"VideoId": "", "Duration": "", "FinalUnitDeduction": ""}
    return told


def queried(job: Job, state: State) -> dict[str, Any]:
    """Of a picture: the codes are texts, and there is no 3."""
    moderated = job.failure is Failure.CONTENT
    links = [file.url for file in job.files] if state is State.SUCCEEDED else []
    told: dict[str, Any] = {
        "JobStatusCode": _PICTURE_STATUS[state],
        "JobStatusMsg": str(state),
        "JobErrorCode": "",
        "JobErrorMsg": "",
        "ResultImage": links,
        "ResultDetails": ["Success"] * len(links),
        "RevisedPrompt": [job.prompt or ""] * len(links),
    }
    if state is State.FAILED:
        told["JobErrorCode"] = f"FailedOperation.{'GenerateImageFailed' if moderated else 'InnerError'}"
        told["JobErrorMsg"] = "The content did not pass moderation." if moderated else "An internal error."
    return told
