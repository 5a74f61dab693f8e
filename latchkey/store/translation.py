"""Translation of a database's failures, and of invalid content, into StoreError."""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from latchkey.errors import StoreError


class Translation:
    """Turns every failure of the database, and every invalid row, into a StoreError.

    A class, since a generator takes several times as long to enter, and lookups are many.
    """

    __slots__ = ()
    failures: tuple[type[Exception], ...] = (SQLAlchemyError,)
    """SQLAlchemy's errors and those of the driver."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, self.failures):
            cause = error.orig if isinstance(error, DBAPIError) else error
            self.fail(cause or error, error)
        if isinstance(error, (TypeError, ValueError, AttributeError, OverflowError)):
            # A value that was written by other means, of a type that the column does not have.
            raise StoreError(f"a row cannot be read: {type(error).__name__}: {error}") from None

    def fail(self, cause: BaseException, error: BaseException) -> NoReturn:
        """Raise the StoreError for an error of the driver, ``cause``, that came as ``error``."""
        raise StoreError(f"{type(cause).__name__}: {cause}") from error
