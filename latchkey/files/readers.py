"""Which other users can access an open file, by its mode and its POSIX access list.

A key file may be readable by one group: root's, or the group of this process. systemd grants a
service access to its credentials by an access list, which names the service's user.
"""

from __future__ import annotations

import errno
import grp
import os
import stat
import struct
import sys

from latchkey.files.shared_places import user_name

_READ = 0o4
# From linux/posix_acl_xattr.h: the version, then a tag, permissions and an id for each entry.
_ACCESS_LIST = "system.posix_acl_access"
_ENTRY = struct.Struct("<HHI")
_USER, _OWNING_GROUP, _GROUP, _MASK = 0x02, 0x04, 0x08, 0x10


def exposure(descriptor: int) -> str | None:
    """Describe how other users can access an open private file, as in "has mode 0644"; or None.

    Accepted are its owner, root, this process's user, and for reading the group of root or of this
    process. Raises OSError.
    """
    found = os.fstat(descriptor)
    mode = stat.S_IMODE(found.st_mode)
    if mode & stat.S_IRWXO:
        return f"has mode {mode:04o}, so every user can access it"
    # With an access list, the group's bits of the mode are the mask of its entries.
    granted = (mode & stat.S_IRWXG) >> 3
    if granted & ~_READ:
        return f"has mode {mode:04o}, so others can change it"
    if not granted:
        return None
    for tag, permissions, number in _access_list(descriptor) or [(_OWNING_GROUP, granted, 0)]:
        if not permissions & granted:
            continue
        if tag == _USER and number not in (0, found.st_uid, os.geteuid()):
            return f"has an access list that includes user {user_name(number)}"
        group = found.st_gid if tag == _OWNING_GROUP else number
        if tag in (_OWNING_GROUP, _GROUP) and group not in (0, os.getegid()):
            return (
                f"can be read by group {_group_name(group)}, and the group of this process is "
                f"{_group_name(os.getegid())}"
            )
    return None


def _access_list(descriptor: int) -> list[tuple[int, int, int]]:
    """The entries of a file's access list: tag, permissions, id; empty if it has none."""
    if sys.platform != "linux":
        return []
    try:
        value = os.getxattr(descriptor, _ACCESS_LIST)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return []
        raise
    return [entry for entry in _ENTRY.iter_unpack(value[4:]) if entry[0] != _MASK]


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
