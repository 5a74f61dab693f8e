"""The protocol of the administrators of the console."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from latchkey.credentials.administrators import Administrator, ConsoleSession
from latchkey.credentials.audit import AuditEvent
from latchkey.credentials.publishing import Outcome


class AdministratorStore(Protocol):
    """The administrators of the console, their sessions, and the set-up link.

    A method that takes a record adds it to the audit log in its transaction, if it changes
    something. The others change nothing that is recorded.
    """

    def by_name(self, limit: int | None = None) -> Iterator[Administrator]:
        """The administrators by name, read in batches; None is no limit."""

    def count(self) -> int:
        """How many administrators there are."""

    def find(self, name: str) -> Administrator | None:
        """The administrator of this name, disabled or not."""

    def add(
        self, name: str, password_hash: str, now: datetime, record: AuditEvent
    ) -> Outcome[Administrator | None]:
        """Add an administrator; None, without a change, if the name is taken."""

    def remove(self, name: str, record: AuditEvent) -> Outcome[bool]:
        """Remove an administrator and end the sessions; False if there is none."""

    def disable(self, name: str, now: datetime, record: AuditEvent) -> Outcome[bool]:
        """Disable an administrator and end the sessions; False if there is none."""

    def enable(self, name: str, record: AuditEvent) -> Outcome[bool]:
        """Enable an administrator again; False if there is none."""

    def set_password(
        self, administrator_id: int, password_hash: str, record: AuditEvent
    ) -> Outcome[bool]:
        """Replace a password and end the sessions; False if there is no such administrator."""

    def renew_hash(self, found: Administrator, password_hash: str) -> None:
        """Replace a hash by another of the same password, unless the password has changed since."""

    def begin_session(
        self,
        found: Administrator,
        token_hash: bytes,
        now: datetime,
        *,
        oldest: datetime,
        unseen: datetime,
        record: AuditEvent | None,
    ) -> Outcome[bool]:
        """Begin a session, and delete those begun by ``oldest`` or last seen by ``unseen``.

        False, without a change, if the administrator was removed or disabled, or has another
        password than ``found``.
        """

    def session(self, token_hash: bytes) -> ConsoleSession | None:
        """The session with this hash, of an administrator who is not disabled."""

    def sessions(self, administrator_id: int) -> list[ConsoleSession]:
        """The sessions of an administrator, including expired ones; the last seen first."""

    def see_session(self, token_hash: bytes, now: datetime) -> None:
        """Update the time at which a session was last used."""

    def tell(self, token_hash: bytes, messages: Sequence[tuple[str, str]]) -> None:
        """Set the messages that the next page of a session shows: categories and texts."""

    def end_session(self, token_hash: bytes, record: AuditEvent) -> Outcome[None]:
        """End one session, if it has not ended."""

    def end_sessions(self, administrator_id: int, record: AuditEvent) -> Outcome[int]:
        """End every session of an administrator; returns their number. Always recorded."""

    def record(self, record: AuditEvent) -> Outcome[None]:
        """Record an event that changes nothing else, such as a refused sign-in."""

    def offer_set_up(self, token_hash: bytes, expires_at: datetime) -> bool:
        """Make this the only set-up link; False, without a change, if there is an administrator."""

    def set_up_is_offered(self, token_hash: bytes, now: datetime) -> bool:
        """Whether this is the current set-up link and has not expired."""

    def set_up(
        self, token_hash: bytes, name: str, password_hash: str, now: datetime, record: AuditEvent
    ) -> Outcome[Administrator | None]:
        """Use up the set-up link to add the first administrator; None if it is not valid."""
