"""Circuit breakers of provider accounts; what a provider says that an attempt used; what is under way, by index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
PARTIAL = (
    ("ix_attempt_in_flight", "attempt", "account", "status = 'running' AND sent_at IS NOT NULL"),
    ("ix_generation_unfinished", "generation", "status", "status NOT IN ('succeeded', 'failed', 'canceled')"),
)


def upgrade() -> None:
    op.create_table(
        "circuit",
        sa.Column("account", sa.String(80), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened_until", INSTANT),
        sa.Column("probing_until", INSTANT),
        sa.Column("last_error", sa.String(500)),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_circuit")),
    )
    with op.batch_alter_table("attempt") as attempt:
        attempt.add_column(sa.Column("usage", JSON))
    for name, table, column, where in PARTIAL:
        condition = sa.text(where)
        op.create_index(name, table, [column], postgresql_where=condition, sqlite_where=condition)


def downgrade() -> None:
    for name, table, _, _ in PARTIAL:
        op.drop_index(name, table_name=table)
    with op.batch_alter_table("attempt") as attempt:
        attempt.drop_column("usage")
    op.drop_table("circuit")
