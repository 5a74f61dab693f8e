"""Programs that stand first in the PATH of a page's shell.

``latchkey`` is the real command, forked from a process that has loaded it. ``install-packages``
takes the place of pip's download: it links what the running environment has into a virtual
environment, and fails for what it does not have. ``sudo`` runs the rest of its line as this user.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import sysconfig
import threading
from contextlib import suppress
from pathlib import Path

from tests.support import forked

_LARGEST = 1 << 20

_LATCHKEY = """\
#!{python} -IS
import json, os, signal, socket, sys
asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
asking.connect({address!r})
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
    signal.signal(number, lambda number, frame: asking.send(b"%d" % number))
asked = [sys.argv[1:], os.getcwd(), dict(os.environ)]
socket.send_fds(asking, [json.dumps(asked).encode()], [0, 1, 2])
status = int(asking.recv(64) or 70)
sys.exit(status if status >= 0 else 128 - status)
"""

_SUDO = """\
#!/bin/bash
while [ "$#" -gt 0 ]; do
    case "$1" in
        -u|-g) shift 2 ;;
        -*) shift ;;
        *) break ;;
    esac
done
exec "$@"
"""

_INSTALL = """\
#!{python} -I
import os, re, sys
from importlib.metadata import distribution
from pathlib import Path
environment = Path(sys.argv[1] or os.environ["VIRTUAL_ENV"])
for name in sys.argv[2:]:
    if not name.startswith("-"):
        distribution(re.split(r"[\\[<>=!~]", name)[0])
(packages,) = environment.glob("lib/python*/site-packages")
(packages / "checkout.pth").write_text("import site; site.addsitedir({packages!r})\\n")
for program in Path({programs!r}).iterdir():
    there = environment / "bin" / program.name
    if there.exists() or not program.is_file():
        continue
    with program.open("rb") as file:
        # Programs that are not scripts may be large.
        if file.readline(1000) == b"#!{python}\\n":
            python = bytes(environment.absolute() / "bin" / "python")
            there.write_bytes(b"#!" + python + b"\\n" + file.read())
            there.chmod(0o755)
latchkey = environment / "bin" / "latchkey"
latchkey.unlink(missing_ok=True)
latchkey.symlink_to({latchkey!r})
"""


class Programs:
    """The directory of the programs, and the thread that serves the forked ``latchkey``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "programs"
        self.directory.mkdir()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(directory / "latchkey"))
        self._listener.listen(64)
        self._write(
            "latchkey", _LATCHKEY.format(python=sys.executable, address=str(directory / "latchkey"))
        )
        self._write("sudo", _SUDO)
        self._write(
            "install-packages",
            _INSTALL.format(
                python=sys.executable,
                packages=sysconfig.get_path("purelib"),
                programs=str(Path(sys.executable).parent),
                latchkey=str(self.directory / "latchkey"),
            ),
        )
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Answer no further ``latchkey``; those that run go on."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)
        (self.directory / name).chmod(0o755)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    """Run one ``latchkey`` to its end; signals of the program that stands for it are passed on."""
    with connection:
        data, streams, _, _ = socket.recv_fds(connection, _LARGEST, 3)
        if not data:
            return
        arguments, directory, environment = json.loads(data)
        input_, output, error = streams
        process = forked.start(
            arguments,
            directory=Path(directory),
            environment=environment,
            streams=(input_, output, error),
        )
        for stream in streams:
            os.close(stream)
        while process.poll() is None:
            if (
                not select.select([connection.fileno(), process.fileno()], [], [])[0]
                or process.poll() is not None
            ):
                continue
            signalled = connection.recv(64)
            if not signalled:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(60)
                process.kill()
                process.wait()
                return
            process.send_signal(int(signalled))
        with suppress(OSError):
            connection.send(b"%d" % process.wait())
