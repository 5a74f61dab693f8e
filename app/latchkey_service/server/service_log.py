"""The log of the service: gunicorn's log, with everything that looks like a secret redacted."""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from latchkey.credentials.tokens import redact_secrets

OURS = "latchkey"
"""The name of the service's own logger."""
GUNICORNS = "gunicorn.error"


class RedactingFormatter(logging.Formatter):
    """A formatter that redacts everything that looks like a secret, also in tracebacks.

    This is the last line of defence: our own code never logs a secret.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, redacted."""
        return redact_secrets(super().format(record))


class RedactingLogger(Logger):
    """gunicorn's logger with redaction. The service's own logger uses the same handlers."""

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
        """Log exceptions by their type only: their text may quote the request.

        The quote may contain a secret in an encoding that the redaction does not recognise.
        """
        named = (type(one).__name__ if isinstance(one, BaseException) else one for one in args)
        super().debug(msg, *named, **options)
