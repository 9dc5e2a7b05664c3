"""Contracts of stored files."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from genpulse.schemas.states import MediaKind


class MediaInfo(BaseModel):
    """What a file is, read from its content. Pixels, seconds and frames per second; null where it does not apply."""

    kind: MediaKind
    media_type: str
    width: int | None
    height: int | None
    duration: float | None
    fps: float | None


class Asset(BaseModel):
    """A stored file; `url` and `poster_url` are signed and expire."""

    id: str
    object: Literal["asset"]
    kind: MediaKind
    media_type: str
    bytes: int
    sha256: str
    width: int | None
    height: int | None
    duration: float | None
    fps: float | None
    url: str
    poster_url: str | None
    created_at: datetime
