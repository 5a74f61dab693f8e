"""The log of the service: gunicorn's, in which nothing that looks like a secret remains."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from latchkey.credentials.tokens import redact_secrets

OURS = "latchkey"
"""The name of the logger that the service writes to by itself."""
GUNICORNS = "gunicorn.error"


class RedactingFormatter(logging.Formatter):
    """A formatter in whose output nothing that looks like a secret remains, tracebacks included.

    The last line of defence: no code of ours logs one in the first place.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, redacted."""
        return redact_secrets(super().format(record))


class RedactingLogger(Logger):
    """gunicorn's logger, redacting, and shared by the service's own log lines."""

    def setup(self, cfg: Config) -> None:
        """Called by gunicorn at the start and at each HUP."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(RedactingFormatter(self.error_fmt, self.datefmt))
        ours = logging.getLogger(OURS)
        ours.handlers = self.error_log.handlers
        ours.setLevel(self.loglevel)
        ours.propagate = False

    def debug(self, msg: object, *args: object, **options: Any) -> None:
        """Called by gunicorn with what it met, which may quote all that a client sent.

        A secret that is no longer in its own form is there, and no redaction knows it.
        """
        named = (type(one).__name__ if isinstance(one, BaseException) else one for one in args)
        super().debug(msg, *named, **options)
