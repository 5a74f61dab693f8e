"""The program that starts Locust: imports it once, and forks for each command line that it reads.

Each line of its input is a JSON object: the ``arguments`` of Locust, the ``directory`` to run in,
the ``log`` for what it prints, and the ``cores`` to run on by number, or null for all. It answers
with two lines: at once the number of the process, which leads a process group of its own, and its
exit status when it has ended. What runs while this is told to end is killed.
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

# What the locustfile imports; itself it is loaded by Locust, in each process anew.
from benchmarks.load import credentials, recording, requesting

__all__ = ["credentials", "main", "recording", "requesting"]


def main() -> None:
    """Start what is asked for, one after another, until the input ends."""
    gc.collect()
    # Pages with what was imported stay shared, as Locust itself does it for several processes.
    gc.freeze()
    for line in sys.stdin.buffer:
        process = fork_gevent()
        if process == 0:
            _become(json.loads(line))
            locust.main.main()
            return
        # Here too: it must be so before anybody is told the number.
        with suppress(PermissionError, ProcessLookupError):
            os.setpgid(process, process)
        signal.signal(signal.SIGTERM, lambda *_, process=process: _end_with(process))
        _say(process)
        _, status = os.waitpid(process, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _say(os.waitstatus_to_exitcode(status))


def _become(job: dict[str, Any]) -> None:
    """Make a forked process what the job says."""
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
