"""What a command works with: the credentials of the database, and the memory of who serves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import click

from app.auth.replay import Replay
from app.auth.shared import SharedState
from app.auth.tallies import LiveTallies
from app.config import Settings, load_settings
from app.credentials.service import CredentialService
from app.credentials.usage import UsageReader
from app.derivation import load_derivation
from app.errors import ServiceUnreachable
from app.segment import attached, changing_keys
from app.store import Store
from app.store.migrate import migrate_in_child


@dataclass(frozen=True, slots=True)
class Session:
    """One command's parts."""

    settings: Settings
    credentials: CredentialService
    usage: UsageReader


@contextmanager
def reading() -> Iterator[Session]:
    """For a command that only reads. Use counts come from memory too, where it can be reached."""
    settings = load_settings()
    with ExitStack() as stack:
        try:
            shared = stack.enter_context(attached(settings))
        except ServiceUnreachable:
            shared = SharedState.private()
        yield stack.enter_context(_over(settings, shared))


@contextmanager
def changing(*, migrate: bool = False) -> Iterator[Session]:
    """For a command that changes keys, in effect for whoever serves before the block ends.

    With ``migrate`` the database is made where it is missing; the other commands say so. Raises
    ServiceUnreachable where there is a service whose memory cannot be reached.
    """
    settings = load_settings()
    load_derivation(settings)
    if migrate:
        if migrate_in_child(settings.database_url).created:
            click.echo(f"made a new database, {settings.database_url}", err=True)
    else:
        with closing(Store(settings.database_url)) as store:
            store.check()
    with changing_keys(settings) as shared, _over(settings, shared) as session:
        yield session


@contextmanager
def _over(settings: Settings, shared: SharedState) -> Iterator[Session]:
    """The parts over the configured database and this memory, closed at the end of the block."""
    store = Store(settings.database_url)
    replay = Replay(store.invalidations, shared)
    try:
        yield Session(
            settings,
            CredentialService(store, load_derivation(settings), shared.invalidate, replay.note),
            UsageReader(store.usage, LiveTallies(shared)),
        )
    finally:
        store.close()
