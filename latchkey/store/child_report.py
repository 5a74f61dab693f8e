"""The report of the child process that migrates a database, for its parent."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from subprocess import CompletedProcess

from latchkey.errors import ConfigurationError, LatchkeyError
from latchkey.store.lifecycle import MigrationReport


def report(migrate: Callable[[], MigrationReport]) -> int:
    """In the child: migrate, and print the report as JSON; returns the exit status."""
    try:
        made = migrate()
    except LatchkeyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(asdict(made)))
    return 0


def report_of(child: CompletedProcess[str]) -> MigrationReport:
    """In the parent: the report of the ended child; raises ConfigurationError with its reason."""
    if child.returncode != 0:
        lines = child.stderr.strip().splitlines() or [f"exit status {child.returncode}"]
        raise ConfigurationError(
            f"LATCHKEY_DATABASE_URL: the database could not be prepared: {lines[-1]}"
        )
    return MigrationReport(**json.loads(child.stdout))
