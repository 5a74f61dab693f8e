"""The OpenAPI document: valid, as specified, and true for the running service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from latchkey.config import load_settings
from latchkey_service import create_app
from tests.support.api.shapes import FIELDS
from tests.support.service import Pair, Service

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")

EVERY = {"400", "431", "500"}
PROTECTED = {*EVERY, "401", "403", "429"}
BODY = {"413", "415"}
# Each route with its statuses, as the contract has them, and whether it is open.
ROUTES: dict[tuple[str, str], tuple[set[str], bool]] = {
    ("get", "/health"): ({"200", *EVERY}, True),
    ("get", "/ready"): ({"200", "503", *EVERY}, True),
    ("get", "/metrics"): ({"200", *EVERY}, True),
    ("get", "/openapi.json"): ({"200", *EVERY}, True),
    ("get", "/docs/"): ({"200", *EVERY}, True),
    ("post", "/credentials"): ({"201", "503", "403", "409", "429", *BODY, *EVERY}, True),
    ("get", "/credentials"): ({"200", "404", *PROTECTED}, False),
    ("delete", "/credentials/{api_key}"): ({"200", "503", "404", *PROTECTED}, False),
    ("get", "/v1/account"): ({"200", *PROTECTED}, False),
    ("get", "/v1/accounts"): ({"200", *PROTECTED}, False),
    ("post", "/v1/accounts"): ({"201", "409", "503", *BODY, *PROTECTED}, False),
    ("get", "/v1/accounts/{account_id}"): ({"200", "404", *PROTECTED}, False),
    ("patch", "/v1/accounts/{account_id}"): (
        {"200", "404", "409", "503", *BODY, *PROTECTED},
        False,
    ),
    ("post", "/v1/accounts/{account_id}/revoke_keys"): (
        {"200", "404", "503", *BODY, *PROTECTED},
        False,
    ),
    ("get", "/v1/accounts/{account_id}/usage"): ({"200", "404", *PROTECTED}, False),
    ("post", "/v1/api_keys"): (
        {"201", "404", "409", "422", "503", *BODY, *PROTECTED},
        False,
    ),
    ("get", "/v1/api_keys"): ({"200", "404", *PROTECTED}, False),
    ("get", "/v1/api_keys/self"): ({"200", *PROTECTED}, False),
    ("get", "/v1/api_keys/{api_key}"): ({"200", "404", *PROTECTED}, False),
    ("patch", "/v1/api_keys/{api_key}"): ({"200", "503", "404", *BODY, *PROTECTED}, False),
    ("delete", "/v1/api_keys/{api_key}"): ({"200", "503", "404", *PROTECTED}, False),
    ("post", "/v1/api_keys/{api_key}/rotate"): (
        {"201", "404", "409", "422", "503", *BODY, *PROTECTED},
        False,
    ),
    ("get", "/v1/api_keys/{api_key}/usage"): ({"200", "404", *PROTECTED}, False),
    ("post", "/v1/verify"): ({"200", "503", *BODY, *PROTECTED}, False),
    ("post", "/v1/verify/batch"): ({"200", "503", *BODY, *PROTECTED}, False),
}
PROXIES = ("nginx", "traefik", "caddy", "haproxy", "envoy/{path}")
for proxy in PROXIES:
    # nginx does not pass on 429.
    few = {"429"} if proxy == "nginx" else set()
    ROUTES["get", f"/verify/{proxy}"] = ({"200", *PROTECTED} - few, False)
CREDENTIAL_FIELDS = set(FIELDS)
CONDITION_FIELDS = {
    *("enabled", "not_before", "networks", "networks_mode", "endpoints", "metadata", "limits"),
}


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    answer = service.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    fetched: dict[str, Any] = answer.json
    return fetched


def operations(document: dict[str, Any]) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield (method, path), operation


def test_document_is_valid(document: dict[str, Any]) -> None:
    # Loading it takes longer than loading all other modules, and only this test needs it.
    import schemathesis

    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    schemathesis.openapi.from_dict(document).validate()


def test_every_specified_route_and_status(document: dict[str, Any]) -> None:
    described = {route: set(operation["responses"]) for route, operation in operations(document)}
    assert described == {route: statuses for route, (statuses, _) in ROUTES.items()}


def test_every_route_of_the_application_is_described(
    service: Service, document: dict[str, Any]
) -> None:
    """Except for the files of the page, and the console, which is for people."""
    described = set(document["paths"])
    for rule in create_app(load_settings(service.settings), migrate=False).url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        if path == "/docs/" or not f"{path}/".startswith(("/docs/", "/console/")):
            assert path in described
            methods = {method.lower() for method in rule.methods or ()} - {"head"}
            assert methods <= set(document["paths"][path])


def test_security(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    described = {name: (scheme["type"], scheme.get("name")) for name, scheme in schemes.items()}
    assert described == {
        "bearer": ("http", None),
        "key": ("apiKey", "X-Api-Key"),
        "secret": ("apiKey", "X-Api-Secret"),
    }
    assert schemes["bearer"]["scheme"] == "bearer"
    assert "security" not in document
    for route, operation in operations(document):
        is_open = ROUTES[route][1]
        either: list[dict[str, list[str]]] = [{"bearer": []}, {"key": [], "secret": []}]
        assert operation.get("security", []) == ([] if is_open else either), route


def test_every_error_is_the_envelope(document: dict[str, Any]) -> None:
    for route, operation in operations(document):
        for status, response in operation["responses"].items():
            if status[0] != "2":
                (media_type, body), *others = response["content"].items()
                assert (media_type, others) == ("application/json", []), (route, status)
                assert body["schema"] == {"$ref": "#/components/schemas/ErrorEnvelope"}
    schemas = document["components"]["schemas"]
    assert schemas["ErrorEnvelope"]["required"] == ["error"]
    inner = schemas["ErrorEnvelope"]["properties"]["error"]["$ref"].rpartition("/")[2]
    assert schemas[inner]["required"] == ["type", "code", "message"]


def test_schemas(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert set(schemas["CredentialObject"]["required"]) == CREDENTIAL_FIELDS
    assert set(schemas["CredentialObject"]["properties"]) == CREDENTIAL_FIELDS
    assert set(schemas["IssuedObject"]["required"]) == {*CREDENTIAL_FIELDS, "api_secret"}
    assert schemas["CredentialObject"]["properties"]["status"]["enum"] == [
        "active",
        "revoked",
        "expired",
    ]
    for name, required, fields in (
        ("RegisterBody", {"api_key", "api_secret"}, {"api_key", "api_secret", "name"}),
        (
            "IssueBody",
            {"name"},
            {"name", "account", "mode", "scopes", "expires_at", *CONDITION_FIELDS},
        ),
        ("NewAccountBody", {"name"}, {"name", "external_id", "metadata", "limits"}),
        ("AccountChangeBody", set(), {"name", "external_id", "metadata", "limits", "status"}),
        ("RevokeKeysBody", set(), {"dry_run"}),
        ("ChangeBody", set(), {"name", "scopes", "expires_at", *CONDITION_FIELDS}),
        ("RotateBody", set(), {"overlap_seconds"}),
    ):
        assert schemas[name]["additionalProperties"] is False
        assert set(schemas[name].get("required", ())) == required
        assert set(schemas[name]["properties"]) == fields
    for kind in schemas["LimitBody"]["oneOf"]:
        assert kind["additionalProperties"] is False
    assert [set(kind["properties"]) for kind in schemas["LimitBody"]["oneOf"]] == [
        {"name", "rate", "burst"},
        {"name", "quota", "period", "refill_on"},
    ]
    assert [kind["required"] for kind in schemas["LimitBody"]["oneOf"]] == [
        ["rate"],
        ["quota", "period"],
    ]
    overlap = schemas["RotateBody"]["properties"]["overlap_seconds"]
    assert (overlap["minimum"], overlap["maximum"], overlap["default"]) == (0, 2_592_000, 86_400)
    limits = [
        parameter["schema"]
        for path in ("/credentials", "/v1/api_keys")
        for parameter in document["paths"][path]["get"]["parameters"]
        if parameter["name"] == "limit"
    ]
    assert [(limit["minimum"], limit["maximum"], limit["default"]) for limit in limits] == [
        (1, 100, 50)
    ] * 2


def test_a_disabled_registration_is_not_described(closed: Service) -> None:
    assert set(closed.get("/openapi.json").json["paths"]["/credentials"]) == {"get"}


# The page.


def test_the_page_and_its_files_come_from_the_service(service: Service) -> None:
    page = service.get("/docs/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    # No scheme and no host, so the page can load files from this server only.
    assert not re.search(r"https?:|\*|[a-z]\.[a-z]", page.headers["content-security-policy"])
    text = page.body.decode()
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert len(links) >= 4
    assert not re.search(r"<script>|<style>| on\w+=|//\w", text)
    for link in links:
        assert re.match(r"/[^/]", link), link
        answer = service.get(link)
        assert (answer.status, bool(answer.body)) == (200, True), link
        expected = {".css": "text/css", ".js": "text/javascript", "json": "application/json"}
        kinds = [kind for suffix, kind in expected.items() if link.endswith(suffix)]
        assert answer.headers["content-type"].startswith(kinds[0])
        if link.endswith(".css"):
            assert not re.search(rb"@import|url\((?!\s*['\"]?data:)", answer.body)


def test_the_script_of_the_page_calls_no_other_host(service: Service) -> None:
    script = service.get("/docs/start.js").body.decode()
    assert "validatorUrl: null" in script
    assert 'url: "/openapi.json"' in script
    assert "//" not in re.sub(r"^\s*//.*$", "", script, flags=re.MULTILINE)


# The running service.

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ensure_resource_availability",
    "ignored_auth",
)


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A separate service, because schemathesis with full access revokes keys that it finds."""
    directory = tmp_path_factory.mktemp("explored")
    with Service(directory, LATCHKEY_FAILURE_LIMIT="off", LATCHKEY_WORKERS="2") as running:
        yield running


def explore(
    service: Service, headers: dict[str, str], phases: str, examples: int, only: str | None = None
) -> None:
    """Run schemathesis over the service's own document, or only one of its operations.

    Two of its checks do not apply. A body that fits the schema may be refused: a schema cannot
    require that a time lies in the future, or that a pair was derived. Revoked keys are still
    shown.
    """
    arguments = [
        *("--checks", ",".join(CHECKS)),
        *("--phases", phases),
        *("--max-examples", str(examples)),
        # Schemathesis would add a credential of its own, and two credentials are refused.
        *("--generation-with-security-parameters", "false"),
        *("--generation-database", "none"),
        *("--seed", "1", "--no-color", "--suppress-health-check", "all"),
        # tests/verify: the answers to proxies depend on no method.
        *("--exclude-path-regex", "^/verify/"),
        *(part for name, value in headers.items() for part in ("--header", f"{name}: {value}")),
        *(("--include-name", only) if only else ()),
    ]
    done = subprocess.run(
        [SCHEMATHESIS, "run", f"{service.url}/openapi.json", *arguments],
        cwd=service.directory,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # All of them but the document itself.
    total = len(ROUTES) - 1
    selected = 1 if only else total - len(PROXIES)
    assert f"{selected} selected / {total} total" in done.stdout


Present = Callable[[Pair], dict[str, str]]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("present", "phases"),
    [
        (lambda pair: pair.bearer, "fuzzing,stateful"),
        (lambda pair: pair.headers, "fuzzing"),
        (lambda pair: {}, "fuzzing"),
    ],
    ids=["bearer", "pair", "nothing"],
)
def test_service_answers_as_described(
    explored: Service, present: Present, phases: str, long: bool
) -> None:
    # A new key: earlier rounds may have revoked the others.
    pair = explored.create_key("test")
    explore(explored, present(pair), phases, 100 if long else 3)
    assert "Traceback" not in explored.log
    assert explored.get("/health").status == 200


@pytest.mark.timeout(3600)
def test_service_answers_as_described_at_every_limit(explored: Service, long: bool) -> None:
    """Values at and beyond each limit of a schema; with ``--long``, of every operation."""
    pair = explored.create_key("test")
    one = "POST /v1/api_keys/{api_key}/rotate"
    explore(explored, pair.bearer, "coverage", 1, None if long else one)
    assert "Traceback" not in explored.log
    assert explored.get("/health").status == 200
