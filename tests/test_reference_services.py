"""The reference pages about a running service: its metrics and its HTTP API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from latchkey import errors
from latchkey.config import load_settings
from latchkey.errors import ApiError
from latchkey.flask.declarations import requirements_of
from latchkey_service import create_app
from tests.support.documents.reference import rows, sections
from tests.support.service import Service

# ---- metrics

# Missing with SQLite; tests/integration/test_box_pages.py finds them with PostgreSQL.
FOR_BOXES = {"latchkey_lease_seconds", "latchkey_log_applied_row"}


def test_the_metrics_are_those_of_a_scrape(service: Service) -> None:
    service.get("/v1/account", service.create_key().bearer)
    scraped: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(service.get("/metrics").body.decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        scraped[name] = family.type, labels
    described = {}
    for name, section in sections("metrics.md", r"### `(\w+)`").items():
        line = re.search(r"^Type: (\w+)\. (?:No labels|Labels: (.*))\.$", section, re.MULTILINE)
        assert line is not None, name
        described[name] = line[1], set(re.findall(r"`(\w+)`", line[2] or ""))
    assert {name: each for name, each in described.items() if name not in FOR_BOXES} == scraped
    assert described.keys() >= FOR_BOXES


def test_the_values_of_labels_are_those_of_a_scrape(service: Service) -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families(service.get("/metrics").body.decode())
    }
    shown = sections("metrics.md", r"### `(\w+)`")
    outcomes = [row[0].strip("`") for row in rows(shown["latchkey_requests_total"])]
    scraped = [sample.labels["outcome"] for sample in families["latchkey_requests"].samples]
    assert outcomes == scraped
    levels = [
        (row[0].strip("`"), row[1].strip("`")) for row in rows(shown["latchkey_lookups_total"])
    ]
    assert levels == [
        (sample.labels["level"], sample.labels["result"])
        for sample in families["latchkey_lookups"].samples
    ]
    puts = shown["latchkey_shared_cache_puts_total"]
    for sample in families["latchkey_shared_cache_puts"].samples:
        assert f"`{sample.labels['result']}`" in puts


def test_every_metric_has_an_alert_or_says_that_it_has_none() -> None:
    shown = sections("metrics.md", r"### `(\w+)`")
    for name, section in shown.items():
        expressions = re.findall(r"^Alert: `(.+?)`\.", section, re.MULTILINE)
        assert expressions or "\nNo alert." in section, name
        for expression in expressions:
            assert name in expression
            for label, value in re.findall(r'(\w+)="(\w+)"', expression):
                assert f"`{label}`" in section, expression
                assert f"`{value}`" in section, expression


# ---- the HTTP API

# The objects of the page, by the names that the OpenAPI document has for their shapes.
OBJECTS = {
    "CredentialObject": "Credential",
    "OwnCredentialObject": "Own credential",
    "IssuedObject": "Issued credential",
    "CredentialList": "List of credentials",
    "Registered": "Registration",
    "Revoked": "Revocation",
    "PresentedAccount": "Own account",
    "AccountObject": "Account object",
    "AccountList": "List of accounts",
    "RevokedKeysObject": "Revoked keys",
    "VerifiedObject": "Verification",
    "VerifiedPrincipal": "Verified key",
    "RemainingLimit": "Remaining limit",
    "VerifiedBatch": "List of verifications",
    "UsageObject": "Usage",
    "AccountUsageObject": "Usage of an account",
    "UsedPeriod": "Period",
    "Refusals": "Refusals",
    "HealthStatus": "Status",
}
# Errors that only the console raises.
CONSOLE_ONLY = {errors.PasswordsBusy, errors.ExportsBusy}
ROUTE = r"### ((?:GET|POST|PATCH|DELETE) /\S*)"


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/openapi.json").json
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All but the routes of proxies, which share one section."""
    return {
        f"{method.upper()} {path}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if not path.startswith("/verify/")
    }


def shape_of(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def test_every_route_has_a_section(document: dict[str, Any]) -> None:
    assert set(sections("http-api.md", ROUTE)) == set(operations(document))


def test_the_routes_of_proxies(document: dict[str, Any]) -> None:
    section = sections("http-api.md", "## (Verify)")["Verify"]
    for path, item in document["paths"].items():
        if path.startswith("/verify/"):
            operation = item["get"]
            assert f"`{path.replace('{path}', '…')}`" in section
            parameters = [one["name"] for one in operation["parameters"] if one["in"] != "path"]
            for name in (*parameters, *operation["responses"]["200"]["headers"]):
                assert f"`{name}`" in section, name


def test_the_callers_are_those_that_views_declare(service: Service) -> None:
    shown = sections("http-api.md", ROUTE)
    app = create_app(load_settings(service.settings), migrate=False)
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in rule.methods or ():
            section = shown.get(f"{method} {path}")
            if section is None:
                continue
            caller = re.search(r"^- Caller: (.+)$", section, re.MULTILINE)
            assert caller is not None
            declared = requirements_of(app.view_functions[rule.endpoint], method)
            told = [
                "any key"
                if one.need is None
                else f"a key with `{one.need}`" + (", or the key itself" if one.own else "")
                for one in declared
            ]
            assert [caller[1]] == (told or ["open"]), (method, path)


def test_the_errors_of_each_route(document: dict[str, Any]) -> None:
    codes = {
        (kind.status.value, kind.bearer_code or kind.pair_code.lower()) for kind in api_errors()
    }
    for route, operation in operations(document).items():
        section = sections("http-api.md", ROUTE)[route]
        line = re.search(r"^- Errors: (.+)$", section, re.MULTILINE)
        assert line is not None, route
        told = re.findall(r"(\d{3}) `(\w+)`", line[1])
        assert {(int(status), code) for status, code in told} <= codes
        common = {"400", "431", "500"}
        if operation.get("security"):
            common |= {"401", "429"}
        if not route.startswith("GET "):
            common |= {"503"}
        described = {status for status in operation["responses"] if status[0] != "2"}
        assert {status for status, _ in told} | common == described, route


def test_the_answers_and_the_fields_of_each_route(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for route, operation in operations(document).items():
        section = sections("http-api.md", ROUTE)[route]
        answer = re.search(
            r"^- Answer: (\d+), (?:.*\[.+?\]\(#(.+)\)|`(.+)`)$", section, re.MULTILINE
        )
        assert answer is not None, route
        ((status, response),) = [
            (status, response)
            for status, response in operation["responses"].items()
            if status[0] == "2"
        ]
        assert status == answer[1], route
        ((media_type, content),) = response["content"].items()
        if answer[2]:
            name = OBJECTS[shape_of(content["schema"])]
            assert answer[2] == name.lower().replace(" ", "-"), route
        else:
            assert media_type == answer[3], route
        fields = {row[0].strip("`"): row[1] for row in rows(section)}
        query = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
        body: dict[str, Any] = {}
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            body = schemas[shape_of(schema)]
        assert set(fields) == query | set(body.get("properties", ())), route
        required = {name for name, kind in fields.items() if "required" in kind}
        assert required == set(body.get("required", ())), route


def test_the_fields_of_the_objects(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    shown = sections("http-api.md", "### (.*)")
    for name, title in OBJECTS.items():
        fields = {row[0].strip("`"): row[1] for row in rows(shown[title])}
        properties = schemas[name]["properties"]
        if name == "IssuedObject":
            properties = {
                field: properties[field]
                for field in properties.keys() - schemas["CredentialObject"]["properties"].keys()
            }
        elif name == "OwnCredentialObject":
            # Only what it says about these differs.
            properties = {"limits": properties["limits"]}
        assert set(fields) == set(properties), title
        for field, kind in fields.items():
            kinds = [one.get("type") for one in properties[field].get("anyOf", ())]
            assert ("null" in kinds) == kind.endswith("or null"), (title, field)


def api_errors(kind: type[ApiError] = ApiError) -> Iterator[type[ApiError]]:
    """The errors that are answered, of this package alone: tests derive others."""
    for child in kind.__subclasses__():
        if child.__module__.startswith(f"{errors.__name__}."):
            yield child
            yield from api_errors(child)


def test_the_table_of_errors() -> None:
    told = [
        (int(status), bearer.strip("`"), pair.strip("`"), kind.strip("`"))
        for status, bearer, pair, kind, _ in rows(sections("http-api.md", "## (Errors)")["Errors"])
    ]
    bases = {errors.AuthenticationError, errors.PermissionDenied}
    raised = {
        (kind.status.value, kind.bearer_code or kind.pair_code.lower(), kind.pair_code, kind.type)
        for kind in api_errors()
        if kind not in bases | CONSOLE_ONLY
    }
    assert len(told) == len(set(told))
    assert set(told) == raised


def test_every_scope_is_described() -> None:
    from latchkey.credentials.scopes import BUILT_IN_SCOPES

    table = rows(sections("http-api.md", "## (Scopes)")["Scopes"])
    described = {name.strip("` ") for row in table for name in row[0].split(",")}
    assert described == set(BUILT_IN_SCOPES)
