"""How the routes are described: one blueprint class, the common answers, the error envelope."""

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
from latchkey_service.api import schemas
from latchkey_service.api.json_request import JsonRequest
from latchkey_service.api.schemas import ErrorEnvelope
from latchkey_service.shapes import requests
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
# The modules in which routes find the models of their paths, queries and bodies.
_MODELS: dict[str, type[BaseModel]] = {**vars(schemas), **vars(requests)}
_EITHER_SCHEME: list[dict[str, list[str]]] = [{"bearer": []}, {"key": [], "secret": []}]


class Api(OpenAPI):
    """The class of the application: strict bodies, plain routes."""

    request_class = JsonRequest
    url_map_class = PlainMap


def new_app() -> OpenAPI:
    """The application object: no static files, no automatic OPTIONS, strict bodies."""
    app = Api(
        __name__,
        info=Info(
            title="Latchkey",
            version=__version__,
            description="API keys for one box: made, checked, limited and revoked.",
        ),
        security_schemes=SECURITY_SCHEMES,
        doc_ui=False,
        # Every operation lists its own 400, so the library adds none of its own shape.
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
        """``options`` are those of a Flask blueprint, for its templates and files."""
        super().__init__(name, __name__, **options)

    def protected(
        self,
        method: str,
        rule: str,
        answers: Answers,
        *,
        errors: tuple[int, ...] = (),
    ) -> Callable[[View], View]:
        """A route that needs a credential; ``errors`` are the statuses beside the common ones."""
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
    # The library types its decorators as bare callables; this gives them their type back.
    decorator: Callable[[View], View] = getattr(scaffold, method.lower())(rule, **description)
    return decorator


def answer(model: BaseModel, status: int = 200) -> Response:
    """A model as a JSON answer that no cache keeps."""
    return Response(
        model.model_dump_json(),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def content(media_type: str, json_type: str = "string") -> dict[str, Any]:
    """The description of an answer that no model has the shape of."""
    return {"content": {media_type: {"schema": {"type": json_type}}}}


def _responses(method: str, answers: Answers, errors: tuple[int, ...]) -> dict[int, Described]:
    """``answers``, the errors of the route, and those that any request can meet.

    A change is refused with 503 while too many others wait for the database.
    """
    busy = () if method == "GET" else (503,)
    first, *others = sorted({400, 431, 500, *busy, *errors})
    # The first brings the model into the document; to work it out for each would delay the start.
    return {**answers, first: ErrorEnvelope, **{status: _as_the_first() for status in others}}


def _as_the_first() -> Described:
    schema = {"$ref": f"#/components/schemas/{ErrorEnvelope.__name__}"}
    return {"content": {"application/json": {"schema": schema}}}


def _refuse(error: ValidationError) -> Response:
    """What the library calls with a request that does not fit its models."""
    # Its title is the name of the model.
    raise first_problem(error, _MODELS[error.title]) from None
