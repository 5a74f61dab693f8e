"""Signals that arrive before gunicorn's master has its handlers: they wait for these handlers.

Their default effect would end or stop a process that is still loading or migrating.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

# The signals that mean something else to gunicorn than to end.
_HELD = frozenset({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU})


@contextmanager
def hold_signals() -> Iterator[None]:
    """Keep these signals pending until ``release_signals`` or the end of the block.

    Signals that are still pending at its end are discarded, so that a failed start reports its
    reason.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        while signal.sigtimedwait(_HELD - before, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals() -> None:
    """Deliver the pending signals, and all later ones, to the handlers that are now installed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
