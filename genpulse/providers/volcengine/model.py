"""What the client has to know of a model: the `wire` of its catalogue entry."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from genpulse.schemas.states import Operation


class Product(StrEnum):
    """Which interface a model stands behind."""

    IMAGE = "image"
    VIDEO = "video"
    VISUAL = "visual"
    VISUAL_AT_ONCE = "visual-at-once"


class ModelWire(BaseModel):
    """`model` is Ark's id in China and `overseas` the one at BytePlus; Visual has a `req_key` for each operation.

    `last_image` is the `req_key` of what starts from a first and ends with a last image, `action` what Visual's gateway
    is asked for where the answer has the result, and `task` what Seedance does with a video.
    """

    model_config = ConfigDict(extra="forbid")

    product: Product
    model: str | None = None
    overseas: str | None = None
    req_keys: dict[Operation, str] = Field(default_factory=dict)
    last_image: str | None = None
    action: Literal["CVProcess", "OverResolutionV2", "EnhancePhotoV2"] | None = None
    task: Literal["edit", "extend"] | None = None
    always: dict[str, JsonValue] = Field(default_factory=dict)
    """What is sent unless the options differ."""
    one_output: bool = False
    """Whether the model has to be told to make only one."""
