"""Translation of PostgreSQL's failures, and of invalid content, into StoreError."""

from __future__ import annotations

from typing import NoReturn

import psycopg

from latchkey.errors import StoreError
from latchkey.store.translation import Translation


def reason_of(error: BaseException) -> str:
    """What happened, in one line, without the details of PostgreSQL, which contain values."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary is not None:
        return f"{type(error).__name__}: {error.diag.message_primary}"
    return " ".join(f"{type(error).__name__}: {error}".split())


class _PostgresqlTranslation(Translation):
    __slots__ = ()
    failures = (*Translation.failures, psycopg.Error)

    def fail(self, cause: BaseException, error: BaseException) -> NoReturn:
        """Without the cause, which would be logged with the values that PostgreSQL shows."""
        raise StoreError(reason_of(cause)) from None


translated = _PostgresqlTranslation()
