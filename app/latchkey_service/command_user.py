"""The user of a command, as an actor in the audit log."""

from __future__ import annotations

import os
import pwd

from latchkey.credentials.audit import Actor


def command_line_user() -> Actor:
    """The real user of this process, by name, or by number if the user has no name."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return Actor.command_line(name)
