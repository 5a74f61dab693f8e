"""Translation of PostgreSQL's failures, and of invalid content, into StoreError."""

from __future__ import annotations

from types import TracebackType

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from latchkey.errors import StoreError


def reason_of(error: BaseException) -> str:
    """What happened, in one line, without the details of PostgreSQL, which contain values."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary is not None:
        return f"{type(error).__name__}: {error.diag.message_primary}"
    return " ".join(f"{type(error).__name__}: {error}".split())


class _PostgresqlTranslation:
    """Turns every failure of the database, and every invalid row, into a StoreError.

    A class, since a generator takes several times as long to enter, and lookups are many.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, (SQLAlchemyError, psycopg.Error)):
            cause = error.orig if isinstance(error, DBAPIError) else error
            # The cause would be logged with the values that PostgreSQL shows.
            raise StoreError(reason_of(cause or error)) from None
        if isinstance(error, (TypeError, ValueError, AttributeError, OverflowError)):
            # A value that was written by other means, of a type that the column does not have.
            raise StoreError(f"a row cannot be read: {type(error).__name__}: {error}") from None


translated = _PostgresqlTranslation()
