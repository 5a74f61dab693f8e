"""Single flight: many simultaneous misses of one key make one database read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from copy import copy
from typing import Generic, TypeVar, cast

from latchkey.errors import StoreError

PATIENCE = 5.0
"""Seconds for which a request waits for the read of another: longer than a read may take."""

K = TypeVar("K", bound=Hashable)
W = TypeVar("W", bound=Hashable)
T = TypeVar("T")


class _Flight(Generic[W, T]):
    """A database read in progress, with the ticket that was loaded before it began."""

    __slots__ = ("_aloft", "error", "result", "ticket")

    def __init__(self, ticket: W) -> None:
        self.ticket = ticket
        # Held until the flight has landed. An Event would be slower to create for each miss.
        self._aloft = threading.Lock()
        self._aloft.acquire()
        self.result: T | None = None
        self.error: Exception | None = None

    def land(self) -> None:
        """Wake all waiters, and let later ones pass: the outcome is available."""
        self._aloft.release()

    def await_landing(self) -> None:
        """Wait for a result or an error; raises StoreError after ``PATIENCE``."""
        if not self._aloft.acquire(timeout=PATIENCE):
            raise StoreError(f"a read of the database has taken longer than {PATIENCE:.0f} s")
        self._aloft.release()


class FlightAborted(Exception):
    """The thread that led a flight was terminated during it."""


class SingleFlight(Generic[K, W, T]):
    """Flights by key. A waiter takes a flight's result only under the flight's own ticket.

    With an older ticket, it could return a row that was read before a revocation that it has
    already seen. A ticket is whatever changes with every change that the result may depend on.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[W, T]] = {}
        self._lock = threading.Lock()

    def fly(self, key: K, ticket_of: Callable[[K], W], load: Callable[[K, W], T]) -> T:
        """The result of ``load(key, ticket)``, shared with every caller under the same ticket.

        Every exception of the leader's ``load`` is also raised in its waiters, which never hang.
        """
        ticket = ticket_of(key)
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and flight.ticket == ticket:
                waiting = True
            else:
                # A flight with an older ticket keeps its waiters; later callers join this one.
                flight = self._flights[key] = _Flight(ticket)
                waiting = False
        if not waiting:
            return self._lead(key, flight, load)
        flight.await_landing()
        if flight.error is not None:
            # A copy, because one exception raised in many threads would share one traceback.
            raise copy(flight.error)
        return cast(T, flight.result)

    def _lead(self, key: K, flight: _Flight[W, T], load: Callable[[K, W], T]) -> T:
        try:
            result = flight.result = load(key, flight.ticket)
            return result
        except Exception as error:
            flight.error = error
            raise
        except BaseException:
            flight.error = FlightAborted()
            raise
        finally:
            try:
                with self._lock:
                    if self._flights.get(key) is flight:
                        del self._flights[key]
            finally:
                flight.land()
