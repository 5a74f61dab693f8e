"""Looking one credential up: the read that a request may have to wait for.

SQLAlchemy writes the statement, once. It is run on connections of the driver, since taking one from
SQLAlchemy's pool and wrapping its result costs several times what SQLite does.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects import sqlite

from latchkey.store.sqlite.engines import PinnedConnection, connect_pinned
from latchkey.store.sqlite.pinned import PinnedFile
from latchkey.store.tables import credential

_FIND = str(
    select(credential)
    .where(credential.c.api_key == bindparam("api_key"))
    .compile(dialect=sqlite.dialect())
)
# What a check needs, and no more: each column costs as much as a tenth of the search for the row.
_VERIFIER = select(
    credential.c.id,
    credential.c.api_key,
    credential.c.secret_hash,
    credential.c.account_id,
    credential.c.mode,
    credential.c.name,
    credential.c.scopes,
    credential.c.expires_at,
    credential.c.revoked_at,
)
_FIND_VERIFIER = str(
    _VERIFIER.where(credential.c.api_key == bindparam("api_key")).compile(dialect=sqlite.dialect())
)
_FIND_IMPORTED_VERIFIER = str(
    _VERIFIER
    # As the index has it, which SQLite uses only where it reads the same condition.
    .where(
        text("origin = 'imported'"), credential.c.secret_hash == bindparam("secret_hash")
    ).compile(dialect=sqlite.dialect())
)


class Lookup:
    """Reads of single rows, each in autocommit on a connection with no open statement.

    Safe to use from many threads; there are as many connections as were ever needed at once.
    """

    def __init__(self, file: PinnedFile, *, busy_timeout: float) -> None:
        """Open nothing yet. ``busy_timeout`` in seconds bounds the wait for another's lock."""
        self._file = file
        self._busy_timeout = busy_timeout
        self._idle: deque[PinnedConnection] = deque()

    def row(self, api_key: str) -> tuple[Any, ...] | None:
        """The columns of the credential with this key, in the table's order; None without.

        Raises StoreError where the file is not what it should be, and sqlite3.Error.
        """
        return self._row(_FIND, api_key)

    def verifier_row(self, api_key: str) -> tuple[Any, ...] | None:
        """What a check needs of that credential; raises as ``row``."""
        return self._row(_FIND_VERIFIER, api_key)

    def imported_verifier_row(self, token_hash: bytes) -> tuple[Any, ...] | None:
        """The same of the imported credential whose token has this SHA-256."""
        return self._row(_FIND_IMPORTED_VERIFIER, token_hash)

    def _row(self, statement: str, value: str | bytes) -> tuple[Any, ...] | None:
        connection = self._take()
        try:
            # All of it, though there is one at most: what is not exhausted keeps its snapshot.
            rows = connection.execute(statement, (value,)).fetchall()
        except BaseException:
            # One that met a broken file may not see it mended.
            connection.close()
            raise
        self._idle.append(connection)
        return rows[0] if rows else None

    def close(self) -> None:
        """Close the connections, all idle by now."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> PinnedConnection:
        files = self._file.identify()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return connect_pinned(self._file, self._busy_timeout)
            if connection.files == files:
                return connection
            connection.close()
