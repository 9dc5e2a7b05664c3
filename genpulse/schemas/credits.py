"""Contracts of credits: prices at submission, changes of a balance, and what callers see of both."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from genpulse.schemas.catalog import PriceUnit, Rate
from genpulse.schemas.generations import GenerationId
from genpulse.schemas.strict import Instant, Strict, Whole

#: More than anybody has, and far from where a database's whole numbers end.
MOST_CREDITS = 10**15

TransactionKind = Literal["grant", "hold", "capture", "release", "refund", "adjust", "expire"]


class Terms(BaseModel):
    """What one call costs, worked out from the price and its input: enough to bill it by, whatever prices are then.

    At most `outputs` of so many `units` each come out, of so many `pixels` where that is known. Each costs what the
    first of the `rates` that fits its size says, for `per` units; `added` is what goes in. `is_fixed` where it is
    billed as asked for, however long what comes out is.
    """

    unit: PriceUnit
    rates: list[Rate]
    per: int
    added: int
    units: int
    pixels: int | None
    outputs: int
    is_fixed: bool


class Quote(BaseModel):
    """What a model is charged for a step, and what it costs us by its provider's list, as both were at submission."""

    charge: Terms
    cost: Terms


class CreditChange(Strict):
    """A change of a balance: `grant` adds to it, `refund` gives back what a generation has cost, `adjust` corrects."""

    amount: Annotated[Whole, Field(ge=-MOST_CREDITS, le=MOST_CREDITS)]
    kind: Literal["grant", "refund", "adjust"] = "grant"
    note: str = Field("", max_length=500)
    expires_at: Instant | None = None
    generation_id: GenerationId | None = None

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        if self.amount == 0 or (self.amount < 0 and self.kind != "adjust"):
            raise ValueError(
                f"`amount` of a {self.kind} must be {'other than' if self.kind == 'adjust' else 'above'} 0"
            )
        if (self.generation_id is not None) is not (self.kind == "refund"):
            raise ValueError("`generation_id` says what a refund is for, and is for nothing else")
        if self.expires_at is not None and self.kind != "grant":
            raise ValueError("`expires_at` is for grants alone")
        return self


class ExpiringCredits(BaseModel):
    """So many credits are lost then, unless they are spent before."""

    amount: int
    expires_at: datetime


class Credits(BaseModel):
    """A balance: what can be spent, and what is set aside for generations that have not ended.

    An `unlimited` account is never refused; what it has used is below zero.
    """

    object: Literal["credits"]
    available: int
    held: int
    unlimited: bool
    unit: Literal["credit"]
    low_balance: int | None
    expiring: list[ExpiringCredits]


class Balance(BaseModel):
    """The account after a transaction."""

    available: int
    held: int


class Transaction(BaseModel):
    """A line of the ledger: by how much it changed what is `available` and what is `held`, and the balance after it."""

    id: str
    object: Literal["transaction"]
    kind: TransactionKind
    available: int
    held: int
    balance: Balance
    generation_id: str | None
    note: str
    expires_at: datetime | None
    created_at: datetime
