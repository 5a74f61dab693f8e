"""Registering a box in the database that several boxes share.

A box registers when it starts, and anew if it was marked as cut off or if the log was rewound.
Under a new id, it promises nothing about earlier changes, so it forgets everything that it has
cached.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

import fastcache
from latchkey.box.leases import Applied, box_name
from latchkey.box.shared import SharedState, Word
from latchkey.config import Settings
from latchkey.credentials.models import Invalidation
from latchkey.credentials.times import utc_now
from latchkey.store.protocols import BoxStore, NewBox, Store

# Read once: an upgrade replaces the installed version while processes of the former one run.
_VERSION = version(fastcache.__distribution__)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a box says about itself, whatever its id; as in ``NewBox``."""

    name: str
    version: str
    revision: str
    derivation_ids: tuple[str, ...]
    workers: int
    lease_ms: int


def identity_of(settings: Settings, derivation_ids: Iterable[str], revision: str) -> Identity:
    """What a box with these settings says about itself.

    ``derivation_ids`` begin with the one that new keys are made with. ``revision`` is that of the
    last migration that this version knows.
    """
    return Identity(
        name=settings.box_name or socket.gethostname()[:64],
        version=_VERSION,
        revision=revision,
        derivation_ids=tuple(derivation_ids),
        workers=settings.workers,
        lease_ms=round(settings.lease * 1_000),
    )


class Registration:
    """Registers one box. Any of its workers may do so, also at the same moment."""

    def __init__(
        self,
        boxes: BoxStore,
        shared: SharedState,
        identity: Identity,
        imported: Callable[[], Iterable[bytes]] = tuple,
        segment: str = "",
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """``imported`` reads the SHA-256 of all imported tokens.

        ``segment`` is the UUID in hex of the segment whose uses the box counts.
        """
        self._boxes = boxes
        self._shared = shared
        self._identity = identity
        self._imported = imported
        self._segment = segment
        self._clock = clock

    @property
    def lease_ms(self) -> int:
        """The lease of the box, in milliseconds."""
        return self._identity.lease_ms

    def steps(self, former: int) -> Generator[None, None, bool]:
        """Replace the id ``former``, or 0, by a new one; raises StoreError.

        Returns False if another worker was faster, whose id then counts.

        Between two steps, other processes may do anything. The order matters: a change that commits
        after the new row lists the box; one that committed before it is seen by every read that
        begins after the stripes were incremented. Until then, an earlier lease may still run, so
        the new row has confirmed nothing: the first poll under its id does.
        """
        row = self._boxes.last_row()
        yield
        box_id = secrets.randbits(64) or 1
        self._add(box_id, former, self._confirmed_by(row))
        yield
        self._forget_cached()
        yield
        # The rows that are skipped may have added imported tokens.
        self._shared.learn_imported(self._imported())
        Applied.of(row).write(self._shared.words)
        yield
        if not self._shared.words.compare_exchange(Word.BOX, former, box_id):
            # Another worker was faster: nothing was ever cached under this id.
            self._boxes.stop(box_name(box_id))
            return False
        return True

    def _add(self, box_id: int, former: int, number: int) -> None:
        one = self._identity
        new = NewBox(
            box_name(box_id),
            one.name,
            one.version,
            one.revision,
            one.derivation_ids,
            one.workers,
            one.lease_ms,
            number,
            self._clock(),
            self._segment,
        )
        self._boxes.register(new, [box_name(former)] if former else [])

    def _confirmed_by(self, row: Invalidation | None) -> int:
        """The number that the new row has confirmed; ``row`` is the last one of the log."""
        return 0

    def _forget_cached(self) -> None:
        self._shared.invalidate_all()


def stop_box(store: Store, box_id: int) -> None:
    """Tell the other boxes that no worker of a box serves any more; raises StoreError.

    A box that is not registered has the id 0.
    """
    if store.boxes is not None and box_id:
        store.boxes.stop(box_name(box_id))
