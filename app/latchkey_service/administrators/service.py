"""The administrators of the console: management, sign-in, sessions and the set-up link.

A session token is random and known only to the browser; the store holds its SHA-256. Every request
reads the session from the database, so ending a session takes effect immediately.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from latchkey.config import Settings
from latchkey.credentials.administrators import Administrator, ConsoleSession
from latchkey.credentials.audit import Action, Actor, AuditEvent
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.times import utc_now
from latchkey.errors import InvalidField, PasswordsBusy
from latchkey.store.protocols import AdministratorStore
from latchkey_service.administrators.passwords import (
    hash_password,
    is_outdated,
    matches,
    require_acceptable,
    unknown_hash,
)

SET_UP_LASTS = timedelta(hours=1)

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
# One thread computes a hash, and one waits for it.
_PLACES = 2
_SEEN_AT_MOST_EVERY = timedelta(minutes=1)


class Administrators:
    """The administrators of one database. Thread-safe. Methods raise StoreError."""

    def __init__(
        self,
        store: AdministratorStore,
        publisher: Publisher,
        *,
        idle: timedelta,
        longest: timedelta,
        places: int = _PLACES,
    ) -> None:
        """``idle`` and ``longest``: a session expires after this time unused, or since sign-in.

        ``places``: how many threads may compute a password hash, or wait for that, at once.
        """
        self._store = store
        self._publish = publisher.publish
        self._idle = idle
        self._longest = longest
        self._hash_of_nobody = unknown_hash()
        self._places = threading.BoundedSemaphore(places)

    @classmethod
    def over(
        cls, store: AdministratorStore, publisher: Publisher, settings: Settings
    ) -> Administrators:
        """The administrators of a store, with the session limits of the settings.

        If there are several threads, at least one is never occupied by passwords.
        """
        return cls(
            store,
            publisher,
            idle=timedelta(seconds=settings.console_idle),
            longest=timedelta(seconds=settings.console_session),
            places=min(_PLACES, max(1, settings.threads - 1)),
        )

    @contextmanager
    def place(self) -> Iterator[None]:
        """Reserve a place for a request with a password, or raise PasswordsBusy immediately.

        Hashes are slow and computed one at a time. Without this limit, a client could make all
        threads of the process wait.
        """
        if not self._places.acquire(blocking=False):
            raise PasswordsBusy
        try:
            yield
        finally:
            self._places.release()

    def by_name(self, limit: int | None = None) -> Iterator[Administrator]:
        """At most ``limit`` administrators by name (None: all), streamed."""
        return self._store.by_name(limit)

    def count(self) -> int:
        """The number of administrators."""
        return self._store.count()

    def find(self, name: str) -> Administrator | None:
        """The administrator with this name, enabled or disabled."""
        return self._store.find(name.lower())

    def create(self, name: str, password: str, by: Actor) -> Administrator:
        """Create an administrator; raises InvalidField for an invalid name or password."""
        name = acceptable_name(name)
        password_hash = hash_password(require_acceptable(password))
        record = _record(Action.ADMIN_CREATE, by, name)
        made = self._publish(self._store.add(name, password_hash, record.at, record))
        if made is None:
            raise InvalidField("name", "is taken")
        return made

    def remove(self, name: str, by: Actor) -> None:
        """Remove an administrator and end the sessions; InvalidField for an unknown name."""
        name = name.lower()
        record = _record(Action.ADMIN_REMOVE, by, name)
        _require_found(self._publish(self._store.remove(name, record)))

    def disable(self, name: str, by: Actor) -> None:
        """Disable an administrator and end the sessions; InvalidField for an unknown name."""
        name = name.lower()
        record = _record(Action.ADMIN_DISABLE, by, name)
        _require_found(self._publish(self._store.disable(name, record.at, record)))

    def enable(self, name: str, by: Actor) -> None:
        """Enable a disabled administrator; InvalidField for an unknown name."""
        name = name.lower()
        record = _record(Action.ADMIN_ENABLE, by, name)
        _require_found(self._publish(self._store.enable(name, record)))

    def set_password(self, name: str, password: str, by: Actor) -> None:
        """Replace a password and end the administrator's sessions; raises InvalidField."""
        found = self._store.find(name.lower())
        if found is None:
            raise InvalidField("name", "there is no such administrator")
        password_hash = hash_password(require_acceptable(password))
        record = _record(Action.ADMIN_PASSWORD, by, found.name)
        self._publish(self._store.set_password(found.id, password_hash, record))

    # ---- Signing in

    def sign_in(self, name: str, password: str, address: str | None) -> str | None:
        """Start a session and return its token, or return None, after the same amount of work.

        ``address`` is the address of the client, for the audit log.
        """
        found = self._store.find(name.lower())
        password_hash = self._hash_of_nobody if found is None else found.password_hash
        if not matches(password_hash, password) or found is None or not found.is_enabled:
            record = _record(Action.ADMIN_SIGN_IN_REFUSED, Actor.nobody(address))
            self._publish(self._store.record(record))
            return None
        if is_outdated(found.password_hash):
            renewed = hash_password(password)
            self._store.renew_hash(found, renewed)
            found = self._store.find(found.name) or found
        by = Actor.administrator(found.name, address)
        return self._begin(found, _record(Action.ADMIN_SIGN_IN, by, found.name))

    def change_password(
        self, signed_in: Administrator, current: str, new: str, address: str | None
    ) -> str | None:
        """Replace the own password, end all sessions and return the token of a new session.

        Returns None if ``current`` is wrong. Raises InvalidField if ``new`` is invalid.
        """
        require_acceptable(new)
        if not matches(signed_in.password_hash, current):
            return None
        by = Actor.administrator(signed_in.name, address)
        record = _record(Action.ADMIN_PASSWORD, by, signed_in.name)
        self._publish(self._store.set_password(signed_in.id, hash_password(new), record))
        found = self._store.find(signed_in.name)
        return None if found is None else self._begin(found, None)

    def session(self, token: str) -> ConsoleSession | None:
        """The session with this token, unless it has expired; updates its time of last use."""
        found = self._store.session(hash_token(token))
        now = utc_now()
        if found is None or self._has_expired(found, now):
            return None
        if now - found.seen_at >= min(_SEEN_AT_MOST_EVERY, self._idle / 10):
            self._store.see_session(found.token_hash, now)
        return found

    def sessions(self, administrator: Administrator) -> list[ConsoleSession]:
        """The active sessions of an administrator, the most recently used first."""
        now = utc_now()
        every = self._store.sessions(administrator.id)
        return [one for one in every if not self._has_expired(one, now)]

    def tell(self, session: ConsoleSession, messages: Sequence[tuple[str, str]]) -> None:
        """Store the messages, categories and texts, for the next page of a session."""
        self._store.tell(session.token_hash, messages)

    def sign_out(self, session: ConsoleSession, address: str | None) -> None:
        """End one session."""
        name = session.administrator.name
        record = _record(Action.ADMIN_SIGN_OUT, Actor.administrator(name, address), name)
        self._publish(self._store.end_session(session.token_hash, record))

    def sign_out_everywhere(self, administrator: Administrator, address: str | None) -> int:
        """End all sessions of an administrator; returns their number, including expired ones."""
        by = Actor.administrator(administrator.name, address)
        record = _record(Action.ADMIN_SIGN_OUT_EVERYWHERE, by, administrator.name)
        return self._publish(self._store.end_sessions(administrator.id, record))

    # ---- The set-up link

    def offer_set_up(self) -> str | None:
        """A token to create the first administrator, valid once and for an hour.

        It invalidates the previous token. None if there is an administrator.
        """
        token = new_token()
        offered = self._store.offer_set_up(hash_token(token), utc_now() + SET_UP_LASTS)
        return token if offered else None

    def set_up_is_offered(self, token: str) -> bool:
        """Whether ``set_up`` accepts this token."""
        return self._store.set_up_is_offered(hash_token(token), utc_now())

    def set_up(self, token: str, name: str, password: str, address: str | None) -> str | None:
        """Consume the token, create the first administrator and return the token of a session.

        Returns None if the token is not valid. Raises InvalidField, like ``create``.
        """
        name = acceptable_name(name)
        require_acceptable(password)
        if not self.set_up_is_offered(token):
            return None
        password_hash = hash_password(password)
        by = Actor.administrator(name, address)
        record = _record(Action.ADMIN_SET_UP, by, name)
        made = self._publish(
            self._store.set_up(hash_token(token), name, password_hash, record.at, record)
        )
        return None if made is None else self._begin(made, None)

    def _begin(self, found: Administrator, record: AuditEvent | None) -> str | None:
        token = new_token()
        now = utc_now()
        begun = self._store.begin_session(
            found,
            hash_token(token),
            now,
            oldest=now - self._longest,
            unseen=now - self._idle,
            record=record,
        )
        return token if self._publish(begun) else None

    def _has_expired(self, session: ConsoleSession, now: datetime) -> bool:
        return (
            now - session.created_at >= self._longest
            or now - session.seen_at >= self._idle
            # The clock was set back, so the age of the session is unknown.
            or now < session.created_at
        )


def acceptable_name(name: str) -> str:
    """The name in lower case; raises InvalidField."""
    name = name.strip().lower()
    if not _NAME.fullmatch(name):
        raise InvalidField(
            "name", "must have 1 to 64 letters, digits and . _ @ + -, the first a letter or digit"
        )
    return name


def new_token() -> str:
    """A token of 256 random bits, 43 characters."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> bytes:
    """The SHA-256 of a token. Only this is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _record(action: Action, by: Actor, name: str | None = None) -> AuditEvent:
    return AuditEvent(at=utc_now(), action=action, actor=by, subject=name)


def _require_found(found: bool) -> None:
    if not found:
        raise InvalidField("name", "there is no such administrator")
