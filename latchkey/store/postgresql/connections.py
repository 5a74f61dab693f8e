"""The connections of one store: for single reads, and for transactions that write."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import psycopg
from psycopg.errors import Diagnostic
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

from latchkey.errors import StoreError
from latchkey.forks import keep_forever, notify_after_fork
from latchkey.store.places import ChangePlaces
from latchkey.store.postgresql.connecting import BoundedConnection, Connector, Waits
from latchkey.store.postgresql.dialect import PostgresqlDialect
from latchkey.store.postgresql.errors import translated
from latchkey.store.postgresql.location import Location
from latchkey.store.postgresql.lookup import PostgresqlLookup
from latchkey.store.postgresql.own_tables import other_revision, recorded_revisions
from latchkey.store.postgresql.turns import LONGEST_IDLE, TURN, Turns
from latchkey.store.revisions import newest_revision

CHANNEL = "latchkey_changes"
"""The channel on which each change that is not of the upkeep wakes the boxes."""

# Multiples of the timeouts that were asked for. A listing may read the whole table; a change of an
# account may update each of its keys.
_READ_FACTOR = 10
_STATEMENT_FACTOR = 3
# Seconds for which a busy machine may keep a process that runs from its next statement.
_SHORTEST_IDLE = 0.5


class PostgresqlConnections:
    """Two pools over one database, and ``lookup``. For many threads; not across a fork.

    In a child that is forked after the first connection was opened, every use raises StoreError.
    """

    def __init__(
        self,
        location: Location,
        *,
        pool_size: int,
        lookup_timeout: float,
        write_timeout: float,
        change_places: int | None = None,
        is_alone: bool = False,
    ) -> None:
        """No connection is opened yet. The timeouts are in seconds.

        ``lookup_timeout`` limits a lookup; ``write_timeout`` limits the wait for a turn, and that
        for the commit. ``change_places`` is how many threads may write at once; None for any
        number. ``is_alone``: no service uses the database, so a transaction may be idle for any
        time.
        """
        self.places = ChangePlaces(change_places)
        self.connector = Connector(location)
        self.dialect = PostgresqlDialect()
        self._turns = Turns()
        self.lookup = PostgresqlLookup(self.connector, timeout=lookup_timeout)
        self._write_timeout = write_timeout
        self._is_alone = is_alone
        reads = _READ_FACTOR * lookup_timeout
        self._brief_patience = 2 * lookup_timeout
        self._read_patience = reads + lookup_timeout
        self._reader = self._engine(Waits(self._read_patience, reads), pool_size, reads)
        # Every statement is limited by the client alone, since the commit can only be so.
        self._statement_patience = max(_STATEMENT_FACTOR * write_timeout, reads)
        writes = Waits(self._statement_patience)
        self._writer = self._engine(writes, pool_size, 2 * write_timeout)
        notify_after_fork(self)

    def after_fork(self) -> None:
        """Leave the connections alone in a child.

        They must not even be closed there: that would end them for the parent.
        """
        if self.connector.disown():
            keep_forever(self)

    @contextmanager
    def reading(self, *, brief: bool = False) -> Iterator[Connection]:
        """A connection in autocommit with no open statement; faults become StoreError.

        ``brief`` is for reads that find few rows, and must not wait long for a lost server.
        """
        self.connector.require_own()
        with translated, self._reader.connect() as connection, self._watched(connection):
            patience = self._brief_patience if brief else self._read_patience
            driver_of(connection).patience = patience
            yield connection

    @contextmanager
    def writing(self, *, upkeep: bool = False, secured: bool = True) -> Iterator[Connection]:
        """A connection in a READ COMMITTED transaction, committed at the end of the block.

        The transaction has its turn before it reads anything. Faults become StoreError; an
        exception of the block rolls the transaction back. After an error that is raised after the
        block, it is unknown whether the transaction was committed. Raises ChangesBusy if too many
        changes are waiting already; ``upkeep`` occupies no place for changes and wakes no box.
        """
        place = nullcontext() if upkeep else self.places.place(until_settled=not secured)
        alone = self._turns.alone(self._write_timeout)
        with place, alone as left, self._transaction() as connection:
            driver = driver_of(connection)
            # A client of the service is told of the failure before its connection is closed.
            driver.patience = left + self._write_timeout / 2
            with self._turns.waiting():
                idle = None if self._is_alone else self._write_timeout / 2
                driver.execute(_beginning(left, TURN, idle=idle))
            driver.patience = self._statement_patience
            yield connection
            driver.patience = self._write_timeout
            _commit(driver, wakes=not upkeep)

    @contextmanager
    def reserving(self) -> Iterator[Connection]:
        """A connection in a transaction that takes no turn and wakes no box.

        So it never waits for a change that waits for another box.
        """
        with self._transaction() as connection:
            driver = driver_of(connection)
            driver.patience = 2 * self._write_timeout
            driver.execute(_beginning(self._write_timeout, idle=self._write_timeout / 2))
            yield connection
            driver.patience = self._write_timeout
            _commit(driver, wakes=False)

    @contextmanager
    def updating_boxes(self) -> Iterator[Connection]:
        """A connection in a transaction that takes no turn, wakes no box and waits briefly."""
        with self._transaction() as connection:
            driver = driver_of(connection)
            driver.patience = self._brief_patience
            driver.execute(_beginning(self._brief_patience, idle=self._brief_patience / 2))
            yield connection
            _commit(driver, wakes=False)

    def open_listener(self) -> BoundedConnection:
        """A connection of its own for notifications, which the caller closes.

        It is idle as long as nothing changes, so the server's limit for idle sessions does not
        apply to it. A pooler would give this setting to other connections, and the listener is not
        used behind one. Raises psycopg.Error.
        """
        connection = self.connector.open(Waits(self._brief_patience))
        if not connection.is_pooled:
            try:
                connection.execute(b"SET idle_session_timeout = 0")
            except BaseException:
                connection.close()
                raise
        return connection

    def is_same_as(self, other: PostgresqlConnections) -> bool:
        """Whether the other connections lead to the same database, perhaps by another name.

        Then each sees the locks of the other. Identifiers of the server are no proof: a server that
        was restored from a copy of the files has those of the original.
        """
        key = secrets.randbits(62)
        with self.reserving() as one, other.reading(brief=True) as another:
            one.exec_driver_sql(f"SELECT pg_advisory_xact_lock({key})")
            found = another.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({key})")
            return not found.scalar_one()

    def secure(self) -> None:
        """Nothing: a commit waits for the server's log, and the log of its standbys."""

    def scrub(self) -> str | None:
        """Nothing: others would wait for the tables meanwhile, so the operator chooses the time."""
        return (
            "PostgreSQL removes deleted text itself, by VACUUM; to rewrite the tables at once, run "
            "in psql: VACUUM (FULL) account, credential, audit, sighting"
        )

    def look_after(self) -> None:
        """Notice a lost server or a migration within the upkeep's interval, even without requests.

        A migration by another version ends the connections, but not those to a pooler. They are
        replaced, and the new ones are refused. Also end a change whose process has stopped, if
        others wait for it.
        """
        with self.reading() as connection:
            revisions = recorded_revisions(driver_of(connection))
            if revisions != [newest_revision()]:
                self.connector.lose()
                raise StoreError(other_revision(revisions))
            self._turns.look_after(connection)

    def close(self) -> None:
        """Close the connections, which must be idle; later calls open new ones."""
        try:
            self.connector.require_own()
        except StoreError:
            return
        self.lookup.close()
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """A connection to begin a transaction on, which an exception rolls back."""
        self.connector.require_own()
        with translated, self._writer.connect() as connection, self._watched(connection):
            # SQLAlchemy gives out no connection that was lost, but its own error.
            driver = driver_of(connection)
            try:
                yield connection
            except BaseException:
                with suppress(psycopg.Error):
                    driver.rollback()
                raise

    @contextmanager
    def _watched(self, connection: Connection) -> Iterator[None]:
        """Drop a connection that is lost, and all idle ones that were opened before."""
        driver = driver_of(connection)
        try:
            yield
        finally:
            if driver.closed:
                self.connector.lose()
                connection.invalidate()

    def _engine(self, waits: Waits, pool_size: int, wait: float) -> Engine:
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: self.connector.open(waits),
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=wait,
            # Transactions are begun and committed here, each by one message to the server.
            isolation_level="AUTOCOMMIT",
            # Bound values are never secrets, but do not belong in a log either.
            hide_parameters=True,
            use_native_hstore=False,
        )

        @event.listens_for(engine, "checkout")
        def _compare(connection: BoundedConnection, record: object, proxy: object) -> None:
            if not self.connector.is_usable(connection):
                # SQLAlchemy then replaces the connection by a new one.
                raise DisconnectionError

        return engine


def driver_of(connection: Connection) -> BoundedConnection:
    """The driver's connection below one of an engine; raises StoreError if it is closed."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, BoundedConnection):
        raise StoreError("the connection is closed")
    return driver


def _beginning(timeout: float, turn: int | None = None, *, idle: float | None) -> bytes:
    """The statements that begin a transaction, and wait for its turn if it takes one.

    ``timeout``, in seconds, limits each wait for a lock. If this process is stopped or cut off
    meanwhile, the server ends the transaction after ``idle`` seconds, or LONGEST_IDLE if that is
    less, so that others get the lock in time; but not before _SHORTEST_IDLE, and not at all if
    ``idle`` is None. Each statement sees what was committed when it begins, and SET reads nothing.
    So every read of the transaction comes after the lock, and sees what earlier changes have
    committed.
    """
    milliseconds = max(1, round(timeout * 1000))
    seconds = 0.0 if idle is None else max(_SHORTEST_IDLE, min(idle, LONGEST_IDLE))
    return (
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"
        f"SET LOCAL lock_timeout = {milliseconds};"
        f"SET LOCAL idle_in_transaction_session_timeout = {round(seconds * 1000)};"
        f"{'' if turn is None else f'SELECT pg_advisory_xact_lock({turn});'}"
        "SET LOCAL synchronous_commit = on"
    ).encode()


def _commit(driver: BoundedConnection, *, wakes: bool) -> None:
    """Commit, durably on the server and its synchronous standbys; raises StoreError otherwise."""
    if driver.info.transaction_status != TransactionStatus.INTRANS:
        # COMMIT would succeed, and roll back.
        driver.rollback()
        raise StoreError("the transaction failed, and was rolled back")
    warnings: list[str] = []

    def note(notice: Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(notice.message_primary or "a warning")

    driver.add_notice_handler(note)
    try:
        driver.execute(f"NOTIFY {CHANNEL}; COMMIT".encode() if wakes else b"COMMIT")
    finally:
        driver.remove_notice_handler(note)
    if warnings:
        # Such as: an administrator cancelled the wait for a standby, which lacks the transaction.
        raise StoreError(f"the commit is not confirmed: {warnings[0]}")
