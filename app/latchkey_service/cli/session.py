"""The parts that a command needs: the database, and the shared memory of a running service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import click

from latchkey.box.segment import attached, changing_keys
from latchkey.box.several import publisher_for
from latchkey.box.shared import SharedState
from latchkey.box.use_counts import LiveTallies
from latchkey.check.limit_levels import LimitLevels
from latchkey.check.limit_resets import LimitResets
from latchkey.config import Settings, load_settings
from latchkey.credentials.account_service import AccountService
from latchkey.credentials.default_limit import parse_default_limit
from latchkey.credentials.granting import parse_allowed
from latchkey.credentials.limit_service import LimitService
from latchkey.credentials.publishing import Publisher
from latchkey.credentials.service import CredentialService
from latchkey.credentials.usage import UsageReader
from latchkey.errors import ServiceUnreachable
from latchkey.key_files import load_derivation, load_seal
from latchkey.preparing import prepare_instance
from latchkey.store.audit_head import Seal
from latchkey.store.database_urls import database_of
from latchkey.store.protocols import AuditLog, Listing, Store
from latchkey_service.administrators.service import Administrators
from latchkey_service.cli.instance import instance_settings


@dataclass(frozen=True, slots=True)
class Session:
    """One command's parts."""

    settings: Settings
    credentials: CredentialService
    accounts: AccountService
    usage: UsageReader
    audit: AuditLog
    listing: Listing
    store: Store
    publisher: Publisher
    shared: SharedState
    limits: LimitService
    limit_levels: LimitLevels
    limit_resets: LimitResets


@contextmanager
def reading() -> Iterator[Session]:
    """For a command that only reads. Use counts include those in shared memory, if reachable."""
    settings = instance_settings()
    database_of(settings).require()
    with ExitStack() as stack:
        try:
            shared = stack.enter_context(attached(settings))
        except ServiceUnreachable:
            shared = SharedState.private()
        yield stack.enter_context(_over(settings, shared, None))


@contextmanager
def changing(*, migrate: bool = False) -> Iterator[Session]:
    """For a command that changes keys. A running service sees the changes before the block ends.

    With ``migrate``, a missing database is created. Without it, a missing database is an error.
    Raises ServiceUnreachable if the shared memory of a running service cannot be reached.
    """
    settings = instance_settings()
    if not migrate:
        database_of(settings).require()
    load_derivation(settings)
    _prepare(settings, migrate)
    seal = load_seal(settings)
    with changing_keys(settings) as shared, _over(settings, shared, seal) as session:
        yield session


@contextmanager
def administering(*, migrate: bool = False) -> Iterator[Administrators]:
    """For a command about the console's administrators, which are not cached.

    With ``migrate``, a missing database is created. Without it, a missing database is an error.
    """
    settings = instance_settings()
    if not migrate:
        database_of(settings).require()
    _prepare(settings, migrate)
    with closing(database_of(settings).open_store(seal=load_seal(settings))) as store:
        yield Administrators.over(store.administrators, Publisher(store.audit), settings)


def database_is_there() -> bool:
    """Whether the configured database exists."""
    return database_of(load_settings()).exists()


def _prepare(settings: Settings, migrate: bool) -> None:
    if migrate:
        if prepare_instance(settings).created:
            shown = database_of(settings).shown
            click.echo(f"created the database {shown}", err=True)
    else:
        with closing(database_of(settings).open_store()) as store:
            store.check()


@contextmanager
def _over(settings: Settings, shared: SharedState, seal: Seal | None) -> Iterator[Session]:
    """The parts for the configured database and this memory, closed at the end of the block."""
    store = database_of(settings).open_store(seal=seal)
    publisher = publisher_for(store, shared)
    default = parse_default_limit(settings.default_limit)
    limits = LimitService(store, publisher, default)
    try:
        yield Session(
            settings,
            CredentialService(
                store, load_derivation(settings), publisher, parse_allowed(settings.scopes)
            ),
            AccountService(store.accounts, publisher),
            UsageReader(store.usage, LiveTallies(shared)),
            store.audit,
            store.listing,
            store,
            publisher,
            shared,
            limits,
            LimitLevels(shared.limits, store.limits, default),
            LimitResets(limits, shared.limits),
        )
    finally:
        store.close()
