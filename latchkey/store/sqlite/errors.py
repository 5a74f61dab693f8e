"""Translation of SQLite's failures, and of invalid content, into StoreError."""

from __future__ import annotations

import sqlite3

from latchkey.store.translation import Translation


class _SqliteTranslation(Translation):
    __slots__ = ()
    failures = (*Translation.failures, sqlite3.Error)


translated = _SqliteTranslation()
