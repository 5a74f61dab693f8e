"""The administrators of a restored database: present passwords, and nobody who was removed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, text

from latchkey.credentials.times import to_milliseconds
from latchkey.store.tables import console_session, set_up_link

_KEEP_OUT = text("""
    UPDATE administrator SET password_hash = there.password_hash,
        disabled_at = coalesce(there.disabled_at, administrator.disabled_at)
    FROM former_administrator AS there WHERE there.name = administrator.name
""")
# Administrators that were removed since come back disabled; the operator may enable them.
_DISABLE_REMOVED = text("""
    UPDATE administrator SET disabled_at = coalesce(disabled_at, :now)
    WHERE name NOT IN (SELECT f.name FROM former_administrator AS f)
    RETURNING name
""")


def carry_administrators(connection: Connection, now: datetime) -> list[str]:
    """Keep out administrators who were removed, and keep present passwords; returns the removed."""
    connection.execute(_KEEP_OUT)
    removed = connection.execute(_DISABLE_REMOVED, {"now": to_milliseconds(now)})
    return sorted(row.name for row in removed)


def end_sessions(connection: Connection) -> None:
    """End all sessions of the console: sessions that were ended since must not come back."""
    connection.execute(delete(console_session))
    connection.execute(delete(set_up_link))
