"""Webhooks out: endpoints, their secrets, and each event's way to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.String(40)
TENANT = sa.String(64)
SEALED = sa.String(400)
INSTANT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
UNDISPATCHED = sa.text("dispatched_at IS NULL")


def upgrade() -> None:
    _create_webhook()
    _create_webhook_secret()
    _create_delivery()
    _create_delivery_attempt()


def downgrade() -> None:
    for table in ("delivery_attempt", "delivery", "webhook_secret", "webhook"):
        op.drop_table(table)


def _create_webhook() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant_id", TENANT, nullable=False),
        sa.Column("generation_id", ID),
        sa.Column("url", sa.String(2083), nullable=False),
        sa.Column("events", JSON, nullable=False),
        sa.Column("description", sa.String(500), nullable=False),
        sa.Column("secret", SEALED),
        sa.Column("previous_secret", SEALED),
        sa.Column("previous_until", INSTANT),
        sa.Column("failing_since", INSTANT),
        sa.Column("disabled_at", INSTANT),
        sa.Column("disabled_reason", sa.String(16)),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generation.id"], name=op.f("fk_webhook_generation"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_webhook_tenant_id_generation_id_id", "webhook", ["tenant_id", "generation_id", "id"])
    op.create_index("ix_webhook_generation_id", "webhook", ["generation_id"])


def _create_webhook_secret() -> None:
    op.create_table(
        "webhook_secret",
        sa.Column("tenant_id", TENANT, nullable=False),
        sa.Column("secret", SEALED, nullable=False),
        sa.Column("previous_secret", SEALED),
        sa.Column("previous_until", INSTANT),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_webhook_secret")),
    )


def _create_delivery() -> None:
    op.create_table(
        "delivery",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant_id", TENANT, nullable=False),
        sa.Column("webhook_id", ID, nullable=False),
        sa.Column("generation_id", ID),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("dispatched_at", INSTANT),
        sa.Column("finished_at", INSTANT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhook.id"], name=op.f("fk_delivery_webhook"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generation.id"], name=op.f("fk_delivery_generation"), ondelete="CASCADE"
        ),
        sa.CheckConstraint("status IN ('pending', 'delivered', 'failed')", name=op.f("ck_delivery_status")),
    )
    op.create_index("ix_delivery_webhook_id_id", "delivery", ["webhook_id", "id"])
    op.create_index("ix_delivery_generation_id", "delivery", ["generation_id"])
    op.create_index(
        "ix_delivery_undispatched", "delivery", ["id"], postgresql_where=UNDISPATCHED, sqlite_where=UNDISPATCHED
    )


def _create_delivery_attempt() -> None:
    op.create_table(
        "delivery_attempt",
        sa.Column("delivery_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("duration_ms", sa.Integer()),
        sa.Column("status_code", sa.Integer()),
        sa.Column("error", sa.String(300)),
        sa.Column("answer", sa.String(500)),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_delivery_attempt")),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["delivery.id"], name=op.f("fk_delivery_attempt_delivery"), ondelete="CASCADE"
        ),
    )
