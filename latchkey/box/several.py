"""The parts of a worker whose database several boxes share: connected, from its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from latchkey.box.confirmations import Confirmations
from latchkey.box.log_watch import LogWatch
from latchkey.box.poller import Poller
from latchkey.box.registration import Identity, Registration
from latchkey.box.replay import Replay
from latchkey.box.shared import SharedState
from latchkey.credentials.publishing import Publisher
from latchkey.store.places import ChangePlaces
from latchkey.store.protocols import BoxStore, Store

_FORGOTTEN_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class AmongBoxes:
    """What a worker does about the other boxes."""

    boxes: BoxStore
    poller: Poller
    watch: LogWatch
    confirmations: Confirmations

    @classmethod
    def of(
        cls,
        boxes: BoxStore,
        shared: SharedState,
        identity: Identity,
        *,
        places: ChangePlaces,
        imported: Callable[[], Iterable[bytes]],
        segment: str,
        on_replacement: Callable[[], None],
        divides_rates: bool = False,
    ) -> AmongBoxes:
        """Connect the parts; ``imported`` reads the SHA-256 of all imported tokens.

        ``segment`` is the UUID in hex of the segment whose uses the box counts. With
        ``divides_rates``, each box admits its part of a rate.
        """
        registration = Registration(boxes, shared, identity, imported, segment)
        poller = Poller(
            boxes,
            shared,
            registration,
            on_replacement=on_replacement,
            divides_rates=divides_rates,
        )
        watch = LogWatch(boxes, shared, poller)
        return cls(boxes, poller, watch, Confirmations(boxes, places))

    def forget(self, now: datetime) -> None:
        """Delete boxes that stopped, or were marked as cut off, a day ago; raises StoreError."""
        self.boxes.forget(now - _FORGOTTEN_AFTER)


def publisher_for(store: Store, shared: SharedState) -> Publisher:
    """What publishes the changes of a command, in this box and in all others."""
    if store.boxes is None:
        replay = Replay(store.invalidations, shared)
        return Publisher(store.audit, shared.invalidate, replay.note)
    settle = Confirmations(store.boxes, store.places).settle
    return Publisher(store.audit, shared.invalidate, settle=settle)
