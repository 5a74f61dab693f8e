"""Where the database is: the file that its URL names, and what names a file, each way.

Read without SQLAlchemy, which takes longer to load than most of those who ask need altogether.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from latchkey.errors import ConfigurationError

_SETTING = "LATCHKEY_DATABASE_URL"

BESIDE = ("-wal", "-shm", "-journal")
"""The files that SQLite looks for beside a database, by the ends of their names."""


def database_path(url: str) -> Path:
    """The file that a ``sqlite:///…`` URL names; raises ConfigurationError for anything else.

    As in any URL, ``%`` and two hex digits stand for a byte; a ``?`` would begin a query, and there
    is none that has a meaning here. ``database_url`` is the way back. Symbolic links are followed,
    as SQLite does: its other files lie beside the one that they lead to.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigurationError(
            f"{_SETTING} is not a database URL; use sqlite:///path/to/latchkey.db"
        )
    host, _, name = rest.partition("/")
    if scheme != "sqlite" or host or not name:
        raise ConfigurationError(
            f"{_SETTING} must name a SQLite file, as sqlite:///path/to/latchkey.db"
        )
    if "?" in name:
        raise ConfigurationError(
            f"{_SETTING} must name a file and take no options; write a question mark in the path "
            "as %3F"
        )
    if name == ":memory:" or name.startswith("file:"):
        raise ConfigurationError(
            f"{_SETTING} must name a file: a database in memory cannot be shared between workers"
        )
    # Bytes, since a name need not be text in any encoding.
    path = Path(os.fsdecode(unquote_to_bytes(os.fsencode(name))))
    if "\0" in str(path) or not path.name:
        raise ConfigurationError(f"{_SETTING} must name a file, as sqlite:///path/to/latchkey.db")
    return Path(os.path.realpath(path))


def database_url(path: Path) -> str:
    """The URL that names a file, whatever characters its path has."""
    return f"sqlite:///{quote(os.fsencode(path.absolute()))}"


def sqlite_uri(path: Path, mode: Literal["ro", "rw"] = "rw") -> str:
    """The file as SQLite's own URI, to be opened and never made."""
    return f"file://{quote(os.fsencode(path.absolute()))}?mode={mode}"


def require_database(url: str) -> Path:
    """The file that a URL names, for those that make none; raises ConfigurationError without it.

    The error says what to do. That it can be opened and read is for the store to say.
    """
    path = database_path(url)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        is_relative = not url.partition("://")[2].startswith("//")
        names = f"{_SETTING} names it" + (" from the working directory" if is_relative else "")
        remedy = "change to the instance's directory" if is_relative else "correct that setting"
        raise ConfigurationError(
            f"there is no database at {path} ({names}): {remedy}, or make a new instance with: "
            "latchkey init"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    return path
