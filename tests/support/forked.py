"""``latchkey`` in processes that are forked from one that has loaded it, which saves the load time.

After the fork they behave like the command, with their own settings, directory and output, and with
gunicorn's own forks, sockets and signals. Only the ``exec`` is left out.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

_LATCHKEY = Path(sys.executable).with_name("latchkey")
_LARGEST = 1 << 20

# Of <linux/prctl.h> and <linux/capability.h>.
_PR_CAPBSET_DROP = 24
_CAPABILITY_VERSION = 0x20080522

COMMAND = "from latchkey_service.cli import main; main()"
"""The code that the executable runs."""


class Forked:
    """A process with the part of ``subprocess.Popen``'s interface that services need."""

    def __init__(self, template: _Template, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._template = template
        # It was not waited for, so its process id is not reused.
        self._handle = os.pidfd_open(pid)

    def fileno(self) -> int:
        """A descriptor that is readable once it has ended, while it has not been waited for."""
        return self._handle

    def poll(self) -> int | None:
        """The exit status (negative for a signal), or None while it runs."""
        if self.returncode is None and select.select([self._handle], [], [], 0)[0]:
            self._reap()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends, at most ``timeout`` seconds; raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._handle], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("latchkey", timeout or 0)
            self._reap()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _reap(self) -> None:
        self.returncode = self._template.ask({"wait": self.pid})
        os.close(self._handle)


def start(
    arguments: list[str],
    *,
    code: str = COMMAND,
    directory: Path,
    environment: dict[str, str],
    streams: tuple[int, int, int],
    new_session: bool = False,
    unprivileged: bool = False,
) -> Forked:
    """Run ``latchkey``, or other code of the application, with these arguments.

    ``streams`` are the descriptors of its standard input, output and error. A new session has no
    controlling terminal. An unprivileged process of root has none of its capabilities, like one
    that ``setpriv`` starts.
    """
    template = _template()
    asked = {
        "code": code,
        "arguments": arguments,
        "directory": str(directory),
        "environment": environment,
        "new_session": new_session,
        "unprivileged": unprivileged,
    }
    return Forked(template, template.ask(asked, *streams))


@dataclass(frozen=True)
class Piped:
    """A process whose standard input and output are pipes to this one."""

    process: Forked
    input: TextIO
    output: TextIO


@contextmanager
def piped(
    arguments: list[str], *, code: str, directory: Path, environment: dict[str, str]
) -> Iterator[Piped]:
    """The same with pipes; after the block, its input ends, and it is waited for."""
    for_input, our_input = os.pipe()
    our_output, for_output = os.pipe()
    try:
        process = start(
            arguments,
            code=code,
            directory=directory,
            environment=environment,
            streams=(for_input, for_output, 2),
        )
    finally:
        os.close(for_input)
        os.close(for_output)
    with open(our_output) as output:
        with open(our_input, "w") as given:
            yield Piped(process, given, output)
        process.wait()


class _Template:
    """The process that has loaded everything, which forks on request."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forked"],
                stdin=theirs.fileno(),
                cwd=Path(__file__).parents[2],
            )
        # It ends by itself when its socket is closed.
        atexit.register(self._end)

    def ask(self, question: dict[str, Any], *descriptors: int) -> int:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(question).encode()], descriptors)
            answer = self._socket.recv(_LARGEST)
        if not answer:
            raise RuntimeError("the process that forks services has ended")
        return int(answer)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()


@lru_cache(maxsize=1)
def _template() -> _Template:
    return _Template()


def _stand() -> str:
    """Load everything, then fork for each request; in a child, return the request."""
    import latchkey_service.cli as commands
    from latchkey.store.sqlite import migrate
    from tests.support.migrating import MigrationInFork

    vars(migrate)["subprocess"] = MigrationInFork()
    # With what `latchkey serve`, an opened store and each command load when they are used.
    later = ["latchkey_service.server.master", "latchkey.store.sqlite.connections"]
    later += ["latchkey.store.credentials"]
    later += [
        each.name for each in pkgutil.iter_modules(commands.__path__, f"{commands.__name__}.")
    ]
    for name in later:
        importlib.import_module(name)

    gc.collect()
    gc.freeze()
    asking = socket.socket(fileno=0)
    running: set[int] = set()
    while True:
        # The environment of the test run is part of the request.
        data, streams, _, _ = socket.recv_fds(asking, _LARGEST, 3)
        if not data:
            for pid in running:
                os.kill(pid, signal.SIGTERM)
            sys.exit()
        question = json.loads(data)
        if "wait" in question:
            running.remove(question["wait"])
            _, status = os.waitpid(question["wait"], 0)
            asking.send(b"%d" % os.waitstatus_to_exitcode(status))
            continue
        pid = os.fork()
        if pid == 0:
            asking.detach()
            _become(question, streams)
            return str(question["code"])
        running.add(pid)
        for stream in streams:
            os.close(stream)
        asking.send(b"%d" % pid)


def _become(asked: dict[str, Any], streams: list[int]) -> None:
    """Set up a forked process as ``subprocess.Popen`` does a new one."""
    for wanted, given in enumerate(streams):
        os.dup2(given, wanted)
        os.close(given)
    if asked.get("new_session"):
        os.setsid()
    if asked.get("unprivileged"):
        _drop_capabilities()
    os.chdir(asked["directory"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = [str(_LATCHKEY), *asked["arguments"]]
    sys.path[0] = str(_LATCHKEY.parent)


def _drop_capabilities() -> None:
    """Drop all capabilities of this process, also those that an ``exec`` would give root again."""
    system = ctypes.CDLL(None, use_errno=True)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    done = [system.prctl(_PR_CAPBSET_DROP, each, 0, 0, 0) for each in range(last + 1)]
    if any(done) or system.capset(header, none):
        raise OSError(ctypes.get_errno(), "the capabilities were not dropped")


if __name__ == "__main__":
    exec(_stand(), {"__name__": "__main__"})  # noqa: S102
