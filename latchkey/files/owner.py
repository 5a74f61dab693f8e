"""The user that owns an instance: the owner of its database, or of the database's directory.

All files of an instance belong to this user. Root can work on an instance without leaving files of
its own: a command runs as the owner, and uses root's rights only to read files, and for files that
the operator named.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latchkey.errors import ConfigurationError
from latchkey.files.shared_places import user_name

# From linux/capability.h: the version of the structures, and the capability to read every file.
_CAPABILITY_VERSION = 0x20080522
_CAP_DAC_READ_SEARCH = 2


def owner_of(database: Path) -> int:
    """The user's number; this process's user if no file of the instance can be examined."""
    try:
        return _nearest(database).st_uid
    except OSError:
        return os.geteuid()


def require_own(database: Path) -> None:
    """For a service: raise ConfigurationError if root would serve another user's database."""
    owner = owner_of(database)
    if os.geteuid() == 0 and owner != 0:
        raise ConfigurationError(
            f"{database if database.exists() else database.parent} belongs to user "
            f"{user_name(owner)}, and root would leave files there that this user cannot use: run "
            f"the service as {user_name(owner)}, or give the instance to root"
        )


def require_replaceable(database: Path) -> None:
    """Raise ConfigurationError if a file that replaces the database could not keep its owner."""
    owner = owner_of(database)
    if database.exists() and os.geteuid() not in (0, owner):
        raise ConfigurationError(
            f"nothing was changed: {database} belongs to user {user_name(owner)}, not to "
            f"{user_name(os.geteuid())}; run this as {user_name(owner)}, or as root"
        )


@contextmanager
def acting_as_owner(database: Path) -> Iterator[None]:
    """For a command: as root, work as the instance's owner until the end of the block.

    Files that the command or SQLite creates or replaces then belong to that user. It can still read
    all files, such as the interpreter's own. The real user stays root, and the audit log names it.
    Raises ConfigurationError if root may not change its user, or if another user may have put the
    database there.
    """
    owner = owner_of(database)
    if os.geteuid() != 0 or owner == 0:
        yield
        return
    _require_not_planted(database)
    groups, group = os.getgroups(), os.getegid()
    try:
        _become(owner, *_groups_of(owner, database))
    except OSError as error:
        _become(0, group, groups)
        raise ConfigurationError(
            f"the instance belongs to user {user_name(owner)}, and this process may not work as "
            f"that user ({error.strerror}): run this as {user_name(owner)}"
        ) from None
    try:
        yield
    finally:
        _become(0, group, groups)


@contextmanager
def as_caller() -> Iterator[None]:
    """Within ``acting_as_owner``: the rights of the calling user, for the files that they named."""
    user = os.geteuid()
    if user == 0 or os.getuid() != 0:
        yield
        return
    os.seteuid(0)
    try:
        yield
    finally:
        os.seteuid(user)
        _keep_reading()


def _require_not_planted(database: Path) -> None:
    """Raise ConfigurationError for a file of a third user in a world-writable directory."""
    directory = database.parent
    try:
        owner, place = database.stat().st_uid, directory.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if place.st_mode & stat.S_IWOTH and owner not in (0, place.st_uid):
        raise ConfigurationError(
            f"{database} belongs to user {user_name(owner)}, in a directory that every user can "
            f"write to: move the instance to a directory of its own, or run this as "
            f"{user_name(owner)}"
        )


def _become(user: int, group: int, groups: list[int]) -> None:
    """Change the effective user and groups, which only root can."""
    if os.geteuid() != 0:
        os.seteuid(0)
    if os.getgroups() != groups:
        os.setgroups(groups)
    if os.getegid() != group:
        os.setegid(group)
    if user:
        os.seteuid(user)
        _keep_reading()


def _keep_reading() -> None:
    """Keep root's right to read, because modules are loaded when they are first used.

    If the system does not allow it, the user's own read permissions are usually sufficient.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    # The sets are effective, permitted and inheritable, in two words each; only permitted is kept.
    data = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, data) == 0:
        data[0] |= data[1] & (1 << _CAP_DAC_READ_SEARCH)
        libc.capset(header, data)


def _groups_of(user: int, database: Path) -> tuple[int, list[int]]:
    try:
        entry = pwd.getpwuid(user)
    except KeyError:
        # A user by number only, as in a container: the group is that of the database.
        group = _nearest(database).st_gid
        return group, [group]
    return entry.pw_gid, os.getgrouplist(entry.pw_name, entry.pw_gid)


def _nearest(path: Path) -> os.stat_result:
    """The status of a file, or of the nearest directory above it that exists."""
    for place in (path, *path.parents):
        try:
            return place.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
    raise FileNotFoundError(path)
