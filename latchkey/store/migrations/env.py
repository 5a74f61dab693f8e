"""Alembic's entry point: runs the migrations on the connection that `upgrade` passes."""

from __future__ import annotations

from alembic import context

from latchkey.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite cannot alter most of a table in place; Alembic then copies it.
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
