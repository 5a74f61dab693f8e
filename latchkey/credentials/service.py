"""The operations on credentials: register, issue, find, list, change, rotate, revoke.

Every change follows one order: commit, then publish, then answer. If the change was already made,
it is published too, so that a retry after a crash finishes the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from latchkey.credentials.accounts import Account
from latchkey.credentials.audit import Action, Actor
from latchkey.credentials.caller_rights import (
    is_later,
    require_conditions_within,
    require_no_later,
    require_within_caller,
)
from latchkey.credentials.callers import Author
from latchkey.credentials.conditions import NO_CONDITIONS, ConditionTerms
from latchkey.credentials.declared import require_mark_kept
from latchkey.credentials.derivation import DerivationKeys
from latchkey.credentials.granting import (
    ANY_SCOPE,
    grantable,
    require_allowed,
    require_for_account,
    require_within,
    scopes_missing,
)
from latchkey.credentials.idempotency import Once
from latchkey.credentials.limit_rules import limits_shared_with, require_sets_limits
from latchkey.credentials.limits import Limit, checked_limits
from latchkey.credentials.models import (
    Change,
    Credential,
    Mode,
    NewCredential,
    Principal,
    Rotation,
)
from latchkey.credentials.new_keys import new_credential, require_no_secret
from latchkey.credentials.publishing import Publisher, Refusal
from latchkey.credentials.reach import reach_to_change, reach_to_read
from latchkey.credentials.scopes import FULL_ACCESS
from latchkey.credentials.times import utc_now
from latchkey.credentials.tokens import (
    MalformedToken,
    api_key_from,
    hash_secret,
    mode_of,
    new_api_key,
    read_secret,
)
from latchkey.errors import (
    AccountNotFound,
    AlreadyRotated,
    CredentialNotFound,
    InsufficientScope,
    InvalidCredential,
    InvalidField,
    KeyExpired,
    NotDerived,
)
from latchkey.store.protocols import Store

DEFAULT_OVERLAP = timedelta(days=1)
LONGEST_OVERLAP = timedelta(days=30)


class Inherited(Enum):
    """The marker for a field that a request leaves out; None means "no expiry"."""

    INHERITED = "the caller's own"


INHERITED: Final = Inherited.INHERITED


@dataclass(frozen=True, slots=True, repr=False)
class IssuedCredential:
    """A new credential with its secret, which is known only now."""

    credential: Credential
    secret: str

    def __repr__(self) -> str:
        return f"IssuedCredential({self.credential.api_key!r})"


@dataclass(frozen=True, slots=True)
class CredentialPage:
    """One page of a listing; ``next_before`` continues it, None at the end."""

    credentials: list[Credential]
    next_before: int | None


class CredentialService:
    """The operations on credentials, over a store, the derivation keys and a publisher.

    Every change names its actor, for the audit log. A ``caller`` is the key that makes the change,
    None for the operator. A caller reaches its own account and mode; a key of the instance account
    with a scope for ``accounts`` reaches every account. The key is read again inside the
    transaction of the change, which is refused if it may no longer make it: InvalidCredential,
    RevokedCredential, ExpiredCredential, or InsufficientScope without the scope credentials:write.
    """

    def __init__(
        self,
        store: Store,
        derivation: DerivationKeys,
        publisher: Publisher,
        allowed_scopes: frozenset[str] = ANY_SCOPE,
        *,
        has_default_limit: bool = False,
    ) -> None:
        """``has_default_limit``: there is a limit for keys without limits of their own."""
        self._store = store
        self._derivation = derivation
        self._publisher = publisher
        self._allowed_scopes = allowed_scopes
        self._has_default_limit = has_default_limit

    def register(self, api_key: str, secret: str, name: str | None, *, by: Actor) -> Credential:
        """Store a pair that the vendor made elsewhere, with full scope and no expiry.

        It belongs to the instance account. ``api_key`` is well-formed, ``secret`` has the right
        shape. Raises NotDerived unless a current derivation key made the pair, then DuplicateApiKey
        if it is known already. InvalidField, before either, for a name that holds a secret.
        """
        require_no_secret(name)
        try:
            parts = read_secret(secret)
        except MalformedToken:
            raise NotDerived from None
        maker = self._derivation.registrar_of(parts)
        if maker is None or parts.api_key != api_key:
            raise NotDerived
        new = new_credential(maker, api_key, secret, name, FULL_ACCESS, None)
        outcome = self._store.add(lambda caller: new, Action.KEY_REGISTER, Author(by))
        return self._publisher.publish(outcome)

    def issue(
        self,
        *,
        name: str,
        caller: Principal | None,
        by: Actor,
        account: str | None = None,
        mode: Mode | Inherited = INHERITED,
        scopes: frozenset[str] | Inherited = INHERITED,
        expires_at: datetime | None | Inherited = INHERITED,
        conditions: ConditionTerms | None = None,
        metadata: str | None = None,
        limits: Sequence[Limit] | None = None,
        seed: bytes | None = None,
        once: Once | None = None,
    ) -> IssuedCredential:
        """Create a new pair for ``caller``, or for the operator if it is None.

        INHERITED fields and conditions that are not given get the caller's own values; the
        operator's are all scopes, no expiry, live mode and no conditions. ``account`` is an account
        id; None is the caller's own account, and the operator's is the instance account. The
        ``scopes`` of a key for another account have to be given. ``metadata`` is JSON. ``limits``
        are for the operator and for callers with accounts:write; the key of another caller that has
        limits shares them. Raises InsufficientScope for more than the caller has, AccountNotFound,
        InvalidField for an expiry in the past and for a name that holds a secret.

        With an unpredictable ``seed``, a repeated request is refused: the public key is computed
        from the seed, so DuplicateApiKey is raised. With ``once``, a repeated request of the same
        caller raises AlreadyCreated, and another one IdempotencyKeyReused.
        """
        require_no_secret(name)
        if scopes is not INHERITED:
            require_allowed(scopes, self._allowed_scopes)
        if isinstance(expires_at, datetime):
            _require_in_the_future(expires_at)
        target = None if account is None else self._account_in_reach(account, caller)
        own_limits = checked_limits(limits or ())
        elsewhere = None if target is None or _is_own(target, caller) else target
        if elsewhere is not None and scopes is INHERITED:
            raise scopes_missing()
        in_instance = caller is None or caller.in_instance_account
        if target is not None:
            in_instance = target.is_instance
        if mode is INHERITED:
            mode = caller.mode if caller else "live"
        if caller is not None and mode != caller.mode:
            raise InsufficientScope(None, f"A {caller.mode} key cannot create {mode} keys")
        maker = self._derivation.newest
        api_key = new_api_key(mode) if seed is None else api_key_from(mode, seed)
        secret = maker.derive(api_key)

        def decide(caller: Credential | None) -> NewCredential:
            given, end = scopes, expires_at
            if elsewhere is not None and caller is not None:
                if not reach_to_change(caller.principal()).covers_account(elsewhere.id):
                    raise AccountNotFound
            if given is INHERITED:
                given = grantable(caller.scopes) if caller else FULL_ACCESS
                if not given:
                    raise InsufficientScope(None, "A key cannot pass on any of this key's scopes")
            require_for_account(given, in_instance)
            if end is INHERITED:
                end = caller.expires_at if caller else None
            made = replace(caller.conditions if caller else NO_CONDITIONS, **(conditions or {}))
            if caller is not None:
                require_within(given, caller.scopes)
                require_no_later(caller, end)
                require_conditions_within(made, caller)
                require_mark_kept(metadata, None)
            require_sets_limits(caller, limits)
            new = new_credential(maker, api_key, secret, name, given, end)
            belongs_to = account or (caller.account_id if caller else None)
            new = replace(new, account_id=belongs_to, conditions=made, metadata=metadata)
            shared = limits_shared_with(caller, self._has_default_limit)
            return replace(new, limits=own_limits, limits_of=shared)

        # Before waiting for the database, refuse rights that the caller cannot grant.
        decide(self._present(caller))
        outcome = self._store.add(decide, Action.KEY_ISSUE, Author(by, caller, once=once))
        return IssuedCredential(self._publisher.publish(outcome), secret)

    def derive_pair(self, mode: Mode) -> tuple[str, str]:
        """A derived pair that is not stored, for the vendor."""
        api_key = new_api_key(mode)
        return api_key, self._derivation.newest.derive(api_key)

    def get(self, api_key: str, caller: Principal | None) -> Credential:
        """One credential that the caller may see; raises CredentialNotFound."""
        credential = self._store.find(api_key)
        if credential is None or not reach_to_read(caller).covers(credential):
            raise CredentialNotFound
        return credential

    def page(
        self,
        caller: Principal | None,
        limit: int,
        before: int | None = None,
        *,
        account: str | None = None,
    ) -> CredentialPage:
        """A page of the credentials that the caller may see, newest first, ``limit`` at most.

        ``account`` selects those of one account; raises AccountNotFound if it is out of reach.
        """
        reach = reach_to_read(caller)
        if account is not None:
            if not reach.covers_account(account) or self._store.accounts.find(account) is None:
                raise AccountNotFound
            reach = replace(reach, account_id=account)
        rows = self._store.page(reach.mode, limit + 1, before, reach.account_id)
        more = len(rows) > limit
        rows = rows[:limit]
        return CredentialPage(rows, rows[-1].id if more else None)

    def revoke(self, api_key: str, caller: Principal | None, *, by: Actor) -> None:
        """Revoke a credential within the caller's reach; None is the operator.

        Raises CredentialNotFound if there is none to revoke. A key may revoke itself without the
        scope. Takes effect before it returns.
        """
        author = Author(by, caller)
        if caller is not None and caller.api_key == api_key:
            author = Author(by, caller, needs=None)
        self._publisher.publish(self._store.revoke(api_key, utc_now(), author))

    def change(
        self, api_key: str, terms: Change, caller: Principal | None, *, by: Actor
    ) -> Credential:
        """Give a credential within the caller's reach new terms; None is the operator.

        Raises InvalidField for a name that holds a secret, an expiry in the past, and a later one
        for a key that was rotated; InsufficientScope for more than the caller has, for a key that
        has more, and for limits without accounts:write; CredentialNotFound. Takes effect before it
        returns. Terms that set nothing change nothing, and leave no row in the audit log.
        """
        require_no_secret(terms.name)
        checked_limits(terms.limits or ())
        if terms.sets_expiry and terms.expires_at is not None:
            _require_in_the_future(terms.expires_at)

        def decide(caller: Credential | None, found: Credential) -> Change:
            require_within_caller(found, caller)
            require_sets_limits(caller, terms.limits)
            if caller is not None:
                require_conditions_within(terms.conditions_after(found.conditions), caller)
                require_mark_kept(terms.metadata_after(found.metadata), found.metadata)
            if terms.scopes is not None:
                require_allowed(terms.scopes - found.scopes, self._allowed_scopes)
                require_for_account(terms.scopes, found.account.is_instance)
            if caller is not None:
                require_within(terms.scopes or (), caller.scopes, found.scopes)
                if terms.sets_expiry:
                    require_no_later(caller, terms.expires_at)
            if found.rotated_to is not None and terms.sets_expiry:
                if is_later(terms.expires_at, found.expires_at):
                    raise InvalidField("expires_at", "a rotated key's expiry cannot be postponed")
            return terms

        if terms == Change():
            # Nothing is requested, so there is nothing to record or to invalidate.
            unchanged = self._store.find(api_key)
            if unchanged is None or not reach_to_change(caller).covers(unchanged):
                raise CredentialNotFound
            if unchanged.revoked_at is not None:
                raise CredentialNotFound
            decide(self._present(caller), unchanged)
            return unchanged
        return self._publisher.publish(
            self._store.change(api_key, utc_now(), decide, Author(by, caller))
        )

    def rotate(
        self,
        api_key: str,
        caller: Principal | None,
        overlap: timedelta = DEFAULT_OVERLAP,
        *,
        by: Actor,
        once: Once | None = None,
    ) -> IssuedCredential:
        """Replace a credential within the caller's reach by a successor on the same terms.

        The old one expires after ``overlap``, or at its own expiry if that is earlier. Raises
        InsufficientScope for a key that has more scopes, or expires later, than the caller;
        AlreadyCreated and IdempotencyKeyReused as for ``issue``; KeyExpired; AlreadyRotated;
        CredentialNotFound. Takes effect before it returns.
        """
        maker = self._derivation.newest
        successor_key = new_api_key(mode_of(api_key))
        secret = maker.derive(successor_key)

        def decide(
            caller: Credential | None, found: Credential, former: Credential | None
        ) -> Rotation:
            now = utc_now()
            if found.status(now) == "expired":
                raise Refusal(KeyExpired(found.rotated_to), [found.lookup])
            if former is not None and former.status(now) == "active":
                raise Refusal(AlreadyRotated(former.api_key), [found.lookup])
            original = found.original_expires_at if found.rotated_to else found.expires_at
            # Last: a key that rotated itself and lost the answer still learns its successor.
            if caller is not None:
                require_no_later(caller, original)
            successor = NewCredential(
                api_key=successor_key,
                secret_hash=hash_secret(secret),
                derivation_id=maker.id,
                account_id=found.account_id,
                mode=found.mode,
                name=found.name,
                scopes=found.scopes,
                created_at=now,
                expires_at=original,
                conditions=found.conditions,
                metadata=found.metadata,
                limits_of=found.limits_of or found.id,
            )
            end = now + overlap
            return Rotation(successor, end if is_later(found.expires_at, end) else found.expires_at)

        made = self._publisher.publish(
            self._store.rotate(api_key, utc_now(), decide, Author(by, caller, once=once))
        )
        return IssuedCredential(made, secret)

    def _present(self, caller: Principal | None) -> Credential | None:
        """The caller's key as stored, None for the operator; raises InvalidCredential."""
        if caller is None:
            return None
        found = self._store.find(caller.api_key)
        if found is None:
            # None would stand for the operator.
            raise InvalidCredential
        return found

    def _account_in_reach(self, account: str, caller: Principal | None) -> Account:
        """An account whose keys the caller may change; raises AccountNotFound."""
        found = self._store.accounts.find(account)
        if found is None or not reach_to_change(caller).covers_account(account):
            raise AccountNotFound
        return found


def _is_own(account: Account, caller: Principal | None) -> bool:
    """Whether it is the caller's account; the operator's is the instance account."""
    return account.is_instance if caller is None else account.id == caller.account_id


def _require_in_the_future(expires_at: datetime) -> None:
    if expires_at <= utc_now():
        raise InvalidField("expires_at", "must lie in the future")
