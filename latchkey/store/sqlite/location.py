"""The location of the database: from URLs to paths, and back.

Works without SQLAlchemy, which would take longer to load than most callers run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from latchkey.errors import ConfigurationError

_SETTING = "LATCHKEY_DATABASE_URL"

BESIDE = ("-wal", "-shm", "-journal")
"""The suffixes of the files that SQLite looks for beside a database."""


def database_path(url: str) -> Path:
    """The file that a ``sqlite:///…`` URL names; raises ConfigurationError for anything else.

    As in any URL, ``%`` and two hex digits stand for a byte. A ``?`` would begin a query, which is
    not supported. ``database_url`` is the inverse. Symbolic links are followed, as SQLite does: its
    other files lie beside the one that they lead to.
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
    # Bytes, because a file name need not be text in any encoding.
    path = Path(os.fsdecode(unquote_to_bytes(os.fsencode(name))))
    if "\0" in str(path) or not path.name:
        raise ConfigurationError(f"{_SETTING} must name a file, as sqlite:///path/to/latchkey.db")
    return Path(os.path.realpath(path))


def database_url(path: Path) -> str:
    """The URL that names a file; its path may contain any characters."""
    return f"sqlite:///{quote(os.fsencode(path.absolute()))}"


def sqlite_uri(path: Path, mode: Literal["ro", "rw"] = "rw") -> str:
    """The file as a URI of SQLite that opens an existing file and never creates one."""
    return f"file://{quote(os.fsencode(path.absolute()))}?mode={mode}"


def require_database(url: str) -> Path:
    """The existing file that a URL names; raises ConfigurationError if it is missing.

    The message says what to do. Whether the file can be opened is left to the store.
    """
    path = database_path(url)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        is_relative = not url.partition("://")[2].startswith("//")
        names = f"{_SETTING} names it" + (" from the working directory" if is_relative else "")
        remedy = "change to the instance's directory" if is_relative else "correct that setting"
        raise ConfigurationError(
            f"there is no database at {path} ({names}): {remedy}; to create a new instance, "
            "run: latchkey init"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    return path
