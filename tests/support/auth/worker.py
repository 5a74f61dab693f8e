"""The parts of one worker with a real migrated database, and clocks that tests control.

Nothing is mocked: the store's own ``verifier`` runs its own SELECT. ``Reads`` wraps it, to count
the reads and to delay them at their worst moment.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastcache.shared import KeyedDigest, WindowTable
from latchkey.addresses import ClientAddresses
from latchkey.box.shared import SharedState
from latchkey.box.throttle import FailureThrottle
from latchkey.check.authenticator import Authenticator
from latchkey.check.cache_levels import Backend
from latchkey.check.headers import Presented, read_plain
from latchkey.credentials.account_service import AccountService
from latchkey.credentials.accounts import AccountChange
from latchkey.credentials.derivation import DerivationKey, DerivationKeys
from latchkey.credentials.kinds import Sources
from latchkey.credentials.models import Principal, Verifier
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.service import CredentialService
from latchkey.credentials.tokens import lookup_key, new_api_key
from latchkey.errors import AuthenticationError
from tests.support.audited import TESTER, open_store
from tests.support.database import new_database

BACKENDS: tuple[Backend, ...] = ("fastcache", "cachetools", "none")
# No test waits that long; the limit only turns a hang into a failure.
PATIENCE = 60.0
# So far in the future that clocks reach it only if a test advances them.
EXPIRY = datetime(2199, 1, 15, 10, 30, 0, 123000, tzinfo=UTC)


class Time:
    """A clock that only moves when a test sets it."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Reads:
    """The store's ``verifier`` with a counter, and hooks before and after its real SELECT."""

    def __init__(self, find: Callable[[str], Verifier | None]) -> None:
        self._find = find
        self.keys: list[str] = []
        self.before: Callable[[], None] = _nothing
        self.after: Callable[[], None] = _nothing
        self._accounts: dict[str, dict[str, Any]] = {}

    def __call__(self, api_key: str) -> Verifier | None:
        self.keys.append(api_key)
        self.before()
        found = self._find(api_key)
        if found is not None and (account := self._accounts.get(api_key)):
            found = found._replace(principal=replace(found.principal, **account))
        self.after()
        return found

    def of_account(self, secret: str, **fields: Any) -> None:
        """Give this credential's principal these fields of an account, instead of the store's."""
        self._accounts[api_key(secret)] = fields

    @property
    def count(self) -> int:
        return len(self.keys)


class Gate:
    """A gate that stops threads until it is opened; as a hook, it stops only the named threads."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()
        self._stopped: list[threading.Thread] | None = None

    def only(self, *threads: threading.Thread) -> Gate:
        """Stop only these threads."""
        self._stopped = list(threads)
        return self

    def __call__(self) -> None:
        if self._stopped is None or threading.current_thread() in self._stopped:
            self._reached.set()
            assert self._open.wait(PATIENCE)

    def await_arrival(self) -> None:
        assert self._reached.wait(PATIENCE)

    def open(self) -> None:
        self._open.set()


class Worker:
    """The parts of one worker. ``cached`` is whether its backend caches anything."""

    def __init__(
        self,
        path: Path,
        *,
        backend: Backend = "fastcache",
        current: Sequence[DerivationKey] = (),
        retired: Sequence[DerivationKey] = (),
        cache_size: int = 1000,
        cache_ttl: float = 300.0,
        fresh: bool = True,
        shared: SharedState | None = None,
        real_time: bool = False,
    ) -> None:
        """Use a new database at ``path``, or the existing one.

        With ``real_time``, it uses the system's clocks, as the compiled middleware requires.
        """
        self.path = path
        self.cached = backend != "none"
        self.keys = DerivationKeys(current or [DerivationKey(b"1" * 32)], retired)
        self.store = open_store(new_database(path) if fresh else f"sqlite:///{path}")
        self.reads = Reads(self.store.verifier)
        self.timer = Time(1_000_000.0)
        self.clock = Time(time.time())
        self.authenticator = Authenticator(
            Sources(self.keys, self.reads),
            shared or SharedState.private(),
            backend=backend,
            cache_size=cache_size,
            cache_ttl=cache_ttl,
            timer=time.monotonic_ns if real_time else lambda: round(self.timer() * 1e9),
            # Looked up at each call, because tests replace it to stop a thread.
            clock=time.time_ns if real_time else lambda: round(self.clock() * 1e6) * 1000,
        )
        publisher = Publisher(self.store.audit, self.authenticator.invalidate)
        self.service = CredentialService(self.store, self.keys, publisher)
        self.accounts = AccountService(self.store.accounts, publisher)

    def issue(self, expires_at: datetime | None = None, account: str | None = None) -> str:
        """Store a new credential, for the instance account or another one; returns its secret."""
        return self.service.issue(
            name="test",
            caller=None,
            account=account,
            scopes=frozenset({"*"}),
            expires_at=expires_at,
            by=TESTER,
        ).secret

    def new_account(self) -> str:
        """Store a new account; returns its id."""
        return self.accounts.create(name="customer", caller=None, by=TESTER).id

    def disable(self, account: str) -> None:
        self.accounts.change(account, AccountChange(status="disabled"), None, by=TESTER)

    def enable(self, account: str) -> None:
        self.accounts.change(account, AccountChange(status="active"), None, by=TESTER)

    def register(self, secret: str) -> None:
        self.service.register(api_key(secret), secret, None, by=TESTER)

    def revoke(self, secret: str) -> None:
        self.service.revoke(api_key(secret), None, by=TESTER)

    def authenticate(self, secret: str) -> Principal:
        return self.authenticator.authenticate(presented(secret))

    def outcome(self, secret: str) -> str:
        """The outcome of an authentication: "ok", or the name of the refusal."""
        try:
            principal = self.authenticate(secret)
        except AuthenticationError as error:
            return type(error).__name__
        assert principal.api_key == api_key(secret)
        return "ok"

    def reads_of(self, action: Callable[[], object]) -> int:
        """The number of SELECTs of an action, including refusals."""
        before = self.reads.count
        with suppress(AuthenticationError):
            action()
        return self.reads.count - before

    def close(self) -> None:
        self.store.close()


NewWorker = Callable[..., Worker]
"""Creates a worker with the test's backend."""


@dataclass
class Outcome:
    """The outcome of a thread: its result, or its exception."""

    value: Any = None
    error: BaseException | None = None


class Running(threading.Thread):
    """A thread with an outcome; started immediately by default."""

    def __init__(self, action: Callable[[], object], *, start: bool = True) -> None:
        super().__init__(daemon=True)
        self._action = action
        self._outcome = Outcome()
        if start:
            self.start()

    def run(self) -> None:
        try:
            self._outcome.value = self._action()
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks
            self._outcome.error = error

    def outcome(self) -> Outcome:
        """Wait for the end of the thread; returns its outcome."""
        self.join(PATIENCE)
        assert not self.is_alive(), "the thread does not end"
        return self._outcome

    def value(self) -> Any:
        outcome = self.outcome()
        if outcome.error is not None:
            raise outcome.error
        return outcome.value


def await_waiting(threads: Sequence[threading.Thread], function: str) -> None:
    """Return when each thread waits for a flight in ``function``."""
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        while not _waits_in(thread, function):
            assert time.monotonic() < deadline, f"a thread never waited in {function}"
            time.sleep(0.001)


def _waits_in(thread: threading.Thread, function: str) -> bool:
    # It holds a lock of the interpreter, and a collection within it may let another thread run that
    # waits for this lock.
    gc.disable()
    try:
        frame = sys._current_frames().get(thread.ident or 0)
    finally:
        gc.enable()
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names[:2] == ["await_landing", function]


def api_key(secret: str) -> str:
    return f"ak_{lookup_key(secret)}"


def presented(secret: str) -> Presented:
    return read_plain(secret)


def derive(key: DerivationKey, of: str | None = None) -> str:
    """A secret derived from ``key``, for the api_key of another secret or a new one."""
    return key.derive(new_api_key("live") if of is None else api_key(of))


def forge(of: str | None = None) -> str:
    """A well-formed secret that no listed key derived."""
    return derive(DerivationKey(b"\xee" * 32), of)


def new_throttle(limit: str, trusted_proxies: int = 0, **options: Any) -> FailureThrottle:
    """A throttle with its own table."""
    digest = KeyedDigest(b"a test's own")
    return FailureThrottle(
        limit, WindowTable(), digest, ClientAddresses(trusted_proxies), **options
    )


def _nothing() -> None:
    pass
