"""What the bodies of both generations of Kling's API have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Prompt = Annotated[str, Field(min_length=1, max_length=2500)]
LongPrompt = Annotated[str, Field(min_length=1, max_length=3072)]
Resolution = Literal["720p", "1080p", "4k"]
Shape = Literal["16:9", "9:16", "1:1"]
PictureShape = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "auto"]
Link = Annotated[str, Field(pattern=r"^https?://.")]
Picture = Annotated[str, Field(pattern=r"^(https?://.+|[A-Za-z0-9+/]+=*)$")]
"""A URL, or base64 without the prefix of a data URL."""


class Body(BaseModel, extra="allow"):
    """What a task of either generation has; `size`, `seconds` and `count` are of what comes out."""

    prompt: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        return 1280, 720

    @property
    def seconds(self) -> float:
        return 5.0

    @property
    def count(self) -> int:
        return 1


def shaped(short: int, shape: str | None) -> tuple[int, int]:
    """Width and height of this shorter side."""
    width, height = map(int, (shape or "16:9").split(":"))
    return round(short * max(1.0, width / height)), round(short * max(1.0, height / width))
