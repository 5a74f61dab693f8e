"""Warnings about weak permissions of an instance's files, given at each start."""

from __future__ import annotations

from pathlib import Path

from latchkey.binding import UnixAddress, parse_addresses
from latchkey.config import Settings
from latchkey.files.shared_places import real_path
from latchkey.files.weaknesses import directory_weakness, file_weakness, write_weakness
from latchkey.key_files import fields_of_files
from latchkey.store.database_urls import database_of


def weaknesses(settings: Settings) -> list[str]:
    """A line for each file that others can access, and each directory that they can change.

    Each names the command that corrects it. These are all files that the service depends on, and
    all directories above them and above its unix sockets. The key files themselves are not among
    them: they are checked when they are read. The routes file is not private, but nobody else may
    change it.
    """
    files = _files(settings)
    routes = [Path(settings.verify_routes).absolute()] if settings.verify_routes else []
    keys = [Path(getattr(settings, field)).absolute() for field in fields_of_files(settings)]
    addresses = parse_addresses(settings.bind)
    sockets = [Path(one.path) for one in addresses if isinstance(one, UnixAddress)]
    own = dict.fromkeys(real_path(path).parent for path in (*files, *keys, *routes))
    # These may be sticky like /dev/shm: names there are random, or refused if they exist.
    others = [real_path(settings.shared_memory), *(real_path(path).parent for path in sockets)]
    above = [directory for place in (*own, *others) for directory in place.parents]
    found = [
        *map(file_weakness, files),
        *map(write_weakness, routes),
        *(directory_weakness(place, may_be_sticky=False) for place in own),
        *(directory_weakness(one) for one in dict.fromkeys((*others, *above)) if one not in own),
    ]
    return [line for line in found if line is not None]


def _files(settings: Settings) -> list[Path]:
    head = settings.audit_head_file.absolute()
    return [
        *database_of(settings).files,
        head,
        head.with_name(f"{head.name}.lock"),
    ]
