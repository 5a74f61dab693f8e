"""The lookup of one credential in PostgreSQL: the read that a request may have to wait for.

The shared statements run on connections of the driver, because SQLAlchemy's pool and result objects
cost more than what the driver does; see ``prepared`` for what the driver does not do.
"""

from __future__ import annotations

import re
from collections import deque

from sqlalchemy import Select
from sqlalchemy.dialects.postgresql import psycopg

from latchkey.credentials.models import Verifier
from latchkey.store.postgresql.connecting import Connector, Waits
from latchkey.store.postgresql.errors import translated
from latchkey.store.postgresql.prepared import PreparedReads, Read
from latchkey.store.verifiers import (
    FIND_IMPORTED_VERIFIER,
    FIND_VERIFIER,
    VerifierRow,
    verifier_of,
)

# Beyond the server's own limit of a statement, in seconds: for a server that does not answer.
_GRACE = 0.25


_DIALECT = psycopg.dialect()  # type: ignore[no-untyped-call]
# The one placeholder of each statement, as SQLAlchemy writes it.
_PLACEHOLDER = re.compile(rb"%\(\w+\)s")


def _read(name: bytes, statement: Select[tuple[object, ...]]) -> Read:
    text, places = _PLACEHOLDER.subn(b"$1", str(statement.compile(dialect=_DIALECT)).encode())
    if places != 1:
        raise ValueError("a lookup has one value")
    return Read(name, text)


_BY_KEY = _read(b"latchkey_by_key", FIND_VERIFIER)
_BY_TOKEN = _read(b"latchkey_by_token", FIND_IMPORTED_VERIFIER)


class PostgresqlLookup:
    """Reads of single rows, each in autocommit on a connection with no open statement.

    Safe to use from many threads; it keeps as many connections as were ever in use at once.
    """

    def __init__(self, connector: Connector, *, timeout: float) -> None:
        """No connection is opened yet. ``timeout``, in seconds, limits each statement."""
        self._connector = connector
        self._waits = Waits(patience=timeout + _GRACE, statement_timeout=timeout)
        self._idle: deque[PreparedReads] = deque()

    def verifier(self, api_key: str) -> Verifier | None:
        """The verifier of the credential with this key; raises StoreError."""
        return self._find(_BY_KEY, api_key)

    def imported_verifier(self, token_hash: bytes) -> Verifier | None:
        """The verifier of the imported credential whose token has this SHA-256."""
        return self._find(_BY_TOKEN, token_hash)

    def close(self) -> None:
        """Close the connections, which must be idle."""
        while self._idle:
            self._idle.pop().connection.close()

    def _find(self, read: Read, value: str | bytes) -> Verifier | None:
        self._connector.require_own()
        with translated:
            reads = self._take()
            try:
                rows = reads.rows(read, value)
            except BaseException:
                if reads.connection.closed:
                    self._connector.lose()
                reads.connection.close()
                raise
            self._idle.append(reads)
            for row in rows:
                return verifier_of(VerifierRow._make(row))
            return None

    def _take(self) -> PreparedReads:
        while True:
            try:
                reads = self._idle.pop()
            except IndexError:
                return PreparedReads(self._connector.open(self._waits))
            if self._connector.is_usable(reads.connection):
                return reads
            reads.connection.close()
