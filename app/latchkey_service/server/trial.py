"""How the server answers the head of a request, without a connection."""

from __future__ import annotations

from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.unreader import IterUnreader

from latchkey.errors import ApiError
from latchkey_service.server.refusals import refusal
from latchkey_service.server.request_parser import PARSER_SETTINGS, ServedRequest


def refusal_of_head(head: bytes) -> ApiError | None:
    """The error with which the server answers a head that it cannot parse; None if it can."""
    cfg = Config()
    for name, value in PARSER_SETTINGS.items():
        cfg.set(name, value)
    try:
        ServedRequest(cfg, IterUnreader(iter([head])), ("127.0.0.1", 0))
    except ParseException as error:
        return refusal(error)
    return None
