"""The data of the audit log: its rows, and the chain of MACs that makes changes detectable.

A row's MAC is HMAC-SHA256, under a key of the log's own, of everything in the row and of the MAC of
the row before it. The address and the detail are in it by salted digests, so that they can be
erased later. docs/reference/audit-format.md has the encoding, so that others can verify an exported
log.
The store writes these values, commands and the console read them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from latchkey.credentials.audit_encoding import Value, encode, spelled_out, value_digest
from latchkey.credentials.conditions import NO_FACTS, RequestFacts

AUDIT_KEY_LENGTH = 32
"""Bytes of an audit key."""

NO_MAC = "0" * 64
"""The predecessor's MAC for the first row."""

_ROW_LABEL = b"latchkey.audit.v2"
_HEAD_LABEL = b"latchkey.audit.head.v2"
_ROWS_LABEL = b"latchkey.audit.rows.v2"
# Those of version 0.2, whose MACs cover the values themselves.
_FORMER_ROW_LABEL = b"latchkey.audit.v1"
_FORMER_HEAD_LABEL = b"latchkey.audit.head.v1"
_FORMER_ROWS_LABEL = b"latchkey.audit.rows.v1"

_SALT_LENGTH = 16
ERASED_DETAIL = ""
"""Stored in place of an erased detail: no detail is empty, because it is JSON."""


class ActorKind(StrEnum):
    """The kind of an actor.

    DERIVATION: a client that proved itself by a derived secret. SERVICE: Latchkey itself.
    """

    ADMINISTRATOR = "administrator"
    KEY = "key"
    COMMAND_LINE = "command line"
    DERIVATION = "derivation"
    NOBODY = "nobody"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Actor:
    """The actor of a change, and the client's address if there is one.

    ``name`` is an administrator's name, an ``api_key``, the user of the command line, or the id of
    a derivation key; None if the caller could not be identified.
    """

    kind: ActorKind
    name: str | None
    address: str | None = None
    facts: RequestFacts = field(default=NO_FACTS, compare=False, repr=False)
    """The request of a key, to evaluate its conditions again; not part of the log."""

    @classmethod
    def administrator(cls, name: str, address: str | None) -> Actor:
        """An administrator who is signed in to the console."""
        return cls(ActorKind.ADMINISTRATOR, name, address)

    @classmethod
    def key(cls, api_key: str, address: str | None, facts: RequestFacts = NO_FACTS) -> Actor:
        """A client that presented this key's secret, in a request with these facts."""
        return cls(ActorKind.KEY, api_key, address, facts)

    @classmethod
    def command_line(cls, user: str) -> Actor:
        """A command on the box, run by this user of the system."""
        return cls(ActorKind.COMMAND_LINE, user)

    @classmethod
    def derivation(cls, address: str | None) -> Actor:
        """A client that holds a pair which one of the derivation keys made."""
        return cls(ActorKind.DERIVATION, None, address)

    @classmethod
    def nobody(cls, address: str | None) -> Actor:
        """A caller that could not be identified. No name: the text entered may be a password."""
        return cls(ActorKind.NOBODY, None, address)

    @classmethod
    def service(cls) -> Actor:
        """Latchkey itself, for its scheduled work."""
        return cls(ActorKind.SERVICE, None)


class Action(StrEnum):
    """The actions.

    The subject of ``key.`` actions is an api_key, of ``account.`` ones an account id, of ``admin.``
    ones a name.
    """

    KEY_REGISTER = "key.register"
    KEY_ISSUE = "key.issue"
    KEY_CHANGE = "key.change"
    KEY_ROTATE = "key.rotate"
    KEY_REVOKE = "key.revoke"
    KEY_IMPORT = "key.import"
    ACCOUNT_CREATE = "account.create"
    ACCOUNT_CHANGE = "account.change"
    ACCOUNT_REVOKE_KEYS = "account.revoke_keys"
    ACCOUNT_ERASE = "account.erase"
    ADMIN_CREATE = "admin.create"
    ADMIN_CHANGE = "admin.change"
    ADMIN_DISABLE = "admin.disable"
    ADMIN_ENABLE = "admin.enable"
    ADMIN_REMOVE = "admin.remove"
    ADMIN_PASSWORD = "admin.password"  # noqa: S105 - an action, not a secret
    ADMIN_SET_UP = "admin.set_up"
    ADMIN_SIGN_IN = "admin.sign_in"
    ADMIN_SIGN_IN_REFUSED = "admin.sign_in_refused"
    ADMIN_SIGN_OUT = "admin.sign_out"
    ADMIN_SIGN_OUT_EVERYWHERE = "admin.sign_out_everywhere"
    STORE_RESTORE = "store.restore"
    STORE_COPY = "store.copy"
    AUDIT_ACCEPT = "audit.accept"
    AUDIT_RESTART = "audit.restart"
    AUDIT_RECHAIN = "audit.rechain"
    AUDIT_EXPIRE = "audit.expire"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """An event to record. ``detail`` is written as JSON and never contains a secret.

    ``at`` has whole milliseconds, in UTC.
    """

    at: datetime
    action: Action
    actor: Actor
    subject: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)

    @property
    def detail_text(self) -> str:
        """The detail as the text of its column."""
        return json.dumps(
            self.detail, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str
        )


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """A selection of rows; None is no condition. ``since`` is a time, inclusive.

    The rows of a key are those about it, and the rotation or the import that created it.
    """

    subject: str | None = None
    actor: str | None = None
    action: str | None = None
    since: datetime | None = None


ALL_ROWS = AuditFilter()


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A row of the log as stored, not verified: it may have been altered.

    ``at`` is in milliseconds since 1970; the MAC covers ``fields`` and the previous MAC. A value
    that is not UTF-8 text is converted by ``text_of`` or ``blob_of``, even in the column of a
    number, and then equals no value that Latchkey writes.

    The digests are in hex, each with its own salt. A row of version 0.2 has none, until it is
    re-chained. An erased value has a digest but no salt.
    """

    number: int
    at: int
    action: str
    actor_kind: str
    actor: str | None
    address: str | None
    subject: str | None
    detail: str
    mac: str
    address_salt: str | None = None
    address_digest: str | None = None
    detail_salt: str | None = None
    detail_digest: str | None = None

    def with_digests(self) -> AuditRow:
        """The row with digests of its address and its detail, each with a new salt."""
        detail_salt = secrets.token_hex(_SALT_LENGTH)
        made = replace(
            self,
            detail_salt=detail_salt,
            detail_digest=value_digest(detail_salt, "detail", self.detail),
        )
        if self.address is None:
            return made
        salt = secrets.token_hex(_SALT_LENGTH)
        digest = value_digest(salt, "address", self.address)
        return replace(made, address_salt=salt, address_digest=digest)

    @property
    def is_former(self) -> bool:
        """Whether the row is of version 0.2, without digests, or was altered to look so."""
        return self.detail_digest is None

    @property
    def is_address_erased(self) -> bool:
        """Whether the address and its salt were removed."""
        return self.address is None and self.address_salt is None and self.has_address

    @property
    def is_detail_erased(self) -> bool:
        """Whether the detail and its salt were removed."""
        return self.detail == ERASED_DETAIL and self.detail_salt is None and not self.is_former

    @property
    def has_address(self) -> bool:
        """Whether the row was written with an address."""
        return self.address_digest is not None

    @property
    def moment(self) -> datetime | None:
        """The time in UTC; None if the stored value is not a time."""
        try:
            return datetime.fromtimestamp(self.at / 1000, UTC)
        except (TypeError, ValueError, OverflowError, OSError):
            # The value may have been altered: verification reports it.
            return None

    @property
    def readable(self) -> AuditRow:
        """The row for display: bytes that are not text are escaped, a blob is written as in SQL."""
        stored: list[tuple[str, Any]] = [(name, getattr(self, name)) for name in self.__slots__]
        spelled: dict[str, Any] = {
            name: spelled_out(one) for name, one in stored if isinstance(one, str)
        }
        return replace(self, **spelled)

    @property
    def json_fields(self) -> dict[str, object]:
        """The row for JSON: readable, with ``at`` as a time in addition to the milliseconds."""
        shown = self.readable
        milliseconds: object = shown.at
        at = str(milliseconds)
        if self.moment is not None:
            at = self.moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {
            "number": shown.number,
            "at": at,
            # JSON has no infinite number.
            "at_ms": milliseconds if isinstance(milliseconds, int) else str(milliseconds),
            "action": shown.action,
            "actor_kind": shown.actor_kind,
            "actor": shown.actor,
            "address": shown.address,
            "address_salt": shown.address_salt,
            "address_digest": shown.address_digest,
            "subject": shown.subject,
            "detail": None if self.is_detail_erased else shown.detail,
            "detail_salt": shown.detail_salt,
            "detail_digest": shown.detail_digest,
            "mac": shown.mac,
        }

    @property
    def fields(self) -> tuple[Value, ...]:
        """What the MAC covers, in its order, besides the previous MAC."""
        return (
            self.number,
            self.at,
            self.action,
            self.actor_kind,
            self.actor,
            self.address_digest,
            self.subject,
            self.detail_digest,
        )

    @property
    def former_fields(self) -> tuple[Value, ...]:
        """What the MAC of version 0.2 covers."""
        return (
            self.number,
            self.at,
            self.action,
            self.actor_kind,
            self.actor,
            self.address,
            self.subject,
            self.detail,
        )


@dataclass(frozen=True, slots=True)
class Head:
    """The last row of a log: its number, 0 for a log without rows, and its MAC in hex.

    ``is_former``: read from a head file that version 0.2 sealed.
    """

    number: int
    mac: str
    is_former: bool = field(default=False, compare=False)


NO_ROWS = Head(0, NO_MAC)


class RowsDigest:
    """The SHA-256 of a sequence of rows with their MACs: comparing it needs no key.

    It does not change if values are erased later.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, entry: AuditRow) -> None:
        """Add the next row."""
        if entry.is_former:
            encoded = encode(_FORMER_ROWS_LABEL, (*entry.former_fields, entry.mac))
        else:
            encoded = encode(_ROWS_LABEL, (*entry.fields, entry.mac))
        self._digest.update(encoded)

    def hexdigest(self) -> str:
        """The digest of the rows added so far."""
        return self._digest.hexdigest()


class AuditKey:
    """The key of the chain, 32 bytes. With it, anybody can write a log that verifies."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != AUDIT_KEY_LENGTH:
            raise ValueError(f"an audit key has {AUDIT_KEY_LENGTH} bytes, not {len(key)}")
        self._key = key

    def mac(self, previous: str, fields: Sequence[Value]) -> str:
        """The MAC in hex of a row with these fields, after a row with the MAC ``previous``."""
        return self._hex(_ROW_LABEL, (previous, *fields))

    def former_mac(self, previous: str, fields: Sequence[Value]) -> str:
        """The same for a row of version 0.2, which is not re-chained yet."""
        return self._hex(_FORMER_ROW_LABEL, (previous, *fields))

    def seal(self, head: Head) -> str:
        """The MAC, in hex, that authenticates a head stored outside the database.

        It differs from the seal of version 0.2: a head with this seal rules out that rows of that
        version are still to be re-chained.
        """
        return self._hex(_HEAD_LABEL, (head.number, head.mac))

    def former_seal(self, head: Head) -> str:
        """The seal of a head that version 0.2 wrote."""
        return self._hex(_FORMER_HEAD_LABEL, (head.number, head.mac))

    def _hex(self, label: bytes, fields: Sequence[Value]) -> str:
        return hmac.digest(self._key, encode(label, fields), hashlib.sha256).hex()

    def __repr__(self) -> str:
        return "AuditKey()"
