"""The instance that a command works on, as the user it belongs to."""

from __future__ import annotations

import click

from latchkey.config import Settings, load_settings
from latchkey.files.owner import acting_as_owner
from latchkey.store.database_urls import database_at


def instance_settings() -> Settings:
    """The settings; from here on, a command that root runs works as the instance's owner."""
    settings = load_settings()
    owner = acting_as_owner(database_at(settings.database_url).place)
    click.get_current_context().with_resource(owner)
    return settings
