"""The boxes that share a database, as people and metrics see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from latchkey.box.leases import MILLISECOND, usable
from latchkey.credentials.times import format_time
from latchkey.store.protocols import Box, BoxStore

BoxStatus = Literal["live", "cut off", "stopped"]


@dataclass(frozen=True, slots=True)
class BoxState:
    """A box, and how far it is behind.

    ``behind`` is how many rows of the log of invalidations it has not confirmed, 10,000 at most.
    ``lag`` is the number of seconds since it last confirmed, or 0 if it is not behind. It has been
    behind for at most this time. Both are None for a box that is not live: no change waits for it,
    and it registers anew before it uses its cache. ``lease_left`` is how many seconds it may still
    use its cache without another confirmation. The times are by the clock of the database, since
    the clocks of boxes may differ.
    """

    box: Box
    behind: int | None
    lag: float | None
    lease_left: float

    @property
    def status(self) -> BoxStatus:
        """``cut off``: changes no longer wait for it, until it registers anew."""
        if self.box.live:
            return "live"
        return "cut off" if self.box.stopped_at is None else "stopped"

    @property
    def json_fields(self) -> dict[str, Any]:
        """The state as a JSON object; times in seconds."""
        box = self.box
        return {
            "id": box.id,
            "name": box.name,
            "status": self.status,
            "live": box.live,
            "version": box.version,
            "revision": box.revision,
            "workers": box.workers,
            "confirmed": box.confirmed,
            "behind": self.behind,
            "lag_seconds": self.lag,
            "seen_seconds_ago": box.unseen_ms / 1000,
            "lease_seconds": box.lease_ms / 1000,
            "lease_left_seconds": self.lease_left,
            "started_at": format_time(box.started_at),
            "stopped_at": None if box.stopped_at is None else format_time(box.stopped_at),
        }


def states_of(boxes: BoxStore) -> list[BoxState]:
    """The registered boxes, live ones first; raises StoreError.

    If several workers register a box at once, one of the rows is used. The others are left out.
    """
    registered = boxes.registered()
    live = {box.name for box in registered if box.live}
    later = boxes.count_after({box.confirmed for box in registered if box.live})
    states = []
    for box in registered:
        if box.stopped_at is not None and not box.confirmed and box.name in live:
            continue
        if not box.live:
            states.append(BoxState(box, None, None, 0.0))
            continue
        behind = later[box.confirmed]
        lag = box.unseen_ms / 1000 if behind else 0.0
        left = max(0.0, usable(box.lease_ms) / MILLISECOND - box.unseen_ms) / 1000
        states.append(BoxState(box, behind, lag, left))
    return sorted(states, key=lambda state: (not state.box.live, state.box.name))
