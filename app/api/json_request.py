"""Reading a request's JSON body strictly, whatever was sent."""

from __future__ import annotations

import json
from typing import Any

from flask import Request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from app.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

MAX_BODY = 16 * 1024


class JsonRequest(Request):
    """A request whose ``get_json`` takes one strict JSON object, or raises one of our errors."""

    max_content_length = MAX_BODY

    def get_json(self, *arguments: object, **options: object) -> Any:
        """The body as a dict.

        In the order of the checks: PayloadTooLarge over 16 KiB, UnsupportedMediaType unless it is
        announced as JSON in UTF-8, InvalidRequest unless it is one object without repeated names.
        """
        try:
            body = self.get_data(cache=True)
        except RequestEntityTooLarge:
            raise PayloadTooLarge from None
        except (ClientDisconnected, OSError):
            raise InvalidRequest("The body ended before its announced length") from None
        charset = self.mimetype_params.get("charset", "utf-8")
        if self.mimetype != "application/json" or charset.lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType
        return _parse_object(body)


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_refuse
        )
    except RecursionError:
        raise InvalidRequest("The JSON body is nested too deeply") from None
    except ValueError:
        raise InvalidRequest("The body is not valid JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The JSON body must be an object")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name is given twice")
    return value


def _refuse(constant: str) -> None:
    raise ValueError("not a number of JSON")
