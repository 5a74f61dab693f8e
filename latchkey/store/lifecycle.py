"""What Latchkey asks of a database before and around its use: one protocol, Database."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from latchkey.store.audit_head import Seal
from latchkey.store.protocols import Store


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What preparing a database found: was it made just now, and what is in it.

    Active credentials are counted by key id; ``audit_rows`` is the audit log's last number.
    """

    created: bool
    active_by_derivation: dict[str, int]
    audit_rows: int


class Database(Protocol):
    """The database that a URL names, before and around its use: its place, its schema, its store.

    Where it raises ConfigurationError, the message says what to do.
    """

    @property
    def shown(self) -> str:
        """The URL as it may be shown and logged: without a password."""

    @property
    def identity(self) -> bytes:
        """What tells this database from every other, for the processes of this box."""

    @property
    def directory(self) -> Path | None:
        """The directory that a copy of the database is a copy of; no key may lie there.

        None for a database that lies in no directory of this box.
        """

    @property
    def place(self) -> Path:
        """The path whose owner, or that of the nearest directory, is the user of the instance."""

    @property
    def files(self) -> Sequence[Path]:
        """The files of this box that only the instance's user should reach, there or not."""

    @property
    def service_lock(self) -> Path:
        """The lock file by which the processes of this box that use it find each other."""

    def exists(self) -> bool:
        """Whether the database has been made."""

    def require(self) -> None:
        """Raise ConfigurationError unless the database has been made."""

    def losses(self) -> str | None:
        """What was lost since the database was last used; None where that is nothing.

        Asked before it is opened, which may remove the traces.
        """

    def prepare(self) -> MigrationReport:
        """Make the database where it is missing, and bring it to the current schema.

        No connection of this process is opened by it. Raises ConfigurationError.
        """

    def preparing(self) -> AbstractContextManager[None]:
        """Keep others from preparing the database until the end of the block.

        Raises ConfigurationError where another one takes longer than a migration does.
        """

    def open_store(
        self,
        *,
        pool_size: int = 8,
        lookup_timeout: float = 1.0,
        write_timeout: float = 10.0,
        change_places: int | None = None,
        seal: Seal | None = None,
    ) -> Store:
        """A store over the database, which opens no connection yet.

        The timeouts, in seconds, bound the wait for another's lock. ``change_places`` is how many
        threads may change something at once, further ones get ChangesBusy; None is any number.
        Without ``seal`` nothing that the audit log records can be changed.
        """
