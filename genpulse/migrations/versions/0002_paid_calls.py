"""Attempts know where and when they were sent and what the cloud called the job; steps know their fallbacks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    with op.batch_alter_table("attempt") as attempt:
        attempt.add_column(sa.Column("account", sa.String(80)))
        attempt.add_column(sa.Column("endpoint", sa.String(255)))
        attempt.add_column(sa.Column("sent_at", INSTANT))
        attempt.add_column(sa.Column("handle", JSON))
    with op.batch_alter_table("generation_step") as step:
        step.add_column(sa.Column("fallbacks", JSON, nullable=False, server_default="[]"))  # for the rows that exist
    with op.batch_alter_table("generation_step") as step:
        step.alter_column("fallbacks", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("generation_step") as step:
        step.drop_column("fallbacks")
    with op.batch_alter_table("attempt") as attempt:
        for name in ("handle", "sent_at", "endpoint", "account"):
            attempt.drop_column(name)
