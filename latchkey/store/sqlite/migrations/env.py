"""Alembic's entry point: runs the migrations on the connection that `upgrade` passes."""

from __future__ import annotations

from alembic import context

from latchkey.store.sqlite.indexes import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter most of a table in place; Alembic then copies it.
    render_as_batch=True,
)
context.run_migrations()
