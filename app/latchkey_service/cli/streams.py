"""The standard streams of a command: whatever they are, no output ends in a traceback."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from latchkey.errors import LatchkeyError
from latchkey.files.owner import as_caller
from latchkey.files.shared_places import open_output

_NUMBERS = (0, 1, 2)
# Of a failure without a file: what a device says that takes no output.
_OUTPUT_FAILED = (errno.ENOSPC, errno.EBADF, errno.EIO, errno.EDQUOT, errno.EFBIG)


def prepare() -> None:
    """Make the streams usable, before anything is opened or printed.

    A closed one is opened: else a file of ours would get its number. To write to a closed standard
    output fails, as everywhere; what standard error cannot take is lost.
    """
    for number in _NUMBERS:
        try:
            os.fstat(number)
        except OSError:
            flags = os.O_RDWR if number == 2 else os.O_RDONLY
            # The lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for good
    if sys.stdout is None:
        sys.stdout = _unbuffered_open(1)
    if sys.stderr is None:
        sys.stderr = _unbuffered_open(2)
    for stream in (sys.stdout, sys.stderr):
        # One that was given another file since it was opened may not be able to.
        with suppress(OSError):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")


def finish() -> None:
    """Write what is still held, and leave nothing for the interpreter to fail at.

    Raises OSError where standard output cannot take it.
    """
    sys.stdout.flush()


def abandon_if_broken() -> None:
    """Give standard output up where it fails: the interpreter would complain of it at its end."""
    try:
        sys.stdout.flush()
        return
    except (OSError, ValueError):
        pass
    with suppress(OSError, ValueError, io.UnsupportedOperation):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def reason_of(error: OSError) -> str | None:
    """What to say of a failure of the system, in one line; None where a reader has gone."""
    if error.errno == errno.EPIPE:
        return None
    if error.filename is None and error.errno in _OUTPUT_FAILED:
        return f"standard output: {error.strerror}"
    try:
        Path.cwd()
    except OSError as failed:
        return f"the working directory: {failed.strerror}"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


@contextmanager
def output_to(file: Path) -> Iterator[TextIO]:
    """A file to write to in UTF-8, new or instead of what it held; - is standard output.

    It is opened with the caller's rights, also by a command that works as the instance's owner.
    """
    if str(file) == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="replace")
        yield sys.stdout
        return
    try:
        with as_caller():
            descriptor = open_output(file)
        with open(descriptor, "w", encoding="utf-8") as opened:
            yield opened
    except OSError as error:
        raise LatchkeyError(f"{file}: {error.strerror}") from None


def input_from(file: Path) -> bytes:
    """All of a file; - is standard input."""
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise LatchkeyError(f"{file}: {error.strerror}") from None


def _unbuffered_open(number: int) -> TextIO:
    return open(number, "w", encoding="utf-8", closefd=False)
