"""The lookup of one credential in PostgreSQL: the read that a request may have to wait for.

The shared statements run on connections of the driver, because SQLAlchemy's pool and result objects
cost more than what the driver does.
"""

from __future__ import annotations

from collections import deque

from sqlalchemy import Select
from sqlalchemy.dialects.postgresql import psycopg

from latchkey.credentials.models import Verifier
from latchkey.store.postgresql.connecting import BoundedConnection, Connector, Limits
from latchkey.store.postgresql.errors import translated
from latchkey.store.verifiers import (
    FIND_IMPORTED_VERIFIER,
    FIND_VERIFIER,
    VerifierRow,
    verifier_of,
)

# Beyond the server's own limit of a statement, in seconds: for a server that does not answer.
_GRACE = 0.25


_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]


def _compiled(statement: Select[tuple[object, ...]]) -> bytes:
    return str(statement.compile(dialect=_DIALECT)).encode()


_BY_KEY = _compiled(FIND_VERIFIER)
_BY_TOKEN = _compiled(FIND_IMPORTED_VERIFIER)


class PostgresqlLookup:
    """Reads of single rows, each in autocommit on a connection with no open statement.

    Safe to use from many threads; it keeps as many connections as were ever in use at once.
    """

    def __init__(self, connector: Connector, *, timeout: float) -> None:
        """No connection is opened yet. ``timeout``, in seconds, limits each statement."""
        self._connector = connector
        self._limits = Limits(patience=timeout + _GRACE, statement_timeout=timeout)
        self._idle: deque[BoundedConnection] = deque()

    def verifier(self, api_key: str) -> Verifier | None:
        """The verifier of the credential with this key; raises StoreError."""
        return self._find(_BY_KEY, {"api_key": api_key})

    def imported_verifier(self, token_hash: bytes) -> Verifier | None:
        """The verifier of the imported credential whose token has this SHA-256."""
        return self._find(_BY_TOKEN, {"secret_hash": token_hash})

    def close(self) -> None:
        """Close the connections, which must be idle."""
        while self._idle:
            self._idle.pop().close()

    def _find(self, statement: bytes, values: dict[str, object]) -> Verifier | None:
        self._connector.require_own()
        with translated:
            connection = self._take()
            try:
                cursor = connection.execute(
                    statement, values, prepare=not connection.is_pooled, binary=True
                )
                rows = cursor.fetchall()
            except BaseException:
                if connection.closed:
                    self._connector.lose()
                connection.close()
                raise
            self._idle.append(connection)
            for row in rows:
                return verifier_of(VerifierRow._make(row))
            return None

    def _take(self) -> BoundedConnection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self._connector.open(self._limits)
            if self._connector.is_usable(connection):
                return connection
            connection.close()
