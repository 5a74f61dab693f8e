"""The running boxes of a database, for commands that need exclusive access to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from latchkey.errors import ServiceUnreachable
from latchkey.store.lifecycle import Database
from latchkey.store.protocols import Store

# A running box confirms several times in each lease. Longer than the slowest of them needs.
_LEASES = 3


@contextmanager
def without_boxes(*databases: tuple[Database, Store]) -> Iterator[None]:
    """Keep services from using these databases during the block; each comes with its store.

    A service that starts meanwhile, on any machine, waits for the end of the block, or fails after
    a minute. Raises ServiceUnreachable if a box still runs, and ConfigurationError.
    """
    with ExitStack() as stack:
        for database, store in databases:
            stack.enter_context(database.preparing())
            if names := running_boxes(store):
                raise ServiceUnreachable(
                    f"nothing was changed: the service runs on {names}; stop it on every box first"
                )
        yield


def is_same(one: Store, other: Store) -> bool:
    """Whether both stores use the same shared database, perhaps by different names."""
    return one.boxes is not None and other.boxes is not None and one.boxes.is_same_as(other.boxes)


def running_boxes(store: Store) -> str:
    """The names of the boxes that were seen lately and have not stopped; raises StoreError.

    A box whose row came with a restored backup was last seen before that backup.
    """
    if store.boxes is None:
        return ""
    running = {
        box.name
        for box in store.boxes.registered()
        if box.stopped_at is None and box.unseen_ms < _LEASES * box.lease_ms
    }
    return ", ".join(sorted(running))
