"""A full disk: a small file system if one can be mounted, otherwise a limit."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.faults.service_processes import workers
from tests.support.service import Service

_SIZE = 2 * 1024 * 1024
# In the header of the log's index: the page size, the last frame, the pages of the database.
_INDEX = struct.Struct("=14x H 4x I")


def can_mount() -> bool:
    """Whether this user may mount a file system on this machine."""
    try:
        with tempfile.TemporaryDirectory() as name, mounted(Path(name)):
            return True
    except subprocess.CalledProcessError:
        return False


@contextmanager
def mounted(directory: Path) -> Iterator[None]:
    """Mount a small file system in memory on a directory; raises CalledProcessError."""
    options = f"size={_SIZE},mode=700"
    command = ["mount", "-t", "tmpfs", "-o", options, "latchkey-test", str(directory)]
    subprocess.run(command, capture_output=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@contextmanager
def filled(directory: Path) -> Iterator[None]:
    """Fill the file system of the directory completely, until the end of the block."""
    ballast = directory / "ballast"
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        size = 64 * 1024
        while size:
            try:
                os.write(descriptor, bytes(size))
            except OSError:
                size //= 2
        yield
    finally:
        os.close(descriptor)
        ballast.unlink()


def needs_room(service: Service) -> bool:
    """Whether the database must grow before its log can be copied completely, and restarted."""
    index = service.database.with_name(f"{service.database.name}-shm")
    page_size, pages = _INDEX.unpack_from(index.read_bytes())
    return int(page_size * pages) > service.database.stat().st_size


@contextmanager
def limited(service: Service) -> Iterator[None]:
    """Limit the workers' files to the present size of the database, so that it cannot grow."""
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in workers(service)}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (service.database.stat().st_size, hard))
    try:
        yield
    finally:
        for pid, limit in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
