"""The clock of the leases: it also runs while the machine is suspended."""

from __future__ import annotations

import sys
import time

if sys.platform == "linux":

    def boot_ns() -> int:
        """Nanoseconds of CLOCK_BOOTTIME, the same in all processes on the machine."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

else:
    # Only on Linux can several boxes share a database.
    boot_ns = time.monotonic_ns
