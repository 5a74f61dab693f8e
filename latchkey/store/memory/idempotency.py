"""The requests to make only once, of a store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from latchkey.credentials.idempotency import KEPT, Earlier, Once
from latchkey.credentials.models import Credential
from latchkey.credentials.publishing import Refusal
from latchkey.store.memory.state import MemoryDatabase, State


class MemoryIdempotencyLog:
    """The entries of one database."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    def prune(self, now: datetime) -> int:
        """Delete the entries that are no longer kept; returns how many."""

        def transaction(state: State) -> int:
            old = [key for key, (_, at) in state.once.items() if at <= now - KEPT]
            for key in old:
                del state.once[key]
            return len(old)

        return self._database.change(transaction)


def require_first(
    state: State,
    caller: Credential | None,
    once: Once | None,
    now: datetime,
    touched: Sequence[str] = (),
) -> None:
    """Raise a Refusal if the caller has made a request with the idempotency key before."""
    if caller is None or once is None:
        return
    earlier, at = state.once.get((caller.id, once.key), (None, now))
    if earlier is None or at <= now - KEPT:
        return
    made = state.find(earlier.api_key)
    raise Refusal(earlier.refusal_of(once), [*([made.lookup] if made else []), *touched])


def remember(state: State, caller: Credential | None, once: Once | None, made: Credential) -> None:
    """Record the key that a request made, in its transaction."""
    if caller is not None and once is not None:
        earlier = Earlier(once.fingerprint, made.api_key)
        state.once[caller.id, once.key] = earlier, made.created_at
