"""The tables of tenants: their keys, and their credits."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from genpulse.db import Json, UtcDateTime


class TenantRow(SQLModel, table=True):
    """A customer. A limit that is empty does not limit; `models` are patterns such as `kling/*`, empty for all.

    `weight` is its share where several tenants wait for the same thing. At `low_balance` credits an event is sent.
    """

    __tablename__ = "tenant"
    __table_args__ = (CheckConstraint("weight > 0", name="weight"),)

    id: str = Field(primary_key=True, max_length=64)
    name: str = Field(max_length=120)
    weight: float = 1.0
    requests_per_minute: int | None = None
    in_flight: int | None = None
    spend_per_day: int | None = Field(default=None, sa_column=Column(BigInteger))
    input_bytes: int | None = Field(default=None, sa_column=Column(BigInteger))
    models: list[str] | None = Field(default=None, sa_column=Column(Json))
    low_balance: int | None = Field(default=None, sa_column=Column(BigInteger))
    suspended_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class ApiKeyRow(SQLModel, table=True):
    """A key of a tenant. Only `digest` is kept of its secret, the HMAC-SHA256 with the server's key, in hex.

    Of a rotated key, `expires_at` is when the overlap ends and `replaced_by` the key that goes on in its place.
    """

    __tablename__ = "api_key"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        UniqueConstraint("digest"),
        Index("ix_api_key_tenant_id_id", "tenant_id", "id"),
    )

    id: str = Field(primary_key=True, max_length=40)
    tenant_id: str = Field(max_length=64)
    name: str = Field(default="", max_length=120)
    digest: str = Field(max_length=64)
    prefix: str = Field(max_length=16)
    last_four: str = Field(max_length=4)
    scopes: list[str] = Field(sa_column=Column(Json, nullable=False))
    models: list[str] | None = Field(default=None, sa_column=Column(Json))
    expires_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    replaced_by: str | None = Field(default=None, max_length=40)
    revoked_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    last_used_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class CreditAccountRow(SQLModel, table=True):
    """A tenant's balance: the sums of its transactions, changed with each in one database transaction.

    `version` counts them. An unlimited account may go below zero. `committed` is what was held or charged on `day`
    (UTC). `expires_at` is when the next credits expire.
    """

    __tablename__ = "credit_account"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["tenant.id"]),
        CheckConstraint("is_unlimited OR available >= 0", name="available"),
        CheckConstraint("held >= 0", name="held"),
        CheckConstraint("available + held + spent + granted = 0", name="sums_to_zero"),
    )

    tenant_id: str = Field(primary_key=True, max_length=64)
    is_unlimited: bool = False
    available: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    held: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    spent: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    granted: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    version: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    day: date | None = None
    committed: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    expires_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))


class CreditTransactionRow(SQLModel, table=True):
    """One line of a tenant's ledger: what it moves between four accounts, which always sums to zero. Never changed.

    `available` and `held` are the tenant's; `spent` is what the service has earned, and from `granted` all credits
    come, so that it is below zero. `available_after` and `held_after` are the running balance. A generation's hold
    has one resolution, a `capture` or a `release`. Generations may be deleted, their transactions are not.
    """

    __tablename__ = "credit_transaction"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id"], ["credit_account.tenant_id"]),
        UniqueConstraint("tenant_id", "number"),
        UniqueConstraint("tenant_id", "idempotency_key"),
        CheckConstraint("kind IN ('grant', 'hold', 'capture', 'release', 'refund', 'adjust', 'expire')", name="kind"),
        CheckConstraint("available + held + spent + granted = 0", name="sums_to_zero"),
        Index(
            "uq_credit_transaction_resolution",
            "generation_id",
            unique=True,
            postgresql_where=text("kind IN ('capture', 'release')"),
            sqlite_where=text("kind IN ('capture', 'release')"),
        ),
        Index("ix_credit_transaction_generation_id", "generation_id"),
    )

    id: str = Field(primary_key=True, max_length=40)
    tenant_id: str = Field(max_length=64)
    number: int = Field(sa_column=Column(BigInteger, nullable=False))
    kind: str = Field(max_length=16)
    available: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    held: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    spent: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    granted: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    available_after: int = Field(sa_column=Column(BigInteger, nullable=False))
    held_after: int = Field(sa_column=Column(BigInteger, nullable=False))
    generation_id: str | None = Field(default=None, max_length=40)
    note: str = Field(default="", max_length=500)
    idempotency_key: str | None = Field(default=None, max_length=255)
    fingerprint: str | None = Field(default=None, max_length=64)
    made_by: str | None = Field(default=None, max_length=64)
    expires_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class CreditLotRow(SQLModel, table=True):
    """Granted credits that expire, and how many of them are neither spent nor expired."""

    __tablename__ = "credit_lot"
    __table_args__ = (
        ForeignKeyConstraint(["transaction_id"], ["credit_transaction.id"]),
        CheckConstraint("remaining >= 0", name="remaining"),
        Index(
            "ix_credit_lot_remaining",
            "tenant_id",
            "expires_at",
            postgresql_where=text("remaining > 0"),
            sqlite_where=text("remaining > 0"),
        ),
    )

    transaction_id: str = Field(primary_key=True, max_length=40)
    tenant_id: str = Field(max_length=64)
    remaining: int = Field(sa_column=Column(BigInteger, nullable=False))
    expires_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
