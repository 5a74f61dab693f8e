"""Reading a request's body up to a limit, whatever was announced and whatever came."""

from __future__ import annotations

from wsgiref.types import WSGIEnvironment

from latchkey.errors import ExpectationFailed, InvalidRequest, PayloadTooLarge


def read_body(environ: WSGIEnvironment, announced: int | None, limit: int) -> bytes:
    """All of the body; raises PayloadTooLarge, or InvalidRequest where it is not all there.

    Werkzeug's own stream, where no length is announced, cuts a body that is too large off at the
    limit, and takes one that broke off for a whole one.
    """
    if announced is not None and announced > limit:
        raise PayloadTooLarge
    # Only a server that ends the stream with the request lets one read to its end (PEP 3333).
    size = limit + 1 if "wsgi.input_terminated" in environ else announced or 0
    try:
        body: bytes = environ["wsgi.input"].read(size)
    except ExpectationFailed:
        raise
    except Exception:  # noqa: BLE001 - each server has its own; all mean that it was sent broken
        raise InvalidRequest("The body is broken or incomplete") from None
    if len(body) > limit:
        raise PayloadTooLarge
    if announced is not None and len(body) < announced:
        raise InvalidRequest("The body ended before its announced length")
    return body
