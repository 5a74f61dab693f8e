"""Processes that hold a service's memory, or change its keys, without serving requests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from latchkey.config import Settings, load_settings
from tests.support import forked
from tests.support.database import new_database

ROOT = Path(__file__).parents[2]


def settings_for(directory: Path, **more: str) -> Settings:
    memory = directory / "memory"
    memory.mkdir(exist_ok=True)
    database = directory / "latchkey.db"
    if not database.exists():
        new_database(database)
    return load_settings(
        {
            "LATCHKEY_DATABASE_URL": f"sqlite:///{database}",
            "LATCHKEY_SHARED_MEMORY": str(memory),
            "LATCHKEY_SHARED_SIZE": "8",
            **more,
        }
    )


# Code for another process with the settings: hold the memory of a service until it is released.
SERVE = """
import json, sys
from latchkey.config import load_settings
from latchkey.box.segment import ServiceSegment
opened = ServiceSegment.open(load_settings())
print(opened.segment.uuid, flush=True)
sys.stdin.readline()
opened.close()
"""
CHANGE = """
import sys
from latchkey.config import load_settings
from latchkey.box.segment import changing_keys
with changing_keys(load_settings()) as shared:
    print(shared.segment.uuid if shared.segment else "alone", flush=True)
    sys.stdin.readline()
"""


class Other:
    """Another process over the same database."""

    def __init__(self, code: str, settings: Settings, **more: str) -> None:
        environment = {name: value for name, value in os.environ.items() if "LATCHKEY" not in name}
        for field in ("database_url", "shared_memory", "shared_size"):
            environment[f"LATCHKEY_{field.upper()}"] = str(getattr(settings, field))
        asked, answering = os.pipe()
        answers, asking = os.pipe()
        self._errors = TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self.process = forked.start(
            [],
            code=code,
            directory=ROOT,
            environment={**environment, **more},
            streams=(asked, asking, self._errors.fileno()),
        )
        os.close(asked)
        os.close(asking)
        self._input = os.fdopen(answering, "w")
        self._output = os.fdopen(answers)

    def says(self) -> str:
        """Its next line of output."""
        return self._output.readline().strip()

    def let_go(self) -> None:
        """Let it continue, without waiting until it ends."""
        self._input.write("\n")
        self._input.flush()

    def errors(self) -> str:
        """Its standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def end(self) -> None:
        """Let it continue and end."""
        self.let_go()
        status = self.process.wait(60)
        assert status == 0, self.errors()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for file in (self._input, self._output, self._errors):
            file.close()


@contextmanager
def other(code: str, settings: Settings, **more: str) -> Iterator[Other]:
    process = Other(code, settings, **more)
    try:
        yield process
    finally:
        process.kill()


def files(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.shared_memory.iterdir())
