"""What an invariant is."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select
from sqlmodel import SQLModel


@dataclass(frozen=True, kw_only=True)
class Invariant:
    """`sentence` is true of each of `among` unless `broken_by` finds its id."""

    id: str
    sentence: str
    among: type[SQLModel]
    broken_by: Select[str]
    where: ColumnElement[bool] | None = None
