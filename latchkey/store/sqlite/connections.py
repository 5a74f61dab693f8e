"""The connections of one store: for single reads, and for transactions that write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from latchkey.errors import StoreError
from latchkey.forks import keep_forever, tell_after_fork
from latchkey.store.places import ChangePlaces
from latchkey.store.sqlite.dialect import SqliteDialect
from latchkey.store.sqlite.engines import files_of, open_reader, open_writer
from latchkey.store.sqlite.errors import translated
from latchkey.store.sqlite.lookup import SqliteLookup
from latchkey.store.sqlite.pinned import Files, PinnedFile


class SqliteConnections:
    """Two pools over one database file, and ``lookup``. For many threads; not across a fork.

    In a child that is forked after the first one was opened, all fail with StoreError.
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
        """Open nothing yet. The timeouts, in seconds, bound the wait for another's lock.

        ``change_places`` is how many threads may write at once; None for any number.
        """
        self.places = ChangePlaces(change_places)
        self._file = PinnedFile(path)
        self._reader = open_reader(self._file, busy_timeout=lookup_timeout, pool_size=pool_size)
        self._writer = open_writer(self._file, busy_timeout=write_timeout, pool_size=pool_size)
        self.dialect = SqliteDialect()
        self.lookup = SqliteLookup(self._file, busy_timeout=lookup_timeout)
        tell_after_fork(self)

    def after_fork(self) -> None:
        """Leave the connections alone in a child.

        SQLite must not even close them there: it would end in the log what the parent has begun.
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
    def writing(self, *, upkeep: bool = False) -> Iterator[Connection]:
        """A connection in a BEGIN IMMEDIATE transaction, committed at the end of the block.

        Faults become StoreError; an exception of the block rolls the transaction back. What is
        raised after the block leaves it unknown whether the transaction was committed. Raises
        ChangesBusy where too many changes are waiting already; ``upkeep`` takes no place among
        them.
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
                self._file.copy_log()

    def look_after(self) -> None:
        """Notice within the upkeep's interval, also where nobody asks, that a file was replaced.

        What a change has left in the log for want of a lock is copied into the database.

        Raises StoreError where that cannot be put right.
        """
        self._file.mend()
        with self.reading():
            pass
        self._file.copy_log()

    def _confirm(self, files: Files) -> None:
        """Make sure of what was committed just now; raises StoreError where that fails.

        The log may have been taken away during the transaction; then it is saved before the answer.
        """
        if self._file.identify() != files:
            # The next connection saves the log, and fails where it cannot.
            with self.reading() as connection:
                found = files_of(connection)
            if found.database != files.database:
                raise StoreError("the database file was replaced during the transaction")
        else:
            self._file.require(files)

    def close(self) -> None:
        """Close the connections, all idle by now; new ones are opened where they are needed."""
        if self._file.is_inherited:
            return
        self.lookup.close()
        self._reader.dispose()
        self._writer.dispose()
        self._file.close()


@contextmanager
def _discarded_on_fault(connection: Connection) -> Iterator[None]:
    """Close a connection that failed: one that met a broken file may not see it mended."""
    try:
        yield
    except DBAPIError:
        connection.invalidate()
        raise
