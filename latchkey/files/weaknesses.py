"""Weak permissions of files and directories, with the command that corrects them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from latchkey.files.shared_places import quoted, user_name

_OTHERS = 0o077
_WRITABLE = 0o022


def file_weakness(path: Path) -> str | None:
    """Describe how others can use a private file, with the command that corrects it.

    None if they cannot, or if there is no such file.
    """
    found = _seen(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        return None
    user = os.geteuid()
    if found.st_uid != user:
        return (
            f"{path} belongs to user {user_name(found.st_uid)}, not to {user_name(user)}: "
            f"chown {user_name(user)} {quoted(path)}"
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & _OTHERS:
        verb = "change" if mode & _WRITABLE else "open"
        return f"{path} has mode {mode:04o}, so others can {verb} it: chmod 600 {quoted(path)}"
    return None


def write_weakness(path: Path) -> str | None:
    """Describe how others can change a file that they may read, with the command that corrects it.

    None if they cannot, or if there is no such file. The owner is checked when it is opened.
    """
    found = _seen(path)
    if found is None or not stat.S_IMODE(found.st_mode) & _WRITABLE:
        return None
    mode = stat.S_IMODE(found.st_mode)
    return f"{path} has mode {mode:04o}, so others can change it: chmod go-w {quoted(path)}"


def directory_weakness(path: Path, *, may_be_sticky: bool = True) -> str | None:
    """Describe how others can replace the files in a directory, with the command that corrects it.

    In a sticky directory, users can change only their own files. If names are not random, another
    user could still create one first.
    """
    found = _seen(path)
    if found is None or not stat.S_ISDIR(found.st_mode):
        return None
    user = os.geteuid()
    if found.st_uid not in (0, user):
        return (
            f"{path} belongs to user {user_name(found.st_uid)}, who can replace the files in it: "
            f"chown {user_name(user)} {quoted(path)}"
        )
    mode = stat.S_IMODE(found.st_mode)
    by_group = mode & 0o020 and found.st_gid not in (0, os.getegid())
    if not mode & 0o002 and not by_group:
        return None
    if mode & stat.S_ISVTX:
        if may_be_sticky:
            return None
        danger = "put files into it that the service would use"
    else:
        danger = "replace the files in it"
    return f"{path} has mode {mode:04o}, so others can {danger}: chmod go-w {quoted(path)}"


def _seen(path: Path) -> os.stat_result | None:
    """The status of a path's target; None also if it cannot be followed: opening reports that."""
    try:
        return path.stat()
    except OSError:
        return None
