"""What Kling's client has to know of a model: the `wire` of its catalogue entry, and where it is asked."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from genpulse.providers.base import ModelCall
from genpulse.schemas.states import Operation


class Form(StrEnum):
    """Kinds of bodies: the first three of the new generation, the rest of the older one."""

    TASK = "task"
    OMNI_TASK = "omni-task"
    MOTION_TASK = "motion-task"
    VIDEO = "video"
    OMNI_VIDEO = "omni-video"
    MOTION = "motion"
    EXTENSION = "extension"
    LIP_SYNC = "lip-sync"
    AVATAR = "avatar"
    EFFECT = "effect"
    SOUNDTRACK = "soundtrack"
    SOUND = "sound"
    SPEECH = "speech"
    IMAGE = "image"
    OMNI_IMAGE = "omni-image"
    REFERENCES = "references"
    EXPANSION = "expansion"
    TRY_ON = "try-on"


_PATHS = {
    Form.OMNI_VIDEO: "/v1/videos/omni-video",
    Form.MOTION: "/v1/videos/motion-control",
    Form.EXTENSION: "/v1/videos/video-extend",
    Form.LIP_SYNC: "/v1/videos/advanced-lip-sync",
    Form.AVATAR: "/v1/videos/avatar/image2video",
    Form.EFFECT: "/v1/videos/effects",
    Form.SOUNDTRACK: "/v1/audio/video-to-audio",
    Form.SOUND: "/v1/audio/text-to-audio",
    Form.SPEECH: "/v1/audio/tts",
    Form.IMAGE: "/v1/images/generations",
    Form.OMNI_IMAGE: "/v1/images/omni-image",
    Form.REFERENCES: "/v1/images/multi-image2image",
    Form.EXPANSION: "/v1/images/editing/expand",
    Form.TRY_ON: "/v1/images/kolors-virtual-try-on",
}


class ModelWire(BaseModel):
    """How a model is asked; the `wire` of its catalogue entry.

    `name` is the model in the path or body. Of `needs_1080p` are fields that it honours at that resolution only, and of
    `needs_options` what a call is nothing without, although no common field says it. A `video` is changed (`base`), or
    a new one is made after it (`feature`).
    """

    model_config = ConfigDict(extra="forbid")

    form: Form
    name: str | None = None
    video: Literal["base", "feature"] = "base"
    needs_1080p: tuple[str, ...] = ()
    needs_options: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        return self.form in (Form.TASK, Form.OMNI_TASK, Form.MOTION_TASK)


def path_of(call: ModelCall, wire: ModelWire) -> str:
    """Where the call is sent; in the older generation, its task is asked for there too."""
    match wire.form:
        case Form.TASK:
            return f"/{call.operation}/{wire.name}"
        case Form.OMNI_TASK:
            return f"/omni-video/{wire.name}"
        case Form.MOTION_TASK:
            return f"/motion-control/{wire.name}"
        case Form.VIDEO:
            return f"/v1/videos/{'text' if call.operation is Operation.TEXT_TO_VIDEO else 'image'}2video"
    return _PATHS[wire.form]
