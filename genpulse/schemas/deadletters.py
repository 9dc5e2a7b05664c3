"""Contracts of dead letters: which are meant, and what becomes of them."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, Field

from genpulse.schemas.generations import GenerationId, ModelId
from genpulse.schemas.pages import Problem
from genpulse.schemas.states import Operation
from genpulse.schemas.strict import Flag, Instant, Strict

MAX_BULK = 100


class RetryCreate(Strict):
    """How a dead letter goes on. With `model`, that one takes the failed step."""

    model: ModelId | None = None


class DeadLetterFilter(Strict):
    """Which dead letters are meant: those that meet every condition given, all of them where none is."""

    ids: list[GenerationId] | None = Field(None, max_length=1000)
    model: str | None = Field(None, max_length=160, description="As the generation names it", examples=["local/shapes"])
    operation: Operation | None = None
    provider: str | None = Field(None, max_length=40, description="Provider that the error names")
    code: str | None = Field(None, max_length=40, description="Code of the error", examples=["provider_unavailable"])
    created_after: Instant | None = None
    created_before: Instant | None = None
    parked_before: Instant | None = Field(
        None, description="Became a dead letter before then: with the `as_of` of a preview, what it has shown"
    )


class BulkDiscard(Strict):
    """Dead letters to end. With `preview` nothing happens; `starting_after` goes on behind the last one seen."""

    filter: DeadLetterFilter = Field(default_factory=DeadLetterFilter)
    preview: Flag = False
    starting_after: GenerationId | None = None


class BulkRetry(BulkDiscard):
    """Dead letters to go on. With `model`, that one takes the failed steps that it can take."""

    model: ModelId | None = None


class BulkGroup(BaseModel):
    """So many of one kind."""

    model: str
    code: str
    provider: str | None
    count: int


class BulkRefusal(BaseModel):
    """One that could not be done, and why."""

    id: str
    problem: Problem


class Bulk(BaseModel):
    """What a request hits, and what it did.

    `matched` and `groups` are of all that the filter names. One request does at most 100, those after `starting_after`;
    while there are more, `last_id` is where the next one goes on.
    """

    object: Literal["bulk"]
    action: Literal["retry", "discard"]
    preview: bool
    as_of: AwareDatetime
    matched: int
    groups: list[BulkGroup]
    done: int
    refused: list[BulkRefusal]
    has_more: bool
    last_id: str | None
