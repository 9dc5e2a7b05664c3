"""Dead letters and what a person decides; what a cloud bills for an attempt that came to nothing; who probes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UNSENT = sa.text("resolution IS NOT NULL AND resolution_sent_at IS NULL")


def upgrade() -> None:
    op.add_column("generation", sa.Column("round", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("generation", sa.Column("parked_at", sa.DateTime(timezone=True)))
    op.add_column("generation", sa.Column("kept_until", sa.DateTime(timezone=True)))
    op.add_column("generation", sa.Column("resolution", sa.JSON().with_variant(JSONB(), "postgresql")))
    op.add_column("generation", sa.Column("resolution_sent_at", sa.DateTime(timezone=True)))
    op.add_column("attempt", sa.Column("round", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("circuit", sa.Column("probing_by", sa.String(80)))
    op.add_column("attempt", sa.Column("billing", sa.String(16)))
    op.create_index(
        "ix_generation_resolution_unsent", "generation", ["id"], postgresql_where=UNSENT, sqlite_where=UNSENT
    )


def downgrade() -> None:
    op.drop_index("ix_generation_resolution_unsent", table_name="generation")
    op.drop_column("circuit", "probing_by")
    for column in ("billing", "round"):
        op.drop_column("attempt", column)
    for column in ("resolution_sent_at", "resolution", "kept_until", "parked_at", "round"):
        op.drop_column("generation", column)
