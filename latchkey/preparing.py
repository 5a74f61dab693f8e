"""Preparing an instance's database and audit log, before anything uses them."""

from __future__ import annotations

from contextlib import closing

from latchkey.config import Settings
from latchkey.credentials.publishing import Publisher
from latchkey.errors import ConfigurationError, StoreError
from latchkey.key_files import load_seal, make_audit_key_file
from latchkey.store.audit_head import HeadUnusable, Seal
from latchkey.store.database_urls import database_of
from latchkey.store.lifecycle import MigrationReport


def prepare_instance(settings: Settings) -> MigrationReport:
    """Create the database if it is missing, migrate it, and create the key of an empty audit log.

    A log of version 0.2 is re-chained. Raises ConfigurationError.
    """
    report = database_of(settings).prepare()
    make_audit_key_file(settings, report.audit_rows)
    rechain_log(settings, load_seal(settings))
    return report


def rechain_log(settings: Settings, seal: Seal) -> None:
    """Re-chain a log of version 0.2, or finish that after a crash; raises ConfigurationError."""
    try:
        if not seal.head.read().is_former:
            return
    except HeadUnusable:
        # The start reports it.
        return
    with closing(database_of(settings).open_store(seal=seal)) as store:
        try:
            Publisher(store.audit).publish(store.audit.rechain())
        except StoreError as error:
            raise ConfigurationError(f"the database cannot be used: {error.detail}") from None
