"""What administrators of the console do and have done to them: sign in, change, set up.

Sessions are random tokens that only the browser has; the store knows their SHA-256. Whether one is
good is asked of the database at each request, so that ending one is in effect at once.
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
# One is computing, and one waits: the next one's turn is soon.
_PLACES = 2
_SEEN_AT_MOST_EVERY = timedelta(minutes=1)


class Administrators:
    """The administrators of one database. For many threads. Raises StoreError where it fails."""

    def __init__(
        self,
        store: AdministratorStore,
        publisher: Publisher,
        *,
        idle: timedelta,
        longest: timedelta,
        places: int = _PLACES,
    ) -> None:
        """Sessions end when they were not used for ``idle``, and ``longest`` after their begin.

        ``places`` is how many threads may work with passwords, or wait for it, at once.
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
        """Those of a store, with sessions that end as the settings say.

        Of several threads, one at least is never taken by passwords.
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
        """A place for one request that works with a password; raises PasswordsBusy at once.

        Hashes take long and are made one at a time: whoever may send such requests could else
        have every thread of the process wait.
        """
        if not self._places.acquire(blocking=False):
            raise PasswordsBusy
        try:
            yield
        finally:
            self._places.release()

    def by_name(self, limit: int | None = None) -> Iterator[Administrator]:
        """The administrators in the order of their names, while they are read; None: all."""
        return self._store.by_name(limit)

    def count(self) -> int:
        """How many there are."""
        return self._store.count()

    def find(self, name: str) -> Administrator | None:
        """The administrator of this name, disabled or not."""
        return self._store.find(name.lower())

    def create(self, name: str, password: str, by: Actor) -> Administrator:
        """Make an administrator; raises InvalidField for a name or password that will not do."""
        name = acceptable_name(name)
        password_hash = hash_password(require_acceptable(password))
        record = _record(Action.ADMIN_CREATE, by, name)
        made = self._publish(self._store.add(name, password_hash, record.at, record))
        if made is None:
            raise InvalidField("name", "is taken")
        return made

    def remove(self, name: str, by: Actor) -> None:
        """Remove an administrator, whose sessions end; raises InvalidField where there is none."""
        name = name.lower()
        record = _record(Action.ADMIN_REMOVE, by, name)
        _require_found(self._publish(self._store.remove(name, record)))

    def disable(self, name: str, by: Actor) -> None:
        """Keep an administrator from signing in, and end the sessions."""
        name = name.lower()
        record = _record(Action.ADMIN_DISABLE, by, name)
        _require_found(self._publish(self._store.disable(name, record.at, record)))

    def enable(self, name: str, by: Actor) -> None:
        """Let an administrator sign in again."""
        name = name.lower()
        record = _record(Action.ADMIN_ENABLE, by, name)
        _require_found(self._publish(self._store.enable(name, record)))

    def set_password(self, name: str, password: str, by: Actor) -> None:
        """Replace a password, and end the sessions; raises InvalidField."""
        found = self._store.find(name.lower())
        if found is None:
            raise InvalidField("name", "there is no such administrator")
        password_hash = hash_password(require_acceptable(password))
        record = _record(Action.ADMIN_PASSWORD, by, found.name)
        self._publish(self._store.set_password(found.id, password_hash, record))

    # ---- Signing in

    def sign_in(self, name: str, password: str, address: str | None) -> str | None:
        """Begin a session: its token, or None where anything was wrong, with the same work.

        ``address`` is where from, for the audit log.
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
        """Replace one's own password and end every session: the token of a new one.

        None where ``current`` is wrong; raises InvalidField where ``new`` will not do.
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
        """The session that has this token and has not ended; that it is in use is noted."""
        found = self._store.session(hash_token(token))
        now = utc_now()
        if found is None or self._has_ended(found, now):
            return None
        if now - found.seen_at >= min(_SEEN_AT_MOST_EVERY, self._idle / 10):
            self._store.see_session(found.token_hash, now)
        return found

    def sessions(self, administrator: Administrator) -> list[ConsoleSession]:
        """The sessions of an administrator that have not ended, the last used first."""
        now = utc_now()
        every = self._store.sessions(administrator.id)
        return [one for one in every if not self._has_ended(one, now)]

    def tell(self, session: ConsoleSession, messages: Sequence[tuple[str, str]]) -> None:
        """Set what the next page of a session tells: categories and texts."""
        self._store.tell(session.token_hash, messages)

    def sign_out(self, session: ConsoleSession, address: str | None) -> None:
        """End one session."""
        name = session.administrator.name
        record = _record(Action.ADMIN_SIGN_OUT, Actor.administrator(name, address), name)
        self._publish(self._store.end_session(session.token_hash, record))

    def sign_out_everywhere(self, administrator: Administrator, address: str | None) -> int:
        """End every session of an administrator; how many that were, ones run out among them."""
        by = Actor.administrator(administrator.name, address)
        record = _record(Action.ADMIN_SIGN_OUT_EVERYWHERE, by, administrator.name)
        return self._publish(self._store.end_sessions(administrator.id, record))

    # ---- The set-up link

    def offer_set_up(self) -> str | None:
        """A token that makes the first administrator, once and within the hour.

        The one offered before is void. None where there is an administrator.
        """
        token = new_token()
        offered = self._store.offer_set_up(hash_token(token), utc_now() + SET_UP_LASTS)
        return token if offered else None

    def set_up_is_offered(self, token: str) -> bool:
        """Whether ``set_up`` would do with this token."""
        return self._store.set_up_is_offered(hash_token(token), utc_now())

    def set_up(self, token: str, name: str, password: str, address: str | None) -> str | None:
        """Use the token up, and make the first administrator: the token of a session.

        None where the token cannot be used; raises InvalidField as ``create`` does.
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

    def _has_ended(self, session: ConsoleSession, now: datetime) -> bool:
        return (
            now - session.created_at >= self._longest
            or now - session.seen_at >= self._idle
            # The clock was set back: nothing can be said about its age.
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
    """SHA-256 of a token: all that is stored of it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _record(action: Action, by: Actor, name: str | None = None) -> AuditEvent:
    return AuditEvent(at=utc_now(), action=action, actor=by, subject=name)


def _require_found(found: bool) -> None:
    if not found:
        raise InvalidField("name", "there is no such administrator")
