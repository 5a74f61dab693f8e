"""A later version of Latchkey, whose only difference is one more migration."""

from __future__ import annotations

import shutil
from pathlib import Path

from latchkey.store.revisions import newest_revision

_PACKAGE = Path(__file__).parents[3] / "latchkey"
_MIGRATION = '''\
"""Adds a column, as a later version may."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("credential", sa.Column("later", sa.String(10), server_default="x"))
    op.create_table("later", sa.Column("id", sa.String(10), primary_key=True))
'''


class LaterVersion:
    """A copy of the package in a new directory, with one more revision."""

    def __init__(self, directory: Path) -> None:
        before = newest_revision()
        self.revision = f"{int(before) + 1:04}"
        self._directory = directory
        shutil.copytree(_PACKAGE, directory / "latchkey")
        migrations = directory / "latchkey" / "store" / "migrations" / "versions"
        text = _MIGRATION.format(revision=self.revision, before=before)
        (migrations / f"{self.revision}_later.py").write_text(text)

    @property
    def prefix(self) -> list[str]:
        """The beginning of a command that runs the executable with this version."""
        return ["env", f"PYTHONPATH={self._directory}"]
