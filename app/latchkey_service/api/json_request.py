"""Strict reading of the JSON body and the query of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, TypeVar

from flask import Request, current_app
from werkzeug.datastructures import MultiDict

from latchkey.errors import InvalidField, InvalidRequest, UnsupportedMediaType
from latchkey_service import strict_json
from latchkey_service.bodies import read_body
from latchkey_service.shapes.problems import shown_name

MAX_BODY = 16 * 1024
MAX_DEPTH = 32

View = TypeVar("View", bound=Callable[..., object])

_OPTIONAL = "__latchkey_body_optional__"
_LARGEST = "__latchkey_largest_body__"


def optional_body(view: View) -> View:
    """Allow requests to this view without a body, as if it were an empty object."""
    setattr(view, _OPTIONAL, True)
    return view


def largest_body(size: int) -> Callable[[View], View]:
    """Allow requests to a view to have bodies of up to ``size`` bytes, instead of MAX_BODY."""

    def mark(view: View) -> View:
        setattr(view, _LARGEST, size)
        return view

    return mark


class JsonRequest(Request):
    """A request whose ``get_json`` returns one strictly parsed object, or raises an ApiError."""

    max_content_length = MAX_BODY

    @cached_property
    def args(self) -> MultiDict[str, str]:
        """The query; raises InvalidField if a parameter is given twice."""
        found = super().args
        for name, values in found.lists():
            if len(values) > 1:
                raise InvalidField(shown_name(name), "is given twice")
        return found

    @cached_property
    def raw_body(self) -> bytes:
        """The bytes of the body; raises PayloadTooLarge and InvalidRequest."""
        limit = getattr(self._view(), _LARGEST, MAX_BODY)
        return read_body(self.environ, self.content_length, limit)

    def get_json(self, *arguments: object, **options: object) -> Any:
        """The body as a dict.

        Raises, in this order: PayloadTooLarge above the view's limit, UnsupportedMediaType unless
        the content type is JSON in UTF-8, InvalidRequest unless the body is one object without
        repeated names.
        """
        body = self.raw_body
        if not body and "Content-Type" not in self.headers and self._may_lack_body():
            return {}
        charset = self.mimetype_params.get("charset", "utf-8")
        if self.mimetype != "application/json" or charset.lower() not in ("utf-8", "utf8"):
            raise UnsupportedMediaType
        return _parse_object(body)

    def _may_lack_body(self) -> bool:
        return getattr(self._view(), _OPTIONAL, False)

    def _view(self) -> Callable[..., object] | None:
        return current_app.view_functions.get(self.endpoint or "")


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        value = strict_json.loads(body.decode("utf-8"))
    except RecursionError:
        raise InvalidRequest("The JSON body is nested too deeply") from None
    except strict_json.RepeatedName as error:
        raise InvalidRequest(f"{shown_name(error.name)}: is given twice") from None
    except ValueError:
        raise InvalidRequest("The body is not valid JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The JSON body must be an object")
    _require_shallow(value)
    return value


def _require_shallow(value: dict[str, Any]) -> None:
    """Refuse deep nesting. The parser has a limit too, but it differs between Python versions."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise InvalidRequest("The JSON body is nested too deeply")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
