"""A process that changes accounts of a running service, like a command; it can die on the way.

It reads one JSON list per line, a function of ``Office`` and its arguments, and prints what it
returns as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from latchkey.box.segment import changing_keys
from latchkey.box.shared import SharedState, Word
from latchkey.config import load_settings
from latchkey.credentials.account_service import AccountService
from latchkey.credentials.accounts import AccountChange, AccountStatus
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.service import CredentialService
from latchkey.key_files import load_derivation, load_seal
from latchkey.store.database_urls import database_of
from latchkey_service.command_user import command_line_user
from tests.support import forked
from tests.support.service import Pair, Service

Invalidate = Callable[[str], None]


class Office:
    """Changes that attach to the shared memory, commit, publish and detach."""

    def create(self) -> str:
        """A new account; its id."""
        with _services() as (accounts, _):
            return accounts.create(name="customer", caller=None, by=command_line_user()).id

    def issue(self, account: str) -> list[str]:
        """A new key of an account: api_key and secret."""
        with _services() as (_, credentials):
            issued = credentials.issue(
                name="test",
                caller=None,
                account=account,
                scopes=frozenset({"*"}),
                by=command_line_user(),
            )
            return [issued.credential.api_key, issued.secret]

    def change(self, account: str, status: AccountStatus) -> None:
        """Disable or enable an account."""
        with _services() as (accounts, _):
            _change(accounts, account, status)

    def die(self, account: str, status: AccountStatus, after_word: bool) -> None:
        """The same, killed after the commit; with ``after_word``, between the two increments."""

        def killed(shared: SharedState) -> Invalidate:
            def die(lookup: str) -> None:
                if after_word:
                    shared.words.add(Word.ACCOUNTS_CHANGED)
                _answer(time.monotonic())
                os.kill(os.getpid(), signal.SIGKILL)

            return die

        with _services(killed) as (accounts, _):
            _change(accounts, account, status)


class StandingOffice:
    """An ``Office`` in a process of its own."""

    def __init__(self, process: forked.Piped) -> None:
        self._process = process

    def create(self) -> str:
        """A new account; its id."""
        return str(self._ask("create"))

    def issue(self, account: str) -> Pair:
        """A new key of an account."""
        return Pair(*self._ask("issue", account))

    def change(self, account: str, status: AccountStatus) -> None:
        """Disable or enable an account."""
        self._ask("change", account, status)

    def _ask(self, *order: object) -> Any:
        print(json.dumps(order), file=self._process.input, flush=True)
        return json.loads(self._process.output.readline())


@contextmanager
def standing_office(service: Service) -> Iterator[StandingOffice]:
    """A StandingOffice with the settings of a service, until the end of the block."""
    with _process(service) as process:
        yield StandingOffice(process)


def change_and_die(
    service: Service, account: str, status: AccountStatus, *, after_word: bool
) -> float:
    """When the process that changed the account was killed, by CLOCK_MONOTONIC in seconds."""
    with _process(service) as office:
        print(json.dumps(["die", account, status, after_word]), file=office.input, flush=True)
        killed = office.output.read()
    assert office.process.returncode == -signal.SIGKILL
    return float(killed)


def _process(service: Service) -> AbstractContextManager[forked.Piped]:
    return forked.piped(
        [],
        code=f"from {__name__} import main; main()",
        directory=service.directory,
        environment=service.environment(),
    )


@contextmanager
def _services(
    invalidate: Callable[[SharedState], Invalidate] = lambda shared: shared.invalidate,
) -> Iterator[tuple[AccountService, CredentialService]]:
    settings = load_settings()
    with changing_keys(settings) as shared:
        store = database_of(settings).open_store(seal=load_seal(settings))
        try:
            publisher = Publisher(store.audit, invalidate(shared))
            yield (
                AccountService(store.accounts, publisher),
                CredentialService(store, load_derivation(settings), publisher),
            )
        finally:
            store.close()


def _answer(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _change(accounts: AccountService, account: str, status: AccountStatus) -> None:
    accounts.change(account, AccountChange(status=status), None, by=command_line_user())


def main() -> None:
    """Follow orders until the input ends."""
    for line in sys.stdin:
        function, *arguments = json.loads(line)
        _answer(getattr(Office(), function)(*arguments))
