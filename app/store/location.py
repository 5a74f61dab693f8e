"""Where the database is: the file that its URL names.

Read without SQLAlchemy, which takes longer to load than most of those who ask need altogether.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from app.errors import ConfigurationError


def database_path(url: str) -> Path:
    """The file that a ``sqlite:///…`` URL names; raises ConfigurationError for anything else.

    As in any URL, ``%`` and two hex digits stand for a byte; a ``?`` would begin a query.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigurationError(
            "LATCHKEY_DATABASE_URL is not a database URL; use sqlite:///path/to/latchkey.db"
        )
    host, _, name = rest.partition("/")
    if scheme != "sqlite" or host or not name or "?" in name:
        raise ConfigurationError(
            "LATCHKEY_DATABASE_URL must name a SQLite file, as sqlite:///path/to/latchkey.db"
        )
    if name == ":memory:" or name.startswith("file:"):
        raise ConfigurationError(
            "LATCHKEY_DATABASE_URL must name a file: a database in memory cannot be shared "
            "between workers"
        )
    return Path(unquote(name)).absolute()
