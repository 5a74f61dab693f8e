"""The protocol Database: preparing, locating and opening a database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from latchkey.store.audit_head import Seal
from latchkey.store.protocols import Store


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """The result of preparing a database: whether it was created, and its content.

    Active credentials are counted by key id; ``audit_rows`` is the audit log's last number.
    ``warnings`` are lines for the operator about how the database is run.
    """

    created: bool
    active_by_derivation: dict[str, int]
    audit_rows: int
    warnings: list[str] = field(default_factory=list)


class Database(Protocol):
    """The database that a URL names: its place, its revision, and how its store is opened.

    The message of a ConfigurationError says what to do.
    """

    @property
    def shown(self) -> str:
        """The URL as it may be shown and logged: without a password."""

    @property
    def identity(self) -> bytes:
        """The identity of this database, the same in all processes of this box."""

    @property
    def directory(self) -> Path | None:
        """The directory that a backup of the database would copy; no key may be stored there.

        None for a database without a directory on this box.
        """

    @property
    def place(self) -> Path:
        """The path that the instance's user owns; if it is missing, the nearest directory."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that only the instance's user should be able to access, existing or not."""

    @property
    def service_lock(self) -> Path:
        """The lock file of the processes of this box that use the database."""

    def exists(self) -> bool:
        """Whether the database exists."""

    def require(self) -> None:
        """Raise ConfigurationError unless the database exists."""

    def losses(self) -> str | None:
        """Describe what was lost since the database was last used; None if nothing was.

        Call this before opening the database, which may remove the traces.
        """

    def prepare(self) -> MigrationReport:
        """Create the database if it is missing, and migrate it to the current revision.

        Opens no connection in this process. Raises ConfigurationError.
        """

    def preparing(self) -> AbstractContextManager[None]:
        """Keep other processes from preparing the database until the end of the block.

        Raises ConfigurationError if another process keeps the lock longer than a migration takes.
        """

    def open_store(
        self,
        *,
        pool_size: int = 8,
        lookup_timeout: float = 1.0,
        write_timeout: float = 10.0,
        change_places: int | None = None,
        seal: Seal | None = None,
        is_alone: bool = False,
    ) -> Store:
        """A store over the database; opens no connection yet.

        The timeouts, in seconds, limit the wait for locks. ``change_places`` is how many threads
        may make a change at once, None for any number; further ones get ChangesBusy. Without
        ``seal``, changes that the audit log records fail. ``is_alone``: no service uses the
        database meanwhile, so a transaction may be idle for any time between two statements.
        """
