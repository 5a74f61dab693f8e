"""Single connections to PostgreSQL: each wait is limited, and so are attempts to connect.

The client limits each wait itself. The server's own limits do not help if the network drops what
it sends, and PostgreSQL has none for a commit that waits for a standby.
"""

from __future__ import annotations

import os
import random
import select
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg.types.string import StrDumperUnknown
from psycopg.waiting import Ready, Wait

from latchkey.errors import ConfigurationError, StoreError
from latchkey.forks import NOT_OURS
from latchkey.store.postgresql.errors import reason_of
from latchkey.store.postgresql.location import Location
from latchkey.store.postgresql.own_tables import require_current

# In seconds. After a failed attempt to connect, others fail at once for a while, which doubles.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_CANCEL_WAIT = 1.0
_MASKS = {
    Wait.R: select.POLLIN,
    Wait.W: select.POLLOUT,
    Wait.RW: select.POLLIN | select.POLLOUT,
}


class BoundedConnection(psycopg.Connection[TupleRow]):
    """A connection that is closed if the server takes longer for one step than ``patience``.

    ``patience`` is in seconds. It is unknown then whether a commit was made.
    """

    patience: float = 10.0
    is_cancelled: bool = False
    """Whether to cancel on the server what the client no longer waits for."""
    is_pooled: bool = False
    """Whether a pooler such as pgbouncer may give each transaction to another server process."""
    epoch: int = 0
    """How many connections of its ``Connector`` had been lost when it was opened."""

    def wait(
        self,
        gen: Generator[Wait, Ready, Any],
        interval: float = 0.1,
        timeout: float | None = None,
    ) -> Any:
        """Run a step of the protocol; raises OperationalError after ``patience``."""
        deadline = time.monotonic() + (self.patience if timeout is None else timeout)
        try:
            wanted = next(gen)
            waiting = select.poll()
            waiting.register(self.pgconn.socket, _MASKS[wanted])
            while True:
                left = deadline - time.monotonic()
                events = waiting.poll(max(0.0, left) * 1000)
                if not events:
                    raise psycopg.OperationalError("the server did not answer in time")
                wanted = gen.send(_ready(events[0][1]))
                waiting.modify(self.pgconn.socket, _MASKS[wanted])
        except StopIteration as finished:
            return finished.value
        except psycopg.Error as error:
            # Errors that the server has reported leave the connection as it is.
            if error.sqlstate is None:
                self.abandon()
            raise
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close the connection; what it waits for is cancelled on the server, if that is possible.

        Otherwise a transaction might go on, and keep its locks.
        """
        if self.is_cancelled and self.pgconn.transaction_status == TransactionStatus.ACTIVE:
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=_CANCEL_WAIT)
        self.close()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has arrived while it was idle, such as the server's last message."""
        if self.closed:
            return False
        waiting = select.poll()
        waiting.register(self.pgconn.socket, select.POLLIN)
        return not waiting.poll(0)


class TextDumper(StrDumperUnknown):
    """Sends U+FFFD in place of U+0000, which no text in PostgreSQL can contain.

    So a caller's id or search with that character finds nothing, and is no failure of the database.
    Texts that are stored cannot contain it.
    """

    def dump(self, obj: str) -> Any:
        """The bytes to send."""
        return super().dump(without_nul(obj))


def without_nul(text: str) -> str:
    """The text with U+FFFD in place of U+0000."""
    return text.replace("\0", "\ufffd")


@dataclass(frozen=True, slots=True)
class Waits:
    """The limits of a kind of connections, in seconds; see ``BoundedConnection``."""

    patience: float
    statement_timeout: float | None = None
    """The server's own limit of a statement. Behind a pooler, the client cancels it instead."""


class Connector:
    """Opens the connections of one process to one database.

    After a failed attempt to connect, further ones fail immediately for a short random time, which
    doubles with each failure, up to two seconds; then one thread tries again.
    """

    def __init__(self, location: Location) -> None:
        """Opens nothing yet."""
        self._location = location
        self._lock = threading.Lock()
        self._failure: StoreError | None = None
        self._failures = 0
        self._again_at = 0.0
        self._is_trying = False
        self._losses = 0
        self._owner: int | None = None

    def open(self, waits: Waits) -> BoundedConnection:
        """A new connection in autocommit; raises StoreError."""
        self.require_own()
        with self._lock:
            self._owner = os.getpid()
            if self._failure is not None:
                if self._is_trying or time.monotonic() < self._again_at:
                    raise StoreError(self._failure.detail)
                self._is_trying = True
            losses = self._losses
        try:
            connection = self._connect(waits)
        except (psycopg.Error, ConfigurationError) as error:
            raise self._failed(error) from None
        except BaseException:
            self._is_trying = False
            raise
        with self._lock:
            self._failure, self._failures, self._is_trying = None, 0, False
        connection.epoch = losses
        return connection

    def is_usable(self, connection: BoundedConnection) -> bool:
        """Whether an idle connection can be used: no other one was lost since it was opened."""
        return connection.epoch == self._losses and connection.is_quiet

    def lose(self) -> None:
        """Stop using the present connections: they lead to a lost server, or to other tables."""
        with self._lock:
            self._losses += 1

    def disown(self) -> bool:
        """In a forked child: use no connection of the parent. Returns whether there may be one."""
        return self._owner is not None

    def require_own(self) -> None:
        """Raise StoreError in a process that inherited connections by a fork."""
        if self._owner is not None and self._owner != os.getpid():
            raise StoreError(NOT_OURS)

    def _failed(self, error: Exception) -> StoreError:
        with self._lock:
            pause = min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
            self._failures = min(self._failures + 1, 16)
            # Not all processes that lost the same server at once try again at once.
            self._again_at = time.monotonic() + pause * random.uniform(0.5, 1.5)  # noqa: S311
            detail = str(error)
            if isinstance(error, psycopg.Error):
                detail = f"cannot connect to PostgreSQL: {reason_of(error)}"
            self._failure = StoreError(detail)
            self._is_trying = False
            return self._failure

    def _connect(self, waits: Waits) -> BoundedConnection:
        connection = BoundedConnection.connect(self._location.conninfo(), autocommit=True)
        try:
            connection.patience = waits.patience
            connection.adapters.register_dumper(str, TextDumper)
            connection.is_pooled = is_pooled(connection)
            self._require_current(connection)
            if connection.is_pooled:
                # Another transaction may get another process, which lacks what was prepared.
                connection.prepare_threshold = None
                connection.is_cancelled = True
            elif waits.statement_timeout is not None:
                milliseconds = max(1, round(waits.statement_timeout * 1000))
                connection.execute(f"SET statement_timeout = {milliseconds}".encode())
            else:
                connection.is_cancelled = True
        except BaseException:
            connection.close()
            raise
        return connection

    def _require_current(self, connection: BoundedConnection) -> None:
        """Raise ConfigurationError for other tables, and stop using the present connections."""
        try:
            require_current(connection)
        except ConfigurationError:
            self.lose()
            raise


def is_pooled(connection: psycopg.Connection[TupleRow]) -> bool:
    """Whether a pooler such as pgbouncer is between this process and the server.

    A pooler names a process id of its own when a connection is opened, not that of the server.
    """
    found = connection.execute("SELECT pg_backend_pid()").fetchone()
    return found is None or found[0] != connection.info.backend_pid


def _ready(events: int) -> Ready:
    # A connection that was closed is found by reading from it.
    is_readable, is_writable = events & ~select.POLLOUT, events & select.POLLOUT
    if is_readable and is_writable:
        return Ready.RW
    return Ready.R if is_readable else Ready.W
