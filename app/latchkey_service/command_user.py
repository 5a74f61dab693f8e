"""Who is at the command line, as the audit log says it."""

from __future__ import annotations

import os
import pwd

from latchkey.credentials.audit import Actor


def command_line_user() -> Actor:
    """The user of the system whose command this is: the real one, by name where it has one."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return Actor.command_line(name)
