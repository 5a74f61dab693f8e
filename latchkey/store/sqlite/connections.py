"""The connections of one store: for single reads, and for transactions that write."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from latchkey.errors import StoreError
from latchkey.forks import keep_forever, notify_after_fork
from latchkey.store.places import ChangePlaces
from latchkey.store.sqlite.dialect import SqliteDialect
from latchkey.store.sqlite.engines import connect_pinned, files_of, open_reader, open_writer
from latchkey.store.sqlite.errors import translated
from latchkey.store.sqlite.lookup import SqliteLookup
from latchkey.store.sqlite.pinned import Files, PinnedFile

# In seconds. The copy of another worker takes milliseconds; a long read, such as that of a backup,
# should not delay each change for longer than this.
_COPY_WAIT = 0.1
_COPY_PAUSE = 0.002


class SqliteConnections:
    """Two pools over one database file, and ``lookup``. For many threads; not across a fork.

    In a child that is forked after the first connection was opened, every use raises StoreError.
    """

    def __init__(
        self,
        path: Path,
        *,
        pool_size: int,
        lookup_timeout: float,
        write_timeout: float,
        change_places: int | None = None,
    ) -> None:
        """No connection is opened yet. The timeouts, in seconds, limit the wait for locks.

        ``change_places`` is how many threads may write at once; None for any number.
        """
        self.places = ChangePlaces(change_places)
        self._write_timeout = write_timeout
        self._file = PinnedFile(path)
        self._reader = open_reader(self._file, busy_timeout=lookup_timeout, pool_size=pool_size)
        self._writer = open_writer(self._file, busy_timeout=write_timeout, pool_size=pool_size)
        self.dialect = SqliteDialect()
        self.lookup = SqliteLookup(self._file, busy_timeout=lookup_timeout)
        notify_after_fork(self)

    def after_fork(self) -> None:
        """Leave the connections alone in a child.

        They must not even be closed there: SQLite would interfere with the parent's use of the log.
        """
        if self._file.disown():
            keep_forever(self)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in autocommit with no open statement; faults become StoreError."""
        self._file.require_own()
        with translated, self._reader.connect() as connection:
            with _discarded_on_fault(connection):
                yield connection

    @contextmanager
    def writing(self, *, upkeep: bool = False, secured: bool = True) -> Iterator[Connection]:
        """A connection in a BEGIN IMMEDIATE transaction, committed at the end of the block.

        Faults become StoreError; an exception of the block rolls the transaction back. After an
        error that is raised after the block, it is unknown whether the transaction was committed.
        Raises ChangesBusy if too many changes are waiting already; ``upkeep`` occupies no place for
        changes. The upkeep, and a caller that asks for ``secured`` to be False, copy the log later.
        """
        self._file.require_own()
        place = nullcontext() if upkeep else self.places.place()
        with place, translated, self._writer.connect() as connection:
            with _discarded_on_fault(connection):
                with connection.begin():
                    files = files_of(connection)
                    yield connection
            if not upkeep:
                self._confirm(files)
                if secured:
                    self._copy_log()

    @contextmanager
    def reserving(self) -> Iterator[Connection]:
        """As the upkeep writes: SQLite has no locks of rows."""
        with self.writing(upkeep=True) as connection:
            yield connection

    def secure(self) -> None:
        """Copy the log into the database, in a place for changes: copying may wait for the disk."""
        taken = self.places.take()
        if taken is None:
            return
        try:
            self._copy_log()
        finally:
            self.places.release(taken)

    def _copy_log(self) -> None:
        """Copy the log into the database, and wait a moment for others that prevent it."""
        until = time.monotonic() + _COPY_WAIT
        while not self._file.copy_log() and time.monotonic() < until:
            time.sleep(_COPY_PAUSE)

    def scrub(self) -> None:
        """By VACUUM: SQLite may have left copies of deleted content in the unused parts of pages.

        The log keeps former pages until SQLite restarts or deletes it.
        """
        self._file.require_own()
        with translated, closing(connect_pinned(self._file, self._write_timeout)) as connection:
            connection.execute("VACUUM")
        self._file.copy_log()

    def look_after(self) -> None:
        """Notice a replaced file within the upkeep's interval, even without requests.

        Changes that could not be copied for lack of a lock are copied into the database.

        Raises StoreError if a fault cannot be repaired.
        """
        self._file.mend()
        with self.reading():
            pass
        self._file.copy_log()

    def _confirm(self, files: Files) -> None:
        """Confirm that the last commit is durable; raises StoreError if it may not be.

        If the log was removed during the transaction, it is saved before the answer.
        """
        if self._file.identify() != files:
            # The next connection saves the log, or fails if it cannot.
            with self.reading() as connection:
                found = files_of(connection)
            if found.database != files.database:
                raise StoreError("the database file was replaced during the transaction")
        else:
            self._file.require(files)

    def close(self) -> None:
        """Close the connections, which must be idle; later calls open new ones."""
        if self._file.is_inherited:
            return
        self.lookup.close()
        self._reader.dispose()
        self._writer.dispose()
        self._file.close()


@contextmanager
def _discarded_on_fault(connection: Connection) -> Iterator[None]:
    """Close a connection that failed: it may not notice that a broken file was repaired."""
    try:
        yield
    except DBAPIError:
        connection.invalidate()
        raise
