"""States, operations and which state may follow which."""

from __future__ import annotations

from enum import StrEnum


class Operation(StrEnum):
    """What a model call does."""

    TEXT_TO_IMAGE = "text-to-image"
    IMAGE_TO_IMAGE = "image-to-image"
    TEXT_TO_VIDEO = "text-to-video"
    IMAGE_TO_VIDEO = "image-to-video"
    VIDEO_TO_VIDEO = "video-to-video"
    IMAGE_UPSCALE = "image-upscale"
    VIDEO_UPSCALE = "video-upscale"
    VIDEO_INTERPOLATE = "video-interpolate"
    TEXT_TO_SPEECH = "text-to-speech"
    COMFY_WORKFLOW = "comfy-workflow"


class MediaKind(StrEnum):
    """What an asset is."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


#: Which input fields refer to files, and of which kind.
MEDIA_FIELDS = {
    "image": MediaKind.IMAGE,
    "last_image": MediaKind.IMAGE,
    "reference_images": MediaKind.IMAGE,
    "mask": MediaKind.IMAGE,
    "video": MediaKind.VIDEO,
    "audio": MediaKind.AUDIO,
}


class GenerationStatus(StrEnum):
    """Where a generation stands; `succeeded`, `failed` and `canceled` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELING = "canceling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    DEAD_LETTERED = "dead_lettered"

    @property
    def is_final(self) -> bool:
        return self in FINAL


class StepStatus(StrEnum):
    """Where a step stands: `submitted` means handed over, `succeeded` means that its outputs are stored."""

    QUEUED = "queued"
    SUBMITTED = "submitted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class Billing(StrEnum):
    """What a provider bills for an attempt that came to nothing.

    `none`: it accepted nothing. `possible`: it may have, or its terms decide. `full`: the work was done, or goes on.
    """

    NONE = "none"
    POSSIBLE = "possible"
    FULL = "full"


class Priority(StrEnum):
    """How urgent a generation is within its tenant."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


_S = GenerationStatus
FINAL = frozenset({_S.SUCCEEDED, _S.FAILED, _S.CANCELED})

#: From which states a generation may enter each state. Everything else is refused by the database update itself.
ENTERED_FROM: dict[GenerationStatus, frozenset[GenerationStatus]] = {
    _S.QUEUED: frozenset({_S.DEAD_LETTERED}),
    _S.RUNNING: frozenset({_S.QUEUED, _S.DEAD_LETTERED}),
    _S.CANCELING: frozenset({_S.QUEUED, _S.RUNNING, _S.DEAD_LETTERED}),
    _S.SUCCEEDED: frozenset({_S.RUNNING, _S.CANCELING}),
    _S.FAILED: frozenset({_S.QUEUED, _S.RUNNING, _S.CANCELING, _S.DEAD_LETTERED}),
    _S.CANCELED: frozenset({_S.QUEUED, _S.RUNNING, _S.CANCELING, _S.DEAD_LETTERED}),
    _S.DEAD_LETTERED: frozenset({_S.QUEUED, _S.RUNNING}),
}
