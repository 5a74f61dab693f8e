"""The line of migrations: one for every database, run by Alembic in the order of their numbers."""

from __future__ import annotations

from pathlib import Path

MIGRATIONS = "latchkey.store:migrations"
"""The package with the migrations, as Alembic names it."""


def newest_revision() -> str:
    """The revision of the last migration, by the numbers of the files."""
    versions = Path(__file__).parent / "migrations" / "versions"
    return max(file.name.partition("_")[0] for file in versions.glob("[0-9]*.py"))
