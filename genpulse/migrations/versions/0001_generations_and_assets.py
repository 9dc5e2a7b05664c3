"""Generations with their steps, attempts and events; assets; idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Spelled out here instead of imported: this file says what the tables were when it was written, for ever.
ID = sa.String(40)
CHOICE = sa.String(32)
INSTANT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    _create_generation()
    _create_step()
    _create_attempt()
    _create_asset()
    _create_event()
    _create_idempotency()


def _create_generation() -> None:
    op.create_table(
        "generation",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("status", CHOICE, nullable=False),
        sa.Column("operation", CHOICE, nullable=False),
        sa.Column("model", sa.String(160), nullable=False),
        sa.Column("priority", CHOICE, nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("request", JSON, nullable=False),
        sa.Column("adaptions", JSON, nullable=False),
        sa.Column("error", JSON),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("traceparent", sa.String(64)),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("deadline_at", INSTANT, nullable=False),
        sa.Column("dispatched_at", INSTANT),
        sa.Column("started_at", INSTANT),
        sa.Column("finished_at", INSTANT),
        sa.Column("cancel_requested_at", INSTANT),
        sa.Column("cancel_sent_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generation")),
        sa.CheckConstraint("progress >= 0 AND progress <= 1", name=op.f("ck_generation_progress")),
    )
    op.create_index("ix_generation_tenant_id_id", "generation", ["tenant_id", "id"])
    op.create_index("ix_generation_tenant_id_status_id", "generation", ["tenant_id", "status", "id"])
    _create_partial_index("ix_generation_undispatched", "dispatched_at IS NULL")
    _create_partial_index("ix_generation_cancel_unsent", "cancel_requested_at IS NOT NULL AND cancel_sent_at IS NULL")


def _create_partial_index(name: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "generation", ["id"], postgresql_where=where, sqlite_where=where)


def _create_step() -> None:
    op.create_table(
        "generation_step",
        sa.Column("generation_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("step_id", sa.String(64), nullable=False),
        sa.Column("operation", CHOICE, nullable=False),
        sa.Column("model", sa.String(160), nullable=False),
        sa.Column("queue", sa.String(80), nullable=False),
        sa.Column("status", CHOICE, nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("input", JSON, nullable=False),
        sa.Column("provider_options", JSON, nullable=False),
        sa.Column("parameters", JSON),
        sa.Column("error", JSON),
        sa.Column("started_at", INSTANT),
        sa.Column("finished_at", INSTANT),
        sa.PrimaryKeyConstraint("generation_id", "position", name=op.f("pk_generation_step")),
        _generation_key("generation_step", on_delete="CASCADE"),
        sa.UniqueConstraint("generation_id", "step_id", name=op.f("uq_generation_step_generation_id_step_id")),
    )


def _create_attempt() -> None:
    op.create_table(
        "attempt",
        sa.Column("generation_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("provider", sa.String(40), nullable=False),
        sa.Column("model", sa.String(120), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("provider_job_id", sa.String(255)),
        sa.Column("error", JSON),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.PrimaryKeyConstraint("generation_id", "position", "number", name=op.f("pk_attempt")),
        sa.ForeignKeyConstraint(
            ["generation_id", "position"],
            ["generation_step.generation_id", "generation_step.position"],
            name=op.f("fk_attempt_generation_step"),
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("status IN ('running', 'succeeded', 'failed', 'canceled')", name=op.f("ck_attempt_status")),
    )


def _create_asset() -> None:
    op.create_table(
        "asset",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("kind", CHOICE, nullable=False),
        sa.Column("media_type", sa.String(80), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer()),
        sa.Column("height", sa.Integer()),
        sa.Column("duration", sa.Float()),
        sa.Column("fps", sa.Float()),
        sa.Column("poster_sha256", sa.String(64)),
        sa.Column("generation_id", ID),
        sa.Column("position", sa.Integer()),
        sa.Column("output_index", sa.Integer()),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset")),
        _generation_key("asset", on_delete="SET NULL"),
        sa.UniqueConstraint(
            "generation_id",
            "position",
            "output_index",
            name=op.f("uq_asset_generation_id_position_output_index"),
        ),
    )
    op.create_index("ix_asset_tenant_id_id", "asset", ["tenant_id", "id"])
    op.create_index("ix_asset_sha256", "asset", ["sha256"])
    op.create_index("ix_asset_poster_sha256", "asset", ["poster_sha256"])


def _create_event() -> None:
    op.create_table(
        "event",
        sa.Column("generation_id", ID, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("generation_id", "seq", name=op.f("pk_event")),
        _generation_key("event", on_delete="CASCADE"),
    )


def _create_idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("tenant_id", sa.String(64), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("generation_id", ID, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key", name=op.f("pk_idempotency")),
        _generation_key("idempotency", on_delete="CASCADE"),
    )
    op.create_index("ix_idempotency_generation_id", "idempotency", ["generation_id"])


def _generation_key(table: str, *, on_delete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["generation_id"], ["generation.id"], name=op.f(f"fk_{table}_generation"), ondelete=on_delete
    )
