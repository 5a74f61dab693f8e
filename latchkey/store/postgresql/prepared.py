"""Reads with one value on a connection, by the functions of libpq.

psycopg's cursors prepare statements and adapt values for any use, which takes as long as the read.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from latchkey.store.postgresql.connecting import BoundedConnection, without_nul


@dataclass(frozen=True, slots=True)
class Read:
    """A SELECT with the placeholder ``$1``. ``name`` is that of the prepared statement."""

    name: bytes
    text: bytes


class PreparedReads:
    """The reads of one connection, each in autocommit; for one thread at a time.

    A statement is prepared when it is first used, unless a pooler is in between.
    """

    __slots__ = ("_pgconn", "_prepared", "_transformer", "_waiting", "connection")

    def __init__(self, connection: BoundedConnection) -> None:
        """Takes the connection over."""
        self.connection = connection
        self._pgconn = connection.pgconn
        self._prepared: set[bytes] = set()
        self._transformer = Transformer(connection)
        self._waiting = select.poll()
        self._waiting.register(self._pgconn.socket, select.POLLIN)

    def rows(self, read: Read, value: str | bytes) -> Sequence[tuple[Any, ...]]:
        """The rows for a value; raises psycopg's errors.

        After an error that the server did not report, the connection is closed. The same if the
        server takes longer than the ``patience`` of the connection.
        """
        sent = without_nul(value).encode() if isinstance(value, str) else value
        deadline = time.monotonic() + self.connection.patience
        try:
            if self.connection.is_pooled:
                self._pgconn.send_query_params(
                    read.text, [sent], None, [Format.BINARY], Format.BINARY
                )
            else:
                self._prepare(read, deadline)
                self._pgconn.send_query_prepared(read.name, [sent], [Format.BINARY], Format.BINARY)
            result = self._result(deadline)
        except psycopg.Error as error:
            if error.sqlstate is None:
                self.connection.abandon()
            raise
        except BaseException:
            self.connection.abandon()
            raise
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _prepare(self, read: Read, deadline: float) -> None:
        if read.name not in self._prepared:
            self._pgconn.send_prepare(read.name, read.text)
            self._result(deadline)
            self._prepared.add(read.name)

    def _result(self, deadline: float) -> PGresult:
        """The result of what was sent; raises the error that the server reported."""
        while self._pgconn.flush():
            self._wait(deadline, select.POLLIN | select.POLLOUT)
        found = None
        while True:
            while self._pgconn.is_busy():
                self._wait(deadline, select.POLLIN)
            result = self._pgconn.get_result()
            if result is None:
                break
            found = result
        if found is None:
            raise psycopg.OperationalError("the server did not answer")
        if found.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise error_from_result(found)
        return found

    def _wait(self, deadline: float, events: int) -> None:
        if events != select.POLLIN:
            self._waiting.modify(self._pgconn.socket, events)
        left = deadline - time.monotonic()
        arrived = self._waiting.poll(max(0.0, left) * 1000)
        if events != select.POLLIN:
            self._waiting.modify(self._pgconn.socket, select.POLLIN)
        if not arrived:
            raise psycopg.OperationalError("the server did not answer in time")
        # After an end of the connection too, which this reports.
        self._pgconn.consume_input()
