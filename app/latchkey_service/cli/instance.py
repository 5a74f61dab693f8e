"""The settings of the instance that a command works on, and the change to its owner."""

from __future__ import annotations

import click

from latchkey.config import Settings, load_settings
from latchkey.errors import ConfigurationError
from latchkey.files.owner import acting_as_owner
from latchkey.store.database_urls import database_of, is_postgresql


def instance_settings() -> Settings:
    """Load the settings. From then on, a command run by root acts as the instance's owner."""
    settings = load_settings()
    owner = acting_as_owner(database_of(settings).place)
    click.get_current_context().with_resource(owner)
    return settings


def sqlite_settings(instead: str) -> Settings:
    """The same for a command about a SQLite file; ``instead`` is what PostgreSQL's operator uses.

    Raises ConfigurationError if the database is another one.
    """
    settings = instance_settings()
    if is_postgresql(settings.database_url):
        raise ConfigurationError(f"nothing was done: the database is PostgreSQL; use {instead}")
    return settings
