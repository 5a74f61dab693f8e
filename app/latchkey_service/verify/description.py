"""The description of the routes of proxies in the OpenAPI document; they are no routes of Flask."""

from __future__ import annotations

from typing import Any

from latchkey.credentials.models import MODES
from latchkey_service.verify.answers import identity_headers
from latchkey_service.verify.needs import LARGEST_COST
from latchkey_service.verify.originals import AREA, NGINX, PROXIES, Proxy

_TEXT = {"type": "string"}
_ENVELOPE = {
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}}
}
_REFUSALS = {
    400: "The request is incomplete, or the verify URL is invalid",
    401: "No valid credential",
    403: "The key is valid, but not for this request",
    429: "A limit of the key is reached, or too many invalid credentials came from one address",
    431: "The headers are too large",
    500: "The database failed",
}
_EITHER_SCHEME: list[dict[str, list[str]]] = [{"bearer": []}, {"key": [], "secret": []}]
_LIMITS = {
    "RateLimit-Policy": {
        "schema": _TEXT,
        "description": "The limits of the key and of its account, if there are any",
    },
    "RateLimit": {"schema": _TEXT, "description": "What remains of these limits"},
}
_ADDRESS = "The client's address, or a list whose last entry is that of the proxy in front"


def describe_routes(paths: dict[str, Any]) -> None:
    """Add the routes to the ``paths`` of an OpenAPI document."""
    for proxy in PROXIES:
        path = f"{AREA}{proxy.name}" if proxy.reads_query else f"{AREA}{proxy.name}/{{path}}"
        paths[path] = {"get": _operation(proxy)}


def _operation(proxy: Proxy) -> dict[str, Any]:
    statuses = [status for status in _REFUSALS if proxy is not NGINX or status != 429]
    return {
        "operationId": f"verify_{proxy.name}",
        "tags": ["verify"],
        "summary": f"Whether a request to {proxy.name} may pass",
        "description": "Every method is answered in the same way. No body is read.",
        "parameters": [*_path(proxy), *_headers(proxy), *_query(proxy)],
        "security": _EITHER_SCHEME,
        "responses": {
            "200": {
                "description": "The request may pass",
                "headers": {
                    **{name: {"schema": _TEXT} for name, _ in identity_headers(None)},
                    **_LIMITS,
                },
            },
            **{str(status): {"description": _REFUSALS[status], **_ENVELOPE} for status in statuses},
        },
    }


def _path(proxy: Proxy) -> list[dict[str, Any]]:
    if proxy.reads_query:
        return []
    return [{"name": "path", "in": "path", "required": True, "schema": _TEXT}]


def _headers(proxy: Proxy) -> list[dict[str, Any]]:
    return [
        *(
            {"name": name, "in": "header", "required": True, "schema": _TEXT}
            for name in proxy.headers
        ),
        {
            "name": "X-Forwarded-For",
            "in": "header",
            "required": False,
            "schema": _TEXT,
            "description": _ADDRESS,
        },
    ]


def _query(proxy: Proxy) -> list[dict[str, Any]]:
    if not proxy.reads_query:
        return []
    listed = {"type": "array", "items": _TEXT}
    schemas: dict[str, dict[str, Any]] = {
        "scope": listed,
        "scope_any": listed,
        "mode": {"type": "string", "enum": list(MODES)},
        "cost": {"type": "integer", "minimum": 1, "maximum": LARGEST_COST},
        "preflight": {"type": "string", "enum": ["pass"]},
    }
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in schemas.items()
    ]
