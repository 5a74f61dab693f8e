"""Outcomes of changes, and the function that publishes them.

Every change follows one order: commit, then publish, then answer. A store returns the data to
publish as a frozen value. A commit is durable already, so nothing delays the invalidation. If
several boxes share the database, publishing includes waiting for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from latchkey.credentials.audit import Head
from latchkey.errors import StoreError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Publication:
    """The data of a change that other processes need.

    ``lookups`` are the lookup keys whose cached entries are no longer valid, ``log_rows``
    the numbers of the change's rows in the log of invalidations, and ``head`` is its last row of
    the audit log. ``replaces_head``: the kept head may not be a predecessor of this one.
    """

    lookups: Sequence[str] = ()
    log_rows: Sequence[int] = ()
    head: Head | None = None
    replaces_head: bool = False


NOTHING = Publication()
"""The publication of a transaction that changed nothing."""


@dataclass(frozen=True, slots=True)
class Made(Generic[T_co]):
    """A committed transaction: its result, and the data to publish."""

    result: T_co
    publication: Publication = NOTHING


@dataclass(frozen=True, slots=True)
class Refused:
    """A change that is answered with an error, although there is something to publish.

    Either the change was already made, perhaps by a process that died before it published, or its
    commit failed and may have reached the database nevertheless. ``error`` is the answer.
    """

    error: BaseException
    publication: Publication = field(default=NOTHING)


Outcome = Made[T] | Refused
"""A store's answer to a change. If there is nothing to publish, an error is raised instead."""


class Refusal(Exception):
    """Raised in a transaction to roll it back and answer with a ``Refused``.

    For a change that was already made, and for a caller that may no longer make it: ``lookups`` are
    invalidated although nothing changes.
    """

    def __init__(self, error: Exception, lookups: Sequence[str] = ()) -> None:
        super().__init__(str(error))
        self.refused = Refused(error, Publication(lookups))


class HeadKeeper(Protocol):
    """Keeps the head of the audit log outside the database, once its commit is secure in it."""

    def keep(self, head: Head) -> None:
        """Write a head that follows the kept one; a failure is logged."""

    def replace(self, head: Head) -> None:
        """Replace the kept head without comparing the two; raises an error if that fails."""


class Settle(Protocol):
    """Waits until a committed change is effective in all boxes that share the database."""

    def __call__(self, publication: Publication, *, found_made: bool = False) -> None:
        """Raises StoreError if it is unknown whether the change is effective.

        ``found_made``: it was committed earlier, so ``publication`` has only its lookup keys.
        """


class Publisher:
    """Publishes the outcomes of changes, for one process."""

    def __init__(
        self,
        heads: HeadKeeper,
        invalidate: Callable[[str], None] | None = None,
        note: Callable[[int], None] | None = None,
        settle: Settle | None = None,
    ) -> None:
        """``invalidate`` takes a lookup key and invalidates every result cached under it.

        None is for a process that changes nothing that is cached. ``note`` receives the number of
        each row of the log of invalidations that was applied, so that no other process needs to
        apply it; None leaves them to the replay. ``settle`` is None if only one box can use the
        database.
        """
        self._heads = heads
        self._invalidate = invalidate
        self._note = note
        self._settle = settle

    def publish(self, outcome: Outcome[T]) -> T:
        """Publish the outcome of a change, and return its result, or raise the error of a Refused.

        Call it between the change and its answer. Invalidates first, then waits for other boxes.
        The head of the audit log is kept last, because that waits for the disk. Raises StoreError
        if the other boxes are unknown; the change was made nevertheless.
        """
        published = outcome.publication
        if published.lookups:
            if self._invalidate is None:
                raise RuntimeError("a change of keys cannot be published by this process")
            for lookup in dict.fromkeys(published.lookups):
                self._invalidate(lookup)
        if isinstance(outcome, Refused):
            # After a commit that failed, nothing is promised.
            if self._settle is not None and published.lookups:
                if not isinstance(outcome.error, StoreError):
                    self._settle(published, found_made=True)
            raise outcome.error
        if self._note is not None:
            for number in published.log_rows:
                self._note(number)
        try:
            if self._settle is not None:
                self._settle(published)
        finally:
            self._keep_head(published)
        return outcome.result

    def _keep_head(self, published: Publication) -> None:
        if published.head is None:
            return
        if published.replaces_head:
            self._heads.replace(published.head)
        else:
            self._heads.keep(published.head)
