"""A shell in which the blocks of a page run one after another, as a reader types them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SHORTLY = 20.0
# An interactive shell stays after a failed command; here it ends, which is how a test notices.
_STRICT = "set -e"


class Failed(AssertionError):
    """A command of a block failed; the message has what was printed."""


@dataclass
class Server:
    """The process group that a `serve` block started, and the file with its output."""

    group: int
    output: Path

    def is_running(self) -> bool:
        """Whether any process of it is left; one that has ended may wait for its parent."""
        if not self._exists():
            return False
        for process in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                state, _, group = process.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.group and state not in "ZX":
                    return True
        return False

    def stop(self) -> None:
        """Stop all of its processes: by SIGTERM, and after a while by SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            # The number of a group that has ended may be that of another one.
            if not self.is_running():
                return
            with suppress(ProcessLookupError):
                os.killpg(self.group, number)
            deadline = time.monotonic() + _SHORTLY
            while self.is_running() and time.monotonic() < deadline:
                # Reading the states of all processes takes longer than this.
                for _ in range(10):
                    if self._exists():
                        time.sleep(0.03)

    def _exists(self) -> bool:
        """Whether the group has processes, also such as have ended."""
        try:
            os.killpg(self.group, 0)
        except ProcessLookupError:
            return False
        return True


class Shell:
    """One bash; its directory, its variables and its virtual environment stay between blocks."""

    def __init__(self, directory: Path, files: Path, environment: dict[str, str]) -> None:
        self._files = files
        self._number = 0
        self._said, written = os.pipe()
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(written,),
            text=True,
        )
        self._answers = f"/dev/fd/{written}"
        # A server may run longer than the shell, so it must not inherit the pipe of the answers.
        self._closed = f"{written}>&-"
        os.close(written)

    def run(self, script: str, status: int = 0) -> str:
        """Run a script, which must end with this status; returns its output."""
        file, output = self._write(script)
        guard = f"{_STRICT}\n" if status == 0 else ""
        answer = self._ask(f"{guard}. {file} >{output} 2>&1 </dev/null\n", "$?")
        printed = output.read_text("utf-8", "replace")
        if answer != str(status):
            ended = f"ended with {answer}" if answer else "failed"
            raise Failed(f"{ended}:\n{script}\n--- printed:\n{printed}")
        return printed

    def serve(self, script: str) -> Server:
        """Start a script in the background, in a process group of its own.

        It is given the variables that are exported.
        """
        file, output = self._write(script)
        started = f"setsid bash --norc {file} >{output} 2>&1 </dev/null {self._closed} &\n"
        group = int(self._ask(started, "$!"))
        # Until setsid has run, the process has no group, and would look like one that has ended.
        with suppress(ProcessLookupError):
            while os.getpgid(group) != group:
                time.sleep(0.01)
        return Server(group, output)

    def directory(self) -> Path:
        """The directory in which the next block runs."""
        return Path(self._ask("", "$PWD"))

    def python(self) -> str:
        """The interpreter that a reader starts by `python` or, without one, `python3`."""
        return self._ask("", '"$(command -v python || command -v python3)"')

    def environment(self) -> dict[str, str]:
        """The environment of the programs in the next block."""
        _, output = self._write("")
        self._ask(f"env -0 >{output}\n", "$?")
        pairs = output.read_text("utf-8").rstrip("\0").split("\0")
        return dict(pair.split("=", 1) for pair in pairs)

    def close(self) -> None:
        """End the shell, but not the servers that it started."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait(_SHORTLY)
        os.close(self._said)

    def _write(self, script: str) -> tuple[Path, Path]:
        self._number += 1
        file = self._files / f"block-{self._number}.sh"
        file.write_text(script, "utf-8")
        return file, file.with_suffix(".out")

    def _ask(self, script: str, question: str) -> str:
        """Run lines in the shell itself; the value of a variable after them, or nothing."""
        assert self._process.stdin is not None
        asked = f"{script}{{ set +e; printf '%s\\n' {question}; }} 2>/dev/null >{self._answers}\n"
        # "$?" is that of the script, not that of `set`.
        if question == "$?":
            asked = f"{script}__status=$?; set +e; printf '%s\\n' $__status >{self._answers}\n"
        try:
            self._process.stdin.write(asked)
            self._process.stdin.flush()
        except BrokenPipeError:
            return ""
        answer = b""
        while not answer.endswith(b"\n"):
            chunk = os.read(self._said, 4096)
            if not chunk:
                return ""
            answer += chunk
        return answer.decode().strip()
