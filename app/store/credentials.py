"""The store of credentials: every query about them, answered in the domain's models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from app.credentials.models import Credential, Mode, NewCredential
from app.errors import DuplicateApiKey, StoreError
from app.store.pinned import PinnedFile
from app.store.sqlite import database_path, open_reader, open_writer
from app.store.tables import credential

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HASH_LENGTH = 32
_MILLISECOND = timedelta(milliseconds=1)

_FIND = select(credential).where(credential.c.api_key == bindparam("api_key"))


class Store:
    """Credentials in one database. Safe to use from many threads; not across a fork.

    Every method raises StoreError when the database fails, whatever the reason; the fault is
    never remembered, so the next call tries again.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 8,
        lookup_timeout: float = 1.0,
        write_timeout: float = 5.0,
    ) -> None:
        """Open nothing yet. The timeouts, in seconds, bound the wait for another's lock."""
        self._file = PinnedFile(database_path(url))
        self._reader = open_reader(self._file, busy_timeout=lookup_timeout, pool_size=pool_size)
        self._writer = open_writer(self._file, busy_timeout=write_timeout, pool_size=pool_size)

    def find(self, api_key: str) -> Credential | None:
        """The credential with this public key, as committed when the call began or later."""
        with self._reading() as connection:
            row = connection.execute(_FIND, {"api_key": api_key}).one_or_none()
            return None if row is None else _credential(row)

    def page(self, mode: Mode | None, limit: int, before: int | None) -> list[Credential]:
        """At most ``limit`` credentials of ``mode`` (None: both), newest first.

        ``before`` continues a listing: only rows with smaller ids.
        """
        query = select(credential).order_by(credential.c.id.desc()).limit(limit)
        if mode is not None:
            query = query.where(credential.c.mode == mode)
        if before is not None:
            query = query.where(credential.c.id < before)
        with self._reading() as connection:
            return [_credential(row) for row in connection.execute(query)]

    def add(self, new: NewCredential) -> Credential:
        """Store a new credential; when it returns, it survives a power cut.

        Raises DuplicateApiKey if the key exists, revoked or not.
        """
        values = {
            "api_key": new.api_key,
            "secret_hash": new.secret_hash,
            "derivation_id": new.derivation_id,
            "account_id": new.account_id,
            "mode": new.mode,
            "name": new.name,
            "scopes": " ".join(sorted(new.scopes)),
            "created_at": _to_milliseconds(new.created_at),
            "expires_at": _to_milliseconds_or_none(new.expires_at),
        }
        with self._writing() as connection:
            try:
                row = connection.execute(insert(credential).returning(credential), values).one()
            except IntegrityError:
                raise DuplicateApiKey from None
        return _credential(row)

    def revoke(self, api_key: str, mode: Mode | None, now: datetime) -> bool:
        """Mark a credential as revoked at ``now``; False if none of ``mode`` is there to revoke."""
        change = (
            update(credential)
            .where(credential.c.api_key == api_key, credential.c.revoked_at.is_(None))
            .values(revoked_at=_to_milliseconds(now))
        )
        if mode is not None:
            change = change.where(credential.c.mode == mode)
        with self._writing() as connection:
            return connection.execute(change).rowcount == 1

    def active_by_derivation(self, now: datetime) -> dict[str, int]:
        """How many credentials are neither revoked nor expired, by the key that made them."""
        query = (
            select(credential.c.derivation_id, func.count())
            .where(
                credential.c.revoked_at.is_(None),
                credential.c.expires_at.is_(None)
                | (credential.c.expires_at > _to_milliseconds(now)),
            )
            .group_by(credential.c.derivation_id)
        )
        with self._reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def count(self, mode: Mode) -> int:
        """How many credentials of ``mode`` there are, revoked ones included."""
        query = select(func.count()).select_from(credential).where(credential.c.mode == mode)
        with self._reading() as connection:
            return connection.execute(query).scalar_one()

    def check(self) -> None:
        """Read from the credentials table, really; raises StoreError if that fails."""
        with self._reading() as connection:
            connection.execute(select(credential.c.id).limit(1)).all()

    def close(self) -> None:
        """Close the connections, all idle by now; the store opens new ones if it is used again."""
        self._reader.dispose()
        self._writer.dispose()
        self._file.close()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection in autocommit with no open statement; faults become StoreError."""
        with _translated(), self._reader.connect() as connection:
            with _discarded_on_fault(connection):
                yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A connection in a BEGIN IMMEDIATE transaction, committed at the end of the block."""
        with _translated(), self._writer.connect() as connection:
            with _discarded_on_fault(connection), connection.begin():
                yield connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise StoreError(f"{type(cause).__name__}: {cause}") from error
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        # A value that somebody put there by hand, of a type that the column does not have.
        raise StoreError(f"a row cannot be read: {type(error).__name__}: {error}") from None


@contextmanager
def _discarded_on_fault(connection: Connection) -> Iterator[None]:
    """Close a connection that failed: one that met a broken file may not see it mended."""
    try:
        yield
    except DBAPIError:
        connection.invalidate()
        raise


def _credential(row: Row[tuple[object, ...]]) -> Credential:
    fields = row._mapping
    if len(fields["secret_hash"]) != _HASH_LENGTH:
        raise ValueError(f"credential {fields['id']} has a hash of a wrong length")
    return Credential(
        id=fields["id"],
        api_key=fields["api_key"],
        secret_hash=fields["secret_hash"],
        derivation_id=fields["derivation_id"],
        account_id=fields["account_id"],
        mode=cast(Mode, fields["mode"]),
        name=fields["name"],
        scopes=frozenset(fields["scopes"].split()),
        created_at=_from_milliseconds(fields["created_at"]),
        expires_at=_from_milliseconds_or_none(fields["expires_at"]),
        revoked_at=_from_milliseconds_or_none(fields["revoked_at"]),
    )


def _to_milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def _to_milliseconds_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else _to_milliseconds(moment)


def _from_milliseconds(milliseconds: int) -> datetime:
    return _EPOCH + milliseconds * _MILLISECOND


def _from_milliseconds_or_none(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else _from_milliseconds(milliseconds)
