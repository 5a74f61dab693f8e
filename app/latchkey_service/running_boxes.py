"""The boxes that run on a database, for commands that need it alone."""

from __future__ import annotations

from latchkey.errors import ServiceUnreachable
from latchkey.store.protocols import Store

# A running box confirms several times in each lease. Longer than the slowest of them needs.
_LEASES = 3


def require_no_box(store: Store) -> None:
    """Raise ServiceUnreachable if a box was seen lately that has not stopped; StoreError.

    A box whose row came with a restored backup was last seen before that backup.
    """
    if store.boxes is None:
        return
    running = [
        box.name
        for box in store.boxes.registered()
        if box.stopped_at is None and box.unseen_ms < _LEASES * box.lease_ms
    ]
    if running:
        raise ServiceUnreachable(
            f"nothing was changed: the service runs on {', '.join(sorted(set(running)))}; stop it "
            "on every box first"
        )
