"""A filter that adds the caller to log records."""

from __future__ import annotations

import logging

from latchkey.flask.requirements import principal_or_none

_NOBODY = "-"


class PrincipalFilter(logging.Filter):
    """Adds ``api_key``, ``account_id`` and ``mode`` of the request's principal to each record.

    Without a principal, on an open route and outside of a request, each is ``-``. Add the filter to
    a handler, so that it sees the records of all loggers.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        principal = principal_or_none()
        record.api_key = _NOBODY if principal is None else principal.api_key
        record.account_id = _NOBODY if principal is None else principal.account_id
        record.mode = _NOBODY if principal is None else principal.mode
        return True
