"""Lingering close: close connections so that the last response arrives (RFC 9112 section 9.6).

Closing a socket while the client is still sending resets the connection, and the client may lose
the response. The server therefore closes only its own side first, and discards received bytes until
the client closes too. The time and the number of bytes are limited. No thread waits for this.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

LONGEST = 10.0
"""Seconds after which a connection is closed in any case."""
LONGEST_IDLE = 2.0
"""Seconds without received bytes after which a connection is closed."""
MOST_BYTES = 64 * 1024 * 1024
"""The most bytes to discard from one connection."""

_AT_ONCE = 256 * 1024


@dataclass(slots=True)
class _Ending:
    closed: Callable[[], None]
    deadline: float
    idle_deadline: float
    left: int = MOST_BYTES


class Lingering:
    """The connections of one worker that are being closed. Only for the thread of the poller."""

    def __init__(
        self, poller: selectors.BaseSelector, timer: Callable[[], float] = time.monotonic
    ) -> None:
        """The loop of ``poller`` must call the data of each ready socket, with the socket."""
        self._poller = poller
        self._timer = timer
        self._ending: dict[socket.socket, _Ending] = {}
        self._discarded = bytearray(_AT_ONCE)

    def add(self, client: socket.socket, closed: Callable[[], None]) -> None:
        """Shut down the sending side, and later close the connection and call ``closed``."""
        now = self._timer()
        ending = _Ending(closed, now + LONGEST, now + LONGEST_IDLE)
        try:
            client.setblocking(False)
            client.shutdown(socket.SHUT_WR)
            self._poller.register(client, selectors.EVENT_READ, partial(self._discard))
        except (OSError, ValueError, KeyError):
            # The client is gone.
            _close(client, ending)
            return
        self._ending[client] = ending
        # Most clients have sent everything, and many have already closed their side.
        self._discard(client)

    def close_late(self) -> None:
        """Close connections whose time has expired; call this about once a second."""
        now = self._timer()
        for client, ending in list(self._ending.items()):
            if now > ending.deadline or now > ending.idle_deadline:
                self._close(client)

    def close_oldest(self) -> bool:
        """Close the connection that has lingered longest; returns whether there was one."""
        oldest = next(iter(self._ending), None)
        if oldest is not None:
            self._close(oldest)
        return oldest is not None

    def _discard(self, client: socket.socket) -> None:
        """Read and discard received bytes; called when the socket is readable."""
        ending = self._ending.get(client)
        if ending is None:
            # Closed to make room, after the poller had reported it as readable.
            return
        try:
            size = client.recv_into(self._discarded)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        ending.left -= size
        if not size or ending.left <= 0:
            self._close(client)
            return
        ending.idle_deadline = self._timer() + LONGEST_IDLE

    def _close(self, client: socket.socket) -> None:
        ending = self._ending.pop(client)
        self._poller.unregister(client)
        _close(client, ending)


def _close(client: socket.socket, ending: _Ending) -> None:
    with suppress(OSError):
        client.close()
    ending.closed()
