"""Messages about invalid fields: the name that the caller wrote, and the rule."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from annotated_types import Ge, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from latchkey.credentials.tokens import redact_secrets
from latchkey.errors import InvalidField

Model = TypeVar("Model", bound=BaseModel)

EXTERNAL_ID_FORM = "must be 1 to 255 visible ASCII characters without spaces"
"""The rule of an external id, as messages state it."""

_LONGEST_NAME = 40
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_NUMBER = re.compile(r"int_.*|greater_than_equal|less_than_equal", re.ASCII)
_FORMS = {
    "api_key": "must be ak_live_ or ak_test_ and 22 letters and digits",
    "api_secret": "must be sk_live_ or sk_test_ and 71 letters and digits",
    "Idempotency-Key": "must be 1 to 64 visible ASCII characters without spaces",
    "external_id": EXTERNAL_ID_FORM,
}
_RULES = {
    "missing": "is required",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "bool_type": "must be true or false",
    "string_unicode": "must be a string of valid Unicode",
}


def validated(model: type[Model], given: Mapping[str, object]) -> Model:
    """The given values, validated like a body of the HTTP API; raises InvalidField."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise first_problem(error, model) from None


def first_problem(error: ValidationError, model: type[BaseModel]) -> InvalidField:
    """The first problem that pydantic found. The message never repeats the value of a field.

    Unknown fields come first: a misspelled field would otherwise be reported as a missing one.
    """
    problems = error.errors(include_input=False, include_url=False)
    unknown = (one for one in problems if one["type"] == "extra_forbidden")
    problem = next(unknown, problems[0])
    place = problem["loc"]
    owner = _model_at(model, place[:-1])
    if problem["type"] == "extra_forbidden":
        return unknown_field(str(place[-1]), owner, place[:-1])
    field = owner.model_fields.get(str(place[-1])) if place else None
    name = ".".join(str(part) for part in place) or "body"
    return InvalidField(name, _rule(dict(problem), field))


def _model_at(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """The model at a place inside of a model: that of the objects in a list."""
    for part in place:
        field = model.model_fields.get(str(part))
        if field is not None:
            model = next(_models_in(field.annotation), model)
    return model


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that a type names, such as that of the items of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def unknown_field(
    name: str, model: type[BaseModel], place: tuple[int | str, ...] = ()
) -> InvalidField:
    """The error for a field that the model does not have, at a place inside of a body."""
    known = ", ".join(model.model_fields)
    shown = ".".join([*map(str, place), shown_name(name)])
    return InvalidField(shown, f"is unknown here; allowed are {known}")


def shown_name(name: str, hidden: str = "body") -> str:
    """The name that the caller wrote, or a description if it is long.

    ``hidden`` is returned in place of a name that looks like a secret: where it was written.
    """
    if redact_secrets(name) != name:
        return hidden
    if len(name) > _LONGEST_NAME:
        return f"a name of {len(name)} characters"
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)


def _rule(problem: dict[str, Any], field: FieldInfo | None) -> str:
    kind = problem["type"]
    context: dict[str, Any] = problem.get("ctx", {})
    if kind in _RULES:
        return _RULES[kind]
    if field is not None and field.annotation is int and _is_about_number(problem):
        return _whole_number(field)
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "too_short":
        return f"must have at least {context['min_length']} item"
    if kind == "too_long":
        return f"must have at most {context['max_length']} items"
    if kind == "string_pattern_mismatch":
        return _FORMS[str(problem["loc"][-1])]
    message: str = problem["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _is_about_number(problem: dict[str, Any]) -> bool:
    return _NUMBER.fullmatch(problem["type"]) is not None or problem["type"] == "value_error"


def _whole_number(field: FieldInfo) -> str:
    least = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
    most = next((bound.le for bound in field.metadata if isinstance(bound, Le)), None)
    return f"must be a whole number from {least} to {most}"
