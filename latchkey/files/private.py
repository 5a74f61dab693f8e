"""Reading a private file: keys and secrets, which no other user may be able to read."""

from __future__ import annotations

import os
from pathlib import Path

from latchkey.errors import ConfigurationError
from latchkey.files.readers import exposure
from latchkey.files.shared_places import open_regular, quoted, user_name

_LONGEST = 64 * 1024


def read_private(what: str, path: Path) -> str:
    """The first 64 KiB of a private file, as ASCII text; ``what`` names the file in messages.

    Raises FileNotFoundError; ConfigurationError if the file cannot be read, has other characters,
    may have been put there by another user, or is readable by others.
    """
    try:
        with open(open_regular(path, trusted=True), encoding="ascii") as file:
            exposed = exposure(file.fileno())
            owner = os.fstat(file.fileno()).st_uid
            text = file.read(_LONGEST)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not ASCII text"
        raise ConfigurationError(f"{what}: {reason}") from None
    if exposed is not None:
        raise ConfigurationError(f"{what} {exposed}; make it private: {_remedy(path, owner)}")
    return text


def _remedy(path: Path, owner: int) -> str:
    """The command that makes a file private, and keeps it readable for this process."""
    user = os.geteuid()
    if user in (0, owner):
        return f"chmod 600 {quoted(path)}"
    return (
        f"chown {user_name(user)} {quoted(path)} && chmod 400 {quoted(path)}, or, for a secret of "
        "a container, mount it with this user and mode 0400"
    )
