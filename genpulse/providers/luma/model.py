"""What the catalogue says of a model of Luma, and what both products ask for in the same words."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from genpulse.errors import InvalidInput
from genpulse.providers.base import ModelCall

#: From hardly a change to a new video, in equal steps from 0 to 1.
_CHANGES = (
    *("adhere_1", "adhere_2", "adhere_3"),
    *("flex_1", "flex_2", "flex_3"),
    *("reimagine_1", "reimagine_2", "reimagine_3"),
)


class Form(StrEnum):
    """How a request is worded: first those of the Agents API, by its `type`, then those of Dream Machine."""

    IMAGE = "image"
    IMAGE_EDIT = "image_edit"
    VIDEO = "video"
    VIDEO_EDIT = "video_edit"
    VIDEO_REFRAME = "video_reframe"
    LAYERING = "layering"

    DREAM_VIDEO = "dream_video"
    DREAM_IMAGE = "dream_image"
    DREAM_MODIFY = "dream_modify"
    DREAM_REFRAME_VIDEO = "dream_reframe_video"
    DREAM_REFRAME_IMAGE = "dream_reframe_image"
    DREAM_UPSCALE = "dream_upscale"
    DREAM_AUDIO = "dream_audio"

    @property
    def is_dream(self) -> bool:
        return self.startswith("dream_")


class ModelWire(BaseModel):
    """The `wire` of a catalogue entry. Work on an earlier generation names no model."""

    model_config = ConfigDict(extra="forbid")

    form: Form
    model: str = ""


def change(strength: float) -> str:
    """How far a video may depart from its source, in Luma's nine steps."""
    return _CHANGES[min(int(strength * len(_CHANGES)), len(_CHANGES) - 1)]


def seconds(call: ModelCall, *allowed: int) -> str | None:
    """The length as Luma writes it."""
    if (given := call.input.get("duration")) is None:
        return None
    if given not in allowed:
        raise InvalidInput(
            f"`duration` of {call.model} is {' or '.join(map(str, allowed))}, not {given:g}.", field="input.duration"
        )
    return f"{given:g}s"
