"""Files in places that other users can reach: checks of owner, mode and kind, and creation.

Every lock, key, head, draft, copy and socket of an instance is opened here. In a directory that
others can write to, a name may be a link, a pipe or another user's file. Such a file is refused
without waiting for it. A file that replaces another keeps its owner and its mode.
tests/test_shared_places.py lists the calls outside of this module, each with the reason.
"""

from __future__ import annotations

import errno
import os
import pwd
import secrets
import shlex
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE = 0o600
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_IS_LINK = "is a symbolic link, which is not followed: remove it"
_PAUSE = 0.1


class UnsafeFile(OSError):
    """A file that another user may have put there, or can change; ``strerror`` says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(errno.EPERM, reason, os.fspath(path))


def open_lock(path: Path, *, create: bool = True) -> int:
    """Open a lock file for reading and writing; if it is missing, create it with mode 0600.

    Raises UnsafeFile for a link, anything but a regular file, and another user's file; OSError.
    """
    while True:
        try:
            descriptor = _open(path, os.O_RDWR)
        except FileNotFoundError:
            if not create:
                raise
            with suppress(FileExistsError):
                return create_private(path)
            continue
        try:
            _require_own(descriptor, path)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def create_private(path: Path) -> int:
    """Create a new file with mode 0600, ignoring the umask; open for reading and writing.

    Raises FileExistsError if the name is taken, also by a link; OSError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, PRIVATE)
    try:
        os.fchmod(descriptor, PRIVATE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_regular(path: Path, flags: int = os.O_RDONLY, *, trusted: bool = False) -> int:
    """Open an existing regular file, also through links; for files that a setting names.

    ``flags`` are O_RDONLY or O_RDWR. Raises UnsafeFile for another kind of file, such as a pipe,
    without waiting, and with ``trusted`` for a file that another user may have put there; OSError.
    """
    descriptor = os.open(path, flags | (_OPEN & ~os.O_NOFOLLOW))
    try:
        found = os.fstat(descriptor)
        if trusted:
            _require_trusted(found, path)
        else:
            _require_regular(found, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_beside(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file that SQLite made beside a database, as ``require_beside`` demands.

    ``flags`` as in ``open_regular``. Raises UnsafeFile, without waiting; OSError.
    """
    descriptor = _open(path, flags)
    try:
        _require_trusted(os.fstat(descriptor), path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def require_regular(path: Path) -> None:
    """Raise UnsafeFile unless a path leads to a regular file, before SQLite opens it; OSError.

    The file is not opened: closing a descriptor would drop this process's locks on it.
    """
    _require_regular(path.stat(), path)


def require_beside(path: Path) -> None:
    """Like ``require_regular``, for a database and for a file that SQLite finds beside it.

    The file must not be a link, and must belong to this user, to root or to the owner of the
    directory. A missing file is accepted.
    """
    found = _status(path)
    if found is not None:
        _require_trusted(found, path)


def open_output(path: Path) -> int:
    """Open a command's output file: an existing one is emptied, a new one has mode 0600.

    In a world-writable directory, a link, a pipe or another user's file is refused, as the kernel
    does in sticky ones. A file that root creates belongs to the owner of the directory. Raises
    UnsafeFile; OSError.
    """
    directory = path.absolute().parent.stat()
    try:
        descriptor = create_private(path)
    except FileExistsError:
        pass
    else:
        if os.geteuid() == 0 and not directory.st_mode & stat.S_ISVTX:
            os.fchown(descriptor, directory.st_uid, directory.st_gid)
        return descriptor
    if not directory.st_mode & stat.S_IWOTH:
        # The path may be a device or a pipe, on which opening may wait.
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE)
    descriptor = _open(path, os.O_WRONLY)
    try:
        _require_own(descriptor, path)
        os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def replace_durably(path: Path, content: bytes) -> None:
    """Replace a file, which may be missing, by a new one with this content.

    Readers find the old or the new file, complete. Owner, group and mode are kept. Raises
    UnsafeFile if the owner cannot be kept; OSError.
    """
    former = _status(path)
    if former is not None and os.geteuid() not in (0, former.st_uid):
        raise UnsafeFile(path, f"belongs to user {user_name(former.st_uid)}: run this as that user")
    with _draft_of(path, content, former) as draft:
        draft.replace(path)
        sync_directory(path.parent)


def create_durably(path: Path, content: bytes) -> bool:
    """Create a file with this content and mode 0600; False if the name is taken.

    Readers find the complete file or none. Raises OSError.
    """
    with _draft_of(path, content) as draft:
        try:
            # A link, not a rename: it never replaces a file that another process has just created.
            os.link(draft, path)
        except FileExistsError:
            return False
        sync_directory(path.parent)
    return True


@contextmanager
def _draft_of(path: Path, content: bytes, former: os.stat_result | None = None) -> Iterator[Path]:
    """A synced file with this content beside a path; it is removed at the end."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = create_private(draft)
        with open(descriptor, "wb") as file:
            if former is not None:
                keep_owner(descriptor, former)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def clear_socket(path: Path, patience: float) -> None:
    """Prepare a path for a unix socket: remove a socket of this user without a listener.

    ``patience`` is how many seconds to wait for a process that stops listening. Raises UnsafeFile
    for a socket that is still in use then, another user's socket and any other file; OSError if no
    socket can be created there.
    """
    deadline = time.monotonic() + patience
    while (found := _status(path)) is not None:
        if not stat.S_ISSOCK(found.st_mode):
            raise UnsafeFile(path, "a file that is not a socket has this name")
        if found.st_uid != os.geteuid():
            raise UnsafeFile(path, _foreign(found))
        if not _is_listened_on(path):
            path.unlink(missing_ok=True)
            break
        if time.monotonic() > deadline:
            raise UnsafeFile(path, "another process listens on it")
        time.sleep(_PAUSE)
    # The directory must exist and be writable.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        tried.bind(os.fspath(path))
    path.unlink()


def identity_of(path: Path) -> tuple[int, int] | None:
    """The device and inode of a file, without following a link; None if it is missing."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def keep_owner(descriptor: int, former: os.stat_result) -> None:
    """Give an open file the owner, group and mode of another, as far as permitted."""
    found = os.fstat(descriptor)
    if found.st_uid != former.st_uid:
        os.fchown(descriptor, former.st_uid, former.st_gid)
    elif found.st_gid != former.st_gid:
        # This user is not a member of the group: the file keeps its own.
        with suppress(PermissionError):
            os.fchown(descriptor, -1, former.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(former.st_mode) & 0o777)


def make_directory(path: Path) -> None:
    """Create a directory for this user alone, and its parents, if they are missing.

    Each has mode 0700, ignoring the umask. Raises OSError.
    """
    try:
        _make_one(path)
    except FileNotFoundError:
        if path.parent == path:
            raise
        make_directory(path.parent)
        # Some file systems, such as /proc, have no place for it in an existing parent either.
        _make_one(path)


def _make_one(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileNotFoundError:
        raise
    except OSError:
        if not path.is_dir():
            raise
    else:
        path.chmod(0o700)


def sync_directory(path: Path) -> None:
    """Sync a directory, so that the names in it survive a power cut; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def real_path(path: Path) -> Path:
    """The absolute path without links, as far as they can be followed: there may be a loop."""
    return Path(os.path.realpath(path))


def quoted(path: Path) -> str:
    """A path quoted for a shell."""
    return shlex.quote(os.fspath(path))


def user_name(number: int) -> str:
    """A user's name, or the number if it has no name."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | _OPEN)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeFile(path, _IS_LINK) from None
        if error.errno in (errno.EISDIR, errno.ENXIO, errno.ENODEV):
            raise UnsafeFile(path, "is not a regular file") from None
        found = _status(path) if error.errno == errno.EACCES else None
        if found is not None and found.st_uid != os.geteuid():
            raise UnsafeFile(path, _foreign(found)) from None
        raise


def _is_listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        tried.setblocking(False)
        try:
            tried.connect(os.fspath(path))
        except BlockingIOError:
            # The queue of the listener is full.
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _require_regular(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFile(path, "is not a regular file")


def _require_trusted(found: os.stat_result, path: Path) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFile(path, _IS_LINK)
    _require_regular(found, path)
    if not _is_trusted(found, path):
        raise UnsafeFile(
            path,
            f"belongs to user {user_name(found.st_uid)}, who may have put it there; if it is the "
            f"instance's own: chown {user_name(os.geteuid())} {quoted(path)}",
        )


def _is_trusted(found: os.stat_result, path: Path) -> bool:
    # The owner of the directory controls its names in any case.
    return found.st_uid in (os.geteuid(), 0, path.absolute().parent.stat().st_uid)


def _require_own(descriptor: int, path: Path) -> None:
    found = os.fstat(descriptor)
    _require_regular(found, path)
    if not _is_trusted(found, path):
        raise UnsafeFile(path, _foreign(found))
    if found.st_nlink > 1:
        raise UnsafeFile(path, "is a file with several names (hard links): remove it")


def _foreign(found: os.stat_result) -> str:
    return (
        f"belongs to user {user_name(found.st_uid)}, not to {user_name(os.geteuid())}: remove it, "
        "or run this as that user"
    )


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
