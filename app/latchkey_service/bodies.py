"""Reading the body of a request, up to a limit and in full."""

from __future__ import annotations

from wsgiref.types import WSGIEnvironment

from latchkey.errors import ExpectationFailed, InvalidRequest, PayloadTooLarge


def read_body(environ: WSGIEnvironment, announced: int | None, limit: int) -> bytes:
    """The complete body; ``announced`` is its ``Content-Length``.

    Raises PayloadTooLarge, or InvalidRequest if the body is incomplete. Werkzeug's stream would
    truncate a large body without a length, and accept an incomplete one.
    """
    if announced is not None and announced > limit:
        raise _too_large(limit)
    # Reading to the end is safe only if the server terminates the stream (PEP 3333).
    size = limit + 1 if "wsgi.input_terminated" in environ else announced or 0
    try:
        body: bytes = environ["wsgi.input"].read(size)
    except ExpectationFailed:
        raise
    except Exception:  # noqa: BLE001 - each server has its own errors for a broken body
        raise InvalidRequest("The body is broken or incomplete") from None
    if len(body) > limit:
        raise _too_large(limit)
    if announced is not None and len(body) < announced:
        raise InvalidRequest("The body ended before its announced length")
    return body


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {limit >> 10} KiB")
