"""The extent of the measurements, and the names of what is compared."""

from __future__ import annotations

from dataclasses import dataclass

LATCHKEY = "Latchkey"
FIXED, MOVING = "Flask-Limiter, fixed window", "Flask-Limiter, moving window"
PEERS = (FIXED, MOVING)
SUBJECTS = (LATCHKEY, *PEERS)

PATHS = {LATCHKEY: "/latchkey", FIXED: "/fixed", MOVING: "/moving"}
"""The path of each subject, in the same workers."""

WORKER = "/worker"
"""The path that answers with the process id of its worker."""

RATE = 100
"""Units per second, which is also the burst."""


@dataclass(frozen=True)
class LimitsSettings:
    """The counts of a run."""

    workers: tuple[int, ...] = (1, 4)
    """The numbers of gunicorn's workers that are compared."""
    starts: int = 3
    """How often the servers are started again, with each number of workers."""
    seconds: float = 5.0
    """How long each subject gets requests."""
    users: int = 32
    """Connections, which stay open; each sends a request when it has the answer to the last one."""


FULL = LimitsSettings()
QUICK = LimitsSettings(workers=(1, 2), starts=1, seconds=1.0, users=8)
