"""Transactions of changes: each returns the outcome to publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from latchkey.credentials.publishing import Made, Outcome, Publication, Refusal, Refused
from latchkey.store.connections import Connections

T = TypeVar("T")


def commit(connections: Connections, transaction: Callable[[Connection], Made[T]]) -> Outcome[T]:
    """Run a transaction and commit it; returns its outcome, for the caller to publish.

    The commit is durable. It is made secure after its publication, by ``AuditLog.keep``.

    An error of the transaction rolls it back and is raised; a Refusal is returned. If the commit
    fails, the change may have been committed nevertheless: the failure is returned with the lookup
    keys to invalidate, and its log rows are left to the replay. Raises StoreError if the
    transaction could not begin or was rolled back.
    """
    made: Made[T] | None = None
    try:
        with connections.writing(secured=False) as connection:
            made = transaction(connection)
    except Refusal as refusal:
        return refusal.refused
    except BaseException as error:
        if made is None:
            raise
        return Refused(error, Publication(made.publication.lookups))
    return made
