"""The settings of the instance that a command works on, and the change to its owner."""

from __future__ import annotations

import click

from latchkey.config import Settings, load_settings
from latchkey.files.owner import acting_as_owner
from latchkey.store.database_urls import database_of


def instance_settings() -> Settings:
    """Load the settings. From then on, a command run by root acts as the instance's owner."""
    settings = load_settings()
    owner = acting_as_owner(database_of(settings).place)
    click.get_current_context().with_resource(owner)
    return settings
