"""The standard streams of a command: closed and broken streams never cause a traceback."""

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
# Errors without a file name that mean that a device accepts no output.
_OUTPUT_FAILED = (errno.ENOSPC, errno.EBADF, errno.EIO, errno.EDQUOT, errno.EFBIG)


def prepare() -> None:
    """Make the streams usable, before anything is opened or printed.

    Closed streams are opened, so that no file that is opened later gets their descriptors. Writing
    to a closed standard output fails, as in other programs. Text that standard error cannot accept
    is lost.
    """
    for number in _NUMBERS:
        try:
            os.fstat(number)
        except OSError:
            flags = os.O_RDWR if number == 2 else os.O_RDONLY
            # open() returns the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, flags), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays open
    if sys.stdout is None:
        sys.stdout = _unbuffered_open(1)
    if sys.stderr is None:
        sys.stderr = _unbuffered_open(2)
    for stream in (sys.stdout, sys.stderr):
        # Fails if the stream was redirected to another file after it was opened.
        with suppress(OSError):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")


def finish() -> None:
    """Flush standard output, so that the interpreter does not fail to do so when it exits.

    Raises OSError if the output fails.
    """
    sys.stdout.flush()


def abandon_if_broken() -> None:
    """Redirect a broken standard output to /dev/null; the interpreter would report it at exit."""
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
    """The message for an error of the operating system; None if the reader closed the pipe."""
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
    """Open a file for writing in UTF-8, replacing its contents; - is standard output.

    The caller's permissions apply, even if the command acts as the instance's owner.
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
    """The contents of a file; - is standard input."""
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise LatchkeyError(f"{file}: {error.strerror}") from None


def _unbuffered_open(number: int) -> TextIO:
    return open(number, "w", encoding="utf-8", closefd=False)
