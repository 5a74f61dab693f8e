"""The file of a segment: opened safely, locked by byte ranges, and named when it is complete.

Locks are those of open file descriptions (F_OFD_SETLK). The kernel releases them when the last
descriptor of the description is closed, and so when a process dies. If changing a shared lock to an
exclusive one fails, the shared lock is kept, which flock does not guarantee. The locked bytes are
far beyond the data.
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
"""The byte on which every user of a segment holds a shared lock."""
CLAIMS = HOLDERS + 1
"""The first of the bytes for claims, one for each number."""

PATIENCE = 1.0
"""How long to wait, in seconds, for another process that creates or removes a segment."""
PAUSE = 0.01

SHARED = fcntl.F_RDLCK
EXCLUSIVE = fcntl.F_WRLCK
UNLOCKED = fcntl.F_UNLCK

# struct flock: type, whence, start, length, process (0 for these locks), and padding.
_LOCK = struct.Struct("@hhqqi4x")

_FLAGS = os.O_RDWR | os.O_CLOEXEC
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.ENOMEM)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


def open_existing(path: str, owner: int | None = None) -> int:
    """Open a segment's file: a regular file of this user that no other user may open.

    With `owner`, it must belong to that user. A user who can write to a segment decides what is in
    it, so even root accepts another user's only if `owner` says so. Otherwise raises
    SegmentMissing, SegmentForbidden or SegmentUnusable.
    """
    try:
        # Without waiting: the file may be a pipe.
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
    """Open the file of a descriptor again, independent of its name."""
    try:
        return os.open(f"/proc/self/fd/{fd}", _FLAGS)
    except FileNotFoundError as error:
        raise SegmentError(f"{path} cannot be opened again: /proc is not mounted") from error
    except OSError as error:
        raise _explained(error, path) from error


def open_nameless(path: str) -> int:
    """Create a file without a name, in the directory of `path`.

    It disappears if this process dies.
    """
    directory = os.path.dirname(path)
    try:
        fd = os.open(directory, _FLAGS | os.O_TMPFILE, 0o600)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise SegmentError(
                f"the file system of {directory} does not support nameless files "
                "(O_TMPFILE), which a segment needs; use a tmpfs, such as /dev/shm"
            ) from error
        raise _explained(error, path) from error
    # Independent of the umask.
    os.fchmod(fd, 0o600)
    return fd


def open_in_memory(name: str) -> int:
    """Create a file in no directory, for this process and its children."""
    try:
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
    except OSError as error:
        raise SegmentError(f"the kernel cannot create memory files: {error.strerror}") from error
    os.fchmod(fd, 0o600)
    return fd


def give_name(fd: int, path: str) -> None:
    """Link a nameless file to its name; raises FileExistsError if the name is taken."""
    # With the descriptor of a directory, so that the link in /proc is followed.
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
    """Whether a name leads to the file of a descriptor."""
    try:
        named = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return os.path.samestat(named, os.fstat(fd))


def back(fd: int, offset: int, size: int, path: str) -> None:
    """Allocate storage for a range, so that using it cannot fail.

    The content is unchanged. Raises SegmentFull if there is not enough storage.
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
    """Set the length of a file, without allocating storage."""
    try:
        os.ftruncate(fd, total)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise SegmentFull(
                f"{path} cannot have {total} bytes: {error.strerror}; use a smaller size"
            ) from error
        raise _explained(error, path) from error


def lock(fd: int, kind: int, byte: int) -> bool:
    """Take a lock without waiting; False if another description has a conflicting lock."""
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
    """16 random bytes that the kernel chooses at each boot."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    except OSError as error:
        raise SegmentError("the boot id cannot be read: /proc is not mounted") from error
    return bytes.fromhex(text.strip().replace("-", ""))


def open_held(path: str, owner: int | None = None) -> int:
    """A descriptor of the file at a path, with a holder's lock."""
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
        # Another process is removing it: soon, the name is gone or leads to another file.
        if time.monotonic() > until:
            raise SegmentError(f"{path} is being removed by a process that does not finish")
        time.sleep(PAUSE)


def remove_unheld(path: str) -> bool:
    """Remove the name of an unusable file; False if a process holds it."""
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
    """Translate an error of the system into the error of a segment."""
    directory = os.path.dirname(path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if not os.path.isdir(directory):
            return SegmentMissing(f"there is no directory {directory}: create it, or use another")
        return SegmentMissing(f"there is no segment {path}")
    if error.errno == errno.ELOOP:
        return SegmentForbidden(f"{path} is a symbolic link, which is not followed; remove it")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SegmentForbidden(
            f"user {os.geteuid()} cannot open or create {path}: {error.strerror}; "
            "run as the user that owns it, or use another directory"
        )
    if error.errno in (errno.EISDIR, errno.ENXIO, errno.ENODEV):
        return SegmentUnusable(f"{path} is not a regular file; move it away, or use another name")
    return SegmentError(f"{path}: {error.strerror}")
