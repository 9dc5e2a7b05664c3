"""Run by Alembic; `genpulse.migrations.upgrade` hands over the connection, inside its transaction."""

from __future__ import annotations

from alembic import context

from genpulse.models import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
