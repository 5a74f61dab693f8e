"""The database: tables, migrations, and every line of SQL. Returns the domain's models."""

from app.store.credentials import Store

__all__ = ["Store"]
