"""The ledger is only ever added to, whoever asks."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLE, WHY = "credit_transaction", "credit_transaction is only ever added to"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for action in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER {TABLE}_no_{action} BEFORE {action} ON {TABLE} BEGIN SELECT RAISE(ABORT, '{WHY}'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {TABLE}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{WHY}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    for action, each in (("update", "ROW"), ("delete", "ROW"), ("truncate", "STATEMENT")):
        op.execute(
            f"CREATE TRIGGER {TABLE}_no_{action} BEFORE {action} ON {TABLE} "
            f"FOR EACH {each} EXECUTE FUNCTION {TABLE}_refuse()"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for action in ("update", "delete"):
            op.execute(f"DROP TRIGGER {TABLE}_no_{action}")
        return
    op.execute(f"DROP FUNCTION {TABLE}_refuse() CASCADE")
