"""Tenants, their keys, their credits; what a generation holds, costs, and who may begin."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.String(40)
TENANT = sa.String(64)
CREDITS = sa.BigInteger()
INSTANT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
UNFINISHED = sa.text("status NOT IN ('succeeded', 'failed', 'canceled')")
UNDISPATCHED = sa.text("dispatched_at IS NULL")
DUE = sa.text("dispatched_at IS NULL AND (admitted_at IS NOT NULL OR cancel_requested_at IS NOT NULL)")
WAITING = sa.text("admitted_at IS NULL AND status = 'queued'")
RESOLUTION = sa.text("kind IN ('capture', 'release')")
REMAINING = sa.text("remaining > 0")
SUMS_TO_ZERO = "available + held + spent + granted = 0"


def upgrade() -> None:
    _create_tenant()
    _create_api_key()
    _create_credit_account()
    _create_credit_transaction()
    _create_credit_lot()
    _insert_default()
    _extend_generations()


def downgrade() -> None:
    op.drop_index("ix_generation_unfinished_of_tenant", table_name="generation")
    op.drop_index("ix_generation_waiting", table_name="generation")
    op.drop_index("ix_generation_undispatched", table_name="generation")
    op.create_index(
        "ix_generation_undispatched", "generation", ["id"], postgresql_where=UNDISPATCHED, sqlite_where=UNDISPATCHED
    )
    for column in ("admitted_at", "api_key_id"):
        op.drop_column("generation", column)
    for column in ("cost", "charged", "held", "quotes"):
        op.drop_column("generation_step", column)
    for table in ("credit_lot", "credit_transaction", "credit_account", "api_key", "tenant"):
        op.drop_table(table)


def _create_tenant() -> None:
    op.create_table(
        "tenant",
        sa.Column("id", TENANT, nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("requests_per_minute", sa.Integer()),
        sa.Column("in_flight", sa.Integer()),
        sa.Column("spend_per_day", CREDITS),
        sa.Column("input_bytes", sa.BigInteger()),
        sa.Column("models", JSON),
        sa.Column("low_balance", CREDITS),
        sa.Column("suspended_at", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant")),
        sa.CheckConstraint("weight > 0", name=op.f("ck_tenant_weight")),
    )


def _create_api_key() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant_id", TENANT, nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("last_four", sa.String(4), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("models", JSON),
        sa.Column("expires_at", INSTANT),
        sa.Column("replaced_by", ID),
        sa.Column("revoked_at", INSTANT),
        sa.Column("last_used_at", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_api_key_tenant")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
    )
    op.create_index("ix_api_key_tenant_id_id", "api_key", ["tenant_id", "id"])


def _create_credit_account() -> None:
    op.create_table(
        "credit_account",
        sa.Column("tenant_id", TENANT, nullable=False),
        sa.Column("is_unlimited", sa.Boolean(), nullable=False),
        *(sa.Column(name, CREDITS, nullable=False) for name in ("available", "held", "spent", "granted")),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date()),
        sa.Column("committed", CREDITS, nullable=False),
        sa.Column("expires_at", INSTANT),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_credit_account")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_credit_account_tenant")),
        sa.CheckConstraint("is_unlimited OR available >= 0", name=op.f("ck_credit_account_available")),
        sa.CheckConstraint("held >= 0", name=op.f("ck_credit_account_held")),
        sa.CheckConstraint(SUMS_TO_ZERO, name=op.f("ck_credit_account_sums_to_zero")),
    )


def _create_credit_transaction() -> None:
    op.create_table(
        "credit_transaction",
        sa.Column("id", ID, nullable=False),
        sa.Column("tenant_id", TENANT, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        *(sa.Column(name, CREDITS, nullable=False) for name in ("available", "held", "spent", "granted")),
        sa.Column("available_after", CREDITS, nullable=False),
        sa.Column("held_after", CREDITS, nullable=False),
        sa.Column("generation_id", ID),
        sa.Column("note", sa.String(500), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("made_by", sa.String(64)),
        sa.Column("expires_at", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_transaction")),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["credit_account.tenant_id"], name=op.f("fk_credit_transaction_credit_account")
        ),
        sa.UniqueConstraint("tenant_id", "number", name=op.f("uq_credit_transaction_tenant_id_number")),
        sa.UniqueConstraint(
            "tenant_id", "idempotency_key", name=op.f("uq_credit_transaction_tenant_id_idempotency_key")
        ),
        sa.CheckConstraint(
            "kind IN ('grant', 'hold', 'capture', 'release', 'refund', 'adjust', 'expire')",
            name=op.f("ck_credit_transaction_kind"),
        ),
        sa.CheckConstraint(SUMS_TO_ZERO, name=op.f("ck_credit_transaction_sums_to_zero")),
    )
    op.create_index(
        "uq_credit_transaction_resolution",
        "credit_transaction",
        ["generation_id"],
        unique=True,
        postgresql_where=RESOLUTION,
        sqlite_where=RESOLUTION,
    )
    op.create_index("ix_credit_transaction_generation_id", "credit_transaction", ["generation_id"])


def _create_credit_lot() -> None:
    op.create_table(
        "credit_lot",
        sa.Column("transaction_id", ID, nullable=False),
        sa.Column("tenant_id", TENANT, nullable=False),
        sa.Column("remaining", CREDITS, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", name=op.f("pk_credit_lot")),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["credit_transaction.id"], name=op.f("fk_credit_lot_credit_transaction")
        ),
        sa.CheckConstraint("remaining >= 0", name=op.f("ck_credit_lot_remaining")),
    )
    op.create_index(
        "ix_credit_lot_remaining",
        "credit_lot",
        ["tenant_id", "expires_at"],
        postgresql_where=REMAINING,
        sqlite_where=REMAINING,
    )


def _insert_default() -> None:
    """The tenant that has been there all along: nothing limits it."""
    tenant = sa.table(
        "tenant", *(sa.column(name) for name in ("id", "name", "weight")), sa.column("created_at", INSTANT)
    )
    op.bulk_insert(tenant, [{"id": "default", "name": "default", "weight": 1.0, "created_at": datetime.now(UTC)}])
    sums = ("available", "held", "spent", "granted", "version", "committed")
    account = sa.table(
        "credit_account",
        sa.column("tenant_id"),
        sa.column("is_unlimited", sa.Boolean()),
        *(sa.column(name) for name in sums),
    )
    op.bulk_insert(account, [{"tenant_id": "default", "is_unlimited": True} | dict.fromkeys(sums, 0)])


def _extend_generations() -> None:
    op.add_column("generation", sa.Column("api_key_id", ID))
    op.add_column("generation", sa.Column("admitted_at", INSTANT))
    op.execute("UPDATE generation SET admitted_at = created_at")
    op.create_index(
        "ix_generation_waiting", "generation", ["deadline_at"], postgresql_where=WAITING, sqlite_where=WAITING
    )
    op.drop_index("ix_generation_undispatched", table_name="generation")
    op.create_index("ix_generation_undispatched", "generation", ["id"], postgresql_where=DUE, sqlite_where=DUE)
    op.create_index(
        "ix_generation_unfinished_of_tenant",
        "generation",
        ["tenant_id", "admitted_at"],
        postgresql_where=UNFINISHED,
        sqlite_where=UNFINISHED,
    )
    op.add_column("generation_step", sa.Column("quotes", JSON))
    for column in ("held", "charged", "cost"):
        op.add_column("generation_step", sa.Column(column, CREDITS, nullable=False, server_default="0"))
