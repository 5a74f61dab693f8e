"""Single flight: many simultaneous misses of one key make one database read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from copy import copy
from typing import Generic, TypeVar, cast

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class _Flight(Generic[T]):
    """One read under way, under the ticket that was loaded before it began."""

    __slots__ = ("error", "landed", "result", "ticket")

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        self.landed = threading.Event()
        self.result: T | None = None
        self.error: Exception | None = None


class FlightAborted(Exception):
    """The thread that led a flight was torn down in the middle of it."""


class SingleFlight(Generic[K, T]):
    """Flights by key. A waiter takes a flight's result only under the flight's own ticket.

    Were it to take one that began under an older ticket, it could hand out what was read before
    a revocation that it has already seen.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}
        self._lock = threading.Lock()

    def fly(self, key: K, ticket_of: Callable[[K], int], load: Callable[[K, int], T]) -> T:
        """The result of ``load(key, ticket)``, shared with every caller under the same ticket.

        Whatever the leader's ``load`` raises, its waiters get too: they are never left behind.
        """
        ticket = ticket_of(key)
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and flight.ticket == ticket:
                waiting = True
            else:
                # The place may belong to a flight that an invalidation overtook: its own
                # waiters hold on to it, newcomers find this one.
                flight = self._flights[key] = _Flight(ticket)
                waiting = False
        if not waiting:
            return self._lead(key, flight, load)
        flight.landed.wait()
        if flight.error is not None:
            # A copy: one exception raised by many threads would share one traceback.
            raise copy(flight.error)
        return cast(T, flight.result)

    def _lead(self, key: K, flight: _Flight[T], load: Callable[[K, int], T]) -> T:
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
            with self._lock:
                if self._flights.get(key) is flight:
                    del self._flights[key]
            flight.landed.set()
