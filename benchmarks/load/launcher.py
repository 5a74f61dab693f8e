"""The program that starts Locust: it imports Locust once, and forks for each command line it reads.

Each line of its input is a JSON object: the ``arguments`` of Locust, the ``directory`` to run in,
the ``log`` for its output, and the ``cores`` to run on, by number, or null for all. It answers with
two lines: immediately the id of the new process, which leads its own process group, and later its
exit status. When the launcher is told to end, it kills the running process.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import locust.main
from gevent.os import fork_gevent

# The imports of the locustfile. Locust loads the locustfile itself in each process.
from benchmarks.load import credentials, recording, requesting

__all__ = ["credentials", "main", "recording", "requesting"]


def main() -> None:
    """Start the requested processes, one after another, until the input ends."""
    gc.collect()
    # Keep the pages of imported modules shared, as Locust does for several processes.
    gc.freeze()
    for line in sys.stdin.buffer:
        process = fork_gevent()
        if process == 0:
            _become(json.loads(line))
            locust.main.main()
            return
        # Also in the parent: the group must exist before the id is reported.
        with suppress(PermissionError, ProcessLookupError):
            os.setpgid(process, process)
        signal.signal(signal.SIGTERM, lambda *_, process=process: _end_with(process))
        _say(process)
        _, status = os.waitpid(process, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _say(os.waitstatus_to_exitcode(status))


def _become(job: dict[str, Any]) -> None:
    """Set up a forked process for the job."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(job["directory"])
    if job["cores"] is not None:
        os.sched_setaffinity(0, job["cores"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor, replaced in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, replaced)
    sys.argv = ["locust", *job["arguments"]]


def _end_with(process: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    sys.exit(1)


def _say(figure: int) -> None:
    print(figure, flush=True)


if __name__ == "__main__":
    main()
