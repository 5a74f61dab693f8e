"""The file of a segment: opened safely, locked by ranges of bytes, given a name when whole.

Locks are those of open file descriptions (F_OFD_SETLK): the kernel releases them when the
last descriptor of the description is closed, so also at any death; and a lock that is to
become exclusive stays a shared one where that fails, which flock does not promise. They
lie on bytes far beyond the data.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from pathlib import Path

from fastcache.shared.errors import (
    SegmentError,
    SegmentForbidden,
    SegmentFull,
    SegmentMissing,
    SegmentUnusable,
)

HOLDERS = 1 << 62
"""The byte that whoever uses a segment holds a shared lock on."""
CLAIMS = HOLDERS + 1
"""The first of the bytes that are claimed, by one each."""

PATIENCE = 1.0
"""How long to wait, in seconds, for another process that makes or removes a segment."""
PAUSE = 0.01

SHARED = fcntl.F_RDLCK
EXCLUSIVE = fcntl.F_WRLCK
UNLOCKED = fcntl.F_UNLCK

# struct flock: type, whence, start, length, process (0 for these locks), and its padding.
_LOCK = struct.Struct("@hhqqi4x")

_FLAGS = os.O_RDWR | os.O_CLOEXEC
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.ENOMEM)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


def open_existing(path: str, owner: int | None = None) -> int:
    """Open a segment's file: a regular file of this user's that nobody else may open.

    With an `owner`, a file of that user's. Whoever can write a segment decides what is in it, so
    root trusts no other user's unless it is told to. SegmentMissing, SegmentForbidden or
    SegmentUnusable otherwise.
    """
    try:
        # Not waiting: it could be a pipe.
        fd = os.open(path, _FLAGS | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _explained(error, path) from error
    try:
        _check_ownership(fd, path, os.geteuid() if owner is None else owner)
    except SegmentError:
        os.close(fd)
        raise
    return fd


def open_again(fd: int, path: str) -> int:
    """Open the file of a descriptor by a description of its own, whatever its name leads to."""
    try:
        return os.open(f"/proc/self/fd/{fd}", _FLAGS)
    except FileNotFoundError as error:
        raise SegmentError(f"{path} cannot be opened again: /proc is not mounted") from error
    except OSError as error:
        raise _explained(error, path) from error


def open_nameless(path: str) -> int:
    """Make a file that has no name yet, in the directory of `path`.

    Nothing stays of it when this process dies.
    """
    directory = os.path.dirname(path)
    try:
        fd = os.open(directory, _FLAGS | os.O_TMPFILE, 0o600)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise SegmentError(
                f"the file system of {directory} cannot hold a segment: it has no nameless files; "
                "use a tmpfs, such as /dev/shm"
            ) from error
        raise _explained(error, path) from error
    # Whatever the umask.
    os.fchmod(fd, 0o600)
    return fd


def open_in_memory(name: str) -> int:
    """Make a file that lies in no directory, and that only this process and its children have."""
    try:
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
    except OSError as error:
        raise SegmentError(f"the system has no memory files: {error.strerror}") from error
    os.fchmod(fd, 0o600)
    return fd


def give_name(fd: int, path: str) -> None:
    """Link a nameless file to its name; FileExistsError where that is taken."""
    # With a descriptor of a directory, so that the link of /proc is followed.
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(f"/proc/self/fd/{fd}", os.path.basename(path), dst_dir_fd=directory)
    except FileExistsError:
        raise
    except OSError as error:
        raise _explained(error, path) from error
    finally:
        os.close(directory)


def leads_to(path: str, fd: int) -> bool:
    """Whether a name is that of the file of a descriptor."""
    try:
        named = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(named, os.fstat(fd))


def back(fd: int, offset: int, size: int, path: str) -> None:
    """Have the system set storage aside, so that the range can be used without a fault.

    What is there already stays. SegmentFull where there is not enough.
    """
    try:
        os.posix_fallocate(fd, offset, size)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise SegmentFull(
                f"no room for {size} bytes of {path}: {error.strerror}; make room in "
                f"{os.path.dirname(path)}, or use another directory or a smaller size"
            ) from error
        raise _explained(error, path) from error


def extend(fd: int, total: int, path: str) -> None:
    """Give a file its length, with nothing behind it yet."""
    try:
        os.ftruncate(fd, total)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise SegmentFull(
                f"{path} cannot have {total} bytes: {error.strerror}; use a smaller size"
            ) from error
        raise _explained(error, path) from error


def lock(fd: int, kind: int, byte: int) -> bool:
    """Take a lock without waiting; False where another description has one against it."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _LOCK.pack(kind, os.SEEK_SET, byte, 1, 0))
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        raise SegmentError(f"the system cannot lock a segment: {error.strerror}") from error
    return True


def is_locked(fd: int, byte: int) -> bool:
    """Whether another description has a lock on a byte."""
    asked = _LOCK.pack(EXCLUSIVE, os.SEEK_SET, byte, 1, 0)
    kind: int = _LOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked))[0]
    return kind != fcntl.F_UNLCK


def claim_byte(index: int) -> int:
    """The byte whose lock is the claim of a number."""
    if not 0 <= index < HOLDERS - 1:
        raise ValueError(f"a claim is a number from 0, not {index}")
    return CLAIMS + index


def boot_id() -> bytes:
    """16 bytes that are drawn each time the machine starts."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    except OSError as error:
        raise SegmentError("the boot of the machine is not known: /proc is not mounted") from error
    return bytes.fromhex(text.strip().replace("-", ""))


def open_held(path: str, owner: int | None = None) -> int:
    """A descriptor of the file that the name leads to, with the lock of a holder."""
    until = time.monotonic() + PATIENCE
    while True:
        fd = open_existing(path, owner)
        held = False
        try:
            held = lock(fd, SHARED, HOLDERS) and leads_to(path, fd)
        finally:
            if not held:
                os.close(fd)
        if held:
            return fd
        # Somebody is removing it: the name will be gone, or lead to another.
        if time.monotonic() > until:
            raise SegmentError(f"{path} is being removed by a process that does not finish")
        time.sleep(PAUSE)


def remove_unheld(path: str) -> bool:
    """Take the name of an unusable file away; False where somebody holds it."""
    try:
        fd = open_existing(path)
    except SegmentMissing:
        return True
    try:
        if not lock(fd, EXCLUSIVE, HOLDERS):
            return False
        if leads_to(path, fd):
            os.unlink(path)
        return True
    finally:
        os.close(fd)


def _check_ownership(fd: int, path: str, owner: int) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise SegmentUnusable(f"{path} is not a regular file; move it away, or use another name")
    if found.st_uid != owner:
        raise SegmentForbidden(
            f"{path} belongs to user {found.st_uid}, not to {owner}; run as that user"
        )
    if found.st_mode & 0o077:
        raise SegmentForbidden(
            f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):04o}); "
            "remove it, or give it mode 0600 if you trust what is in it"
        )


def _explained(error: OSError, path: str) -> SegmentError:
    """What an error of the system means for a segment."""
    directory = os.path.dirname(path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if not os.path.isdir(directory):
            return SegmentMissing(f"there is no directory {directory}: make it, or use another")
        return SegmentMissing(f"there is no segment {path}")
    if error.errno == errno.ELOOP:
        return SegmentForbidden(f"{path} is a symbolic link, which is not followed; remove it")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SegmentForbidden(
            f"{path} cannot be opened or made by user {os.geteuid()}: {error.strerror}; "
            "run as the user it belongs to, or use another directory"
        )
    if error.errno in (errno.EISDIR, errno.ENXIO, errno.ENODEV):
        return SegmentUnusable(f"{path} is not a regular file; move it away, or use another name")
    return SegmentError(f"{path}: {error.strerror}")
