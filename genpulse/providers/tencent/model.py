"""What the client has to know of a model: the `wire` of its catalogue entry."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from genpulse.errors import InvalidInput
from genpulse.providers.base import Media, ModelCall


class Product(StrEnum):
    """Which interface a model stands behind."""

    VOD_VIDEO = "vod-video"
    VOD_IMAGE = "vod-image"
    JOB = "job"
    PICTURE = "picture"
    PICTURE_JOB = "picture-job"
    HUB_PICTURE = "hub-picture"
    HUB_LITE = "hub-lite"
    HUB_VIDEO = "hub-video"
    HUB_TASK = "hub-task"
    HUB_PICTURE_TASK = "hub-picture-task"
    PROCESS = "process"
    MPS = "mps"


class ModelWire(BaseModel):
    """`model`, `version` and `scene` are the cloud's names; `action` is what is called, for a job without `Submit`.

    `upper` are the endings of resolutions that this model writes in capitals, `always` is sent with every call.
    """

    model_config = ConfigDict(extra="forbid")

    product: Product
    model: str = ""
    version: str = ""
    scene: str = ""
    action: str = ""
    with_references: str = ""
    """What is called instead of `action` where there are reference images."""
    upper: str = "pk"
    reference: str | None = None
    """What a video given to this model is: to be edited (`base`), for one."""
    exact_size: bool = False
    """Whether width and height are told, in a way of their own."""
    seconds: tuple[int, ...] = ()
    """The only durations, where the catalogue cannot say it as a range."""
    most_with_last: int | None = None
    """Seconds that can be had between two pictures, where that is less."""
    loud_mode: str | None = None
    """The only `Mode` in which this model makes sound."""
    always: dict[str, Any] = Field(default_factory=dict)


def wire_of(call: ModelCall) -> ModelWire:
    return ModelWire.model_validate(call.wire)


def with_options(body: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's options come on top; one that is an object joins ours of that name."""
    return {**body, **{name: _joined(body.get(name), value) for name, value in options.items()}}


def resolution(call: ModelCall, wire: ModelWire) -> str | None:
    """As the model writes it."""
    given: str | None = call.input.get("resolution")
    if given is None:
        return None
    return given.upper() if given[-1] in wire.upper else given


def duration(call: ModelCall, wire: ModelWire) -> int | None:
    """In whole seconds. Raises InvalidInput for a duration that cannot be had."""
    if "duration" not in call.input:
        return None
    seconds = int(call.input["duration"])
    if wire.seconds and seconds not in wire.seconds:
        known = " or ".join(map(str, wire.seconds))
        raise InvalidInput(f"`duration` of {call.model} is {known}.", field="duration")
    if call.one("last_image") and wire.most_with_last and seconds > wire.most_with_last:
        raise InvalidInput(f"With `last_image` it is at most {wire.most_with_last} seconds.", field="duration")
    return seconds


def needed(call: ModelCall, name: str) -> Media:
    """A file without which this model cannot do."""
    file = call.one(name)
    if file is None:
        raise InvalidInput(f"{call.model} needs `{name}`.", field=name)
    return file


def link(call: ModelCall, name: str) -> str:
    """A file that this model takes by address only."""
    url = needed(call, name).url
    if url is None:
        raise InvalidInput(
            f"Tencent fetches `{name}` of {call.model} itself: give a URL, or set GENPULSE_SERVER__PUBLIC_URL.",
            field=name,
        )
    return url


def _joined(ours: Any, theirs: Any) -> Any:
    return {**ours, **theirs} if isinstance(ours, Mapping) and isinstance(theirs, Mapping) else theirs
