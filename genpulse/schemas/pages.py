"""The shape of every list and of every error."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

MAX_PAGE = 100

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """Newest first; go on with `starting_after=<id of the last>` while `has_more`."""

    data: list[T]
    has_more: bool


class FieldProblem(BaseModel):
    """One offending field: its JSON pointer and what to do about it."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details with a stable `code`."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[FieldProblem]
    details: dict[str, Any]
