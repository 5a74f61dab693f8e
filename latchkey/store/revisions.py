"""The line of migrations: one for every database, run by Alembic in the order of their numbers."""

from __future__ import annotations

from pathlib import Path

MIGRATIONS = "latchkey.store:migrations"
"""The package with the migrations, as Alembic names it."""


# Read once: an upgrade replaces the files while processes of the former version run.
_NEWEST = max(
    file.name.partition("_")[0]
    for file in (Path(__file__).parent / "migrations" / "versions").glob("[0-9]*.py")
)


def newest_revision() -> str:
    """The revision of the last migration, by the numbers of the files."""
    return _NEWEST
