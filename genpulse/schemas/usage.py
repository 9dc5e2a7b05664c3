"""Contracts of usage: what generations have cost, added up."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel

Dimension = Literal["day", "model", "provider", "key"]
"""By what a tenant's usage is split. `day` is that on which it ended, in UTC; `key` is the key that submitted it."""

AdminDimension = Literal["day", "model", "provider", "key", "tenant"]


class UsageRow(BaseModel):
    """One group: steps that were run, the files that they made, and the credits charged for them.

    A dimension that was not asked for is null, and so is the key of what the bootstrap key has submitted.
    """

    day: date | None = None
    model: str | None = None
    provider: str | None = None
    key: str | None = None
    steps: int
    outputs: int
    charged: int


class Usage(BaseModel):
    """What was used, in groups. `total` is what all groups have cost."""

    object: Literal["usage"]
    unit: Literal["credit"]
    total: int
    data: list[UsageRow]


class AdminUsageRow(UsageRow):
    """The same, with what it has cost at the providers by their lists, and what is left."""

    tenant: str | None = None
    cost: int
    margin: int


class AdminUsage(BaseModel):
    """What all tenants have used, in groups."""

    object: Literal["usage"]
    unit: Literal["credit"]
    total: int
    cost: int
    margin: int
    data: list[AdminUsageRow]
