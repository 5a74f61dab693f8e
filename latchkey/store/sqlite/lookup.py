"""The lookup of one credential in SQLite: the read that a request may have to wait for.

The shared statements run on connections of the driver, because SQLAlchemy's pool and result objects
cost several times what SQLite needs.
"""

from __future__ import annotations

from collections import deque

from sqlalchemy.dialects import sqlite

from latchkey.credentials.models import Verifier
from latchkey.store.sqlite.engines import PinnedConnection, connect_pinned
from latchkey.store.sqlite.errors import translated
from latchkey.store.sqlite.pinned import PinnedFile
from latchkey.store.verifiers import (
    FIND_IMPORTED_VERIFIER,
    FIND_VERIFIER,
    VerifierRow,
    verifier_of,
)

_DIALECT = sqlite.dialect()
_BY_KEY = str(FIND_VERIFIER.compile(dialect=_DIALECT))
_BY_TOKEN = str(FIND_IMPORTED_VERIFIER.compile(dialect=_DIALECT))


class SqliteLookup:
    """Reads of single rows, each in autocommit on a connection with no open statement.

    Safe to use from many threads; it keeps as many connections as were ever in use at once.
    """

    def __init__(self, file: PinnedFile, *, busy_timeout: float) -> None:
        """No connection is opened yet. ``busy_timeout``, in seconds, limits the wait for locks."""
        self._file = file
        self._busy_timeout = busy_timeout
        self._idle: deque[PinnedConnection] = deque()

    def verifier(self, api_key: str) -> Verifier | None:
        """The verifier of the credential with this key; raises StoreError."""
        return self._find(_BY_KEY, api_key)

    def imported_verifier(self, token_hash: bytes) -> Verifier | None:
        """The verifier of the imported credential whose token has this SHA-256."""
        return self._find(_BY_TOKEN, token_hash)

    def _find(self, statement: str, value: str | bytes) -> Verifier | None:
        with translated:
            connection = self._take()
            try:
                # Fetch all rows, although there is at most one: an unfinished cursor keeps its
                # snapshot.
                rows = connection.execute(statement, (value,)).fetchall()
            except BaseException:
                # A connection that met a broken file may not notice that it was repaired.
                connection.close()
                raise
            self._idle.append(connection)
            for row in rows:
                return verifier_of(VerifierRow._make(row))
            return None

    def close(self) -> None:
        """Close the connections, which must be idle."""
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
