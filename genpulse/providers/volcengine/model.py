"""What the client has to know of a model: the `wire` of its catalogue entry."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from genpulse.schemas.states import Operation


class Product(StrEnum):
    """Which interface a model stands behind."""

    IMAGE = "image"
    VIDEO = "video"
    VISUAL = "visual"


class ModelWire(BaseModel):
    """`model` is Ark's id in China and `overseas` the one at BytePlus; Visual has a `req_key` for each operation.

    `last_image` is the `req_key` of what starts from a first and ends with a last image.
    """

    model_config = ConfigDict(extra="forbid")

    product: Product
    model: str | None = None
    overseas: str | None = None
    req_keys: dict[Operation, str] = Field(default_factory=dict)
    last_image: str | None = None
    one_output: bool = False
    """Whether the model has to be told to make only one."""
