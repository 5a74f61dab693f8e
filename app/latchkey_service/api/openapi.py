"""The description of the routes: a blueprint class, the common responses, the error envelope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from flask_openapi3.scaffold import APIScaffold
from pydantic import BaseModel, ValidationError

from latchkey import __version__
from latchkey_service.api import schemas, verify_schemas
from latchkey_service.api.json_request import JsonRequest
from latchkey_service.api.schemas import ErrorEnvelope
from latchkey_service.shapes import accounts, requests
from latchkey_service.shapes.problems import first_problem
from latchkey_service.url_map import PlainMap

View = TypeVar("View", bound=Callable[..., object])
Described = type[BaseModel] | dict[str, Any]
Answers = Mapping[int, Described]

SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The secret alone: `Authorization: Bearer sk_…`",
    },
    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "secret": {"type": "apiKey", "in": "header", "name": "X-Api-Secret"},
}
# The models of paths, queries and bodies, by name.
_MODELS: dict[str, type[BaseModel]] = {
    **vars(schemas),
    **vars(requests),
    **vars(accounts),
    **vars(verify_schemas),
}
_EITHER_SCHEME: list[dict[str, list[str]]] = [{"bearer": []}, {"key": [], "secret": []}]


class Api(OpenAPI):
    """The application class, with strict JSON bodies and routing by method and path."""

    request_class = JsonRequest
    url_map_class = PlainMap


def new_app() -> OpenAPI:
    """The application object, without static files and automatic OPTIONS."""
    app = Api(
        __name__,
        info=Info(
            title="Latchkey",
            version=__version__,
            description="Create, list, change, rotate and revoke API keys.",
        ),
        security_schemes=SECURITY_SCHEMES,
        doc_ui=False,
        # Every operation lists its own 400, so that the library does not add its own format.
        validation_error_status=400,
        validation_error_model=ErrorEnvelope,
        validation_error_callback=_refuse,
        static_folder=None,
    )
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    return app


class Resource(APIBlueprint):
    """The routes of one resource, each described for the OpenAPI document."""

    def __init__(self, name: str, **options: Any) -> None:
        """``options`` are those of a Flask blueprint, for templates and static files."""
        super().__init__(name, __name__, **options)

    def protected(
        self,
        method: str,
        rule: str,
        answers: Answers,
        *,
        errors: tuple[int, ...] = (),
    ) -> Callable[[View], View]:
        """A route that needs a credential. ``errors``: its statuses besides the common ones."""
        described = _responses(method, answers, (401, 429, *errors))
        return _route(self, method, rule, responses=described, security=_EITHER_SCHEME)

    def open(
        self,
        method: str,
        rule: str,
        answers: Answers,
        *,
        errors: tuple[int, ...] = (),
    ) -> Callable[[View], View]:
        """A route that needs no credential."""
        return describe_open(self, method, rule, answers, errors=errors)


def describe_open(
    scaffold: APIScaffold,
    method: str,
    rule: str,
    answers: Answers,
    *,
    errors: tuple[int, ...] = (),
) -> Callable[[View], View]:
    """A route of an application or a blueprint that needs no credential."""
    return _route(scaffold, method, rule, responses=_responses(method, answers, errors))


def _route(
    scaffold: APIScaffold, method: str, rule: str, **description: object
) -> Callable[[View], View]:
    # The library types its decorators as plain callables; this restores the type.
    decorator: Callable[[View], View] = getattr(scaffold, method.lower())(rule, **description)
    return decorator


def answer(model: BaseModel, status: int = 200, *, only_set: bool = False) -> Response:
    """A model as a JSON response with ``Cache-Control: no-store``.

    ``only_set`` leaves out the fields that were not given a value.
    """
    return Response(
        model.model_dump_json(exclude_unset=only_set),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def content(media_type: str, json_type: str = "string") -> dict[str, Any]:
    """The description of a response that has no model."""
    return {"content": {media_type: {"schema": {"type": json_type}}}}


def _responses(method: str, answers: Answers, errors: tuple[int, ...]) -> dict[int, Described]:
    """``answers``, the errors of the route, and the errors that every request can get.

    A change gets 503 while too many other changes wait for the database.
    """
    busy = () if method == "GET" else (503,)
    first, *others = sorted({400, 431, 500, *busy, *errors})
    # The first adds the model to the document. Deriving it for each status would slow the start.
    return {**answers, first: ErrorEnvelope, **{status: _envelope_reference() for status in others}}


def _envelope_reference() -> Described:
    schema = {"$ref": f"#/components/schemas/{ErrorEnvelope.__name__}"}
    return {"content": {"application/json": {"schema": schema}}}


def _refuse(error: ValidationError) -> Response:
    """Called by the library for a request that does not match the models."""
    # The title is the name of the model.
    raise first_problem(error, _MODELS[error.title]) from None
