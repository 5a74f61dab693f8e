"""Which process has the other end of a connection, read from /proc."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_ESTABLISHED = "01"


def owner(pids: Iterable[int], local: int, remote: int) -> int | None:
    """The process that has a connection from its port ``local`` to the port ``remote``, if any.

    The processes have one network namespace in common, which need not be that of this process.
    """
    for pid in pids:
        with suppress(OSError):
            inode = _inode(pid, local, remote)
            if inode is not None and f"socket:[{inode}]" in _descriptors(pid):
                return pid
    return None


def _inode(pid: int, local: int, remote: int) -> str | None:
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ports = [int(address.partition(":")[2], 16) for address in fields[1:3]]
        if ports == [local, remote] and fields[3] == _ESTABLISHED:
            return fields[9]
    return None


def _descriptors(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            target = str(link.readlink())
            if re.match(r"socket:", target):
                found.add(target)
    return found
