"""Contracts of tenants and their keys: what a key may do, what limits a tenant, and how both are made and shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from genpulse.schemas.shares import LEAST_WEIGHT, MOST_WEIGHT
from genpulse.schemas.strict import Flag, Instant, Number, Strict, Whole

MAX_NAME = 120
MAX_OVERLAP_SECONDS = 7 * 24 * 3600
DEFAULT_OVERLAP_SECONDS = 24 * 3600
MAX_CREDITS = 10**15


class Scope(StrEnum):
    """What a key may do: make generations and assets, read them, change the tenant's own set-up, run the service."""

    GENERATE = "generate"
    READ = "read"
    MANAGE = "manage"
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class TenantLimits:
    """What a tenant gets of the service. What is None does not limit, and without patterns all models may be used.

    `weight` is its share where several tenants wait for the same thing; at `low_balance` credits an event is sent.
    """

    weight: float = 1.0
    requests_per_minute: int | None = None
    in_flight: int | None = None
    spend_per_day: int | None = None
    input_bytes: int | None = None
    models: tuple[str, ...] | None = None
    low_balance: int | None = None


NO_LIMITS = TenantLimits()


class AllowedModels:
    """Ids that each of several lists of patterns allows; a list that is None allows all. `*` stands for any text."""

    def __init__(self, *lists: Sequence[str] | None) -> None:
        self._lists = [patterns for patterns in lists if patterns is not None]

    def __contains__(self, model_id: object) -> bool:
        return isinstance(model_id, str) and all(
            any(fnmatchcase(model_id, pattern) for pattern in patterns) for patterns in self._lists
        )

    def cover(self, patterns: Iterable[str]) -> bool:
        """Whether nothing is allowed by these patterns that is not allowed here.

        A pattern, read as if it were an id, is matched by every wider one: `kling/kling-*` by `kling/*`.
        """
        return all(pattern in self for pattern in patterns)

    @property
    def are_all(self) -> bool:
        return not self._lists


ALL_MODELS = AllowedModels()


# What callers send ----------------------------------------------------------------------------------------------------

Name = Annotated[str, Field(max_length=MAX_NAME)]
#: Only `*`, and not what else a shell knows: of these it can be told which one is wider.
ModelPattern = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/*-]{1,160}$", examples=["kling/*"])]
ModelPatterns = Annotated[list[ModelPattern], Field(min_length=1, max_length=100)]
Credits = Annotated[Whole, Field(ge=0, le=MAX_CREDITS)]
Weight = Annotated[Number, Field(ge=LEAST_WEIGHT, le=MOST_WEIGHT)]


class ApiKeyCreate(Strict):
    """A new key. Without `models` it may use all that the tenant may; without `expires_at` it does not expire."""

    name: Name = ""
    scopes: list[Scope] = Field(default_factory=lambda: [Scope.GENERATE, Scope.READ], min_length=1, max_length=4)
    models: ModelPatterns | None = None
    expires_at: Instant | None = None


class KeyRotation(Strict):
    """How long the former key still works beside the new one."""

    overlap_seconds: Whole = Field(DEFAULT_OVERLAP_SECONDS, ge=0, le=MAX_OVERLAP_SECONDS)


class LimitsUpdate(Strict):
    """What limits a tenant; null does not limit. `models` are patterns for ids, such as `kling/*`."""

    requests_per_minute: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None
    in_flight: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None
    spend_per_day: Credits | None = None
    input_bytes: Annotated[Whole, Field(ge=1, le=2**40)] | None = None
    models: ModelPatterns | None = None


class TenantCreate(Strict):
    """A new tenant. `credits` are granted to it at once."""

    name: Name = Field(min_length=1)
    credits: Credits = 0
    limits: LimitsUpdate = Field(default_factory=LimitsUpdate)
    weight: Weight = 1.0
    low_balance: Credits | None = None
    suspended: Flag = False


class TenantUpdate(Strict):
    """What to change; the rest stays. Within `limits`, null takes a limit away."""

    name: Annotated[Name, Field(min_length=1)] | None = None
    limits: LimitsUpdate | None = None
    weight: Weight | None = None
    low_balance: Credits | None = None
    suspended: Flag | None = None


# What callers get -----------------------------------------------------------------------------------------------------


class ApiKey(BaseModel):
    """A key, of which `prefix` and `last_four` are shown. `replaced_by` is the key that it was rotated to.

    `last_used_at` is right to the minute.
    """

    id: str
    object: Literal["api_key"]
    name: str
    prefix: str
    last_four: str
    scopes: list[Scope]
    models: list[str] | None
    status: Literal["active", "expired", "revoked"]
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None
    created_at: datetime


class ApiKeyWithSecret(ApiKey):
    """The same, with the secret; shown this once."""

    secret: str


class Limits(BaseModel):
    """What limits a tenant; null does not."""

    requests_per_minute: int | None
    in_flight: int | None
    spend_per_day: int | None
    input_bytes: int | None
    models: list[str] | None


class Tenant(BaseModel):
    """A tenant. While it is suspended its keys are refused; what runs goes on."""

    id: str
    object: Literal["tenant"]
    name: str
    weight: float
    limits: Limits
    low_balance: int | None
    suspended: bool
    suspended_at: datetime | None
    created_at: datetime
