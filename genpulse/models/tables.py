"""The tables of generations, assets and webhooks.

A generation's `version` counts its events: whoever changes the row raises it in the same update, so events of one
generation are numbered without gaps and a reader never misses one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Enum,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from genpulse.db import Json, UtcDateTime
from genpulse.schemas.states import GenerationStatus, MediaKind, Operation, Priority, StepStatus

metadata = SQLModel.metadata
metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def _enum(kind: type) -> Enum:
    # Stored as text, not as a type of the database: a new value then needs no migration. The core only writes members.
    return Enum(kind, native_enum=False, length=32, values_callable=lambda members: [m.value for m in members])


_IS_DUE = "dispatched_at IS NULL AND (admitted_at IS NOT NULL OR cancel_requested_at IS NOT NULL)"


class GenerationRow(SQLModel, table=True):
    """One submission. `dispatched_at`, `cancel_sent_at` and `resolution_sent_at` are empty until Temporal was told.

    It is told once the generation is admitted: at once, unless as many of the tenant's are under way as may be.

    `parked_at` is when it last became a dead letter, to be kept until `kept_until`; `resolution` is what a person
    decided then, and `round` counts how often one had it go on.
    """

    __tablename__ = "generation"
    __table_args__ = (
        Index("ix_generation_tenant_id_id", "tenant_id", "id"),
        Index("ix_generation_tenant_id_status_id", "tenant_id", "status", "id"),
        Index(
            "ix_generation_undispatched",
            "id",
            postgresql_where=text(_IS_DUE),
            sqlite_where=text(_IS_DUE),
        ),
        Index(
            "ix_generation_waiting",
            "deadline_at",
            postgresql_where=text("admitted_at IS NULL AND status = 'queued'"),
            sqlite_where=text("admitted_at IS NULL AND status = 'queued'"),
        ),
        Index(
            "ix_generation_unfinished_of_tenant",
            "tenant_id",
            "admitted_at",
            postgresql_where=text("status NOT IN ('succeeded', 'failed', 'canceled')"),
            sqlite_where=text("status NOT IN ('succeeded', 'failed', 'canceled')"),
        ),
        Index(
            "ix_generation_cancel_unsent",
            "id",
            postgresql_where=text("cancel_requested_at IS NOT NULL AND cancel_sent_at IS NULL"),
            sqlite_where=text("cancel_requested_at IS NOT NULL AND cancel_sent_at IS NULL"),
        ),
        Index(
            "ix_generation_resolution_unsent",
            "id",
            postgresql_where=text("resolution IS NOT NULL AND resolution_sent_at IS NULL"),
            sqlite_where=text("resolution IS NOT NULL AND resolution_sent_at IS NULL"),
        ),
        Index(
            "ix_generation_unfinished",
            "status",
            postgresql_where=text("status NOT IN ('succeeded', 'failed', 'canceled')"),
            sqlite_where=text("status NOT IN ('succeeded', 'failed', 'canceled')"),
        ),
        CheckConstraint("progress >= 0 AND progress <= 1", name="progress"),
    )

    id: str = Field(primary_key=True, max_length=40)
    tenant_id: str = Field(max_length=64)
    status: GenerationStatus = Field(sa_column=Column(_enum(GenerationStatus), nullable=False))
    operation: Operation = Field(sa_column=Column(_enum(Operation), nullable=False))
    model: str = Field(max_length=160)
    priority: Priority = Field(sa_column=Column(_enum(Priority), nullable=False))
    progress: float = 0.0
    version: int = 0
    request: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    adaptions: list[dict[str, Any]] = Field(sa_column=Column(Json, nullable=False))
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    labels: dict[str, str] = Field(sa_column=Column(Json, nullable=False))
    idempotency_key: str | None = Field(default=None, max_length=255)
    api_key_id: str | None = Field(default=None, max_length=40)
    request_id: str = Field(max_length=128)
    traceparent: str | None = Field(default=None, max_length=64)
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    deadline_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    admitted_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    dispatched_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    started_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    finished_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    cancel_requested_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    cancel_sent_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    round: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    parked_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    kept_until: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    resolution: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    resolution_sent_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))


class StepRow(SQLModel, table=True):
    """One model call of a generation, at its place in the chain; `parameters` are those really used.

    `quotes` are those at submission, by model; `held` is the most that the step may cost in credits, `charged` what it
    has cost, and `cost` what it has cost us at the provider.
    """

    __tablename__ = "generation_step"
    __table_args__ = (
        ForeignKeyConstraint(["generation_id"], ["generation.id"], ondelete="CASCADE"),
        UniqueConstraint("generation_id", "step_id"),
    )

    generation_id: str = Field(primary_key=True, max_length=40)
    position: int = Field(primary_key=True)
    step_id: str = Field(max_length=64)
    operation: Operation = Field(sa_column=Column(_enum(Operation), nullable=False))
    model: str = Field(max_length=160)
    queue: str = Field(max_length=80)
    status: StepStatus = Field(sa_column=Column(_enum(StepStatus), nullable=False))
    progress: float = 0.0
    input: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    provider_options: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    fallbacks: list[dict[str, Any]] = Field(sa_column=Column(Json, nullable=False))
    parameters: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    quotes: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    held: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    charged: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    cost: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    started_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    finished_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))


class AttemptRow(SQLModel, table=True):
    """One try of a step at one provider.

    A paid call is noted before it is sent (`sent_at`) and when it was accepted (`provider_job_id`): what has the one
    and not the other has an unknown outcome. Account and endpoint are kept, because only they know the job. `answer` is
    there instead of a job where the outputs came at once. `usage` is what the provider says it will bill, `billing`
    what it bills for an attempt that came to nothing. Those of an earlier `round` are over, whatever came of them.
    """

    __tablename__ = "attempt"
    __table_args__ = (
        ForeignKeyConstraint(
            ["generation_id", "position"],
            ["generation_step.generation_id", "generation_step.position"],
            ondelete="CASCADE",
        ),
        Index(
            "ix_attempt_in_flight",
            "account",
            postgresql_where=text("status = 'running' AND sent_at IS NOT NULL"),
            sqlite_where=text("status = 'running' AND sent_at IS NOT NULL"),
        ),
        CheckConstraint("status IN ('running', 'succeeded', 'failed', 'canceled')", name="status"),
    )

    generation_id: str = Field(primary_key=True, max_length=40)
    position: int = Field(primary_key=True)
    number: int = Field(primary_key=True)
    provider: str = Field(max_length=40)
    model: str = Field(max_length=120)
    status: str = Field(max_length=16)
    account: str | None = Field(default=None, max_length=80)
    endpoint: str | None = Field(default=None, max_length=255)
    sent_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    provider_job_id: str | None = Field(default=None, max_length=255)
    handle: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    answer: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    usage: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    billing: str | None = Field(default=None, max_length=16)
    round: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    error: dict[str, Any] | None = Field(default=None, sa_column=Column(Json))
    started_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    finished_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))


class CircuitRow(SQLModel, table=True):
    """The circuit breaker of a provider account: closed while `opened_until` is empty, half open once it has passed."""

    __tablename__ = "circuit"

    account: str = Field(primary_key=True, max_length=80)
    failures: int
    opened_until: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    probing_until: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    probing_by: str | None = Field(default=None, max_length=80)
    last_error: str | None = Field(default=None, max_length=500)


class AssetRow(SQLModel, table=True):
    """A stored file: an upload, or output `output_index` of a step. The bytes lie in storage under `sha256`."""

    __tablename__ = "asset"
    __table_args__ = (
        ForeignKeyConstraint(["generation_id"], ["generation.id"], ondelete="SET NULL"),
        UniqueConstraint("generation_id", "position", "output_index"),
        Index("ix_asset_tenant_id_id", "tenant_id", "id"),
        Index("ix_asset_sha256", "sha256"),
        Index("ix_asset_poster_sha256", "poster_sha256"),
    )

    id: str = Field(primary_key=True, max_length=40)
    tenant_id: str = Field(max_length=64)
    sha256: str = Field(max_length=64)
    kind: MediaKind = Field(sa_column=Column(_enum(MediaKind), nullable=False))
    media_type: str = Field(max_length=80)
    bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    fps: float | None = None
    poster_sha256: str | None = Field(default=None, max_length=64)
    generation_id: str | None = Field(default=None, max_length=40)
    position: int | None = None
    output_index: int | None = None
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class EventRow(SQLModel, table=True):
    """Something that happened to a generation, in the order of `seq` (1, 2, 3, …)."""

    __tablename__ = "event"
    __table_args__ = (ForeignKeyConstraint(["generation_id"], ["generation.id"], ondelete="CASCADE"),)

    generation_id: str = Field(primary_key=True, max_length=40)
    seq: int = Field(primary_key=True)
    type: str = Field(max_length=40)
    data: dict[str, Any] = Field(sa_column=Column(Json, nullable=False))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class IdempotencyRow(SQLModel, table=True):
    """Which generation a tenant's Idempotency-Key made, and the fingerprint of the request that came with it."""

    __tablename__ = "idempotency"
    __table_args__ = (
        ForeignKeyConstraint(["generation_id"], ["generation.id"], ondelete="CASCADE"),
        Index("ix_idempotency_generation_id", "generation_id"),
    )

    tenant_id: str = Field(primary_key=True, max_length=64)
    key: str = Field(primary_key=True, max_length=255)
    fingerprint: str = Field(max_length=64)
    generation_id: str = Field(max_length=40)
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class WebhookRow(SQLModel, table=True):
    """Where events go: those of all the tenant's generations, or, with a `generation_id`, those of one.

    Secrets are sealed (genpulse/sealing.py). What has none of its own signs with the tenant's. The previous one signs
    too until its time is over. `failing_since` is empty as long as the last try succeeded.
    """

    __tablename__ = "webhook"
    __table_args__ = (
        ForeignKeyConstraint(["generation_id"], ["generation.id"], ondelete="CASCADE"),
        Index("ix_webhook_tenant_id_generation_id_id", "tenant_id", "generation_id", "id"),
        Index("ix_webhook_generation_id", "generation_id"),
    )

    id: str = Field(primary_key=True, max_length=40)
    tenant_id: str = Field(max_length=64)
    generation_id: str | None = Field(default=None, max_length=40)
    url: str = Field(max_length=2083)
    events: list[str] = Field(sa_column=Column(Json, nullable=False))
    description: str = Field(default="", max_length=500)
    secret: str | None = Field(default=None, max_length=400)
    previous_secret: str | None = Field(default=None, max_length=400)
    previous_until: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    failing_since: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    disabled_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    disabled_reason: str | None = Field(default=None, max_length=16)
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))


class WebhookSecretRow(SQLModel, table=True):
    """What a tenant's webhooks that come with a request are signed with; sealed."""

    __tablename__ = "webhook_secret"

    tenant_id: str = Field(primary_key=True, max_length=64)
    secret: str = Field(max_length=400)
    previous_secret: str | None = Field(default=None, max_length=400)
    previous_until: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))


class DeliveryRow(SQLModel, table=True):
    """One event for one endpoint. `payload` is text, because what is signed is bytes, the same in every try.

    `round` counts how often a person asked for it again; `dispatched_at` is empty until Temporal was told of that.
    """

    __tablename__ = "delivery"
    __table_args__ = (
        ForeignKeyConstraint(["webhook_id"], ["webhook.id"], ondelete="CASCADE"),
        ForeignKeyConstraint(["generation_id"], ["generation.id"], ondelete="CASCADE"),
        Index("ix_delivery_webhook_id_id", "webhook_id", "id"),
        Index("ix_delivery_generation_id", "generation_id"),
        Index(
            "ix_delivery_undispatched",
            "id",
            postgresql_where=text("dispatched_at IS NULL"),
            sqlite_where=text("dispatched_at IS NULL"),
        ),
        CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
    )

    id: str = Field(primary_key=True, max_length=40)
    tenant_id: str = Field(max_length=64)
    webhook_id: str = Field(max_length=40)
    generation_id: str | None = Field(default=None, max_length=40)
    type: str = Field(max_length=40)
    payload: str = Field(sa_column=Column(Text, nullable=False))
    status: str = Field(max_length=16)
    round: int = 0
    attempts: int = 0
    next_attempt_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    created_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    dispatched_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))
    finished_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime))


class DeliveryAttemptRow(SQLModel, table=True):
    """One try of a delivery; while it is under way it has no duration."""

    __tablename__ = "delivery_attempt"
    __table_args__ = (ForeignKeyConstraint(["delivery_id"], ["delivery.id"], ondelete="CASCADE"),)

    delivery_id: str = Field(primary_key=True, max_length=40)
    number: int = Field(primary_key=True)
    started_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False))
    duration_ms: int | None = None
    status_code: int | None = None
    error: str | None = Field(default=None, max_length=300)
    answer: str | None = Field(default=None, max_length=500)
